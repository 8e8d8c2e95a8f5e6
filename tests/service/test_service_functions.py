"""A service of functions: ``@service.messages``, ``@service.remove``, and ``MaildropService.in_memory``."""

from __future__ import annotations

import hashlib
import threading
from email.message import EmailMessage

import pytest

from geventpop3 import POP3Server
from geventpop3.errors import ConfigError, NoSuchMessage, StoreUnavailable
from geventpop3.server.server import session_over
from geventpop3.service import MaildropService
from geventpop3.stores import Item, OwnerLocks, message_octets
from geventpop3.stores.functions import FunctionStore
from geventpop3.stores.memory import MemoryStore
from geventpop3.testing.memory_stream import MemoryStream

LOGIN = ["USER alice", "PASS secret"]


class Site:
    """An application on functions, and dialogues with it."""

    def __init__(self, service):
        self.service = service
        self.pop3d = POP3Server(hostname="pop.example.org")
        self.pop3d.register(service)

    def talk(self, *lines):
        stream = MemoryStream([f"{line}\r\n".encode() for line in lines])
        session_over(self.pop3d, stream, ("127.0.0.1", 40000), ("127.0.0.1", 110)).run()
        return bytes(stream.output).decode().splitlines()[1:]


@pytest.fixture
def site():
    sites = []

    def make(messages=None, remove=None):
        service = MaildropService()
        service.authenticator(lambda name, password: password == "secret")
        if messages is not None:
            service.messages(messages)
        if remove is not None:
            service.remove(remove)
        sites.append(Site(service))
        return sites[-1]

    yield make
    for each in sites:
        each.pop3d.shutdown()


def email():
    message = EmailMessage()
    message["Subject"] = "three"
    message.set_content("3\n")
    return message


def test_messages_of_every_shape_are_served(site):
    def messages(owner):
        assert owner == "alice"
        return [Item("a", b"1\n"), Item("b", "zw\u00f6lf"), Item("c", email()), Item("d", lambda: "4\r\n", 3)]

    app = site(messages)
    lines = app.talk(*LOGIN, "LIST", "UIDL 2", "RETR 1", "RETR 2", "RETR 3", "RETR 4", "QUIT")
    three = email().as_bytes().replace(b"\n", b"\r\n").decode().splitlines()
    assert lines[1] == f"+OK 4 messages ({3 + 8 + message_octets(email()) + 3} octets)"
    assert lines[3:7] == ["1 3", "2 8", f"3 {message_octets(email())}", "4 3"]
    assert lines[8:] == [
        *("+OK 2 b", "+OK 3 octets", "1", ".", "+OK 8 octets", "zw\u00f6lf", "."),
        *(f"+OK {message_octets(email())} octets", *three, "."),
        *("+OK 3 octets", "4", ".", "+OK goodbye"),
    ]


def test_a_generator_of_messages_is_called_in_a_thread(site):
    threads = []

    def messages(owner):
        threads.append(threading.current_thread())
        yield Item("a", b"1\n")

    assert site(messages).talk(*LOGIN)[1] == "+OK 1 message (3 octets)"
    assert threads[0] is not threading.current_thread()


def test_a_message_is_read_once_to_be_counted_and_then_when_it_is_retrieved(site):
    reads = []

    def content():
        reads.append(1)
        return b"1\n"

    app = site(lambda owner: [Item("a", content)])
    for _ in range(3):
        assert app.talk(*LOGIN)[1] == "+OK 1 message (3 octets)"
    assert len(reads) == 1
    app.talk(*LOGIN, "RETR 1")
    assert len(reads) == 2


def test_removal_is_one_call_at_quit(site):
    mail = {"a": b"1\n", "b": b"2\n", "c": b"3\n"}
    removals = []

    def remove(owner, unique_ids):
        removals.append((owner, unique_ids))
        for unique_id in unique_ids:
            del mail[unique_id]

    app = site(lambda owner: [Item(*pair) for pair in mail.items()], remove)
    app.talk(*LOGIN, "DELE 1")  # without QUIT
    assert removals == []
    assert app.talk(*LOGIN, "DELE 1", "DELE 3", "QUIT")[-1] == "+OK goodbye, 2 messages removed"
    assert removals == [("alice", ["a", "c"])]
    assert app.talk(*LOGIN)[1] == "+OK 1 message (3 octets)"


