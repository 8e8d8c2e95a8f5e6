"""Conformance checks of any POP3 server: a client over a plain socket that reports by RFC and section.

``geventpop3 conformance`` is the command; docs/conformance-suite.md describes the effects on a maildrop.
"""

from geventpop3.testing.conformance.check import Check, registered
from geventpop3.testing.conformance.delivery import CommandDelivery, Delivery, MaildirDelivery
from geventpop3.testing.conformance.outcome import CannotRun, Skipped
from geventpop3.testing.conformance.report import as_json, as_junit, as_text, summary
from geventpop3.testing.conformance.runner import Interrupted, Report, Result, run_checks
from geventpop3.testing.conformance.target import Target, Tls, unverified_context

__all__ = [
    "CannotRun",
    "Check",
    "CommandDelivery",
    "Delivery",
    "Interrupted",
    "MaildirDelivery",
    "Report",
    "Result",
    "Skipped",
    "Target",
    "Tls",
    "as_json",
    "as_junit",
    "as_text",
    "registered",
    "run_checks",
    "summary",
    "unverified_context",
]
