"""Which Maildirs no login can reach, because their names are not in the form that names of users have."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterator

from geventpop3.config import Settings
from geventpop3.owners import UsernameCase, canonical_name

LISTED = 20
"""The most folders that are named; of the others there is the number."""


def hidden_maildirs(settings: Settings) -> Iterator[str]:
    """Yield a line for each folder below the template that ``username-case`` hides, with what to do about it."""
    case = settings.username_case
    count = 0
    for path, wanted in _hidden(os.path.abspath(settings.maildir), case):
        count += 1
        if count <= LISTED:
            todo = f"is there too: move the mail there, or delete {path}" if os.path.lexists(wanted) else "is its name"
            yield f"{path}: no login reaches it, because username-case is {case}: {wanted} {todo}"
    if count > LISTED:
        yield f"{count - LISTED} more folders like these"


def _hidden(template: str, case: UsernameCase) -> Iterator[tuple[str, str]]:
    """Yield the folders whose names no login leads to, and the paths that logins look at instead."""
    paths = [os.sep]
    for part in template.split(os.sep)[1:]:
        fields = [(text, field) for text, field, _, _ in string.Formatter().parse(part)]
        if all(field is None for _, field in fields):
            paths = [os.path.join(path, "".join(text for text, _ in fields)) for path in paths]
            continue
        pattern = re.compile("".join(re.escape(text) + ("(.+)" if field is not None else "") for text, field in fields))
        names = [field for _, field in fields if field is not None]
        found: list[str] = []
        for path in paths:
            for name in _folders(path):
                match = pattern.fullmatch(name)
                if match is None:
                    continue
                values = [
                    _canonical(name_of, value, case) for name_of, value in zip(names, match.groups(), strict=True)
                ]
                rest = iter(values)
                wanted = "".join(text + (next(rest) if field is not None else "") for text, field in fields)
                if wanted == name:
                    found.append(os.path.join(path, name))
                else:
                    yield os.path.join(path, name), os.path.join(path, wanted)
        paths = found


def _canonical(field: str, value: str, case: UsernameCase) -> str:
    if field == "domain":
        return canonical_name(f"@{value}", case)[1:]
    if field == "local":
        return canonical_name(value, "keep" if case == "domain" else case)
    return canonical_name(value, case)


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        # The folder of the first placeholder is known to be readable; of the others a login will tell.
        return []
