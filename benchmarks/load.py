"""Running the load generator: one bounded run of ``popload`` against one server, and its answer."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mail import PASSWORD, SETS
from peers import Running, on_cores
from scenarios import Scenario

HERE = Path(__file__).parent
COMMAND_TIMEOUT = 30  # maximum seconds of one reply
WARMED_WITHIN = 120  # maximum seconds for all maildrops of a set, whose mail may not be cached yet
ADDRESSES = 50  # clients use 127.0.0.1 to 127.0.0.50, so that limits per address do not affect the measurement

Answer = Mapping[str, Any]


class LoadFailed(Exception):
    """An error of popload itself; the text is one line."""


def compile_programs(binaries: Path) -> None:
    """Compile popload and the ideal server if their source is newer. Raises CalledProcessError."""
    binaries.mkdir(parents=True, exist_ok=True)
    for name in ("popload", "ideal"):
        source, binary = HERE / f"{name}.c", binaries / name
        if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["gcc", "-O2", "-Wall", "-o", str(binary), str(source)], check=True)


class LoadGenerator:
    """The load generator on its own core, with the number of owners of each mail set in this run."""

    def __init__(self, binaries: Path, cores: set[int] | None, owners: Mapping[str, int]) -> None:
        self._binary = binaries / "popload"
        self._cores = cores
        self._owners = owners

    def measure(self, scenario: Scenario, peer: Running, seconds: float) -> Answer:
        return self._run(
            peer,
            scenario.mail_set,
            *("--scenario", scenario.kind, "--concurrency", str(scenario.clients), "--duration", str(seconds)),
            *scenario.options,
        )

    def warm(self, mail_set: str, peer: Running) -> Answer:
        """Poll each maildrop of the set once, so that indexes exist and the mail is in the page cache."""
        owners = self._owners[mail_set]
        return self._run(
            peer,
            mail_set,
            *("--scenario", "poll", "--concurrency", str(min(owners, 16)), "--count", str(owners)),
            *("--duration", str(WARMED_WITHIN), "--timeout", str(WARMED_WITHIN)),
        )

    def _run(self, peer: Running, mail_set: str, *options: str) -> Answer:
        command = [
            *(str(self._binary), "--label", peer.name, "--port", str(peer.port), "--pid", str(peer.pid)),
            *("--users", str(self._owners[mail_set]), "--user-format", SETS[mail_set].letter + "%05d"),
            *("--password", PASSWORD, "--timeout", str(COMMAND_TIMEOUT), "--sources", str(ADDRESSES), *options),
        ]
        with on_cores(self._cores):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not done.stdout:
            raise LoadFailed(f"popload ended with status {done.returncode}: {done.stderr.strip() or 'no message'}")
        answer: Answer = json.loads(done.stdout)
        return answer


def two_cores() -> tuple[set[int] | None, set[int] | None]:
    """Return a core for the servers and one for the load; (None, None) if there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[0]}, {cores[1]}) if len(cores) > 1 else (None, None)
