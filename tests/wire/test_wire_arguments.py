"""Arguments: strict decimals, never another message, a distinct text for each mistake, no echo."""

from __future__ import annotations

import pytest
from table import each

from geventpop3.errors import Refusal
from geventpop3.wire.arguments import expect, line_count, message_number

NO_NUMBERS = [
    "",
    " ",
    " 1",
    "1 ",
    "1\n",
    "1\0",
    "-1",
    "-0",
    "+1",
    "1_0",
    "1,000",
    "1.0",
    "1:*",
    "0x1",
    "0b1",
    "1e3",
    "\u0661",  # ARABIC-INDIC DIGIT ONE
    "\u00b2",  # SUPERSCRIPT TWO
    "\uff11",  # FULLWIDTH DIGIT ONE
    "\udcb1",  # an octet that was no UTF-8
    "one",
    str(2**64),
    "9" * 11,
    "9" * 400,
    "9" * 5000,  # int() raises ValueError for it
    "-" + "9" * 5000,
]


@each("argument", [*NO_NUMBERS, "0", "00", "01", "0000000001", "0" * 400, "0" * 400 + "1"])
def test_what_is_no_message_number_is_refused(argument: str) -> None:
    with pytest.raises(Refusal) as refused:
        message_number(argument)
    assert refused.value.code is None
    assert refused.value.text.isascii()


@each("argument", [*NO_NUMBERS, "0" * 11])
def test_what_is_no_number_of_lines_is_refused(argument: str) -> None:
    with pytest.raises(Refusal):
        line_count(argument)


@each("number", [1, 9, 10, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 9_999_999_999])
def test_a_number_is_itself_and_never_wraps_to_another_one(number: int) -> None:
    assert message_number(str(number)) == number
    assert line_count(str(number)) == number


def test_a_number_of_lines_may_be_zero_and_padded() -> None:
    assert line_count("0") == 0
    assert line_count("007") == 7


def test_each_mistake_has_its_own_text() -> None:
    texts = set()
    mistakes = ["-1", "x", "0", "01", "9" * 11]
    for argument in mistakes:
        with pytest.raises(Refusal) as refused:
            message_number(argument)
        texts.add(refused.value.text)
    for argument in ["-1", "x", "9" * 11]:
        with pytest.raises(Refusal) as refused:
            line_count(argument)
        texts.add(refused.value.text)
    assert len(texts) == len(mistakes) + 3


@each(
    ("arguments", "at_least", "at_most", "text"),
    [
        (["1"], 0, None, "no argument is allowed"),
        ([], 1, None, "an argument is missing"),
        (["1", "2"], 1, None, "only one argument is allowed"),
        (["1", "2"], 0, 1, "only one argument is allowed"),
        (["1"], 2, None, "2 arguments are needed"),
        (["1", "2", "3"], 2, None, "at most 2 arguments are allowed"),
    ],
)
def test_a_wrong_number_of_arguments_is_refused(
    arguments: list[str], at_least: int, at_most: int | None, text: str
) -> None:
    with pytest.raises(Refusal) as refused:
        expect(arguments, at_least, at_most)
    assert refused.value.text == text


@each(("count", "at_least", "at_most"), [(0, 0, None), (0, 0, 1), (1, 0, 1), (1, 1, None), (2, 1, 2), (2, 2, None)])
def test_a_right_number_of_arguments_passes(count: int, at_least: int, at_most: int | None) -> None:
    assert expect(["1"] * count, at_least, at_most) is None
