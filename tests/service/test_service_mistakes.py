"""Mistakes of store authors and of who assembles a server: said where they happen, never sent as mail."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from email.message import EmailMessage
from typing import Any

import pytest

from geventpop3 import POP3Server
from geventpop3.auth import Authenticator
from geventpop3.errors import ConfigError
from geventpop3.service import MaildropService
from geventpop3.service.open_maildrop import Transaction
from geventpop3.stores import Chunks, Message, Snapshot
from geventpop3.stores.memory import MemoryStore
from geventpop3.stores.store import Maildrop, Store

CONTENT = b"Subject: x\n\n.dot\n"
OCTETS = 20


class Drop(Maildrop):
    def __init__(self, scanned: Any, retrieved: Callable[[], Any], blocking: frozenset[str]) -> None:
        self.scanned, self.retrieved, self.blocking = scanned, retrieved, blocking
        self.removed: list[str] = []
        self.closed = 0

    def scan(self) -> Sequence[Message]:
        return self.scanned() if callable(self.scanned) else self.scanned

    def retrieve(self, unique_id: str) -> Iterable[bytes]:
        return self.retrieved()

    def remove(self, unique_ids: Iterable[str]) -> None:
        self.removed += unique_ids

    def close(self) -> None:
        self.closed += 1


class Shelf(Store):
    """A store that hands over what a test wants."""

    def __init__(self, scanned: Any, retrieved: Any = None, blocking: frozenset[str] = frozenset()) -> None:
        self.scanned, self.retrieved, self.blocking = scanned, retrieved, blocking
        self.drops: list[Drop] = []

    def open(self, owner: str) -> Maildrop:
        self.drops.append(Drop(self.scanned, self.retrieved, self.blocking))
        return self.drops[-1]

    def opens_at_once(self, owner: str) -> bool:
        return True


@pytest.fixture(params=["in the hub", "in a thread"])
def shelve(request, make) -> Callable[..., Any]:
    def shelve(*args: Any, **options: Any) -> Any:
        blocking = frozenset({"scan", "retrieve"}) if request.param == "in a thread" else frozenset()
        return make(Shelf(*args, blocking=blocking), **options)

    return shelve


@pytest.mark.parametrize(
    ("scanned", "why"),
    [
        (lambda: (Message("a", 1) for _ in "a"), "scan() returned a generator, not a sequence"),
        ([Message("a b", 1)], "message 1 has the unique-id 'a b'"),
        ([Message("a", 1), Message("a\r\n.\r\n+OK evil", 1)], "message 2 has the unique-id 'a\\r\\n.\\r\\n+OK evil'"),
        ([Message("a", 1), Message("a", 1)], "messages 1 and 2 have the same unique-id, 'a'"),
        ([Message("a", -1)], "message 1 has -1 octets"),
    ],
)
def test_a_scan_that_is_none_is_an_error_at_login(shelve, caplog, scanned, why):
    app = shelve(scanned)
    assert app.talk("USER alice", "PASS alice", "STAT")[1:] == [
        "-ERR [SYS/PERM] the maildrop is damaged, ask your postmaster",
        "-ERR not allowed in the AUTHORIZATION state",
    ]
    [record] = caplog.records
    assert (record.name, record.levelname) == ("geventpop3.service", "ERROR")
    start = "error in the store test_service_mistakes.Shelf, maildrop of 'alice': "
    assert record.getMessage().startswith(start + why)
    assert [drop.closed for drop in app.store.drops] == [1]


class NotBytes(Chunks):
    complete = True

    def ready(self) -> bytes | None:
        return "text"  # type: ignore[return-value]

    def __next__(self) -> bytes:
        raise StopIteration

    def close(self) -> None: ...


def email() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "x"
    return message


@pytest.mark.parametrize("command", ["RETR 1", "TOP 1 0"])
@pytest.mark.parametrize(
    ("retrieved", "why"),
    [
        (lambda: CONTENT, "retrieve() must return an iterable of bytes, not a bytes of int"),
        (lambda: CONTENT.decode(), "retrieve() must return an iterable of bytes, not a str of str"),
        (email, "retrieve() must return an iterable of bytes, not a EmailMessage of str"),
        (lambda: (CONTENT.decode(),), "retrieve() must return an iterable of bytes, not a tuple of str"),
        (lambda: [bytearray(CONTENT)], "retrieve() must return an iterable of bytes, not a list of bytearray"),
        (lambda: [None], "retrieve() must return an iterable of bytes, not a list of NoneType"),
        (lambda: None, "retrieve() must return an iterable of bytes, not a NoneType"),
        (NotBytes, "retrieve() must return an iterable of bytes, not a NotBytes of str"),
    ],
)
def test_a_message_that_is_none_is_refused_before_ok(shelve, caplog, command, retrieved, why):
    app = shelve([Message("uid-1", OCTETS)], retrieved)
    assert app.login(command) == ["-ERR [SYS/PERM] the maildrop is damaged, ask your postmaster"]
    [record] = caplog.records
    assert record.levelname == "ERROR"
    start = "error in the store test_service_mistakes.Shelf, maildrop of 'alice', message 'uid-1': "
    assert record.getMessage().startswith(start + why)


def test_a_later_chunk_that_is_none_breaks_the_reply_off(shelve, caplog):
    app = shelve([Message("uid-1", OCTETS)], lambda: iter([CONTENT, "more"]))
    lines = app.login("RETR 1", "NOOP")
    assert lines[0].startswith("+OK")
    assert "." not in lines
    assert "+OK" not in lines[1:]
    assert (
        "message 'uid-1': retrieve() must return an iterable of bytes, not a list_iterator of str" in caplog.messages[0]
    )


@pytest.mark.parametrize("told", [OCTETS - 1, OCTETS + 5, 0])
@pytest.mark.parametrize("expire", [None, 0])
def test_octets_in_one_piece_that_are_wrong_are_corrected_before_ok(shelve, caplog, told, expire):
    app = shelve([Message("uid-1", told), Message("uid-2", 7)], lambda: (CONTENT,), expire=expire)
    lines = app.login("STAT", "RETR 1", "STAT", "LIST 1")
    assert lines == [f"+OK 2 {told + 7}", "+OK 20 octets", "Subject: x", "", "..dot", ".", "+OK 2 27", "+OK 1 20"]
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == (
        "error in the store test_service_mistakes.Shelf, maildrop of 'alice', message 'uid-1':"
        f" message 1 has 20 octets, but scan() stated {told}"
    )


def pieces() -> Iterator[bytes]:
    yield CONTENT[:3]
    yield b""
    yield CONTENT[3:]


def test_octets_in_pieces_are_told_once_they_are_known(shelve, caplog):
    app = shelve([Message("uid-1", 99)], pieces)
    body = ["Subject: x", "", "..dot", "."]
    lines = app.login("TOP 1 0", "RETR 1", "STAT", "RETR 1", "DELE 1", "RSET")
    assert lines == [
        *["+OK top of message follows", "Subject: x", "", "."],
        *["+OK message follows", *body],
        "+OK 1 20",
        *["+OK 20 octets", *body],
        *["+OK message 1 marked as deleted", "+OK 1 message (20 octets)"],
    ]
    assert len(caplog.records) == 1


def test_octets_that_are_right_are_no_error(shelve, caplog):
    app = shelve([Message("uid-1", OCTETS)], pieces)
    assert app.login("RETR 1", "RETR 1")[::5] == ["+OK message follows", "+OK 20 octets"]
    assert caplog.records == []


def test_a_message_that_was_not_read_to_its_end_has_no_size(shelve, caplog):
    app = shelve([Message("uid-1", 99)], pieces)

    @app.pop3d.plugin("response")
    def peek(pop3d: Any, event: Any) -> None:
        if event.args == ["cmd_retr"]:
            next(iter(event.reply.body))
            event.reply = "-ERR no"

    assert app.login("RETR 1", "STAT") == ["-ERR no", "+OK 1 99"]
    assert caplog.records == []


def test_a_mark_that_is_set_while_a_message_is_sent_keeps_the_sums(shelve, caplog):
    app = shelve([Message("uid-1", 99), Message("uid-2", 1)], pieces)

    @app.pop3d.plugin("response")
    def mark(pop3d: Any, event: Any) -> None:
        if event.args == ["cmd_retr"]:
            pop3d.send_event("cmd_dele", "1", client=event.client)

    assert app.login("RETR 1", "STAT", "RSET")[-2:] == ["+OK 1 1", "+OK 2 messages (21 octets)"]


def test_the_snapshot_of_other_sessions_is_left_alone(make, caplog):
    shared = Snapshot(["uid-1"], array("Q", [99]))
    app = make(Shelf(shared, lambda: (CONTENT,)))
    assert app.login("RETR 1", "STAT")[-1] == "+OK 1 20"
    assert app.login("STAT") == ["+OK 1 99"]


@pytest.mark.parametrize("policy", ["refuse", "convert"])
def test_what_is_counted_is_the_message_itself(shelve, caplog, policy):
    content = "Subject: \u00e9\n\nx\n".encode() if policy == "convert" else CONTENT
    octets = len(content) + content.count(b"\n")
    app = shelve([Message("uid-1", octets), Message("uid-2", octets)], lambda: iter([content]), utf8_messages=policy)
    assert app.login("RETR 1", "RETR 2", "STAT")[-1] == f"+OK 2 {2 * octets}"
    assert caplog.records == []


def test_the_bundled_stores_know_their_octets(app, monkeypatch):
    counted = []
    monkeypatch.setattr(Transaction, "verify", lambda *args: counted.append(args))
    assert app.login("RETR 1")[0] == "+OK 23 octets"
    assert counted == []


# Assembly


class Book(Authenticator):
    def authenticate(self, name: str, password: str) -> str | None:
        return None


def check(name: str, password: str) -> bool:
    return True


async def later(name: str, password: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("mail",), r"the store is a str: give an instance of a Store, such as MaildirStore\('/srv/mail/\{user\}'\)"),
        ((MemoryStore,), "the store is the class MemoryStore: give an instance"),
        ((7,), "the store is a int"),
        ((Book(),), "the store is a Book"),
        (
            (MemoryStore(), check),
            r"the authenticator is a function: give FunctionAuthenticator\(function\), or decorate it",
        ),
        ((MemoryStore(), Book), "the authenticator is the class Book: give an instance of an Authenticator"),
        ((MemoryStore(), {"alice": "secret"}), "the authenticator is a dict: give an instance of an Authenticator"),
        ((MemoryStore(), MemoryStore()), "the authenticator is a MemoryStore"),
    ],
)
def test_parts_that_are_none_are_refused_with_what_would_be_right(args, why):
    with pytest.raises(ConfigError, match=why):
        MaildropService(*args)


@pytest.mark.parametrize("function", [later, "alice", Book])
def test_what_says_yes_for_the_mere_reason_that_it_is_no_function_is_refused(function):
    with pytest.raises(ConfigError, match=r"may_act_as.*(coroutine function|needs a function)"):
        MaildropService(MemoryStore(), Book(), may_act_as=function)
    with pytest.raises(ConfigError, match=r"@service.authenticator.*(coroutine function|needs a function)"):
        MaildropService(MemoryStore()).authenticator(function)


def test_a_server_whom_nobody_could_log_in_to_does_not_start():
    pop3d = POP3Server(port=0)
    service = MaildropService(MemoryStore())
    pop3d.register(service)
    pop3d.on("cmd_noop")(lambda pop3d, event: None)
    with pytest.raises(ConfigError, match=r"MaildropService has no authenticator: pass one"):
        pop3d.start()
    with pytest.raises(RuntimeError, match="not started"):
        pop3d.getsockname()
    service.authenticator(check)
    pop3d.start()
    pop3d.shutdown()
