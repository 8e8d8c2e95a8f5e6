"""The surrogate of RFC 6858, with the standard library's parser as the reader that knows ASCII headers alone."""

from __future__ import annotations

import email
import email.policy
import random
import re
from email.header import decode_header, make_header
from email.utils import getaddresses

from hypothesis import given
from hypothesis import strategies as st
from table import each

from geventpop3.service import downgrade as module
from geventpop3.service.downgrade import HEADER_OCTETS, header_end, rewrite_header, surrogate

INVALID = "invalid@internationalized-address.invalid"


def rewritten(header: str | bytes) -> bytes:
    octets = header.encode() if isinstance(header, str) else header
    return rewrite_header(octets)[0]


def parsed(header: str | bytes):
    octets = rewritten(header)
    assert octets.isascii()
    assert all(len(line) <= 78 for line in octets.split(b"\r\n"))
    return email.message_from_bytes(octets + b"\r\n", policy=email.policy.default)


def whole(message: bytes, size: int | None = None) -> bytes:
    end = header_end(message)
    end = len(message) if end < 0 else end
    body = message[end:]
    size = size or len(body) or 1
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(surrogate(message[:end], chunks))


# The header's end


@each(
    ("octets", "end"),
    [
        (b"", -1),
        (b"\n", 1),
        (b"\r\n", 2),
        (b"\r\nA: b\r\n\r\n", 2),
        (b"A: b", -1),
        (b"A: b\r\n", -1),
        (b"A: b\n\nc", 6),
        (b"A: b\r\n\r\nc", 8),
        (b"A: b\r\n \r\nc: d\r\n\r\n", 17),
        (b"A\r\r\n\r\n", 6),
    ],
)
def test_the_body_begins_behind_the_first_blank_line_however_it_is_looked_for(octets, end):
    assert header_end(octets) == end
    searched = 0
    found = -1
    for at in range(1, len(octets) + 1):
        found = header_end(octets[:at], searched)
        if found >= 0:
            break
        searched = at
    assert found == end


# Addresses: RFC 6858 section 2.1


def test_an_address_that_is_not_ascii_becomes_nobodys_and_shows_what_it_was():
    sender = parsed("From: Fréd Foo <fréd@exämple.com>\r\n")["from"].addresses[0]
    assert sender.addr_spec == INVALID
    assert sender.display_name == "Fréd Foo <fréd@exämple.com>"
    bare = parsed("From: fréd@example.com\r\n")["from"].addresses[0]
    assert (bare.display_name, bare.addr_spec) == ("fréd@example.com", INVALID)
    angle = parsed("From: <fréd@example.com>\r\n")["from"].addresses[0]
    assert (angle.display_name, angle.addr_spec) == ("<fréd@example.com>", INVALID)


def test_an_address_with_a_foreign_display_name_can_still_be_answered():
    sender = parsed('From: "Fréd \\"F\\" Foo" <fred@example.com>\r\n')["from"].addresses[0]
    assert (sender.display_name, sender.addr_spec) == ('Fréd "F" Foo', "fred@example.com")


def test_the_other_addresses_of_a_list_stay_as_they_were_written():
    octets = rewritten('To: "A, B" <a@b.example>,\r\n\tfréd@example.com, c@d.example (comment)\r\n')
    assert octets.startswith(b'To: "A, B" <a@b.example>,\r\n =?')
    assert octets.endswith(b", c@d.example (comment)\r\n")


def test_a_foreign_comment_is_a_blank():
    assert (
        rewritten("Cc: a@b.example (é), <c@d.example> (é \\) \\( é)\r\n") == b"Cc: a@b.example,\r\n <c@d.example>\r\n"
    )
    assert b"ab@" not in rewritten("Cc: a(é)b@c.example\r\n")


