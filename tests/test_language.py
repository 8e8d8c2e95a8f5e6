"""The rules of language that a machine can check, for docstrings, messages and help texts."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from geventpop3.cli import main
from geventpop3.cli.settings import settings

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for folder in ("geventpop3", "examples", "benchmarks") for path in (ROOT / folder).rglob("*.py"))

OPENERS = re.compile(r"(What|Whatever|Whether|Who|Whoever|Whom|Whose|How|Where|That|When)\b")
"""Docstrings that begin so have a relative clause as their subject, or none."""

GONE = re.compile(r"\b(hears?|(is|are) told|house|floors?|DESIGN|the seed)\b")
"""Words that a reader must translate, and documents that a reader cannot open."""


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of each docstring of modules, classes, functions and attributes."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                text = statement.value.value
                if isinstance(text, str):
                    yield statement.lineno, text.strip()


def complaints(source: str) -> list[str]:
    """Return a line for each docstring that breaks a rule."""
    found = []
    for line, text in docstrings(ast.parse(source)):
        if OPENERS.match(text):
            found.append(f"{line}: begins with {text.split()[0]!r}")
        if gone := GONE.search(text):
            found.append(f"{line}: says {gone[0]!r}")
    return found


def test_docstrings_begin_with_a_verb_or_a_noun_and_say_no_riddles() -> None:
    assert len(MODULES) > 100
    found = {str(path.relative_to(ROOT)): complaints(path.read_text("utf-8")) for path in MODULES}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ('def f():\n    """Whether it is."""', "2: begins with 'Whether'"),
        ('"""Who is here."""', "1: begins with 'Who'"),
        ('class A:\n    x = 1\n    """What it is."""', "3: begins with 'What'"),
        ('def f():\n    """Return what a listener hears."""', "2: says 'hears'"),
        ('def f():\n    """Do it, as DESIGN says."""', "2: says 'DESIGN'"),
    ],
)
def test_what_breaks_a_rule_is_found(source: str, complaint: str) -> None:
    assert complaints(source) == [complaint]


# Messages: every string literal of more than one word that is not a docstring. A person may read it in a log, in an
# error, on the wire or on a terminal.

NOT_YET = ("geventpop3/pipeline/", "geventpop3/service/")
"""Packages whose messages are still to be rewritten."""

RIDDLES = re.compile(
    r"(?<![.\w])(hears?|(is|are|was|were) told|house|floors?|rooms?|so (many|much)|in order|nobody can|let in|lets in"
    r"|DESIGN|the seed)\b",
    re.IGNORECASE,
)
"""Words of a message that a reader must translate."""

CLAUSE = re.compile(r"^(What|Whatever|Whether|Who|Whoever|Whom|Whose)\b", re.IGNORECASE)
"""A message that begins with a relative clause."""

LONGEST_SENTENCE = 25
"""Maximum words of a sentence of a help text."""


def messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of each string literal of several words; ``{}`` stands for a value of an f-string."""
    skipped = {statement.value for statement in ast.walk(tree) if isinstance(statement, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped.update(node.values)
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
            text = node.value
        if " " in text.strip():
            yield node.lineno, text


def message_complaints(source: str) -> list[str]:
    """Return a line for each message that breaks a rule."""
    found = []
    for line, text in messages(ast.parse(source)):
        found += [f"{line}: says {riddle[0]!r}" for riddle in RIDDLES.finditer(text)]
        if clause := CLAUSE.match(text):
            found.append(f"{line}: begins with {clause[0]!r}")
    return found


def help_texts(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the help texts of a parser and its subcommands, and their prose without the indented examples."""
    for prose in (parser.description, parser.epilog):
        paragraphs = re.split(r"\n(?= |\n)", prose or "")
        yield from (paragraph.strip() for paragraph in paragraphs if not paragraph.startswith("  "))
    for action in parser._actions:
        yield action.help or ""
        if isinstance(action, argparse._SubParsersAction):
            yield from (choice.help or "" for choice in action._choices_actions)
            for subparser in action.choices.values():
                yield from help_texts(subparser)


def long_sentences(text: str) -> list[str]:
    """Return the sentences of a help text that have too many words."""
    sentences = re.split(r"(?<=[.;])\s", text)
    return [sentence for sentence in sentences if len(sentence.split()) > LONGEST_SENTENCE]


def test_messages_say_no_riddles() -> None:
    modules = {str(path.relative_to(ROOT)): path for path in MODULES}
    found = {
        name: message_complaints(path.read_text("utf-8"))
        for name, path in modules.items()
        if not name.startswith(NOT_YET)
    }
    assert {name: lines for name, lines in found.items() if lines} == {}
    assert sum(len(list(messages(ast.parse(path.read_text("utf-8"))))) for path in modules.values()) > 500


def test_help_has_short_sentences_and_no_riddles() -> None:
    texts = [text for text in help_texts(main._parser()) if text]
    texts += [setting.help for _, setting in settings()]
    assert len(texts) > 80
    assert [sentence for text in texts for sentence in long_sentences(text)] == []
    assert [text for text in texts if RIDDLES.search(text) or CLAUSE.match(text)] == []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ('log.warning("the user is told of %s", x)', "1: says 'is told'"),
        ('raise ConfigError(f"{path}: nobody can read it")', "1: says 'nobody can'"),
        ('raise Refusal("so many sessions at once")', "1: says 'so many'"),
        ('x = (\n    "no room"\n    " here")', "2: says 'room'"),
        ('def f():\n    return f"{a} hears {b}"', "2: says 'hears'"),
        ('parser.add_argument("--x", help="whom the workers become")', "1: begins with 'whom'"),
    ],
)
def test_a_message_that_breaks_a_rule_is_found(source: str, complaint: str) -> None:
    assert message_complaints(source) == [complaint]


def test_docstrings_and_single_words_are_no_messages() -> None:
    assert message_complaints('"""It hears nothing."""\nroom = {"house": f"{floor}"}') == []


def test_a_long_sentence_of_a_subcommand_is_found() -> None:
    words = "word " * LONGEST_SENTENCE
    parser = argparse.ArgumentParser(description=f"A short one.\n\n  {words}example\n\n{words}too many.")
    commands = parser.add_subparsers()
    commands.add_parser("sub", help=f"{words}too").add_argument("--x", help=f"short; {words}last. {words.strip()}.")
    found = [sentence for text in help_texts(parser) for sentence in long_sentences(text)]
    assert found == [f"{words}too many.", f"{words}too", f"{words}last."]
