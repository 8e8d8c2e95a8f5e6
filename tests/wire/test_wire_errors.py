"""Errors know their reply: the text and the response code that a client gets, never the detail."""

from __future__ import annotations

from table import each

from geventpop3.errors import RemovalIncomplete, ResponseCode
from geventpop3.wire.replies import err


@each(
    ("remaining", "text"),
    [
        (1, "some deleted messages not removed: 1 message left"),
        (2, "some deleted messages not removed: 2 messages left"),
    ],
)
def test_a_removal_that_is_not_complete_says_how_many_are_left(remaining: int, text: str) -> None:
    failure = RemovalIncomplete(remaining, detail="/srv/mail/alice: EIO")
    assert (failure.remaining, failure.text, failure.code, failure.detail) == (
        remaining,
        text,
        "SYS/TEMP",
        "/srv/mail/alice: EIO",
    )


@each("code", list(ResponseCode))
def test_a_registered_code_is_a_str_and_goes_out_in_brackets(code: ResponseCode) -> None:
    assert err("no", code) == err("no", str(code))
    assert err("no", code).status_line == f"-ERR [{code.value}] no\r\n".encode()
