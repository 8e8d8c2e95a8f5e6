"""Findings of docs/clients.md: each is written there only while the cells that show it have these outcomes."""

from __future__ import annotations

from typing import NamedTuple


class Fact(NamedTuple):
    """A finding about *client*, *shown_by* cells: title of the case, outcome."""

    client: str
    text: str
    shown_by: tuple[tuple[str, str], ...]


FACTS: tuple[Fact, ...] = ()
