"""A real POP3 server for the tests of a POP3 client, with faults on demand.

    with Double() as double:
        box = double.maildrop("alice", "secret")
        box.deliver(b"Subject: one\\n\\nHello")
        box.fail("RETR", how="reset", after_octets=100)
        ...  # let the client under test poll box.url
        assert box.sessions[0].removed == []

It listens on free ports, in a native thread of its own, so the client may block or not, in the same process or another.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

from gevent.event import Event as GreenEvent

from geventpop3.auth.mechanisms import ClearTextRefused
from geventpop3.owners import canonical_name
from geventpop3.protocol.commands import COMMANDS
from geventpop3.server.server import POP3Server
from geventpop3.server.stream import PlainStream, SocketStream
from geventpop3.server.tls.certificates import Certificates
from geventpop3.service import MaildropService
from geventpop3.testing.double.authority import authority
from geventpop3.testing.double.content import Content, contents_of
from geventpop3.testing.double.faults import AUTH, CONNECT, TLS, Fault, check_count, known_place, make_fault
from geventpop3.testing.double.manners import PersonalityPlugin
from geventpop3.testing.double.personality import Personality, load_personality
from geventpop3.testing.double.plugin import DoublePlugin
from geventpop3.testing.double.records import EndedSessions, SessionRecord, transcript_of
from geventpop3.testing.double.replaying import ReplayPlugin
from geventpop3.testing.double.store import DoubleUsers, WatchedStore
from geventpop3.testing.double.waiting import Guarded
from geventpop3.testing.replay import Recording
from geventpop3.testing.server import Address, ServerThread

Tls = Literal["off", "offered", "required"]

RECORD = "record:"
"""Prefix of a personality that is a recording: ``record:FILE``."""
HOSTNAME = "pop.example.org"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
TIMEOUT = 5.0
"""Seconds that ``wait_for`` waits unless told otherwise."""


class DoubleFailed(AssertionError):
    """A test's expectation of the double that did not come true; the text has *failures* and the *transcript*."""

    def __init__(self, failures: Sequence[str], transcript: str) -> None:
        super().__init__("\n".join([*failures, "", transcript or "no session"]))
        self.failures = list(failures)
        self.transcript = transcript


