"""The rules for all Markdown documents that a machine can check: language, links, and the paths that they name."""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WRITTEN = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")]
DOCUMENTS = [*WRITTEN, *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*DOCUMENTS, ROOT / "benchmarks" / "README.md", ROOT / "tests" / "faults" / "README.md"]

LONGEST = 35
"""Words of the longest sentence."""

GONE = re.compile(
    r"\b(rooms?|floors?|houses?|hears?|heard|hearing|(?:is|are|was|were|be|been|being) (?:not )?told|DESIGN|the seed)\b"
)
"""Words that a reader must translate, and documents that a reader cannot open."""

OPENERS = re.compile(r"(?:^|(?<=[;:] ))(?:what|whatever|who|whoever|whom|whose|whether|how)\b(?!.*\?$)", re.IGNORECASE)
"""Beginnings of sentences and clauses that have a relative clause as their subject; questions may begin so."""

FENCE = re.compile(r"^ *(`{3,})[^\n]*\n.*?^ *\1 *$", re.DOTALL | re.MULTILINE)
ITEM = re.compile(r" *(?:[-*+]|\d+[.)]) +")
HEADING = re.compile(r"#{1,6} +")
ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|cf|vs)|, \.\.|\(\.\.)\.$")
END = re.compile(r"""[.!?]["')\]*]*(?=\s)""")


def blanked(found: re.Match[str]) -> str:
    """Return as many lines as *found* has, all of them empty."""
    return "\n" * found[0].count("\n")


def pieces(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, kind and text of each heading, table cell, list item and paragraph; code blocks are left out."""
    gathered: list[str] = []
    begun = 0
    indented_code = False

    def gather() -> Iterator[tuple[int, str, str]]:
        if gathered:
            yield begun, "prose", " ".join(gathered)
        gathered.clear()

    for number, line in enumerate([*FENCE.sub(blanked, text).splitlines(), ""], 1):
        code = line.startswith("    ") and not gathered
        if not line.strip():
            yield from gather()
        elif code and (indented_code or not ITEM.match(line)):
            indented_code = True
            continue
        elif heading := HEADING.match(line):
            yield from gather()
            yield number, "heading", line[heading.end() :]
        elif line.lstrip().startswith("|"):
            yield from gather()
            for cell in re.split(r"(?<!\\)\|", line.strip().strip("|")):
                if re.search(r"\w", cell):
                    yield number, "cell", cell.strip()
        else:
            if item := ITEM.match(line):
                yield from gather()
            if not gathered:
                begun = number
            gathered.append(line[item.end() if item else 0 :].strip(" >"))
        indented_code = False


def plain(text: str) -> str:
    """Return *text* without marks: a code span, a URL and an image are one word each, of a link stays its text."""
    text = re.sub(r"(`+).+?\1", "Code", text)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "Image", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"<?https?://[^\s>)]+>?", "URL", text)
    text = re.sub(r"<!--.*?-->|</?[a-z][^>]*>", " ", text)
    return text.replace("**", "").strip()


def sentences(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, kind and text of each sentence; headings, table cells and list items end a sentence too."""
    for line, kind, piece in pieces(text):
        words = plain(piece)
        begin = 0
        for end in END.finditer(words):
            if not ABBREVIATION.search(words[: end.start() + 1]):
                yield line, kind, words[begin : end.end()].strip()
                begin = end.end()
        if rest := words[begin:].strip():
            yield line, kind, rest


def count(sentence: str) -> int:
    """Return the number of words in *sentence*."""
    return sum(1 for word in sentence.split() if re.search(r"\w", word))


def complaints(text: str) -> list[str]:
    """Return a line for each sentence that breaks a rule."""
    found = []
    for line, kind, sentence in sentences(text):
        if count(sentence) > LONGEST:
            found.append(f"{line}: {count(sentence)} words: {sentence[:60]}")
        if gone := GONE.search(sentence):
            found.append(f"{line}: says {gone[0]!r}: {sentence[:60]}")
        if kind == "prose" and (opener := OPENERS.search(sentence)):
            found.append(f"{line}: begins with {opener[0]!r}: {sentence[:60]}")
    return found


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in DOCUMENTS])
def test_sentences_are_short_plain_and_begin_with_their_subject(page: Path) -> None:
    text = page.read_text("utf-8")
    assert sum(1 for _ in sentences(text)) > 5
    assert complaints(text) == []


