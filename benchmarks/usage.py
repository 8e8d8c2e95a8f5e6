"""What a server's processes have used, as the system tells it: CPU time and memory."""

from __future__ import annotations

import os
import time
from pathlib import Path

from peers import descendants

SCHEDULED = 2  # clock_getcpuclockid(3): of a process, in nanoseconds


def cpu(pid: int) -> float:
    """Seconds of CPU time, user and system, of all the threads that a process has or had; raises OSError."""
    return time.clock_gettime(~pid << 3 | SCHEDULED)


def cpu_of_children(pid: int) -> dict[int, float]:
    """Seconds of CPU time of each process that *pid* forked, and of those they forked; by process."""
    tick = os.sysconf("SC_CLK_TCK")
    found = {}
    for child, _ in descendants(pid):
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        found[child] = (int(fields[11]) + int(fields[12])) / tick
    return found


def memory(pid: int) -> int:
    """Octets of memory that are the process's own, and its part of what it shares (PSS); raises OSError."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError("this kernel does not tell the memory of a process")
