"""RFC 1939 section 7: UIDL."""

from __future__ import annotations

import re

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.exchange import quoted
from geventpop3.testing.conformance.lab import Lab
from geventpop3.testing.conformance.messages import PLAIN, sample_mail
from geventpop3.testing.conformance.outcome import require
from geventpop3.testing.conformance.session import ProbeSession

LISTING = """A unique-id listing consists of the message-number of the message, followed by a single space and the
unique-id of the message. No information follows the unique-id in the unique-id listing."""
UNIQUE_ID = """The unique-id of a message is an arbitrary server-determined string, consisting of one to 70 characters
in the range 0x21 to 0x7E, which uniquely identifies a message within a maildrop and which persists across sessions."""
WITHOUT_QUIT = "This persistence is required even if a session ends without entering the UPDATE state."
NEVER_REUSED = """The server should never reuse an unique-id in a given maildrop, for as long as the entity using the
unique-id exists."""
NOT_LISTED = "Note that messages marked as deleted are not listed."


def unique_ids(session: ProbeSession) -> dict[int, bytes]:
    """Return what UIDL shows. Raises Failed if a line is no unique-id listing."""
    found: dict[int, bytes] = {}
    for line in session.lines(b"UIDL"):
        number, _, unique_id = line.partition(b" ")
        require(number.isdigit() and bool(unique_id), f"a line of UIDL is {_shown(line)}")
        found[int(number)] = unique_id
    return found


def _shown(line: bytes) -> str:
    return quoted(line + b"\r\n")


@check("1939", "7", "UIDL shows number and unique-id on each line", LISTING, capability="UIDL", mail=1)
def _uidl_format(lab: Lab) -> None:
    session = lab.login()
    found = unique_ids(session)
    wanted = [int(line.split()[0]) for line in session.lines(b"LIST")]
    require(list(found) == wanted, f"UIDL shows the numbers {list(found)[:20]}, but LIST {wanted[:20]}")


@check("1939", "7", "A unique-id has 1 to 70 octets from 0x21 to 0x7E", UNIQUE_ID, capability="UIDL", mail=1)
def _uidl_characters(lab: Lab) -> None:
    for unique_id in unique_ids(lab.login()).values():
        legal = re.fullmatch(rb"[\x21-\x7e]{1,70}", unique_id) is not None
        require(legal, f"a unique-id is {_shown(unique_id)}")


@check("1939", "7", "UIDL with a message-number shows the same line as UIDL", LISTING, capability="UIDL", mail=1)
def _uidl_one(lab: Lab) -> None:
    session = lab.login()
    for number, unique_id in list(unique_ids(session).items())[:5]:
        reply = session.ok(b"UIDL %d" % number)
        require(reply.text == b"+OK %d %s" % (number, unique_id), f"UIDL {number} is {quoted(reply.line)}")


@check("1939", "7", "Unique-ids are unique in a maildrop", UNIQUE_ID, capability="UIDL", fill=True)
def _uidl_unique(lab: Lab) -> None:
    lab.fill(*PLAIN)
    found = list(unique_ids(lab.login()).values())
    require(len(set(found)) == len(PLAIN), f"{len(PLAIN)} messages have {len(set(found))} unique-ids")


@check(
    "1939", "7", "Messages that differ in the body have different unique-ids", UNIQUE_ID, capability="UIDL", fill=True
)
def _uidl_of_bodies(lab: Lab) -> None:
    # Without a Message-ID: a delivery may drop a second message with the same one.
    header = re.sub(rb"Message-ID: .*\n", b"", sample_mail("twin", b""))
    lab.fill(header + b"one\n", header + b"two\n")
    found = set(unique_ids(lab.login()).values())
    require(len(found) == 2, "two messages with the same header and different bodies have one unique-id")


@check("1939", "7", "Unique-ids are the same in the next session", UNIQUE_ID, capability="UIDL", mail=1)
def _uidl_persists(lab: Lab) -> None:
    session = lab.login()
    before = unique_ids(session)
    session.ok(b"QUIT")
    session.close()
    require(unique_ids(lab.login()) == before, "UIDL shows other unique-ids in the next session")


@check("1939", "7", "Unique-ids are the same after a session without QUIT", WITHOUT_QUIT, capability="UIDL", mail=1)
def _uidl_persists_without_quit(lab: Lab) -> None:
    session = lab.login()
    before = unique_ids(session)
    session.retrieve(b"RETR 1")
    session.close()
    require(unique_ids(lab.login()) == before, "UIDL shows other unique-ids in the next session")


@check(
    "1939", "7", "A message keeps its unique-id when another one is removed", UNIQUE_ID, capability="UIDL", fill=True
)
def _uidl_after_removal(lab: Lab) -> None:
    lab.fill(*PLAIN)
    session = lab.login()
    before = unique_ids(session)
    session.ok(b"DELE 1")
    session.ok(b"QUIT")
    after = list(unique_ids(lab.login()).values())
    require(after == list(before.values())[1:], "the unique-ids of the remaining messages have changed")


@check(
    "1939", "7", "A new message does not get the unique-id of a removed one", NEVER_REUSED, capability="UIDL", fill=True
)
def _uidl_not_reused(lab: Lab) -> None:
    lab.fill(*PLAIN)
    session = lab.login()
    before = set(unique_ids(session).values())
    session.ok(b"DELE %d" % len(PLAIN))
    session.ok(b"QUIT")
    session.close()
    lab.deliver(sample_mail("after-removal", b"another message\n"))
    lab.wait_for(len(PLAIN))
    after = set(unique_ids(lab.login()).values())
    require(len(after - before) == 1, "the new message has a unique-id that another message had")


@check("1939", "7", "UIDL leaves out marked messages", NOT_LISTED, capability="UIDL", mail=2, delete=True)
def _uidl_leaves_out(lab: Lab) -> None:
    session = lab.login()
    before = unique_ids(session)
    session.ok(b"DELE 1")
    del before[1]
    require(unique_ids(session) == before, "UIDL shows a message that is marked, or other numbers for the rest")


@check("1939", "7", "UIDL of an empty maildrop is positive and empty", LISTING, capability="UIDL", fill=True)
def _uidl_empty(lab: Lab) -> None:
    lab.fill()
    require(not lab.login().lines(b"UIDL"), "UIDL of an empty maildrop is not empty")
