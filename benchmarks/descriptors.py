"""The number of sessions that the limit of open files allows, and a remark if it is smaller than wanted."""

from __future__ import annotations

import resource

from geventpop3.server.admission import DESCRIPTORS_PER_SESSION, OTHER_DESCRIPTORS

ENOUGH = 10_000 * DESCRIPTORS_PER_SESSION + 5_000  # for the largest crowd of the benchmarks
BESIDE = 64  # sessions that come and go beside a crowd that stays


def take() -> int:
    """Raise the limit of open files for this process and its children, above the hard limit if allowed."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < ENOUGH:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (ENOUGH, ENOUGH))
            return ENOUGH
        except (ValueError, PermissionError):
            pass  # only a privileged process may raise the hard limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def sessions(wanted: int, limit: int | None = None) -> int:
    """Return how many of *wanted* sessions fit into *limit* open files, by default the limit of this process."""
    if limit is None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (limit - OTHER_DESCRIPTORS) // DESCRIPTORS_PER_SESSION - BESIDE))


def said(count: int, wanted: int) -> str:
    """Return a text with the number of sessions."""
    if count >= wanted:
        return f"{count:,} sessions"
    return f"{count:,} of {wanted:,} sessions: limit of descriptors, {DESCRIPTORS_PER_SESSION} for each"
