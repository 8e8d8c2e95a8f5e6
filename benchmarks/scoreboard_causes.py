"""What was read by hand about the failures of each server: ids of checks, what the server does, and why it is wrong."""

from __future__ import annotations

CAUSES: dict[str, tuple[tuple[str, str], ...]] = {}

NOT_TRIED: dict[str, str] = {}