def test_a_group_keeps_its_members():
    groups = parsed("Bcc: Freunde über: a@b.example, é@b.example;, x@y.example\r\n")["bcc"].groups
    assert groups[0].display_name == "Freunde über"
    assert [address.addr_spec for address in groups[0].addresses] == ["a@b.example", INVALID]
    assert [address.addr_spec for address in groups[1].addresses] == ["x@y.example"]


def test_a_return_path_is_an_address_without_a_name():
    assert rewritten("Return-Path: <fréd@example.com>\r\n") == f"Return-Path: <{INVALID}>\r\n".encode()


@each("name", ["from", "Sender", "REPLY-TO", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Bcc"])
def test_fields_of_addresses_are_known_by_any_spelling(name):
    assert INVALID.encode() in rewritten(f"{name}: é@example.com\r\n")
    assert INVALID.encode() in rewritten(f"{name} : é@example.com\r\n")


@given(st.text(alphabet='aé@.,<>";: \\\r\n', max_size=40))
def test_no_address_is_made_up(text):
    folded = text.replace("\r", "").replace("\n", "\r\n ")
    octets = rewritten(f"To: {folded}\r\n")
    assert octets.isascii()
    # Quotes and folds may come and go; what stands on both sides of an @ may not.
    said = re.sub(r'["\\\s]', "", f"{folded} {getaddresses([folded])}")
    for _, address in getaddresses([octets.decode().removeprefix("To:")]):
        assert "@" not in address or address == INVALID or re.sub(r'["\\\s]', "", address) in said


# Subject: section 2.3


def test_of_a_subject_the_words_that_are_not_ascii_are_encoded():
    assert rewritten("Subject: Re: Grüße aus Köln an alle\r\n") == (
        b"Subject: Re:\r\n =?UTF-8?B?R3LDvMOfZQ==?=\r\n aus\r\n =?UTF-8?B?S8O2bG4=?=\r\n an alle\r\n"
    )
    assert rewritten("Subject:é\r\n") == b"Subject: =?UTF-8?B?w6k=?=\r\n"
    assert rewritten("Subject: a\r\n\té\r\n") == b"Subject: a\r\n\t=?UTF-8?B?w6k=?=\r\n"


@given(st.lists(st.text(alphabet="abé€😀?=_", min_size=1, max_size=60).filter(lambda t: "=?" not in t), max_size=6))
def test_a_subject_can_be_read_again(words):
    subject = " ".join(words)
    octets = rewritten(f"Subject: {subject}\r\n")
    assert octets.isascii()
    value = octets.decode().removeprefix("Subject:").removesuffix("\r\n")
    assert str(make_header(decode_header(value.replace("\r\n", "")))).strip() == subject
    for line in octets.split(b"\r\n"):
        assert len(line) <= 76 or b"=?" not in line


def test_no_encoded_word_ends_within_a_character():
    # RFC 2047 section 5: "Each 'encoded-word' MUST represent an integral number of characters."
    for text in ("é" * 60, "x" + "é" * 60, "€" * 60, "x" + "€" * 60, "😀" * 60, "xyz" + "😀" * 60):
        value = rewritten(f"Subject: {text}\r\n").removeprefix(b"Subject: ").decode()
        words = [decode_header(word) for word in value.split()]
        assert len(words) > 1
        assert "".join(octets.decode(charset) for [(octets, charset)] in words) == text


def test_octets_that_are_not_utf8_keep_their_values():
    octets = rewritten(b"Subject: caf\xe9\r\n")
    assert octets == b"Subject: =?unknown-8bit?B?Y2Fm6Q==?=\r\n"
    assert rewritten(b"From: Jos\xe9 <a@b.example>\r\n").endswith(b"?=\r\n <a@b.example>\r\n")


# MIME parameters and the rest: sections 2.2 and 2.4


def test_parameters_that_are_not_ascii_are_left_out():
    header = 'Content-Type: text/plain; name="ä;.txt"; charset=utf-8;\r\n x="a\\"é\r\n'
    assert rewritten(header) == b"Content-Type: text/plain; charset=utf-8\r\n"
    assert rewritten("Content-Disposition: attachment; filename=é\r\n") == b"Content-Disposition: attachment\r\n"
    assert rewritten("Content-Type: té/plain; charset=utf-8\r\n") == b""


def test_other_fields_that_are_not_ascii_are_left_out_and_all_others_kept():
    header = "From é Tue\r\nX-A: é\r\nReceived: a\r\n é\r\nDatë: x\r\nDate: now\r\nno field\r\n\r\n"
    assert rewritten(header) == b"Date: now\r\nno field\r\n\r\n"


def test_a_header_in_ascii_stays_octet_by_octet():
    header = b'From: a\nTo: "b"\r\n\tc\nContent-Type: multipart/mixed;\n boundary=x\n\n'
    assert rewrite_header(header) == (header, b"x")


# Parts


MIXED = """From: Fréd <f@example.com>
Content-Type: Multipart/Mixed; charset=x; Boundary="a b"

bödy is not looked at: Subject: é
--a b
Content-Type: text/plain; name="ä.txt"
Content-Description: ä

bödy
--a b--not
X: é

--a b  
Content-Type: multipart/alternative; boundary=inner

--inner

X: é is a body
--inner
X: é

y
--inner--
--a b--
epilogue é
""".replace("\n", "\r\n").encode()  # noqa: W291

SURROGATE = (
    MIXED.decode()
    .replace("From: Fréd <f@example.com>", "From: =?UTF-8?B?RnLDqWQ=?=\r\n <f@example.com>")
    .replace('; name="ä.txt"\r\nContent-Description: ä', "")
    .replace("--inner\r\nX: é\r\n", "--inner\r\n")
    .encode()
)


@each("size", [1, 2, 3, 5, 17, 100, None])
def test_headers_of_parts_are_rewritten_and_bodies_are_not_however_they_are_cut(size):
    assert whole(MIXED, size) == SURROGATE


@given(st.lists(st.sampled_from(["--b\n", "--b--\n", "--b", "\n", "\r\n", "é", "X: é\n", "-", " "]), max_size=14))
def test_the_surrogate_does_not_depend_on_how_the_message_is_cut(pieces):
    message = ("Content-Type: multipart/x; boundary=b\n\n" + "".join(pieces)).encode()
    assert len({whole(message, size) for size in (1, 2, 7, None)}) == 1


def test_a_message_without_a_body_is_a_header():
    assert whole("Subject: é".encode()) == b"Subject: =?UTF-8?B?w6k=?=\r\n"
    assert whole("Content-Type: multipart/x; boundary=b\n\n--b\nX: é".encode()).endswith(b"\n--b\n")


@each(
    "field",
    ["text/plain; boundary=b", "multipart/x", "multipart/x; boundary=", "multipart/x; boundary=" + "b" * 201, ""],
)
def test_without_a_boundary_there_are_no_parts(field):
    body = "\r\n--b\r\nX: é\r\n\r\n"
    message = f"Content-Type: {field}\r\nX: é\r\n\r\n{body}".encode()
    assert whole(message) == f"Content-Type: {field}\r\n\r\n{body}".encode()


def test_the_header_of_a_part_that_is_too_long_is_no_header():
    body = b"\n--b\nX: \xc3\xa9\nY: " + b"y" * HEADER_OCTETS + b"\n\n--b\nX: \xc3\xa9\n\n"
    message = b"Content-Type: multipart/x; boundary=b\n\n" + body
    for size in (None, 1000):
        assert whole(message, size) == message.removesuffix(b"X: \xc3\xa9\n\n") + b"\n"


def test_there_are_so_many_multiparts_and_no_more(monkeypatch):
    monkeypatch.setattr(module, "_BOUNDARIES", 2)
    head = "Content-Type: multipart/x; boundary={}\n\n"
    message = head.format(1) + "--1\n" + head.format(2) + "--2\n" + head.format(3) + "--2\nX: é\n\n--3\nX: é\n\n"
    assert whole(message.encode()) == message.replace("--2\nX: é\n", "--2\n").encode()


MANY = b"Content-Type: multipart/x; boundary=b\n\n"
FOREIGN_PART = "--b\nX: é\nY: y\n\n".encode()
SHOWN_PART = b"--b\nY: y\n\n"


@each("size", [1, 7, 100, None])
def test_so_many_parts_are_rewritten_and_the_rest_stays_as_it_is(monkeypatch, size):
    monkeypatch.setattr(module, "_PARTS", 5)
    assert (
        whole(MANY + FOREIGN_PART * 8 + b"\n--b--\n", size) == MANY + SHOWN_PART * 5 + FOREIGN_PART * 3 + b"\n--b--\n"
    )


@each("size", [1, 7, 100, None])
def test_so_many_octets_of_their_headers_are_rewritten(monkeypatch, size):
    header = len(FOREIGN_PART) - len(b"--b\n")
    monkeypatch.setattr(module, "_PARTS_OCTETS", 3 * header)
    assert whole(MANY + FOREIGN_PART * 4, size) == MANY + SHOWN_PART * 3 + FOREIGN_PART


@each("part", [b"\n--b\n\n", ("\n--b\nTo: " + "é@x," * 15000 + "\n\n").encode()])
def test_no_message_has_more_rewritten_than_others(part):
    rewritten = []

    def rewrite(header):
        rewritten.append(len(header))
        return rewrite_header(header)

    body = part * (2**20 // len(part))
    octets = sum(map(len, surrogate(MANY, [body], rewrite)))
    assert len(rewritten) <= module._PARTS + 1
    assert sum(rewritten) <= module._PARTS_OCTETS + len(MANY)
    assert octets <= 4 * len(body)


@given(
    st.lists(st.text("ab-.", min_size=1, max_size=5).map(str.encode), min_size=1, max_size=8),
    st.text("ab-.", max_size=6),
)
def test_a_delimiter_is_that_of_one_of_the_boundaries(boundaries, text):
    assert (module._delimiter(boundaries).fullmatch(f"\n--{text}\n".encode()) is not None) is (
        text.encode() in boundaries
    )


def test_what_boundaries_begin_with_is_looked_at_once():
    boundaries = [b"a" * 150 + bytes([letter]) * 10 for letter in range(65, 90)]
    assert module._delimiter(boundaries).pattern.count(b"a") == 150


def test_no_blank_line_is_looked_for_behind_the_longest_header():
    assert header_end(b"x" * HEADER_OCTETS + b"\n\n") == -1
    assert header_end(b"x" * (HEADER_OCTETS - 2) + b"\n\n") == HEADER_OCTETS


def test_somebody_else_may_do_the_rewriting():
    headers = []

    def rewrite(header):
        headers.append(header)
        return rewrite_header(header)

    end = header_end(MIXED)
    assert b"".join(surrogate(MIXED[:end], [MIXED[end:]], rewrite)) == SURROGATE
    assert len(headers) == 5
    assert headers[0] == MIXED[:end]


@given(st.binary(max_size=200))
def test_any_octets_have_a_surrogate_with_an_ascii_header(octets):
    header = whole(octets.replace(b"\n\n", b"\n") + b"\n\n")
    end = header_end(header)
    assert header[:end].isascii()


def test_random_cuts_of_long_bodies_change_nothing():
    choose = random.Random(6858)
    filler = b"".join(choose.choice([b"\n", b"--", b"x" * 90, b"\n--a b", b"\r\n"]) for _ in range(400))
    message = MIXED.replace(b"epilogue", filler)
    expected = whole(message)
    for size in (choose.randrange(1, 400) for _ in range(10)):
        assert whole(message, size) == expected
