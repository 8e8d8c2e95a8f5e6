"""The plugin: it turns what the ledger knows of an address and a user into a delay, a refusal or a ban.

What is known before a login is checked applies before the check. Two refusals come only after the right password,
because nobody else may learn their reason. They are a login just now (RFC 2449 section 8.1.1) and open sessions
(section 8.1.2).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from time import monotonic

import gevent

from geventpop3.errors import PipelineError
from geventpop3.forks import Registration
from geventpop3.hosts import Networks, address_key, parse_ip
from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.pipeline.pluggable import Pluggable
from geventpop3.pipeline.plugin import EAT_ALL, Eat, Plugin, handles
from geventpop3.plugins.limits import reports
from geventpop3.plugins.limits.ban_timer import Bans
from geventpop3.plugins.limits.concurrency import Gates
from geventpop3.plugins.limits.keys import fingerprint, networks_of, user_key
from geventpop3.plugins.limits.ledger import Ledger, MemoryLedger, Reason
from geventpop3.plugins.limits.rules import Rules, Standing


class LimitedClient:
    """A client, and its login that is under way."""

    __slots__ = (
        "address",
        "at_gate",
        "client",
        "fingerprint",
        "in_line",
        "name",
        "owner",
        "refused",
        "tried",
        "under_way",
        "user",
        "waited",
    )

    def __init__(self, client: ClientInterface, address: str) -> None:
        self.client = client
        self.address = address
        self.name = ""
        """Name in the last USER command."""
        self.owner: str | None = None
        """Owner of this session, once the ledger counts it."""
        self.at_gate = False
        """True while a login of this client is being checked."""
        self.under_way = False
        """True if the ledger may count a try of the user whose outcome was not reported to it."""
        self.begin("", "")

    def disown(self) -> None:
        """Drop all that is held: this is a forked child's copy."""
        self.owner, self.at_gate, self.under_way = None, False, False

    def begin(self, user: str, fingerprint: str) -> None:
        """Begin a login; *user* is the key of its name, if that is known before the check."""
        self.user = user
        self.fingerprint = fingerprint
        self.tried = False
        """True if it is counted as a try of the address."""
        self.waited = 0.0
        """Seconds that it has waited."""
        self.in_line = False
        """True if its wait for a turn was reported."""
        self.refused: Reason | None = None
        """Reason why it fails although the password was right."""


class LimitedClients:
    """Clients by id; None for a client that no limit holds for: of a trusted network, or without an address."""

    def __init__(self, trusted: Networks) -> None:
        self._trusted = trusted
        self._sessions: dict[int, LimitedClient | None] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def of(self, client: ClientInterface | None) -> LimitedClient | None:
        """Return the session of a client; None if no limit holds for it."""
        if client is None:
            return None
        if client.id not in self._sessions:
            host = client.peer[0]
            address = parse_ip(host)
            is_free = address is None or address in self._trusted
            self._sessions[client.id] = None if is_free else LimitedClient(client, address_key(host))
        return self._sessions[client.id]

    def knows(self, session: LimitedClient) -> bool:
        """Return whether this is now the session of its client."""
        return self._sessions.get(session.client.id) is session

    def remove(self, client: ClientInterface | None) -> LimitedClient | None:
        """Forget a client; return its session."""
        return None if client is None else self._sessions.pop(client.id, None)

    def remove_all(self) -> list[LimitedClient]:
        """Forget all clients; return the sessions that limits held for."""
        sessions = [session for session in self._sessions.values() if session is not None]
        self._sessions.clear()
        return sessions


LOGINS = ("cmd_pass", "cmd_apop", "cmd_auth")

LAST_PRIORITY = 1_000_000
"""Priority of the listener that is called when all others have answered a login."""

POLL_SECONDS = 1.0
"""Seconds between two checks whether the client of a waiting login has gone."""

SINGLE_RESPONSE_MECHANISMS = frozenset({"PLAIN", "XOAUTH2", "OAUTHBEARER"})
"""Mechanisms whose initial response is all that the client sends: the same response means the same password."""


