"""The event names that one server knows. A misspelled name is found when it is registered."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

from geventpop3.errors import PipelineError

ALL = "all"
"""Name that stands for every event, in ``register``, ``handles`` and ``plugin_register``."""

RESPONSE = "response"
"""Name of the event that only plugins receive."""

VERB = "cmd_"

# RFC 1939 section 3: "Keywords are three or four characters long. Each argument may be up to 40 characters long."
# RFC 2449 section 9 keeps "keyword = 3*4VCHAR". Verbs in use are longer (XSENDER), so the limit is an argument's.
_VERB = re.compile(r"[a-z0-9]{1,40}")
_NAME = re.compile(r"[a-z][a-z0-9_]*")

_MIN_SIMILARITY = 0.7
"""Similarity of a misspelling: two of four letters swapped (usre, user: 0.75) is one, two of five shared is not."""


class Names:
    """Event names known so far, in the order in which they became known; iterable."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = dict.fromkeys(known)

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._known))

    def add(self, name: str) -> None:
        """Make *name* known. Raises PipelineError if no event may have this name."""
        self._check_form(name)
        self._known[name] = None

    def check(self, name: str) -> None:
        """Raise PipelineError unless *name* is known, or is a verb that may be added without ``add_event``.

        A verb that begins with x (RFC 822's user-defined names) or resembles no known verb is new. A verb that
        resembles a known one is taken for a misspelling.
        """
        if name in self._known:
            return
        self._check_form(name)
        if not name.startswith(VERB):
            nearest = [VERB + name] if VERB + name in self._known else []
            nearest = nearest or difflib.get_close_matches(name, self._known, n=1, cutoff=0.0)
            hint = f"did you mean {nearest[0]}? " if nearest else ""
            raise PipelineError(f"unknown event {name!r}: {hint}(add_event({name!r}) declares it)")
        verb = name.removeprefix(VERB)
        if verb.startswith("x"):
            return
        verbs = [known.removeprefix(VERB) for known in self._known if known.startswith(VERB)]
        for nearest_verb in difflib.get_close_matches(verb, verbs, n=1, cutoff=_MIN_SIMILARITY):
            raise PipelineError(
                f"unknown event {name!r}: did you mean {VERB}{nearest_verb}? "
                f"(add_event({name!r}) declares it as a new verb)"
            )

    def check_all(self, names: Iterable[str]) -> None:
        """Check each name as ``check`` does; ``"all"`` is allowed."""
        for name in names:
            if name != ALL:
                self.check(name)

    def require(self, name: str) -> None:
        """Raise PipelineError unless *name* is known."""
        self.check(name)
        if name not in self._known:
            raise PipelineError(f"the event {name!r} is not declared: add_event({name!r}) declares it")

    def _check_form(self, name: str) -> None:
        if not isinstance(name, str):
            raise PipelineError(f"an event's name must be a str such as 'cmd_user', not {name!r}")
        if name == ALL:
            raise PipelineError(f"{ALL!r} means every event and cannot be used here: give the name of one event")
        lower = name.lower()
        if name != lower and _NAME.fullmatch(lower):
            meant = VERB + lower if VERB + lower in self._known else lower
            raise PipelineError(f"unknown event {name!r}: did you mean {meant}? (names are lower case)")
        if not _NAME.fullmatch(name):
            raise PipelineError(f"invalid event name {name!r}: use a-z, 0-9 and _, with a letter first")
        if name.startswith(VERB) and not _VERB.fullmatch(name.removeprefix(VERB)):
            raise PipelineError(f"invalid verb in {name!r}: after {VERB} use 1 to 40 letters or digits")
