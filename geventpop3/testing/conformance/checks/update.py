"""RFC 1939 section 6: what QUIT removes, and that nothing else does."""

from __future__ import annotations

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.lab import Lab, counted
from geventpop3.testing.conformance.messages import PLAIN, sent
from geventpop3.testing.conformance.outcome import require

REMOVES = """The POP3 server removes all messages marked as deleted from the maildrop and replies as to the status of
this operation."""
ONLY = "In no case may the server remove any messages not marked as deleted."
OTHERWISE = """If a session terminates for some reason other than a client-issued QUIT command, the POP3 session does
NOT enter the UPDATE state and MUST not remove any messages from the maildrop."""
BEFORE = """if the client issues the QUIT command from the AUTHORIZATION state, the POP3 session terminates but does NOT
enter the UPDATE state."""
UNMARKED = "If any messages have been marked as deleted by the POP3 server, they are unmarked."


def listed_sizes(lab: Lab) -> list[bytes]:
    """Return the octets of each message, as LIST tells them in a new session."""
    session = lab.login()
    found = sorted(line.split()[1] for line in session.lines(b"LIST"))
    session.close()
    return found


@check("1939", "6", "QUIT removes a marked message", REMOVES, mail=1, delete=True)
def _quit_removes(lab: Lab) -> None:
    session = lab.login()
    count = counted(session)
    session.ok(b"DELE 1")
    session.ok(b"QUIT")
    left = lab.counted()
    require(left == count - 1, f"one of {count} messages was marked, but {left} are left after QUIT")


@check("1939", "6", "QUIT removes only marked messages", ONLY, fill=True)
def _quit_removes_only(lab: Lab) -> None:
    lab.fill(*PLAIN)
    session = lab.login()
    before = [line.split()[1] for line in session.lines(b"LIST")]
    session.ok(b"DELE 2")
    session.ok(b"DELE 4")
    session.ok(b"QUIT")
    wanted = sorted(before[number] for number in (0, 2, 4))
    found = listed_sizes(lab)
    require(found == wanted, f"messages of {found} octets are left instead of {wanted}")


@check("1939", "6", "QUIT removes all messages if all are marked", REMOVES, fill=True)
def _quit_removes_all(lab: Lab) -> None:
    lab.fill(*PLAIN)
    session = lab.login()
    for number in range(1, len(PLAIN) + 1):
        session.ok(b"DELE %d" % number)
    session.ok(b"QUIT")
    left = lab.counted()
    require(left == 0, f"{left} messages are left")


@check("1939", "6", "QUIT without marks removes nothing", ONLY, fill=True)
def _quit_without_marks(lab: Lab) -> None:
    lab.fill(*PLAIN)
    before = listed_sizes(lab)
    require(len(before) == len(PLAIN), "messages are missing after QUIT")
    lab.login().ok(b"QUIT")
    require(listed_sizes(lab) == before, "messages are missing after QUIT")


@check("1939", "6", "QUIT does not remove retrieved messages", ONLY, fill=True)
def _quit_keeps_retrieved(lab: Lab) -> None:
    if lab.facts.after is not None and lab.facts.after.get("EXPIRE", ["NEVER"])[:1] == ["0"]:
        return  # EXPIRE 0 is the announcement that it does
    lab.fill(*PLAIN)
    session = lab.login()
    session.retrieve(b"RETR 1")
    session.ok(b"QUIT")
    left = lab.counted()
    require(left == len(PLAIN), f"{left} of {len(PLAIN)} messages are left after RETR and QUIT")


@check("1939", "6", "A connection that is closed without QUIT removes nothing", OTHERWISE, mail=1, delete=True)
def _lost_connection(lab: Lab) -> None:
    session = lab.login()
    count = counted(session)
    session.ok(b"DELE 1")
    session.close()
    left = lab.counted()
    require(left == count, f"{count - left} messages were removed without QUIT")


@check("1939", "6", "The end of the input without QUIT removes nothing", OTHERWISE, mail=1, delete=True)
def _end_of_input(lab: Lab) -> None:
    session = lab.login()
    count = counted(session)
    session.ok(b"DELE 1")
    session.end()
    session.at_end()
    session.close()
    left = lab.counted()
    require(left == count, f"{count - left} messages were removed without QUIT")


@check("1939", "6", "QUIT before login removes nothing", BEFORE, mail=1, delete=True)
def _quit_before_login_removes_nothing(lab: Lab) -> None:
    count = lab.counted()
    session = lab.connect()
    session.command(b"USER " + lab.target.name)
    session.ok(b"QUIT")
    require(lab.counted() == count, "messages are missing")


@check("1939", "6", "QUIT removes nothing after RSET", UNMARKED, mail=1, delete=True)
def _quit_after_rset(lab: Lab) -> None:
    session = lab.login()
    count = counted(session)
    session.ok(b"DELE 1")
    session.ok(b"RSET")
    session.ok(b"QUIT")
    left = lab.counted()
    require(left == count, f"{count - left} messages were removed although RSET unmarked them")


@check("1939", "6", "A message stays the same when another one is removed", ONLY, fill=True)
def _others_are_whole(lab: Lab) -> None:
    lab.fill(PLAIN[0], PLAIN[1])
    session = lab.login()
    kept = session.retrieve(b"RETR 2")
    session.ok(b"DELE 1")
    session.ok(b"QUIT")
    got = lab.login().retrieve(b"RETR 1")
    require(got == kept, "the remaining message has changed")
    exact = lab.delivery is not None and lab.delivery.exact
    require(
        not exact or got in (sent(PLAIN[0]), sent(PLAIN[1])), "the remaining message differs from the delivered one"
    )


@check(
    "1939",
    "6",
    "QUIT does not remove a message that arrived during the session",
    ONLY,
    fill=True,
)
def _late_message(lab: Lab) -> None:
    lab.fill(PLAIN[0])
    session = lab.login()
    session.ok(b"DELE 1")
    lab.deliver(PLAIN[1])
    session.ok(b"QUIT")
    session.close()
    left = lab.await_count(1)
    require(left == 1, f"{left} messages are left instead of the one that arrived after the login")


@check(
    "1939",
    "5",
    "Message-numbers stay the same when a message arrives",
    """it assigns a message-number to
each message, and notes the size of each message in octets.""",
    fill=True,
)
def _numbers_stay_at_arrival(lab: Lab) -> None:
    lab.fill(PLAIN[0], PLAIN[1])
    session = lab.login()
    before = session.lines(b"LIST")
    lab.deliver(PLAIN[4])
    after = session.lines(b"LIST")
    require(after[:2] == before, "LIST shows other numbers or sizes for the old messages")
