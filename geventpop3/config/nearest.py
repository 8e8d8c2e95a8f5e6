"""What somebody may have meant who wrote a name that is not known."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

RESEMBLES = 0.7
"""``port`` is not taken for ``proxy`` (0.67), nor for anything else that a server must not be told by mistake."""


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """``: did you mean NAME?``, to be put behind what is said; nothing if no name resembles it.

    *prefix* is what all of them begin with, which makes nobody resemble another.
    """
    bare = list(dict.fromkeys(each.removeprefix(prefix) for each in known))
    words = sorted(re.split("[-_]", name.removeprefix(prefix)))
    near = [each for each in bare if sorted(re.split("[-_]", each)) == words]  # "listen-tls"
    near = near or difflib.get_close_matches(name.removeprefix(prefix), bare, 1, RESEMBLES)
    return f": did you mean {prefix}{near[0]}?" if near else ""
