"""Writes docs/personalities.md from the files of the personalities: ``python docs/personalities.py``."""

from collections.abc import Iterator
from pathlib import Path

from geventpop3.testing.double.personality import Personality, load_personality, names
from geventpop3.testing.double.quirks import QUIRKS
from geventpop3.testing.double.wording import AFTER_LOGIN, COMMON, GREETING, NEGATIVE, POSITIVE

PAGE = Path(__file__).with_suffix(".md")

HEAD = """# Personalities of the test double

This page is made by `docs/personalities.py` from the files in `geventpop3/testing/double/personalities`.

`Double(personality="dovecot")` takes on the manners of a server: greeting, capabilities, words, limits and known
quirks. Everything that no source says is as in geventpop3. `Double(personality=Path("mine.toml"))` takes a file of
yours. Faults act on what the personality says.

CAPA announces what the double can do: it leaves out mechanisms that it does not have, such as NTLM. Mechanisms for
tokens are announced once a maildrop has a token. STLS follows `tls=` of the double. AUTH accepts only what the real
server announces.
"""

FILE = """## A file of your own

```toml
title = "Mine"
about = "The server of example.org."
sources = ["a session of 2026-11-30"]
greeting = "+OK {hostname} ready"
unsupported = ["APOP", "UTF8", "LANG"]      # verbs that are unknown commands

[capa]
before = ["TOP", "UIDL", "USER", "SASL PLAIN"]
after = ["TOP", "UIDL"]

[replies."*"]                               # for all verbs
auth = "-ERR [AUTH] no"

[replies.RETR]
ok = "+OK {octets} octets follow"

[unique-id]
template = "{validity}.{uid}"               # also {uid:08x}
source = "the same session"

[limits]                                    # line-limit, bad-before-login, bad-after-login, autologout,
tries = 3                                   # login-deadline, tries, login-delay
source = "the same session"

[[quirk]]
name = "oldest-only"
messages = 100
source = "the same session"
```

A key, a placeholder or a quirk that does not exist is an error with the nearest one that does. `utf8-messages` is
`"as-is"`, `"refuse"` or `"convert"`, as in `MaildropService`.
"""


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *_table(), *_quirks(), FILE, *_words(), *_each()])


def _table() -> Iterator[str]:
    yield "## All of them\n"
    yield "| name | server | not supported | quirks |"
    yield "|---|---|---|---|"
    for name in names():
        one = load_personality(name)
        quirks = ", ".join(f"`{quirk.name}`" for quirk in one.quirks)
        yield f"| [`{name}`](#{_anchor(one)}) | {one.about} | {', '.join(sorted(one.unsupported))} | {quirks} |"
    yield ""


def _quirks() -> Iterator[str]:
    yield "## Quirks\n"
    yield "| name | what it does | what it finds | options |"
    yield "|---|---|---|---|"
    for name, kind in QUIRKS.items():
        options = ", ".join(f"`{option} = {_toml(value)}`" for option, value in kind.options.items())
        yield f"| `{name}` | {kind.does} | {kind.finds} | {options} |"
    yield ""


def _words() -> Iterator[str]:
    yield "## Outcomes and placeholders\n"
    yield "| outcome | meaning |"
    yield "|---|---|"
    for outcome, meaning in {**POSITIVE, **NEGATIVE}.items():
        yield f"| `{outcome}` | {meaning} |"
    yield (
        f"\nAn outcome that ends with `{AFTER_LOGIN}` goes before the one without it. A reply may have"
        f" {_placeholders(COMMON)}; the greeting {_placeholders(GREETING)}. `{{count}}` and `{{octets}}` are in replies"
        " whose own words have them, too; `{marked}` is in that to RSET.\n"
    )


def _placeholders(placeholders: tuple[str, ...]) -> str:
    return ", ".join(f"`{{{name}}}`" for name in placeholders)


def _each() -> Iterator[str]:
    for name in names():
        one = load_personality(name)
        yield f"## {one.title}\n"
        yield f'`personality="{name}"`. {one.about}\n'
        if one.greeting is not None:
            yield f"- Greeting: `{one.greeting.rstrip()}`"
        if one.capa_before:
            yield f"- CAPA before login: {_lines(one.capa_before)}"
        if one.capa_after:
            yield f"- CAPA after login: {_lines(one.capa_after)}"
        if one.unsupported:
            yield f"- Not supported: {', '.join(sorted(one.unsupported))}"
        if one.unique_id is not None:
            yield f"- Unique-ids: `{one.unique_id}`. {one.unique_id_source}"
        if one.limits:
            limits = ", ".join(f"`{key} = {value}`" for key, value in one.limits.items())
            yield f"- Limits: {limits}. {one.limits_source}"
        for quirk in one.quirks:
            yield f"- Quirk `{quirk.name}`: {quirk.source}"
        yield "- Sources:"
        yield from (f"  - {source}" for source in one.sources)
        yield ""


def _lines(lines: tuple[str, ...]) -> str:
    return ", ".join(f"`{line}`" for line in lines)


def _anchor(one: Personality) -> str:
    kept = "".join(c for c in one.title.lower() if c.isalnum() or c in " -")
    return kept.replace(" ", "-")


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
