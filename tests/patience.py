"""The warning that a listener blocks the event loop: it depends on the load of the machine, so no test expects silence.

Where other programs take the processor for 100 ms, each listener that runs at that moment seems to block.
"""

from __future__ import annotations

import logging

BLAME = "all sessions waited "


def is_no_blame(record: logging.LogRecord) -> bool:
    """Return whether this is another record: a filter."""
    return not str(record.msg).startswith(BLAME)


def without_blame(written: str | bytes) -> str:
    """Return what a program wrote, without those warnings."""
    text = written.decode() if isinstance(written, bytes) else written
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(BLAME))
