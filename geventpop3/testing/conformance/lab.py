"""The working environment of a check: sessions, a filled maildrop, and the features of the server."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from geventpop3.testing.conformance import messages
from geventpop3.testing.conformance.delivery import Delivery
from geventpop3.testing.conformance.exchange import ExchangeRecord, quoted
from geventpop3.testing.conformance.outcome import CannotRun, Failed, NoConnection, Skipped, skip
from geventpop3.testing.conformance.session import Closed, NoAnswer, ProbeSession, StatusLine, split, unstuffed
from geventpop3.testing.conformance.target import Target, unverified_context

LOCK_SECONDS = 8.0
"""Seconds for which a login is repeated: the previous session may still hold the lock of the maildrop."""
ARRIVAL_SECONDS = 15.0
"""Seconds within which a delivered message must be in the maildrop."""

_TIMESTAMP = re.compile(rb"<[^<>]+>")

Capabilities = dict[str, list[str]]


@dataclass(slots=True)
class Facts:
    """The features of the server, as found before the checks."""

    greeting: bytes = b""
    timestamp: bytes = b""
    clear: Capabilities | None = None
    """Capabilities before login, and before TLS if that begins with STLS; None if CAPA is refused."""
    before: Capabilities | None = None
    """Capabilities before login, in sessions like those of the checks."""
    after: Capabilities | None = None
    """Capabilities after login."""
    login: str = ""
    """Login method of the sessions: USER, PLAIN or APOP."""
    messages: int = 0
    found: set[str] = field(default_factory=set)
    """Optional commands that work: TOP, UIDL."""

    def offers(self, capability: str) -> bool:
        """Return whether CAPA announces it; without CAPA, return whether TOP or UIDL works."""
        if self.before is None and self.after is None:
            return capability in self.found
        return capability in (self.before or {}) or capability in (self.after or {})

    def mechanisms(self) -> list[str]:
        """Return the SASL mechanisms that are announced, in upper case."""
        return [name.upper() for name in (self.before or {}).get("SASL", [])]


class Lab:
    """The sessions and the maildrop of the check that runs."""

    def __init__(self, target: Target, delivery: Delivery | None = None, *, may_delete: bool = False) -> None:
        self.target = target
        self.delivery = delivery
        self.may_delete = may_delete
        self.facts = Facts()
        self.exchange = ExchangeRecord(target.secrets)
        self._sessions: list[ProbeSession] = []
        self._serials = itertools.count(time.time_ns())
        self._holds: Sequence[bytes] | None = None
        self._logged_in = False
        self._may_be_locked = False

    # For the runner

    def begin(self) -> None:
        """Begin a check with a new record and a maildrop that no session holds.

        A session that was closed without QUIT may hold the lock for some time. A wrong password that is refused
        because of the lock would prove nothing.
        """
        if self._may_be_locked:
            with suppress(Failed, OSError):
                self.login()
            self.end(in_step=True)
            self._may_be_locked = False
        self.exchange = ExchangeRecord(self.target.secrets)

    def end(self, *, in_step: bool = False) -> None:
        """Close the sessions of the check, with QUIT if they are *in_step*, so that the maildrop is free at once.

        Some servers remove retrieved messages at QUIT. Without permission to delete, such a session ends without QUIT.
        """
        sessions, self._sessions = self._sessions, []
        for session in sessions:
            if in_step and (self.may_delete or not session.took_mail):
                session.part()
            else:
                session.close()
                self._may_be_locked = True

    def disturbed(self) -> None:
        """Note that the content of the maildrop may have changed."""
        self._holds = None

    # Sessions

    def connect(self, *, tls: bool = True) -> ProbeSession:
        """Return a session after its greeting, with the TLS of the target unless *tls* is false."""
        try:
            session = ProbeSession(self.target, self.exchange)
            self._sessions.append(session)
            self._greet(session, tls=tls)
        except ssl.SSLError as error:
            hint = "; use --ca or --insecure" if isinstance(error, ssl.SSLCertVerificationError) else ""
            raise Failed(f"the TLS handshake failed: {error}{hint}") from None
        except OSError as error:
            raise NoConnection(f"no connection to {self.target.address}: {error.strerror or error}") from None
        session.renew = lambda again: self._greet(again, tls=tls)
        return session

    def _greet(self, session: ProbeSession, *, tls: bool) -> None:
        context = self.target.context
        if self.target.tls == "tls" and context is not None:
            session.start_tls(context)
        try:
            session.greeting = session.read_line(owed="greeting")
        except NoAnswer as failure:
            hint = (
                ""
                if context is not None or session.has_more()
                else "; a server with TLS before the greeting needs --tls"
            )
            raise NoAnswer(f"{failure}{hint}") from None
        session.lines_seen.append(session.greeting)
        if not session.greeting.startswith(b"+OK"):
            raise Failed(f"the greeting does not begin with +OK: {quoted(session.greeting)}")
        if tls and self.target.tls == "stls" and context is not None:
            session.ok(b"STLS")
            session.start_tls(context)

    def login(self) -> ProbeSession:
        """Return a session in the TRANSACTION state. Raises Failed if the login is still refused after some seconds."""
        deadline = time.monotonic() + (LOCK_SECONDS if self._logged_in else 0)
        pause = 0.05
        while True:
            session = self.connect()
            reply = self.try_login(session)
            if reply.ok:
                self._logged_in = True
                session.renew = self._renewed
                return session
            session.close()
            if time.monotonic() > deadline:
                raise Failed(f"the login was refused: {reply.text.decode('ascii', 'backslashreplace')}")
            time.sleep(pause)  # another session may hold the lock, and no reply reports its release
            pause = min(2 * pause, 1.0)

    def _renewed(self, session: ProbeSession) -> None:
        self._greet(session, tls=True)
        deadline = time.monotonic() + LOCK_SECONDS
        while not self.try_login(session).ok:
            if time.monotonic() > deadline:
                raise Failed("the login was refused after the server had closed the previous session")
            time.sleep(0.2)  # as in login()
            session.open()
            self._greet(session, tls=True)

    def try_login(self, session: ProbeSession, *, method: str | None = None) -> StatusLine:
        """Log in with the right credentials and return the last reply."""
        method = method or self.facts.login or "USER"
        target = self.target
        if method == "PLAIN":
            message = base64.b64encode(b"\0" + target.name + b"\0" + target.secret)
            return session.command(b"AUTH PLAIN " + message, message)
        if method == "APOP":
            digest = apop_digest(session.greeting, target.secret)
            return session.command(b"APOP " + target.name + b" " + digest, digest)
        first = session.command(b"USER " + target.name)
        return session.command(b"PASS " + target.secret, target.secret) if first.ok else first

    # The maildrop

    def fill(self, *contents: bytes) -> None:
        """Fill the maildrop with exactly these messages. Raises Skipped, CannotRun; Failed if the login is refused."""
        if self.delivery is None:
            skip("no delivery is configured: use --maildir or --deliver")
        if self._holds is not None and list(self._holds) == list(contents):
            return
        self._holds = None
        # The server removes the messages itself: files that vanish without its knowledge would be unfair.
        try:
            self._remove_all()
        except Failed:
            if not self.delivery.empty():
                raise
        else:
            self.delivery.empty()
        for content in contents:
            self._hand_over(self.delivery, content)
        self.wait_for(len(contents))
        self._holds = contents
        # A failure shows the dialogue of the check, not that of the preparation.
        self.exchange = ExchangeRecord(self.target.secrets)

    def try_delivery(self) -> None:
        """Deliver a message and verify that it arrives, before anything is removed. Raises CannotRun."""
        assert self.delivery is not None
        wanted = self.facts.messages + 1
        self._hand_over(self.delivery, messages.PLAIN[0])
        found = self.await_count(wanted)
        self.end()
        if found != wanted:
            self.delivery.take_back()
            raise CannotRun(
                f"a delivered message does not arrive: the maildrop of {self.target.user} holds {found} messages, and"
                f" {wanted} were expected; check that the delivery is to this maildrop"
            )

    def deliver(self, content: bytes) -> None:
        """Deliver one more message. Raises Skipped, CannotRun."""
        if self.delivery is None:
            skip("no delivery is configured: use --maildir or --deliver")
        self._holds = None
        self._hand_over(self.delivery, content)

    def _hand_over(self, delivery: Delivery, content: bytes) -> None:
        if not delivery.exact:
            # Delivery agents drop a message whose Message-ID they have seen before.
            content = messages.unique(content, next(self._serials))
        delivery.deliver(content)

    def _remove_all(self) -> None:
        session = self.login()
        count = counted(session)
        for number in range(1, count + 1):
            session.ok(b"DELE %d" % number)
        session.ok(b"QUIT")
        session.close()

    def wait_for(self, count: int) -> None:
        """Wait until a new session finds *count* messages. Raises Skipped if it does not in time."""
        found = self.await_count(count)
        if found != count:
            raise Skipped(f"{count} messages were delivered, but the maildrop holds {found}")

    def await_count(self, count: int) -> int:
        """Return how many messages a new session finds, as soon as it finds *count*, or at the time limit."""
        deadline = time.monotonic() + ARRIVAL_SECONDS
        pause = 0.05
        while True:
            session = self.login()
            found = counted(session)
            if found != count and session.command(b"LIST").ok and len(split(session.read_body())) - 1 == count:
                found = count  # STAT is wrong; another check reports that
            session.part()
            if found == count or time.monotonic() > deadline or (self.delivery is not None and self.delivery.exact):
                return found
            time.sleep(pause)  # a delivery command may hand the message to a queue
            pause = min(2 * pause, 1.0)

    def counted(self) -> int:
        """Return how many messages a new session finds."""
        session = self.login()
        count = counted(session)
        self.leave(session)
        return count

    def leave(self, session: ProbeSession) -> None:
        """End a session; with QUIT only if that removes nothing: some servers remove retrieved messages."""
        if self.may_delete or not session.took_mail:
            session.part()
        session.close()

    # Features of the server

    def offers(self, capability: str) -> bool:
        """Return whether the server announces a capability."""
        return self.facts.offers(capability)

    def survey(self) -> Facts:
        """Find the features of the server. Raises CannotRun."""
        try:
            return self._survey()
        except NoConnection as failure:
            raise CannotRun(str(failure)) from None
        except Failed as failure:
            raise CannotRun(f"{self.target.address}: {failure}") from None
        except OSError as error:
            raise CannotRun(f"{self.target.address}: {error}") from None
        finally:
            self.end()

    def _survey(self) -> Facts:
        facts = self.facts = Facts()
        session = self.connect(tls=False)
        facts.greeting = session.greeting
        facts.timestamp = timestamp_of(session.greeting)
        facts.clear = capabilities(session)
        if self.target.tls == "stls":
            if facts.clear is not None and "STLS" not in facts.clear:
                raise CannotRun(f"{self.target.address}: the server does not announce STLS")
            session.close()
            session = self.connect()
        facts.before = capabilities(session) if self.target.tls == "stls" else facts.clear
        session.close()
        self._choose_login()
        session = self.login()
        facts.after = capabilities(session)
        facts.messages = counted(session)
        for command, name in ((b"UIDL", "UIDL"), (b"TOP 1 0", "TOP")):
            if session.command(command).ok:
                session.read_body()
                facts.found.add(name)
            elif name == "TOP" and not facts.messages:
                facts.found.add(name)  # no message to try it on; the checks do that later
        session.close()
        return facts

    def _choose_login(self) -> None:
        facts = self.facts
        methods = ["USER"]
        if "PLAIN" in facts.mechanisms():
            methods.append("PLAIN")
        if facts.timestamp:
            methods.append("APOP")
        said = b""
        for method in methods:
            session = self.connect()
            reply = self.try_login(session, method=method)
            session.close()
            if reply.ok:
                facts.login = method
                self._logged_in = True
                return
            said = said or reply.text
        raise CannotRun(
            f"{self.target.address}: the login of {self.target.user} is refused:"
            f" {said.decode('utf-8', 'backslashreplace')}"
        )

    def tls_context(self) -> ssl.SSLContext:
        """Return the context for STLS: the target's own, or one that accepts every certificate."""
        return self.target.context or unverified_context()


def counted(session: ProbeSession) -> int:
    """Return the number of messages in the reply to STAT."""
    words = session.ok(b"STAT").text.split(b" ")
    if len(words) < 2 or not words[1].isdigit():
        raise Failed("the reply to STAT does not begin with +OK and a number")
    return int(words[1])


def capabilities(session: ProbeSession) -> Capabilities | None:
    """Return the announced capabilities with their arguments, by tag in upper case; None if CAPA is refused."""
    try:
        reply = session.command(b"CAPA")
    except Closed:
        return None
    if not reply.ok:
        return None
    lines = [line.decode("ascii", "replace").split() for line in split(unstuffed(session.read_body()))]
    return {words[0].upper(): words[1:] for words in lines if words}


def timestamp_of(greeting: bytes) -> bytes:
    """Return the timestamp of a greeting with its angle brackets; empty if there is none."""
    found = _TIMESTAMP.search(greeting)
    return found[0] if found else b""


def apop_digest(greeting: bytes, secret: bytes) -> bytes:
    """Return the digest of APOP."""
    return hashlib.md5(timestamp_of(greeting) + secret, usedforsecurity=False).hexdigest().encode()
