"""How many sessions the limit of open files lets one process have; where it is fewer than wanted, that is said."""

from __future__ import annotations

import resource

from geventpop3.server.admission import DESCRIPTORS_PER_SESSION, OTHER_DESCRIPTORS

ENOUGH = 10_000 * DESCRIPTORS_PER_SESSION + 5_000  # for the largest crowd of the benchmarks
BESIDE = 64  # sessions that come and go beside a crowd that stays


def take() -> int:
    """As many as the system allows this process and those it starts, more than the hard limit where that may be."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < ENOUGH:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (ENOUGH, ENOUGH))
            return ENOUGH
        except (ValueError, PermissionError):
            pass  # only who is privileged may have more
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def sessions(wanted: int, limit: int | None = None) -> int:
    """As many of *wanted* as a server would let in with some to spare; *limit* is of open files, by default our own."""
    if limit is None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (limit - OTHER_DESCRIPTORS) // DESCRIPTORS_PER_SESSION - BESIDE))


def said(count: int, wanted: int) -> str:
    """How many sessions there were."""
    if count >= wanted:
        return f"{count:,} sessions"
    return f"{count:,} of {wanted:,} sessions: limit of descriptors, {DESCRIPTORS_PER_SESSION} for each"