class LoginLimits(Plugin):
    """A plugin that delays, refuses and bans by *rules*; ``pop3d.plugin_add("limits", LoginLimits())``.

    It acts on the events ``authenticated`` and ``authentication_failed``. An application that answers PASS itself sends
    them, and one that answers AUTH sends ``credentials`` before it checks anything. *ledger* keeps what is known, in
    memory if none is given. *key* is used to tell wrong passwords apart. Processes that share a ledger recognize each
    other's if they have the same key; None: a random one.

    It stands behind plugins that rewrite names. *clock* and *sleep* are for tests.
    """

    priority = 100

    def __init__(
        self,
        rules: Rules | None = None,
        ledger: Ledger | None = None,
        *,
        key: bytes | None = None,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], object] = gevent.sleep,
    ) -> None:
        self.rules = Rules() if rules is None else rules
        self.ledger: Ledger = MemoryLedger(clock=clock) if ledger is None else ledger
        self._key = secrets.token_bytes(32) if key is None else key
        self._sleep = sleep
        self._trusted = networks_of(self.rules.trusted)
        self._bans = Bans(clock, self._ban_ended)
        self._begin()
        self._pop3d: Pluggable | None = None
        self._registration = Registration(self._disown)

    def _begin(self) -> None:
        """Forget all sessions; the names of later ones in the ledger differ from those of earlier ones."""
        self._token = secrets.token_hex(8)
        self._gates = Gates(self.rules.at_once, self.rules.patience)
        self._sessions = LimitedClients(self._trusted)

    def _disown(self) -> None:
        """Leave the sessions to a forked child's parent."""
        for session in self._sessions.remove_all():
            session.disown()
        self._begin()

    def __repr__(self) -> str:
        return f"<LoginLimits {self.rules!r}>"

    def plugin_register(self, pop3d: Pluggable) -> None:
        if self._pop3d is not None:
            raise PipelineError(
                "this plugin belongs to another server: create another LoginLimits, which may share the ledger"
            )
        for name in reports.EVENTS:
            pop3d.add_event(name)
        # Not the `response` hook, which would receive the reply to every command.
        pop3d.register(self._answered, *LOGINS, priority=LAST_PRIORITY)
        self._pop3d = pop3d

    def plugin_unregister(self, pop3d: Pluggable) -> None:
        self._pop3d = None
        pop3d.unregister(self._answered)
        for session in self._sessions.remove_all():
            self._finish(session)
            self._leave(session)
        self._bans.close()
        self.ledger.close()

    def release(self, address: str) -> bool:
        """Lift the ban of an address, ``192.0.2.7``, or of the /64 of one of IPv6; return whether there was one."""
        host = address.partition("/")[0]
        if parse_ip(host) is None:
            return False
        key = address_key(host)
        self._bans.remove(key)
        was_banned = self.ledger.release(key)
        if was_banned:
            self._ban_ended(key)
        return was_banned

    # A session

    @handles("connection")
    def connection(self, pop3d: Pluggable, event: Event) -> Eat | None:
        """Refuse a banned address before it can send anything."""
        session = self._sessions.of(event.client)
        if session is None or not self.ledger.standing(self.rules, session.address, "").banned:
            return None
        return self._refuse(pop3d, event, session, "", Reason.BANNED)

    @handles("cmd_user")
    def user(self, _pop3d: Pluggable, event: Event) -> None:
        """Store the name whose failures a PASS will wait for."""
        session = self._sessions.of(event.client)
        if session is not None:
            session.name = event.argument

    @handles(*LOGINS)
    def login(self, pop3d: Pluggable, event: Event) -> Eat | None:
        """Delay a login, before it is checked, for the failures before it; it holds nothing meanwhile.

        AUTH sends the name later, so here it waits for the failures of its address alone.
        """
        session = self._sessions.of(event.client)
        if session is None or (event.name == "cmd_auth" and not event.args):  # AUTH without arguments asks for a list
            return None
        self._finish(session)
        name = {"cmd_pass": session.name, "cmd_apop": "".join(event.args[:1])}.get(event.name, "")
        user = user_key(name)
        session.begin(user, self._fingerprint(session.address, user, event))
        reason = self._admit(pop3d, session, name)
        return None if reason is None else self._refuse(pop3d, event, session, name, reason)

    @handles("credentials")
    def credentials(self, pop3d: Pluggable, event: Event) -> Eat | None:
        """Delay an AUTH for the failures of its name, too, before anything is checked."""
        session = self._sessions.of(event.client)
        if session is None:
            return None
        name = event.args[0]
        user = user_key(name)
        if user != session.user:
            self._settle(session)
            session.user = user
        reason = self._admit(pop3d, session, name)
        return None if reason is None else self._refuse(pop3d, event, session, name, reason)

    @handles("challenge")
    def challenge(self, _pop3d: Pluggable, event: Event) -> None:
        """Release the semaphore for others while the server waits for the client."""
        session = self._sessions.of(event.client)
        if session is not None:
            self._leave_gate(session)

    @handles("command_eaten")
    def eaten(self, _pop3d: Pluggable, event: Event) -> None:
        """End a login that a plugin behind this one has answered: it will not be checked."""
        session = self._sessions.of(event.client)
        if session is not None and event.args[0] in LOGINS:
            self._finish(session)

    @handles("authentication_failed")
    def failed(self, pop3d: Pluggable, event: Event) -> None:
        """Count a failed login, unless this client has failed in the same way before."""
        session = self._sessions.of(event.client)
        if session is None:
            return
        name = event.args[0]
        user = session.user or user_key(name)
        session.under_way = False
        failure = self.ledger.failed(self.rules, session.address, user, session.fingerprint, self._token_of(session))
        # Only now: the next login of this address must wait for this failure, too.
        self._leave_gate(session)
        if failure.banned:
            seconds = self.rules.ban_seconds
            session.client.disconnect()
            self._bans.add(session.address, seconds)
            reports.banned(pop3d, session.client, session.address, seconds)
        self._wait_late(pop3d, session, name, failure.user_failures)

    @handles("authenticated")
    def succeeded(self, pop3d: Pluggable, event: Event) -> None:
        """Count a successful login; refuse it if its user exceeds a limit."""
        session = self._sessions.of(event.client)
        if session is None:
            return
        self._leave(session)
        name = event.args[0]
        owner = user_key(name)
        user = session.user or owner
        session.under_way = False
        entry = self.ledger.entered(self.rules, session.address, user, owner, self._token_of(session))
        self._leave_gate(session)
        if entry.refused is None:
            session.owner = owner
        else:
            session.refused = entry.refused
            reports.refused(pop3d, session.client, session.address, name, entry.refused)
        self._wait_late(pop3d, session, name, entry.user_failures)

    def _answered(self, _pop3d: Pluggable, event: Event) -> None:
        """End a login that all others have answered; replace the ``+OK`` of a refused one."""
        session = self._sessions.of(event.client)
        if session is None:
            return
        if session.refused is not None and event.reply is not None and event.reply.positive:
            event.reply = reports.REPLIES[session.refused]
            session.client.disconnect()
        self._finish(session)

    @handles("reply_withdrawn")
    def withdrawn(self, _pop3d: Pluggable, event: Event) -> None:
        """Give back the place of a login whose ``+OK`` is not sent: it is no session of its user."""
        session = self._sessions.of(event.client)
        if session is not None and event.args[0] in LOGINS:
            self._leave(session)

    @handles("disconnected")
    def disconnected(self, _pop3d: Pluggable, event: Event) -> None:
        session = self._sessions.remove(event.client)
        if session is not None:
            self._finish(session)
            self._leave(session)

    # Helpers

    def _token_of(self, session: LimitedClient) -> str:
        return f"{self._token}:{session.client.id}"

    def _fingerprint(self, address: str, user: str, event: Event) -> str:
        """Return the digest of what a client repeats with the same password; empty where that is never the same."""
        if event.name == "cmd_pass":
            return fingerprint(self._key, address, user, event.argument)
        if event.name == "cmd_auth" and len(event.args) == 2 and event.args[1] != "=":
            mechanism = event.args[0].upper()
            if mechanism in SINGLE_RESPONSE_MECHANISMS:
                return fingerprint(self._key, address, "", mechanism, event.args[1])
        return ""

    def _admit(self, pop3d: Pluggable, session: LimitedClient, name: str) -> Reason | None:
        """Wait until a login may be checked; return the reason if it may not be.

        The login first waits for the failures of its address, then in line for its turn among the tries of its user.
        """
        token = self._token_of(session)
        while True:
            if not session.at_gate:
                if not self._gates.enter(session.address):
                    return Reason.ADDRESS_BUSY
                session.at_gate = True
            if not self._sessions.knows(session):  # this plugin was removed meanwhile and gets no more events
                self._leave_gate(session)
                return None
            # Asked again after each wait: failures of others meanwhile count.
            session.under_way = bool(session.user)
            trying, session.tried = not session.tried, True
            standing = self.ledger.standing(
                self.rules,
                session.address,
                session.user,
                trying=trying,
                session=token if session.user else "",
                waited=session.waited,
            )
            if standing.banned:
                return Reason.BANNED
            if standing.too_often:
                return Reason.ADDRESS_RATE
            if standing.busy:
                return Reason.ADDRESS_BUSY
            if standing.crowded:
                return Reason.USER_BUSY
            delay = self.rules.address_delay(standing.failures)
            if delay <= session.waited and not standing.turn:
                return None
            self._leave_gate(session)
            if delay > session.waited:
                stays = self._wait(pop3d, session, name, delay)
            else:
                stays = self._wait_in_line(pop3d, session, name, standing)
            if not stays:
                return Reason.GONE

    def _wait(self, pop3d: Pluggable, session: LimitedClient, name: str, seconds: float) -> bool:
        """Wait until this login has waited *seconds* in all; return whether the client is still there."""
        more = seconds - session.waited
        if more <= 0:
            return True
        reports.delayed(pop3d, session.client, session.address, name, more)
        return self._pause(session, more)

    def _wait_in_line(self, pop3d: Pluggable, session: LimitedClient, name: str, standing: Standing) -> bool:
        """Wait until this login is to ask again, and report the first such wait. Return as ``_wait`` does."""
        if not session.in_line:
            session.in_line = True
            reports.delayed(pop3d, session.client, session.address, name, standing.turn)
        return self._pause(session, standing.pause)

    def _pause(self, session: LimitedClient, seconds: float) -> bool:
        session.waited += seconds
        while seconds > 0:
            step = min(seconds, POLL_SECONDS)
            self._sleep(step)
            if session.client.has_gone():
                return False
            seconds -= step
        return True

    def _wait_late(self, pop3d: Pluggable, session: LimitedClient, name: str, user_failures: int) -> None:
        """Delay the answer to an application's own AUTH, right or wrong: it tells the name only now."""
        if not session.user:
            self._wait(pop3d, session, name, self.rules.user_delay(user_failures))

    def _refuse(self, pop3d: Pluggable, event: Event, session: LimitedClient, name: str, reason: Reason) -> Eat:
        self._finish(session)
        reports.refused(pop3d, session.client, session.address, name, reason)
        event.reply = reports.REPLIES[reason]
        session.client.disconnect()
        return EAT_ALL

    def _ban_ended(self, address: str) -> None:
        if self._pop3d is not None:
            reports.released(self._pop3d, address)

    def _finish(self, session: LimitedClient) -> None:
        """End the login that is under way, if there is one."""
        self._leave_gate(session)
        self._settle(session)
        session.begin("", "")

    def _settle(self, session: LimitedClient) -> None:
        """Settle the try of the user that is under way, if there is one: it came to nothing."""
        if session.under_way:
            session.under_way = False
            self.ledger.settled(session.address, session.user, self._token_of(session))

    def _leave_gate(self, session: LimitedClient) -> None:
        if session.at_gate:
            session.at_gate = False
            self._gates.leave(session.address)

    def _leave(self, session: LimitedClient) -> None:
        """End the session in the ledger, if it was counted."""
        owner, session.owner = session.owner, None
        if owner is not None:
            self.ledger.left(owner, self._token_of(session))