class Double:
    """A POP3 server for tests: a context manager, or ``start`` and ``stop``.

    *tls*: ``"off"``; ``"offered"``, with STLS and a second port that has TLS from the start; or ``"required"``, without
    logins in clear text. *hostname* is in the greeting. *host* is the loopback address to listen at, *port* and
    *tls_port* are free ones unless given. *certificate_names*: names and addresses in the certificate, in place of
    those that are right. *personality* is the name of a server whose manners the double takes on, the Path of a file
    with them, or ``"record:FILE"``: then the double answers as the recorded server did, and a client that says
    something else fails the test. *options* are keywords of ``POP3Server`` such as ``autologout``.
    """

    def __init__(
        self,
        *,
        tls: Tls = "offered",
        hostname: str = HOSTNAME,
        host: str = "127.0.0.1",
        personality: str | Path | None = None,
        port: int = 0,
        tls_port: int = 0,
        certificate_names: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        if tls not in ("off", "offered", "required"):
            raise ValueError(f"tls is 'off', 'offered' or 'required', not {tls!r}")
        self._tls: Tls = tls
        self._hostname = hostname
        self._options = options
        self._host = host
        self._ports = (port, tls_port)
        self._certificate_names = certificate_names
        self._state = Guarded()
        self._personality: Personality | None = None
        self._recording: Recording | None = None
        if isinstance(personality, str) and personality.startswith(RECORD):
            self._recording = Recording.load(personality.removeprefix(RECORD))
        elif personality is not None:
            self._personality = load_personality(personality)
        self._store = WatchedStore(self._state, None if self._personality is None else self._personality.naming)
        self._users = DoubleUsers()
        self._maildrops: dict[str, DoubleMaildrop] = {}
        self._faults: list[Fault] = []
        self._begun: list[SessionRecord] = []
        self._ended: list[SessionRecord] = []
        self._released = GreenEvent()
        self._thread: ServerThread | None = None
        self._address: Address | None = None
        self._errors: list[str] = []
        self._differences: list[str] = []

    # Start and stop

    def start(self) -> Self:
        """Listen, and return the double itself. Raises OSError, ConfigError, RuntimeError if it was started before."""
        if self._thread is not None:
            raise RuntimeError("this double was started already: make a new one")
        self._thread = ServerThread(self._made, self._host, self._ports)
        self._address = self._thread.start()
        return self

    def stop(self) -> None:
        """End all sessions and stop listening; the records stay."""
        thread, address = self._thread, self._address
        if thread is None or address is None:
            return
        self._address = None
        thread.call_soon(self._released.set)
        thread.stop()
        self._errors = list(address.errors)

    def check(self) -> None:
        """Raise DoubleFailed if a fault never happened, unless it is optional, or if the server logged errors."""
        __tracebackhide__ = True
        if failures := self.failures:
            raise DoubleFailed(failures, self.transcript)

    @property
    def failures(self) -> list[str]:
        """Faults that never happened, unless optional; lines that a recording does not have; errors of the server."""
        missing = [fault.complaint for fault in self.faults if not fault.happened and not fault.optional]
        return [*missing, *self._differences, *self.errors]

    def __enter__(self) -> Self:
        return self if self._address is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self.stop()
        if kind is None:
            self.check()
        elif error is not None and isinstance(error, Exception):
            error.add_note(f"the sessions of the double:\n{self.transcript or 'none'}")

    def reset(self) -> None:
        """Remove all maildrops, faults and records, and end the sessions that run; the ports stay.

        Raises DoubleFailed as ``check`` does, after that.
        """
        __tracebackhide__ = True
        address = self._listening()
        try:
            self._drop_sessions()
            self.check()
        finally:
            with self._state.changing():
                for box in self._maildrops.values():
                    self._store.clear(box.name)
                self._maildrops.clear()
                self._faults.clear()
                self._users.passwords.clear()
                self._users.tokens.clear()
                self._begun.clear()
                self._ended.clear()
                self._differences.clear()
            address.errors.clear()

    def _drop_sessions(self) -> None:
        assert self._thread is not None
        self._thread.call_soon(self._drop)
        if not self._state.wait(lambda: len(self._ended) >= len(self._begun), TIMEOUT):
            raise DoubleFailed([f"sessions did not end within {TIMEOUT:g} seconds"], self.transcript)

    def _drop(self) -> None:
        self._released.set()
        self._released = self._plugin.released = GreenEvent()
        for client in self._pop3d.clients.values():
            client.disconnect(now=True)

    def _made(self) -> POP3Server:
        certificates = None
        if self._tls != "off":
            names = self._certificate_names or (*dict.fromkeys((self._host, *LOOPBACK)), self._hostname)
            certificate = authority().certificate_for(*names)
            certificates = Certificates([(str(certificate), None)], client_ca=str(authority().ca))
        self._plugin = DoublePlugin(
            self._state, self._store, self._released, self._faults_of, self._begun.append, self._ended.append
        )
        self._pop3d = pop3d = _DoubleServer(
            self._plugin,
            hostname=self._hostname,
            tls=certificates,
            listen=["127.0.0.1:0"],
            tls_listen=[] if certificates is None else ["127.0.0.1:0"],
            **{**({} if self._personality is None else self._personality.server_options), **self._options},
        )
        pop3d.plugin_add("double", self._plugin)
        manners: dict[str, Any] = {"max_tries": 10}
        if self._recording is not None:
            pop3d.plugin_add("recording", ReplayPlugin(self._recording, self._plugin, self._differences))
        if self._personality is not None:
            pop3d.plugin_add("personality", PersonalityPlugin(self._personality, self._store))
            manners |= self._personality.service_options
        service = MaildropService(self._store, self._users, username_case="keep", **manners)
        if self._tls == "required":
            pop3d.plugin("cmd_user", "cmd_pass", "cmd_apop", "cmd_auth")(_refuse_clear_text)
        pop3d.register(service)
        return pop3d

    # Where it listens

    def _listening(self) -> Address:
        if self._address is None:
            raise RuntimeError("the double is not started: use `with Double() as double:`, or call start()")
        return self._address

    @property
    def host(self) -> str:
        """The address it listens at."""
        return self._listening().host

    @property
    def port(self) -> int:
        """The port without TLS, where STLS begins it."""
        return self._listening().port

    @property
    def tls_port(self) -> int:
        """The port with TLS before the greeting. Raises LookupError if TLS is off."""
        return self._listening().tls_port

    @property
    def url(self) -> str:
        """A URL such as ``pop3://127.0.0.1:4711/``."""
        return self._url("")

    @property
    def tls_url(self) -> str:
        """A URL such as ``pop3s://127.0.0.1:4712/``. Raises LookupError if TLS is off."""
        return self._url("", tls=True)

    def _url(self, user: str, *, tls: bool = False) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"pop3s://{user}{host}:{self.tls_port}/" if tls else f"pop3://{user}{host}:{self.port}/"

    @property
    def ca(self) -> Path:
        """The file of the certificate authority that a client must trust (PEM)."""
        return authority().ca

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """A new client's context that trusts ``ca``."""
        return authority().client_context()

    def client_certificate(self, name: str) -> Path:
        """Return a file with the key and the certificate of a client called *name*, for SASL EXTERNAL (PEM)."""
        return authority().client_certificate(name)

    # Maildrops and faults

    def maildrop(self, name: str, password: str = "secret", *, token: str | None = None) -> DoubleMaildrop:  # noqa: S107
        """Add a user with an empty maildrop, or return the maildrop of that user.

        *token* is an OAuth token that the user may log in with. Raises ValueError if the user has another password.
        """
        if not isinstance(name, str) or not isinstance(password, str):
            raise TypeError("a maildrop has a name and a password, both str")
        name = canonical_name(name, "keep")
        with self._state.changing():
            box = self._maildrops.get(name)
            if box is None:
                box = self._maildrops[name] = DoubleMaildrop(self, name, password)
            elif box.password != password:
                raise ValueError(f"the maildrop of {name!r} exists already, with another password")
            self._users.passwords[name] = password
            if token is not None:
                self._users.tokens[token] = name
        return box

    @property
    def maildrops(self) -> dict[str, DoubleMaildrop]:
        """The maildrops by name, in the order in which they were added."""
        with self._state.reading():
            return dict(self._maildrops)

    def remove_maildrop(self, name: str) -> None:
        """Remove a user, with messages and faults; a session that runs goes on. Raises LookupError."""
        name = canonical_name(name, "keep")
        with self._state.changing():
            if name not in self._maildrops:
                raise LookupError(f"there is no maildrop {name!r}")
            del self._maildrops[name], self._users.passwords[name]
            self._users.tokens = {token: user for token, user in self._users.tokens.items() if user != name}
            self._store.clear(name)

    @property
    def faults(self) -> list[Fault]:
        """The faults that were asked for: those in the session of any user, then those of each maildrop."""
        with self._state.reading():
            return [*self._faults, *(fault for box in self._maildrops.values() for fault in box._faults)]

    def remove_fault(self, fault: Fault) -> None:
        """Take back a fault, whether or not it has happened. Raises LookupError."""
        with self._state.changing():
            for faults in (self._faults, *(box._faults for box in self._maildrops.values())):
                for index, each in enumerate(faults):
                    if each is fault:  # equal faults are others
                        del faults[index]
                        return
        raise LookupError(f"this fault was not asked for: {fault}")

    def fail(self, on: str, how: str = "error", **options: Any) -> Fault:
        """Ask for a fault in the session of any user; options as in ``Fault``. It is counted over all sessions."""
        __tracebackhide__ = True
        return self._add_fault(self._faults, make_fault(on, how, options))

    def _add_fault(self, faults: list[Fault], fault: Fault) -> Fault:
        if fault.on == TLS and self._tls == "off":
            raise ValueError("this double has no TLS: a fault on 'tls' could never happen")
        with self._state.changing():
            faults.append(fault)
        return fault

    def _faults_of(self, user: str | None) -> list[Fault]:
        box = None if user is None else self._maildrops.get(user)
        return self._faults if box is None else [*self._faults, *box._faults]

    # Records

    @property
    def errors(self) -> list[str]:
        """The errors that the server logged, as text; remove those that a test expects."""
        return self._errors if self._address is None else self._address.errors

    @property
    def sessions(self) -> EndedSessions:
        """The sessions that have ended, in the order of their ends; wait for them with ``wait_for(sessions=...)``."""
        with self._state.reading():
            return EndedSessions(self._ended, len(self._begun) - len(self._ended))

    @property
    def transcript(self) -> str:
        """The dialogues of all sessions, in the order of their beginnings, secrets masked."""
        with self._state.reading():
            return transcript_of(self._begun)

    def wait_for(
        self, moment: str | None = None, count: int = 1, *, sessions: int | None = None, timeout: float = TIMEOUT
    ) -> None:
        """Wait until *moment* has happened *count* times, or *sessions* sessions have ended, in all maildrops.

        *moment*: a verb that was answered, ``"connect"``, or ``"auth"``, a login that succeeded. Raises DoubleFailed,
        with the transcript, after *timeout* seconds.
        """
        __tracebackhide__ = True
        self._wait_for(None, moment, count, sessions, None, timeout)

    def _wait_for(
        self,
        user: str | None,
        moment: str | None,
        count: int,
        sessions: int | None,
        messages: int | None,
        timeout: float,
    ) -> None:
        __tracebackhide__ = True
        if moment is None and sessions is None and messages is None:
            raise TypeError("wait_for waits for a command such as 'RETR', or for sessions=1")
        for name, value in (("count", count), ("sessions", sessions), ("messages", messages)):
            check_count(name, value)
        place = None if moment is None else known_place(moment)
        if place is not None and place not in COMMANDS and place not in (CONNECT, AUTH):
            raise ValueError(f"wait_for cannot wait for {moment!r}")
        self._listening()

        def seen() -> tuple[int, int, int]:
            begun = [one for one in self._begun if user is None or one.user == user]
            ended = sum(one.ended is not None for one in begun)
            happened = 0 if place is None else sum(_count(one, place) for one in begun)
            return happened, ended, 0 if user is None else len(self._store.messages(user))

        def happened() -> bool:
            moments, ended, left = seen()
            return (
                (place is None or moments >= count)
                and (sessions is None or ended >= sessions)
                and (messages is None or left == messages)
            )

        if not self._state.wait(happened, timeout):
            with self._state.reading():
                moments, ended, left = seen()
            wanted = [f"{place} {count} times, not {moments}"] if place is not None else []
            wanted += [f"{sessions} sessions ended, not {ended}"] if sessions is not None else []
            wanted += [f"{messages} messages left, not {left}"] if messages is not None else []
            raise DoubleFailed([f"waited {timeout:g} s in vain for: {'; '.join(wanted)}"], self.transcript)


class DoubleMaildrop:
    """One user of a double and the maildrop; ``Double.maildrop`` makes it."""

    def __init__(self, double: Double, name: str, password: str) -> None:
        self._double = double
        self.name = name
        self.password = password
        self._faults: list[Fault] = []

    def __repr__(self) -> str:
        return f"<maildrop {self.name!r}>"

    @property
    def url(self) -> str:
        """A URL with name and password, such as ``pop3://alice:secret@127.0.0.1:4711/``."""
        return self._double._url(self._user)

    @property
    def tls_url(self) -> str:
        """The same with TLS from the start: ``pop3s://...``."""
        return self._double._url(self._user, tls=True)

    @property
    def _user(self) -> str:
        return f"{quote(self.name, safe='')}:{quote(self.password, safe='')}@"

    def deliver(self, *contents: Content) -> list[str]:
        """Add messages, also while a session runs, which then does not see them; return their unique-ids.

        Each of *contents* is bytes, str, an EmailMessage, the Path of a message, an mbox or a Maildir, or a
        ``mailbox.Mailbox``. Nothing is added if one of them is wrong: TypeError, ValueError, OSError.
        """
        __tracebackhide__ = True
        if not contents:
            raise TypeError("deliver needs a message")
        messages = list(chain.from_iterable(map(contents_of, contents)))
        with self._double._state.changing():
            return [self._double._store.deliver(self.name, message) for message in messages]

    def clear(self) -> None:
        """Remove all messages."""
        with self._double._state.changing():
            self._double._store.clear(self.name)

    def fail(self, on: str, how: str = "error", **options: Any) -> Fault:
        """Ask for a fault in the sessions of this maildrop: *how* at the *nth* occurrence of *on*.

        *on*: a verb such as ``"RETR"``, or ``"auth"``: PASS, APOP or AUTH. *nth* counts from 1, over all sessions of
        this maildrop. Options as in ``Fault``. Raises ValueError or TypeError for what cannot happen.
        """
        __tracebackhide__ = True
        fault = make_fault(on, how, options)
        if fault.on not in COMMANDS and fault.on != AUTH:
            raise ValueError(f"before the user is known, no maildrop can have a fault on {fault.on!r}: use double.fail")
        return self._double._add_fault(self._faults, fault)

    @property
    def messages(self) -> list[bytes]:
        """The messages that are in the maildrop now, oldest first, as they were delivered."""
        with self._double._state.reading():
            return self._double._store.messages(self.name)

    @property
    def by_unique_id(self) -> dict[str, bytes]:
        """The same messages by their unique-ids."""
        with self._double._state.reading():
            return self._double._store.by_unique_id(self.name)

    @property
    def sessions(self) -> EndedSessions:
        """The sessions of this user that have ended, in the order of their ends; ``wait_for`` waits for them."""
        with self._double._state.reading():
            begun = [session for session in self._double._begun if session.user == self.name]
            ended = [session for session in self._double._ended if session.user == self.name]
            return EndedSessions(ended, len(begun) - len(ended))

    @property
    def transcript(self) -> str:
        """The dialogues of this user's sessions, secrets masked."""
        with self._double._state.reading():
            return transcript_of([session for session in self._double._begun if session.user == self.name])

    def wait_for(
        self,
        moment: str | None = None,
        count: int = 1,
        *,
        sessions: int | None = None,
        messages: int | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """Wait until *moment* has happened *count* times, *sessions* have ended, and *messages* are left.

        As ``Double.wait_for``, in this maildrop alone.
        """
        __tracebackhide__ = True
        self._double._wait_for(self.name, moment, count, sessions, messages, timeout)


class _DoubleServer(POP3Server):
    """A server whose streams can carry out faults."""

    def __init__(self, plugin: DoublePlugin, **options: Any) -> None:
        super().__init__(**options)
        self._plugin = plugin

    def _open_stream(self, sock: Any, implicit_tls: bool) -> PlainStream:
        return self._plugin.open(SocketStream(sock), implicit_tls=implicit_tls)


def _count(session: SessionRecord, place: str) -> int:
    if place == CONNECT:
        return 1
    if place == AUTH:
        return int(session.mechanism is not None)
    return sum(command.verb == place and command.reply is not None for command in session.commands)


def _refuse_clear_text(_pop3d: Any, event: Any) -> None:
    if not event.client.secure:
        raise ClearTextRefused
