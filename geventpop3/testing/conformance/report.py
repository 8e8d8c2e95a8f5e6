"""Reports of a run: text, JSON, and the XML of JUnit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any
from xml.etree import ElementTree  # only written; nothing is parsed

from geventpop3.testing.conformance.runner import NEEDS_PERMISSION, Report, Result
from geventpop3.version import __version__

_MARKS = {"pass": "pass", "fail": "FAIL", "skip": "skip"}

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML does not allow."""


def as_text(report: Report, *, quiet: bool = False) -> str:
    """Return the report by section; if *quiet*, only the failures and the summary."""
    lines = [f"{report.target.address}: {_greeting(report)}"]
    for (rfc, section), results in groupby(report.results, key=lambda result: (result.check.rfc, result.check.section)):
        shown = [line for result in results if not quiet or result.outcome == "fail" for line in _lines(result)]
        if shown:
            lines += ["", f"RFC {rfc}, section {section}", *shown]
    return "\n".join([*lines, "", summary(report)]) + "\n"


def summary(report: Report) -> str:
    """Return the numbers of passed, failed and skipped checks in one line."""
    strict = sum(result.check.strict for result in report.failures)
    of_failures = f" ({strict} strict)" if strict else ""
    denied = sum(result.reason == NEEDS_PERMISSION for result in report.results)
    of_skips = f" ({denied} need{'s' * (denied == 1)} --may-delete)" if denied else ""
    made = len(report.results)
    end = f"; interrupted after {made} of {report.selected} checks" if made < report.selected else ""
    return (
        f"{report.count('pass')} passed, {report.count('fail')} failed{of_failures},"
        f" {report.count('skip')} skipped{of_skips} in {report.seconds:.1f} s{end}"
    )


def as_json(report: Report) -> str:
    """Return the report as a JSON object."""
    data = {
        "geventpop3": __version__,
        "server": report.target.address,
        "greeting": _greeting(report),
        "capabilities": report.facts.before,
        "started": report.started.isoformat(timespec="seconds"),
        "seconds": round(report.seconds, 3),
        "selected": report.selected,
        "passed": report.count("pass"),
        "failed": report.count("fail"),
        "skipped": report.count("skip"),
        "checks": [_as_object(result) for result in report.results],
    }
    return json.dumps(data, indent=2) + "\n"


def as_junit(report: Report) -> str:
    """Return the report as XML of JUnit, with a test case for each check."""
    suite = ElementTree.Element(
        "testsuite",
        name=f"POP3 conformance of {report.target.address}",
        tests=str(len(report.results)),
        failures=str(report.count("fail")),
        errors="0",
        skipped=str(report.count("skip")),
        time=f"{report.seconds:.3f}",
        timestamp=report.started.strftime("%Y-%m-%dT%H:%M:%S"),
    )
    for result in report.results:
        check = result.check
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"rfc{check.rfc}.section-{check.section.replace('.', '-')}",
            name=f"{check.id}: {check.title}",
            time=f"{result.seconds:.3f}",
        )
        if result.outcome == "skip":
            ElementTree.SubElement(case, "skipped", message=_legal(result.reason))
        elif result.outcome == "fail":
            failure = ElementTree.SubElement(case, "failure", message=_legal(result.reason))
            failure.text = _legal("\n".join([_rule(result), *result.exchange]))
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _lines(result: Result) -> Iterator[str]:
    check = result.check
    strict = " (strict)" if check.strict else ""
    reason = f": {result.reason}" if result.outcome == "skip" else ""
    yield f"  {_MARKS[result.outcome]}  {check.title}{strict}{reason}"
    if result.outcome == "fail":
        yield f"        {result.reason}"
        yield f"        {_rule(result)}"
        yield f"        check {check.id}"
        yield from (f"          {line}" for line in result.exchange)


def _rule(result: Result) -> str:
    return f'{result.check.source}: "{result.check.quote}"'


def _as_object(result: Result) -> dict[str, Any]:
    check = result.check
    found: dict[str, Any] = {
        "id": check.id,
        "rfc": check.rfc,
        "section": check.section,
        "title": check.title,
        "strict": check.strict,
        "outcome": result.outcome,
        "seconds": round(result.seconds, 3),
    }
    if result.reason:
        found["reason"] = result.reason
    if result.outcome == "fail":
        found["rule"] = check.quote
        found["exchange"] = list(result.exchange)
    return found


def _greeting(report: Report) -> str:
    return report.facts.greeting.rstrip(b"\r\n").decode("utf-8", "backslashreplace")


def _legal(text: str) -> str:
    return _ILLEGAL.sub("?", text)