def test_without_a_function_that_removes_dele_is_refused(site):
    app = site(lambda owner: [Item("a", b"1\n")])
    assert app.talk(*LOGIN, "DELE 1", "STAT", "QUIT")[2:] == [
        "-ERR messages cannot be deleted here",
        "+OK 1 3",
        "+OK goodbye",
    ]
    maildrop = FunctionStore(lambda owner: []).open("alice")
    with pytest.raises(StoreUnavailable, match="cannot be deleted"):
        maildrop.remove(["a"])
    maildrop.close()


def test_a_maildrop_has_one_session_at_a_time(site):
    app = site(lambda owner: [Item("a", b"1\n")])
    replies = []

    @app.pop3d.on("cmd_noop")
    def beside(pop3d, event):
        replies.append(app.talk(*LOGIN)[-1])

    app.talk(*LOGIN, "NOOP")
    assert replies == ["-ERR [IN-USE] the maildrop is in use by another session"]
    assert app.talk(*LOGIN)[-1] == "+OK 1 message (3 octets)"


def test_sizes_that_are_wrong_are_corrected_and_logged(site, caplog):
    app = site(lambda owner: [Item("a", b"1\n", 99)])
    assert app.talk(*LOGIN, "RETR 1", "STAT")[2:] == ["+OK 3 octets", "1", ".", "+OK 1 3"]
    assert "message 1 has 3 octets" in caplog.text


@pytest.mark.parametrize(
    ("messages", "logged"),
    [
        (lambda owner: None, "returned NoneType, not a list of Item"),
        (lambda owner: 7, "returned int, not a list of Item"),
        (lambda owner: [b"1\n"], "message 1 is a bytes, not an Item"),
        (lambda owner: [("a", b"1\n")], "message 1 is a tuple, not an Item: write Item"),
        (lambda owner: [Item("a", 7)], "the content of 'a': a message must be bytes, str or an EmailMessage, not int"),
        (lambda owner: [Item("a", b"1"), Item("a", b"2")], "messages 1 and 2 have the same unique-id"),
        (lambda owner: [Item("", b"1")], "message 1 has the unique-id ''"),
    ],
)
def test_what_is_no_message_is_an_error_in_the_log(site, caplog, messages, logged):
    app = site(messages)
    assert app.talk(*LOGIN)[-1].startswith("-ERR [SYS/PERM] ")
    assert logged in caplog.text
    assert app.talk(*LOGIN)[-1].startswith("-ERR [SYS/PERM] ")  # and the lock is free


def test_content_that_turns_out_to_be_none_is_an_error_when_it_is_retrieved(site, caplog):
    app = site(lambda owner: [Item("a", lambda: None, 3)])
    assert (
        app.talk(*LOGIN, "RETR 1", "NOOP")[2:]
        == [
            "-ERR [SYS/PERM] the maildrop is damaged",
            "+OK",
        ]
        or "not NoneType" in caplog.text
    )
    assert "the content of 'a': a message must be bytes, str or an EmailMessage, not NoneType" in caplog.text


def test_a_function_that_fails_is_an_error_with_a_reference(site, caplog):
    app = site(lambda owner: 1 / 0)
    assert app.talk(*LOGIN)[-1].startswith("-ERR [SYS/TEMP] internal error, reference ")
    assert "ZeroDivisionError" in caplog.text


def test_a_function_may_refuse(site):
    def messages(owner):
        raise StoreUnavailable("the database is away")

    assert site(messages).talk(*LOGIN)[-1] == "-ERR [SYS/TEMP] the database is away"


# What an author gets wrong


def test_a_service_without_messages_cannot_serve(site):
    with pytest.raises(ConfigError, match=r"has no store: pass one as its first argument, or use @service\.messages"):
        site().pop3d.start()
    assert site().talk(*LOGIN)[-1] == "-ERR [SYS/TEMP] this service has no messages"


