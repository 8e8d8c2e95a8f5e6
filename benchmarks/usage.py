"""The CPU time and memory of a server's processes, from the system's accounting."""

from __future__ import annotations

import os
import time
from pathlib import Path

from peers import descendants

SCHEDULED = 2  # clock_getcpuclockid(3): of a process, in nanoseconds


def cpu(pid: int) -> float:
    """Return the seconds of CPU time, user and system, of all past and present threads of a process. Raises OSError."""
    return time.clock_gettime(~pid << 3 | SCHEDULED)


def cpu_of_children(pid: int) -> dict[int, float]:
    """Return the seconds of CPU time of each descendant of *pid*, by process id."""
    tick = os.sysconf("SC_CLK_TCK")
    found = {}
    for child, _ in descendants(pid):
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        found[child] = (int(fields[11]) + int(fields[12])) / tick
    return found


def memory(pid: int) -> int:
    """Return the octets of the process's own memory and its part of shared memory (PSS). Raises OSError."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError("this kernel does not report the memory of a process (PSS)")