LONG = "word " * (LONGEST + 1)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param(f"Short.\n\n{LONG}end.", "3: 37 words", id="paragraph"),
        pytest.param(f"A short one. {LONG.strip()}. Another.", "1: 36 words", id="between others"),
        pytest.param(f"{LONG[: len(LONG) // 2].strip()}\n{LONG[len(LONG) // 2 :].strip()}", "1: 36 words", id="lines"),
        pytest.param(f"- short\n- {LONG}\n- short", "2: 36 words", id="list item"),
        pytest.param(f"1. short\n\n   {LONG}", "3: 36 words", id="paragraph of an item"),
        pytest.param(f"- short\n  - nested\n    {LONG}", "2: 37 words", id="nested item"),
        pytest.param(f"| a | b |\n|---|---|\n| x | {LONG} |", "3: 36 words", id="cell"),
        pytest.param(f"{LONG[:90]} e.g. {LONG[:90]}", "1: 37 words", id="abbreviation"),
        pytest.param(f"{LONG[:90]} a.b {LONG[:90]}", "1: 37 words", id="dot in a word"),
        pytest.param(f"{LONG[:90]}(a, b, ...) {LONG[:90]}", "1: 38 words", id="ellipsis"),
        pytest.param(f"{LONG[:90]}`a. B` {LONG[:90]}", "1: 37 words", id="dot in code"),
        pytest.param(f"{LONG[:90]}[a b](c.md 'D. E.') {LONG[:85]}.", "1: 37 words", id="link"),
        pytest.param(f"```sh\n{LONG}\n```\n\nThe listener hears it.", "5: says 'hears'", id="behind code"),
        pytest.param("The client is told.", "1: says 'is told'", id="told"),
        pytest.param("The client is not told.", "1: says 'is not told'", id="not told"),
        pytest.param("There is no room.", "1: says 'room'", id="room"),
        pytest.param("It is beside the floor.", "1: says 'floor'", id="floor"),
        pytest.param("As DESIGN has it.", "1: says 'DESIGN'", id="closed document"),
        pytest.param("As in the seed.", "1: says 'the seed'", id="no name"),
        pytest.param("# The house\n\nText.", "1: says 'house'", id="heading"),
        pytest.param("| a |\n|---|\n| it hears |", "3: says 'hears'", id="word in a cell"),
        pytest.param("Text. What fails waits.", "1: begins with 'What'", id="relative clause"),
        pytest.param("A login fails; who fails waits.", "1: begins with 'who'", id="relative clause in a clause"),
        pytest.param("- Who fails waits.", "1: begins with 'Who'", id="relative clause in an item"),
    ],
)
def test_a_planted_fault_is_found(text: str, complaint: str) -> None:
    (found,) = complaints(text)
    assert found.startswith(complaint)


HALF = "word " * (LONGEST // 2 + 3)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"{HALF.strip()}. Word {HALF}.", id="two sentences"),
        pytest.param(f'{HALF.strip()} "so." Word {HALF}.', id="quotation"),
        pytest.param(f"{HALF.strip()} (so.) `code` {HALF}.", id="brackets, then code"),
        pytest.param(f"**{HALF.strip()}.** Word {HALF}.", id="bold"),
        pytest.param(f"- {HALF}\n- {HALF}", id="items"),
        pytest.param(f"| {HALF} | {HALF} |\n|---|---|", id="cells"),
        pytest.param(f"{HALF}:\n\n    {LONG}\n\n    and the house\n\n{HALF}", id="indented code"),
        pytest.param(f"{HALF}:\n\n```\n{LONG}\n\nthe house hears\n```\n\n{HALF}", id="fenced code"),
        pytest.param(f"The word `floor {LONG}` is code.", id="code span"),
        pytest.param("Read https://example.org/the/room/ first.", id="URL"),
        pytest.param("What is removed? Nothing. A message is what it was.", id="question"),
        pytest.param(f"# {HALF}\n{HALF}", id="heading"),
    ],
)
def test_no_fault_is_found_where_there_is_none(text: str) -> None:
    assert complaints(text) == []