def test_functions_are_given_once_and_to_a_service_without_a_store(site):
    service = site(lambda owner: [], lambda owner, unique_ids: None).service
    with pytest.raises(ConfigError, match=r"@service\.messages: this service has such a function already"):
        service.messages(lambda owner: [])
    with pytest.raises(ConfigError, match=r"@service\.remove: this service has such a function already"):
        service.remove(lambda owner, unique_ids: None)
    with pytest.raises(ConfigError, match=r"@service\.messages: this service has a store: make it without one"):
        MaildropService(MemoryStore()).messages(lambda owner: [])


@pytest.mark.parametrize("name", ["messages", "remove"])
def test_what_is_no_function_is_refused(name):
    async def asynchronous(*_):
        return []

    for wrong in (asynchronous, 7, dict):
        with pytest.raises(ConfigError, match=rf"@service\.{name}"):
            getattr(MaildropService(), name)(wrong)

    def generator(*_):
        yield

    if name == "remove":
        with pytest.raises(ConfigError, match="generator function"):
            MaildropService().remove(generator)


def test_the_sizes_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr("geventpop3.stores.functions.CACHED", 3)
    store = FunctionStore(lambda owner: [Item(str(number), b"1\n") for number in range(10)])
    maildrop = store.open("alice")
    assert [message.octets for message in maildrop.scan()] == [3] * 10
    assert len(store._octets) <= 3
    maildrop.close()


# in_memory


def test_a_service_in_memory_is_complete():
    app = Site(MaildropService.in_memory({"alice": "secret"}, {"alice": [email(), b"2\n", "3"]}, allow_plaintext=True))
    try:
        assert app.talk(*LOGIN, "DELE 2", "QUIT")[-1] == "+OK goodbye, 1 message removed"
        assert app.talk(*LOGIN)[1].startswith("+OK 2 messages")
        assert app.talk("USER alice", "PASS wrong")[-1].startswith("-ERR [AUTH]")
        assert app.talk("USER bob", "PASS ")[-1].startswith("-ERR ")
        assert "SASL" in " ".join(app.talk("CAPA"))
    finally:
        app.pop3d.shutdown()


@pytest.mark.parametrize(
    ("users", "messages", "text"),
    [
        (["alice"], None, "users is a dict of passwords by name"),
        ({"alice": 7}, None, "users is a dict of passwords by name"),
        ({"alice": "secret"}, [b"1"], "messages must be a dict of lists by owner"),
        ({"alice": "secret"}, {"alice": b"1"}, "must be a list, not a bytes"),
        ({"alice": "secret"}, {"alice": [7]}, "a message must be bytes, str or an EmailMessage, not int"),
    ],
)
def test_users_and_messages_of_another_shape_are_refused(users, messages, text):
    with pytest.raises(TypeError, match=text):
        MaildropService.in_memory(users, messages)


def test_a_service_in_memory_has_apop_and_every_user_is_known():
    service = MaildropService.in_memory({"alice": "secret"})
    app = Site(service)
    try:
        stream = MemoryStream([])
        session_over(app.pop3d, stream, ("127.0.0.1", 40000), ("127.0.0.1", 110)).run()
        assert b"<" in stream.output  # the timestamp of APOP
        users = service.site.back_end.authenticator
        assert (users.knows("alice"), users.knows("bob"), users.secret("bob")) == (True, False, None)
        assert users.secret("alice").matches_apop(b"<1>", hashlib.md5(b"<1>secret").hexdigest())
    finally:
        app.pop3d.shutdown()


def test_a_message_that_was_not_listed_cannot_be_retrieved():
    maildrop = FunctionStore(lambda owner: []).open("alice")
    with pytest.raises(NoSuchMessage):
        maildrop.retrieve("a")
    maildrop.close()


def test_a_password_is_in_no_repr():
    service = MaildropService.in_memory({"alice": "sesame"})
    assert "sesame" not in repr(service.site.back_end.authenticator)


def test_a_lock_is_for_one_at_a_time():
    locks = OwnerLocks()
    locks.acquire("alice")
    locks.acquire("bob")
    with pytest.raises(Exception, match="in use"):
        locks.acquire("alice")
    locks.release("alice")
    locks.acquire("alice")
