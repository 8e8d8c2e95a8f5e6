"""The page docs/scoreboard.md, made from the results of the runs and from the causes that were found by hand."""

from __future__ import annotations

import fnmatch
import json
from datetime import date
from pathlib import Path
from typing import Any

from scoreboard_causes import CAUSES, NOT_TRIED
from scoreboard_servers import RECIPES

HEAD = """\
# Scoreboard

The results of `geventpop3 conformance` ([the suite](conformance-suite.md)) for the POP3 servers that Debian 12 and PyPI
have and that could be set up automatically. Made by `make scoreboard` on {day}; `benchmarks/scoreboard_servers.py` has
the recipes.

- **Compare the failures only.** Checks of features that a server does not announce are skipped: a server that offers
  less passes less.
- **Compare causes, not checks.** One cause fails many checks. Each failure was examined by hand and is listed by cause.
- *Strict* checks are of rules that many servers break and clients tolerate. Mend the other failures first.
- A section without the number of an RFC is one of RFC 1939.
- Each server runs with its distribution's defaults, except for delays, limits, TLS and the account.

| server | version | mail in | passed | failed | of these strict | causes | skipped | seconds |
|---|---|---|---|---|---|---|---|---|
"""


def page(results: Path) -> str:
    """Return the page. Servers without a result are not in the table, but in the list at the end."""
    found = [json.loads(path.read_text()) for each in RECIPES if (path := results / f"{each.name}.json").exists()]
    rows = [_row(data) for data in found]
    sections = [_section(data) for data in found]
    day = max((data["started"][:10] for data in found), default=date.today().isoformat())
    missing = [
        f"- {each.name}: it could not be run" for each in RECIPES if not (results / f"{each.name}.json").exists()
    ]
    tail = ["## Not tried", "", *missing, *(f"- {name}: {why}" for name, why in NOT_TRIED.items())]
    return HEAD.format(day=day) + "\n".join(rows) + "\n\n" + "\n\n".join(sections) + "\n\n" + "\n".join(tail) + "\n"


def _failures(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [check for check in data["checks"] if check["outcome"] == "fail"]


def causes(data: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the texts of the causes, each with its failures; a failure without a text is a cause of its own."""
    left = _failures(data)
    found: list[tuple[str, list[dict[str, Any]]]] = []
    for patterns, text in CAUSES.get(data["server"], ()):
        these = [check for check in left if any(fnmatch.fnmatchcase(check["id"], each) for each in patterns.split())]
        left = [check for check in left if check not in these]
        if these:
            found.append((text, these))
    return [*found, *((f"NOT READ YET: {check['reason']}", [check]) for check in left)]


def _row(data: dict[str, Any]) -> str:
    failures = _failures(data)
    strict = sum(check["strict"] for check in failures)
    cells = [
        data["server"], data["version"], data["store"], data["passed"], len(failures), strict, len(causes(data)),
        data["skipped"], round(data["seconds"]),
    ]  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def _section(data: dict[str, Any]) -> str:
    lines = [f"## {data['server']} {data['version']}", ""]
    for text, checks in causes(data):
        strict = " *Strict.*" if all(check["strict"] for check in checks) else ""
        lines.append(f"- {text}{strict} (`{'`, `'.join(check['id'] for check in checks)}`)")
    if not causes(data):
        lines.append("No check failed.")
    return "\n".join(lines)
