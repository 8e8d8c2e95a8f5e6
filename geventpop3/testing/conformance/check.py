"""The checks as objects: the sentence of the RFC, the needs and the function of each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geventpop3.testing.conformance.lab import Lab


@dataclass(frozen=True, slots=True)
class Check:
    """A rule of an RFC and the function that tests a server for it."""

    id: str
    rfc: str
    section: str
    title: str
    quote: str
    function: Callable[[Lab], None]
    mail: int
    """Number of messages that the maildrop must hold."""
    fill: bool
    """True if the check needs messages of its own, and so a delivery."""
    delete: bool
    """True if the check marks messages as deleted."""
    capability: str
    """Capability that must be announced; empty if the rule holds for all servers."""
    strict: bool
    """True if many servers break the rule and clients tolerate it."""
    source: str
    """Place of the quoted sentence, such as ``RFC 1939 section 5``."""

    @property
    def order(self) -> tuple[int, tuple[int, ...]]:
        """Key that sorts by RFC and section."""
        return _RFCS.index(self.rfc), tuple(int(part) for part in self.section.split("."))


_RFCS = ("1939", "2449", "3206", "2595", "5034", "4616", "6856")

_checks: dict[str, Check] = {}


def check(
    rfc: str,
    section: str,
    title: str,
    quote: str,
    *,
    slug: str | None = None,
    mail: int = 0,
    fill: bool = False,
    delete: bool = False,
    capability: str = "",
    strict: bool = False,
    source: str = "",
) -> Callable[[Callable[[Lab], None]], Callable[[Lab], None]]:
    """Register a function as a check.

    *slug* is the end of its id; by default it is the function's name without the first underscore.
    *source* is the place of the quotation if it is not in this section.
    """

    def register(function: Callable[[Lab], None]) -> Callable[[Lab], None]:
        name = (slug or function.__name__.removeprefix("_")).replace("_", "-")
        identity = f"rfc{rfc}-{section}-{name}"
        if identity in _checks or rfc not in _RFCS or re.fullmatch(r"[a-z0-9.-]+", identity) is None:
            raise ValueError(f"{identity} is not a valid new check id")
        _checks[identity] = Check(
            identity,
            rfc,
            section,
            title,
            " ".join(quote.split()),
            function,
            mail,
            fill,
            delete or fill,
            capability,
            strict,
            source or f"RFC {rfc} section {section}",
        )
        return function

    return register


def registered() -> list[Check]:
    """Return the checks that were registered, by RFC and section, otherwise in order of registration."""
    return sorted(_checks.values(), key=lambda each: each.order)
