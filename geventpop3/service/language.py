"""Languages of replies (LANG, RFC 6856 section 3): the text after status indicator and response code is translated.

Translations are looked up by the English text. A text that is not in the table, such as an application's own, stays as
it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Final

from geventpop3.service.language_de import TEXTS as GERMAN

DEFAULT: Final = "i-default"
"""Language of clients that chose none (RFC 2277 section 4.5): "understandable by an English-speaking person"."""

_PLACE: Final = "{}"
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Language:
    """A language of replies.

    *tag* is as in RFC 5646, *name* is in the language itself. *texts* maps English texts to translations; ``{}`` in
    both stands for one word, in order: a number, a tag, an id.
    """

    def __init__(self, tag: str, name: str, texts: Mapping[str, str] = _NONE) -> None:
        self.tag = tag
        self.name = name
        self.texts = texts

    def translate(self, text: str) -> str:
        """Return *text* in this language, or unchanged if it has no translation."""
        translation = self.texts.get(text)
        if translation is not None:
            return translation
        for pattern, translation in self._patterns:
            if found := pattern.fullmatch(text):
                return translation.format(*found.groups())
        return text

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        return [
            (re.compile(r"(\S+)".join(map(re.escape, text.split(_PLACE)))), translation)
            for text, translation in self.texts.items()
            if _PLACE in text
        ]


LANGUAGES: Final[Mapping[str, Language]] = MappingProxyType(
    {
        language.tag: language
        for language in (
            Language(DEFAULT, "Default language (English)"),
            Language("en", "English"),
            Language("de", "Deutsch", GERMAN),
        )
    }
)


def match(wanted: str, languages: Mapping[str, Language]) -> Language | None:
    """Return the language that a basic language range matches (RFC 4647), or None.

    Filtering (section 3.3.1) finds a more specific language: "de" finds "de-CH" where there is no "de". Lookup (section
    3.4) finds a more general one: "de-AT" finds "de".
    """
    by_tag = {tag.lower(): language for tag, language in languages.items()}
    subtags = wanted.lower().split("-")
    special = (language for tag, language in by_tag.items() if tag.split("-")[: len(subtags)] == subtags)
    found = by_tag.get(wanted.lower()) or next(special, None)
    while found is None and len(subtags) > 1:
        subtags.pop()
        if len(subtags[-1]) > 1:  # in "de-x-private", "de-x" is no language
            found = by_tag.get("-".join(subtags))
    return found
