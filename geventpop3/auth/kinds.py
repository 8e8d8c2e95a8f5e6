"""What all users of a back end can use, from the kinds of their secrets: one secret of each kind stands for the others.

A mechanism that some user cannot use is not offered, because a client that could use it would try no other.
"""

from __future__ import annotations

from collections.abc import Iterable

from geventpop3.auth.secret import ClearSecret, ScramSecret, Secret


def all_are_clear(kinds: Iterable[Secret]) -> bool:
    """Whether there are users, and each has a clear-text secret."""
    kinds = list(kinds)
    return bool(kinds) and all(isinstance(kind, ClearSecret) for kind in kinds)


def none_is_clear(kinds: Iterable[Secret]) -> bool:
    """Whether nobody has a clear-text secret."""
    return not any(isinstance(kind, ClearSecret) for kind in kinds)


def scram_iterations(kinds: Iterable[Secret], hash_name: str) -> tuple[int, ...]:
    """The different iteration counts of SCRAM keys; empty if some user has neither these nor a clear-text secret."""
    counts = []
    for kind in kinds:
        if isinstance(kind, ScramSecret) and kind.hash_name == hash_name:
            counts.append(kind.iterations)
        elif not isinstance(kind, ClearSecret):
            return ()
    return tuple(counts)