# Links and paths


def slug(heading: str) -> str:
    """Return the anchor that a repository's host makes of *heading*."""
    text = re.sub(r"`|\*\*|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return "".join(
        "-" if letter == " " else letter
        for letter in text
        if letter in " -_" or unicodedata.category(letter)[0] in "LN"
    )


def anchors(page: Path) -> set[str]:
    """Return the anchors of *page*; a heading that is there twice has a number behind the second."""
    found: dict[str, int] = {}
    for _, kind, text in pieces(page.read_text("utf-8")):
        if kind == "heading":
            name = slug(text)
            found[name] = found.get(name, -1) + 1
    return {f"{name}-{number}" if number else name for name, times in found.items() for number in range(times + 1)}


def dangling(page: Path) -> list[str]:
    """Return the relative links of *page* that lead to no file, or to no heading of one."""
    text = re.sub(r"`[^`\n]+`", "", FENCE.sub(blanked, page.read_text("utf-8")))
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"""(?:src|srcset|href)=["']([^"']+)""", text)
    found = []
    for link in links:
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                found.append(link)
    return found


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in LINKED])
def test_every_link_and_anchor_leads_somewhere(page: Path) -> None:
    assert dangling(page) == []


def test_a_dangling_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `first` heading, it is\n\n# Twice\n\n# Twice\n\n"
        "[a](#a-first-heading-it-is) [b](page.md#twice-1) [c](page.md)\n"
        "[d](#twice-2) [e](other.md) [f](page.md#first) <img src='none.svg'> `[g](in.code)`\n"
    )
    assert dangling(page) == ["#twice-2", "other.md", "page.md#first", "none.svg"]


def test_every_document_is_linked_from_the_readme_once() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for page in DOCUMENTS[1:]:
        assert text.count(f"]({page.relative_to(ROOT)})") == 1, page.name


def named_paths(page: Path) -> list[str]:
    """Return the paths that *page* names in code spans: with a slash, or with the suffix of a file."""
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub(blanked, page.read_text("utf-8")))
    return [span for span in spans if re.fullmatch(r"[\w.-]+(/[\w.-]+)*(/|/[\w.-]+|\.(py|md|toml|yaml))", span)]


def test_every_path_that_the_guide_for_contributors_names_exists() -> None:
    named = named_paths(ROOT / "CONTRIBUTING.md")
    assert len(named) > 40
    assert [path for path in named if not (ROOT / path).exists()] == []


def sketches(text: str) -> list[tuple[str, str]]:
    """Return step and code of each sketch of Python below a numbered step."""
    steps = re.split(r"^\d+\. ", text, flags=re.MULTILINE)
    return [
        (step, textwrap.dedent(code))
        for step in steps
        for code in re.findall(r"^ +```python\n(.+?)^ +```$", step, re.DOTALL | re.MULTILINE)
    ]


def global_names(code: str) -> set[str]:
    """Return the names that *code* reads without making them."""
    nodes = list(ast.walk(ast.parse(code)))
    made = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    made |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    return {node.id for node in nodes if isinstance(node, ast.Name)} - made - set(dir(builtins))


def test_the_sketches_for_contributors_use_names_that_their_modules_have() -> None:
    found = sketches((ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert len(found) == 10
    for step, code in found:
        path, *_ = re.findall(r"`((?:geventpop3|tests)/[\w/]+\.py)`", step)
        there = re.findall(r"\w+", (ROOT / path).read_text("utf-8"))
        new = {name for name in global_names(code) if name.startswith("Shelf")}
        assert global_names(code) - new <= set(there), step


# Hooks


def commands_of_hooks(text: str) -> list[str]:
    """Return the commands of the hooks in *text*, a configuration of pre-commit; this reads only its plain form."""
    return re.findall(r"^ +entry: (.+)$", text, re.MULTILINE)


def test_the_hooks_call_make_targets_that_exist() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    commands = commands_of_hooks(text)
    assert len(commands) == text.count("- id: ") == text.count("language: system") > 0
    for command in commands:
        program, target = command.split()
        assert program == "make"
        assert target in targets
