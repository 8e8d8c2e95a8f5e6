"""docs/architecture.md lists the modules that RETR, login and QUIT really enter, and no walk gets longer."""

from __future__ import annotations

import pytest
import walks

LONGEST = {"USER": 16, "PASS": 31, "RETR": 22, "QUIT": 24}
"""Files of each walk without the accelerator in C. USER, PASS and RETR: as before the modules were moved; QUIT: one
more."""


@pytest.fixture(scope="module")
def measured() -> dict[str, walks.Walk]:
    """Walks in Python alone, which are the same whether the accelerator was built."""
    if walks.quick_place() is None:
        pytest.skip("no directory here has RWF_NOWAIT: RETR reads in a thread")
    return walks.measure_apart(with_c=False)


def test_the_document_lists_the_modules_of_each_walk_in_their_order(measured: dict[str, walks.Walk]) -> None:
    shown = walks.documented(walks.PAGE.read_text("utf-8"))
    expected = {name: walks.listed(walk) for name, walk in measured.items()}
    assert {name: [module for module, _ in items] for name, items in shown.items()} == expected, (
        "python tests/walks.py --update writes what should stand there"
    )


def test_each_module_of_a_walk_has_a_sentence() -> None:
    shown = walks.documented(walks.PAGE.read_text("utf-8"))
    sentences = [sentence for items in shown.values() for _, sentence in items]
    assert sentences
    assert [sentence for sentence in sentences if not (sentence.endswith(".") and len(sentence.split()) > 2)] == []


def test_no_walk_is_longer_than_before_the_moves(measured: dict[str, walks.Walk]) -> None:
    assert measured.keys() == LONGEST.keys()
    assert {name: len(walk.files) for name, walk in measured.items() if len(walk.files) > LONGEST[name]} == {}


def test_an_update_keeps_the_text_and_the_sentences() -> None:
    page = "# A\n\n## Walks\n\nText.\n\n### `RETR`\n\n1. `wire/lines.py`: Cuts\n   the line.\n\n## B\n"
    measured = {name: walks.Walk(["wire/__init__.py", "wire/lines.py", "auth/sql.py"], 1) for name in walks.TITLES}
    found = walks.updated(page, measured)
    assert found.startswith("# A\n\n## Walks\n\nText.\n\n### ")
    assert found.endswith("`: ...\n\n## B\n")
    assert walks.documented(found)["RETR"] == [("wire/lines.py", "Cuts the line."), ("auth/sql.py", "...")]
    assert walks.updated(found, measured) == found


def test_an_update_adds_the_section_to_a_page_without_it() -> None:
    found = walks.updated("# A\n", {name: walks.Walk(["errors.py"], 0) for name in walks.TITLES})
    assert found.startswith("# A\n\n## Walks\n\n### Login: `USER`\n\n1. `errors.py`: ...\n")
