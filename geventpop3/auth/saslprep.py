"""SASLprep (RFC 4013): one form for strings that look alike, so that names and passwords can be compared.

It uses Unicode 3.2, as stringprep does (RFC 3454), whatever Python's own version is. So a string once prepared compares
equal for ever.
"""

from __future__ import annotations

import stringprep
import unicodedata

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)
"""Tables of RFC 4013 section 2.3. C.5 holds the surrogates, and so every octet that was not UTF-8."""


def saslprep(text: str, *, stored: bool = False) -> str:
    """Return *text* prepared, which may be the empty string.

    *stored* is for strings that are kept: code points that Unicode 3.2 had not assigned are allowed in a query alone
    (RFC 3454 section 7). Raises ValueError if *text* cannot be prepared; the error's text holds nothing of it. Only the
    length of *text* bounds the time, so the caller must limit it.
    """
    if text.isascii() and text.isprintable():
        return text
    # U+200B is in both tables. It is invisible, so it is mapped to nothing, not to a space.
    mapped = (" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", "".join(mapped))
    characters = set(prepared)
    if any(is_of_table(c) for is_of_table in _PROHIBITED for c in characters):
        raise ValueError("a prohibited character")
    if stored and any(map(stringprep.in_table_a1, characters)):
        raise ValueError("a character that is not in Unicode 3.2")
    if any(map(stringprep.in_table_d1, characters)):
        # RFC 3454 section 6: "If a string contains any RandALCat character, the string MUST NOT contain any LCat
        # character." Both ends must be RandALCat characters.
        ends = stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])
        if not ends or any(map(stringprep.in_table_d2, characters)):
            raise ValueError("a mix of left-to-right and right-to-left text")
    return prepared
