"""A run: the outcome of each check that is possible with this server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from geventpop3.testing.conformance import checks as _checks
from geventpop3.testing.conformance.check import Check, registered
from geventpop3.testing.conformance.delivery import Delivery
from geventpop3.testing.conformance.lab import Facts, Lab
from geventpop3.testing.conformance.messages import PLAIN
from geventpop3.testing.conformance.outcome import CannotRun, Failed, NoConnection, Skipped
from geventpop3.testing.conformance.target import Target

Outcome = Literal["pass", "fail", "skip"]

GIVE_UP_AFTER = 3
"""Number of consecutive checks without a connection after which the server counts as gone."""

NEEDS_PERMISSION = "it deletes messages and needs --may-delete"
"""Reason of a check that is skipped because messages may not be lost."""

assert _checks


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one check, with the reason and, for a failure, the exchange."""

    check: Check
    outcome: Outcome
    reason: str = ""
    exchange: tuple[str, ...] = ()
    seconds: float = 0.0
    unreachable: bool = False
    """True if the check failed because the server could not be reached."""


@dataclass(slots=True)
class Report:
    """The outcomes of a run."""

    target: Target
    facts: Facts
    started: datetime
    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0
    selected: int = 0
    """Number of selected checks; larger than the number of results after an interruption."""

    def count(self, outcome: Outcome) -> int:
        """Return the number of checks with this outcome."""
        return sum(result.outcome == outcome for result in self.results)

    @property
    def failures(self) -> list[Result]:
        """The checks that failed."""
        return [result for result in self.results if result.outcome == "fail"]

    @property
    def status(self) -> int:
        """The exit status: 0 if no check failed, else 1."""
        return 1 if self.failures else 0


class Interrupted(KeyboardInterrupt):
    """A KeyboardInterrupt during a run; *report* has the results until then."""

    def __init__(self, report: Report) -> None:
        super().__init__("the run was interrupted")
        self.report = report


def run_checks(
    target: Target,
    *,
    delivery: Delivery | None = None,
    may_delete: bool = False,
    lenient: bool = False,
    only: Callable[[Check], bool] | None = None,
    each: Callable[[Result], None] | None = None,
) -> Report:
    """Check the server at *target*. Raises CannotRun, and Interrupted at Ctrl-C.

    A delivery needs *may_delete*: the maildrop is emptied before it is filled. If *lenient*, strict checks are skipped.
    *only* selects checks; *each* is called with every result.
    """
    if delivery is not None and not may_delete:
        raise CannotRun("a delivery empties the maildrop before it fills it, and needs may_delete")
    lab = Lab(target, delivery, may_delete=may_delete)
    began = time.monotonic()
    report = Report(target, lab.survey(), datetime.now(UTC))
    if delivery is not None:
        lab.try_delivery()
    selected = [check for check in registered() if only is None or only(check)]
    report.selected = len(selected)
    try:
        for result in _results(selected, lab, lenient=lenient):
            report.results.append(result)
            if each is not None:
                each(result)
    except KeyboardInterrupt:
        raise Interrupted(report) from None
    finally:
        report.seconds = time.monotonic() - began
    return report


def _results(selected: list[Check], lab: Lab, *, lenient: bool) -> Iterator[Result]:
    unreachable = 0
    for check in selected:
        result = _skipped(check, lab, lenient=lenient)
        if result is None and unreachable >= GIVE_UP_AFTER:
            result = Result(check, "skip", "the server no longer accepts connections")
        if result is None:
            result = _made(check, lab)
            unreachable = unreachable + 1 if result.unreachable else 0
        yield result


def _skipped(check: Check, lab: Lab, *, lenient: bool) -> Result | None:
    """Return the result of a check that is skipped; None if the check is possible."""
    reason = ""
    if check.capability and not _is_offered(check.capability, lab):
        reason = f"{check.capability} is not announced"
    elif lenient and check.strict:
        reason = "--lenient leaves out strict checks"
    elif check.delete and not lab.may_delete:
        reason = NEEDS_PERMISSION
    elif check.fill and lab.delivery is None:
        reason = "it needs delivered messages: use --maildir or --deliver"
    return Result(check, "skip", reason) if reason else None


def _is_offered(capability: str, lab: Lab) -> bool:
    if capability == "APOP":
        return bool(lab.facts.timestamp)
    if capability == "CAPA":
        return lab.facts.clear is not None
    if capability == "STLS":
        return lab.target.tls != "tls" and "STLS" in (lab.facts.clear or {})
    if capability.startswith("SASL "):
        return capability.removeprefix("SASL ") in lab.facts.mechanisms()
    return lab.offers(capability)


def _made(check: Check, lab: Lab) -> Result:
    began = time.monotonic()
    outcome: Outcome = "pass"
    reason = ""
    unreachable = False
    lab.begin()
    try:
        if check.mail:
            _provide(check, lab)
        lab.begin()
        check.function(lab)
    except Skipped as skipped:
        outcome, reason = "skip", str(skipped)
    except Failed as failed:
        outcome, reason = "fail", str(failed)
        unreachable = isinstance(failed, NoConnection)
    except OSError as error:
        outcome, reason = "fail", f"the connection failed: {error}"
    finally:
        lines = tuple(lab.exchange.lines()) if outcome == "fail" else ()
        lab.end(in_step=outcome == "pass")
        if check.delete or outcome != "pass":
            lab.disturbed()
    return Result(check, outcome, reason, lines, time.monotonic() - began, unreachable)


def _provide(check: Check, lab: Lab) -> None:
    """Fill the maildrop if a delivery is configured; else verify that it holds enough messages."""
    if lab.delivery is not None:
        lab.fill(*PLAIN)
        return
    count = lab.counted() if lab.may_delete else lab.facts.messages
    if count < check.mail:
        needed = "a message" if check.mail == 1 else f"{check.mail} messages"
        raise Skipped(f"the maildrop does not hold {needed}")
