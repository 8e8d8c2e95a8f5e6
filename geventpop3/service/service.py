"""The listener that makes a POP3 server from a store and an authenticator.

It has the lowest priority and answers only what no other listener answered. It receives ``disconnected`` first, and
then drops the client's session and the exclusive-access lock, however the session ended.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
from typing import Literal, ParamSpec, TypeVar

from geventpop3.auth.authenticator import (
    Authenticator,
    FunctionAuthenticator,
    SecretAuthenticator,
    TokenAuthenticator,
    ask,
)
from geventpop3.auth.mechanisms import MECHANISMS, Mechanism
from geventpop3.auth.secret import Secret
from geventpop3.errors import ConfigError, PipelineError, Refusal, StoreBroken, StoreMistake
from geventpop3.forks import Registration
from geventpop3.owners import USERNAME_CASES, UsernameCase, canonical_name, canonical_owner
from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.pipeline.plugin import handles, name_of, plain_function
from geventpop3.service import commands, language, login, sasl, utf8
from geventpop3.service.body import Body, let_go
from geventpop3.service.capabilities import CAPABILITIES, Capability, listing
from geventpop3.service.language import DEFAULT, LANGUAGES, Language
from geventpop3.service.open_maildrop import Transaction, plural
from geventpop3.service.policy import Expiry, LoginDelay, PerUser
from geventpop3.service.session import Host, Session
from geventpop3.service.threads import (
    CALLS_PER_THREAD,
    NICER,
    WAITING_THREADS,
    AuthThreads,
    Call,
    Offload,
    StoreThreads,
)
from geventpop3.stores.store import Chunks, Maildrop, Snapshot, Store
from geventpop3.wire.arguments import expect
from geventpop3.wire.replies import Reply, multiline, ok

P = ParamSpec("P")
R = TypeVar("R")
Check = TypeVar("Check", bound=Callable[[str, str], str | bool | None])

log = logging.getLogger("geventpop3.service")

PRIORITY = 1000
FIRST = -1_000_000
STORE_THREADS = 8

_GOODBYE = ok("goodbye")

WITHOUT_MAILDROP = {**login.COMMANDS, **utf8.COMMANDS, **language.COMMANDS}

TAKE_BACK = {**login.TAKE_BACK, **utf8.TAKE_BACK, **language.TAKE_BACK}


class MaildropService:
    """A listener that answers RFC 1939, CAPA and AUTH from *store*, for the users of *authenticator*.

    *allow_plaintext* permits USER and PASS over connections that others may read; without it they work on loopback and
    unix sockets only. *expire*: days that the site keeps mail, or ``"never"``, as CAPA announces. None announces
    nothing; at 0 QUIT removes the messages that RETR sent (RFC 2449 section 6.7, see ``Expiry``). *login_delay*:
    seconds between two logins of one user (section 6.5). Either may be a ``PerUser``. *utf8_messages*: handling of
    messages with octets outside ASCII in the header, for clients without UTF-8 mode: ``"as-is"``, ``"refuse"`` or
    ``"convert"`` (RFC 6856 section 2.1, see ``utf8``). *language*: tag of the language that ``LANG *`` chooses; more
    can be added to ``languages``.

    After *max_tries* failed logins the connection is closed. *mechanisms* is the table of mechanisms that AUTH may
    offer. *may_act_as* returns whether an authentication identity may open the maildrop of an authorization identity;
    it must not block. Without it none may (RFC 4616 section 2).

    *username_case*: meaning of case in the names of users and owners. With ``"domain"`` case does not matter after the
    last @, with ``"lower"`` nowhere; with ``"keep"`` other case is another name. Back ends, events and stores receive
    names in the resulting canonical form, in Unicode's NFC. A ``PasswordFile`` and a ``MemoryStore`` take the same
    option.

    *auth_threads*: threads that hash passwords; None means one for each core. *waiting_threads*: threads that wait for
    back ends that ask others, for each back end of a chain. *fake_salt_key* makes the salts that SCRAM shows for
    unknown names. By default it is random, and shared by processes forked after the service is made. Pass it (32 random
    octets) to services that are made apart. Pass it also if a salt that changes at a restart must not reveal that a
    name is unknown.

    Another listener that answers ``cmd_quit`` takes over UPDATE, too: then nothing is removed.
    """

    priority = PRIORITY

    def __init__(
        self,
        store: Store,
        authenticator: Authenticator | None = None,
        *,
        allow_plaintext: bool = False,
        expire: int | Literal["never"] | PerUser | None = None,
        login_delay: int | PerUser = 0,
        utf8_messages: str = "as-is",
        language: str = DEFAULT,
        username_case: UsernameCase = "domain",
        max_tries: int = 3,
        store_threads: int = STORE_THREADS,
        auth_threads: int | None = None,
        waiting_threads: int = WAITING_THREADS,
        fake_salt_key: bytes | None = None,
        mechanisms: Mapping[str, Mechanism] = MECHANISMS,
        may_act_as: Callable[[str, str], bool] | None = None,
    ) -> None:
        _check_parts(store, authenticator, may_act_as)
        self.mechanisms = mechanisms
        self.may_act_as = _never if may_act_as is None else may_act_as
        self.store = store
        self._auth_threads = AuthThreads(auth_threads, waiting_threads)
        self._authenticator = None if authenticator is None else authenticator.in_threads(self._auth_threads)
        self.fake_salt_key = secrets.token_bytes(32) if fake_salt_key is None else fake_salt_key
        self.allow_plaintext = allow_plaintext
        self.expiry = Expiry(expire)
        self.login_delay = LoginDelay(login_delay)
        if utf8_messages not in utf8.POLICIES:
            raise ConfigError(f"utf8_messages is one of {', '.join(utf8.POLICIES)}")
        self.present = utf8.POLICIES[utf8_messages]
        self.languages: dict[str, Language] = dict(LANGUAGES)
        self.language = language
        if username_case not in USERNAME_CASES:
            raise ConfigError(f"username_case is one of {', '.join(USERNAME_CASES)}")
        self.username_case: UsernameCase = username_case
        self.max_tries = max_tries
        self.capabilities: dict[str, Capability] = dict(CAPABILITIES)
        self.offers: dict[Hashable, list[str]] = {}
        self._storing = StoreThreads(store_threads)
        self._converting = Offload(1, CALLS_PER_THREAD, nicer=NICER)
        self._sessions: dict[int, Session] = {}
        self._registration = Registration(self._disown)

    def allows_clear_text(self, client: ClientInterface) -> bool:
        """Return whether a password may be sent in clear text: no other host can read it, or the site allows it.

        Behind a proxy no client counts as loopback: "127.0.0.1" may be the far end of another proxy. A proxy on this
        machine that gives no address may have clients anywhere.
        """
        return self.allow_plaintext or client.secure or (not client.proxied and _is_loopback(client.peer[0]))

    def authenticator(self, function: Check) -> Check:
        """Make *function* the authenticator of a service that has none; for use as a decorator.

            @service.authenticator
            def check(name: str, password: str) -> str | bool | None: ...

        The function returns the owner, or True if the name is the owner; it rejects with None or False. It is called in
        a thread and may block. Raises ConfigError if the service has an authenticator already.
        """
        if self._authenticator is not None:
            raise ConfigError("this service has an authenticator already")
        _check_function("@service.authenticator", function)
        self._authenticator = FunctionAuthenticator(function)
        return function

    @property
    def back_end(self) -> Authenticator:
        """The authenticator. Raises ConfigError if there is none."""
        if self._authenticator is None:
            raise ConfigError("nobody can log in: give MaildropService an authenticator, or use @service.authenticator")
        return self._authenticator

    # The listener

    def check_ready(self, _pop3d: Host) -> None:
        """Raise ConfigError if there is no authenticator: then the server is not started."""
        _ = self.back_end

    @handles("connection")
    def greet(self, pop3d: Host, event: Event) -> Reply | None:
        """Return a greeting with a timestamp if APOP could work (RFC 1939 section 7), else None."""
        if event.reply is not None or event.client is None or not pop3d.handle_connects:
            return None
        authenticator = self.back_end
        if not isinstance(authenticator, SecretAuthenticator) or not authenticator.has_clear_secrets():
            return None
        session = self._session(event.client)
        text, session.timestamp = login.greeting(pop3d.greeting, pop3d.hostname)
        return ok(text)

    @handles(*WITHOUT_MAILDROP)
    def authorize(self, pop3d: Host, event: Event) -> Reply | None:
        """Answer a command of the AUTHORIZATION state, or LANG."""
        if event.reply is not None or event.client is None:
            return None
        return WITHOUT_MAILDROP[event.name](self, pop3d, event, self._session(event.client))

    @handles(*commands.COMMANDS)
    def transact(self, _pop3d: Host, event: Event) -> Reply | None:
        """Answer a command of the TRANSACTION state."""
        if event.reply is not None or event.client is None:
            return None
        session = self._sessions.get(event.client.id)
        if session is None or session.transaction is None:
            raise Refusal("log in first")
        return commands.COMMANDS[event.name](self, session.transaction, event)

    @handles("cmd_auth")
    def auth(self, pop3d: Host, event: Event) -> Reply | None:
        """Answer AUTH (RFC 5034)."""
        if event.reply is not None or event.client is None:
            return None
        return sasl.auth(self, pop3d, event, self._session(event.client))

    @handles("cmd_capa")
    def capa(self, pop3d: Host, event: Event) -> Reply | None:
        """Answer CAPA (RFC 2449 section 5)."""
        if event.reply is not None or event.client is None:
            return None
        expect(event.args, 0)
        return multiline("capabilities follow", listing(self, pop3d, event.client))

    @handles("tls_started")
    def start_over(self, _pop3d: Host, event: Event) -> None:
        """Forget what the client sent in clear text: an attacker may have inserted it (RFC 2595 section 4)."""
        session = None if event.client is None else self._sessions.get(event.client.id)
        if session is not None:
            session.name = None
            session.utf8 = False
            session.client.translate = None

    @handles("cmd_quit")
    def quit(self, _pop3d: Host, event: Event) -> Reply | None:
        """Answer QUIT; in the TRANSACTION state, perform UPDATE (RFC 1939 section 6) before the reply."""
        if event.reply is not None or event.client is None:
            return None
        expect(event.args, 0)
        session = self._sessions.get(event.client.id)
        if session is None or session.transaction is None:
            return _GOODBYE
        transaction, session.transaction = session.transaction, None
        marked = transaction.marked
        try:
            if expired := transaction.expired:
                marked += self._sent(event.client, expired)
            if marked:
                self.remove(transaction.maildrop, marked)
                event.client.summary.removed = len(marked)
        except BaseException:
            # RFC 1939 section 6: "Whether the removal was successful or not, the server then releases any
            # exclusive-access lock on the maildrop and closes the TCP connection."
            event.client.disconnect()
            raise
        finally:
            # Before the reply, so that a client that returns at once finds the maildrop free.
            self.close_maildrop(transaction.maildrop)
        goodbye = ok(f"goodbye, {len(marked)} {plural(len(marked))} removed") if marked else _GOODBYE
        session.goodbye = goodbye
        return goodbye

    @handles("reply_withdrawn")
    def take_back(self, _pop3d: Host, event: Event) -> None:
        """Undo a command whose ``+OK`` is not sent: a plugin or another listener refused it afterwards, or ate it.

        UPDATE cannot be undone, so the reply to QUIT stays as it was.
        """
        client = event.client
        session = None if client is None else self._sessions.get(client.id)
        if session is None:
            return
        name = event.args[0]
        if name in commands.TAKE_BACK:
            if session.transaction is not None:
                commands.TAKE_BACK[name](session.transaction)
        elif name == "cmd_quit":
            if session.goodbye is not None:
                event.reply = session.goodbye
        elif name in TAKE_BACK and session.done_at == client.summary.commands:
            TAKE_BACK[name](self, session)

    @handles("disconnected", priority=FIRST)
    def forget(self, _pop3d: Host, event: Event) -> None:
        """Release the lock, however the session ended, and remove nothing; run before listeners that may wait."""
        if event.client is None:
            return
        session = self._sessions.pop(event.client.id, None)
        if session is not None and session.transaction is not None:
            self.close_maildrop(session.transaction.maildrop)

    @handles("unregistered")
    def close(self, _pop3d: Host, _event: Event) -> None:
        """End the threads: gevent does not end them with their hub."""
        self._auth_threads.close()
        self._storing.close()
        self._converting.close()

    def _disown(self) -> None:
        """Close a forked child's copies of the maildrops, which are the parent's (see ``geventpop3.forks``)."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            if session.transaction is not None:
                session.transaction.maildrop.disown()
        self._storing.disown()
        self._converting.disown()
        self._auth_threads.disown()

    def is_in_utf8_mode(self, client: ClientInterface) -> bool:
        """Return whether *client* has sent UTF8 (RFC 6856 section 2.1)."""
        session = self._sessions.get(client.id)
        return session is not None and session.utf8

    def _sent(self, client: ClientInterface, unique_ids: list[str]) -> list[str]:
        """Return *unique_ids* once the messages are sent, or none if sending fails."""
        try:
            client.flush()
        except OSError:
            return []
        return unique_ids

    def _session(self, client: ClientInterface) -> Session:
        session = self._sessions.get(client.id)
        if session is None:
            session = self._sessions[client.id] = Session(client)
        return session

    # Names

    def canonical_name(self, name: str) -> str:
        """Return the canonical form of *name*, which all its equal spellings share."""
        return canonical_name(name, self.username_case)

    def canonical_owner(self, owner: str) -> str:
        """Return the canonical form of *owner*. Raises StoreBroken if no maildrop can have this name."""
        return canonical_owner(owner, self.username_case)

    # Back ends, in a thread if they may wait; they receive names in canonical form

    def authenticate(self, name: str, password: str) -> str | None:
        """Return the owner that these credentials belong to, or None."""
        authenticator = self.back_end
        name = canonical_name(name, self.username_case)
        return ask(self._auth_threads, authenticator, authenticator.authenticate, name, password)

    def look_up(self, name: str) -> Secret | None:
        """Return the secret stored for *name*; None also if the authenticator gives out no secrets."""
        authenticator = self.back_end
        if not isinstance(authenticator, SecretAuthenticator):
            return None
        return ask(self._auth_threads, authenticator, authenticator.secret, self.canonical_name(name))

    def owner(self, name: str) -> str | None:
        """Return the owner of the maildrop of *name*, whose identity was proven."""
        return ask(self._auth_threads, self.back_end, self.back_end.owner, self.canonical_name(name))

    def check_token(self, name: str | None, token: str) -> str | None:
        """Return the owner of the maildrop that an OAuth token opens, or None."""
        authenticator = self.back_end
        if not isinstance(authenticator, TokenAuthenticator):
            return None
        name = None if name is None else self.canonical_name(name)
        return ask(self._auth_threads, authenticator, authenticator.check_token, name, token)

    def compute(self, function: Callable[[], R]) -> R:
        """Run a function that takes some milliseconds of processor time in a hashing thread."""
        return self._auth_threads.compute(function)

    def convert(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that takes many milliseconds of processor time: one at a time, for all clients."""
        return self._converting.run(function, *args, **kwargs)

    def open_maildrop(self, owner: str, client: ClientInterface) -> Maildrop:
        """Return the maildrop of *owner*, locked; a call that still waits is given up once *client* has gone."""
        if self.store.opens_at_once(owner):
            return self.store.open(owner)
        with self._storing.share(self.store.place(owner), owner) as threads:
            return threads.acquire_call(Call(client.has_gone), self.close_maildrop, self.store.open, owner)

    def scan(self, maildrop: Maildrop, owner: str, client: ClientInterface) -> Snapshot:
        """Return the snapshot of a maildrop. Raises StoreBroken, and logs why, if it cannot be one."""
        try:
            if "scan" not in maildrop.blocking:
                return _scan(maildrop)
            with self._storing.share(maildrop.place, owner) as threads:
                return threads.run_call(Call(client.has_gone, maildrop.interrupt), _scan, maildrop)
        except StoreMistake as mistake:
            raise self._mistaken(owner, mistake) from None

    def read(self, transaction: Transaction, unique_id: str) -> tuple[bytes] | Body:
        """Open a message and read its first chunk; return a tuple of that chunk if it is the last, else a Body.

        Raises StoreBroken, and logs why, if it cannot be sent.
        """
        maildrop = transaction.maildrop
        waits = "retrieve" in maildrop.blocking
        if waits:
            with self._storing.share(maildrop.place, transaction.owner) as threads:
                chunks = threads.acquire(let_go, maildrop.retrieve, unique_id)
        else:
            chunks = maildrop.retrieve(unique_id)
        if type(chunks) is tuple and len(chunks) == 1 and type(chunks[0]) is bytes:
            return chunks
        first = None
        given: object = chunks  # to a type checker, a value that is not iterable is impossible here
        if isinstance(chunks, Chunks):
            # Chunks release the message by themselves when they fail.
            first = chunks.ready()
            if type(first) is bytes and chunks.complete:
                return (first,)
        elif not isinstance(given, Iterable):
            kind = type(given).__name__
            raise self._mistaken(
                transaction.owner, f"retrieve() returned a {kind}, not an iterable of bytes", unique_id
            )
        mistaken = partial(self._mistaken, transaction.owner, unique_id=unique_id)
        return Body(chunks, self._storing.of(maildrop.place), first=first, waits=waits, mistaken=mistaken)

    def verify(self, transaction: Transaction, number: int, octets: int) -> None:
        """Correct the octets of a message for this session, and log an error if its store reported others."""
        told = transaction.verify(number, octets)
        if told.octets != octets:
            mistake = f"message {number} has {octets} octets, and scan() told {told.octets}"
            self._mistaken(transaction.owner, mistake, told.unique_id)

    def _mistaken(self, owner: str, mistake: object, unique_id: str | None = None) -> StoreBroken:
        which = "" if unique_id is None else f", message {unique_id!r}"
        log.error("mistake of the store %s, maildrop of %r%s: %s", name_of(self.store), owner, which, mistake)
        return StoreBroken()

    def close_maildrop(self, maildrop: Maildrop) -> None:
        """Close a maildrop; this releases the lock."""
        if "close" in maildrop.blocking:
            self._storing.of(maildrop.place).run_call(Call(is_needed=True), maildrop.close)
        else:
            maildrop.close()

    def remove(self, maildrop: Maildrop, unique_ids: list[str]) -> None:
        """Remove messages (UPDATE)."""
        if "remove" in maildrop.blocking:
            self._storing.of(maildrop.place).run_call(Call(is_needed=True), maildrop.remove, unique_ids)
        else:
            maildrop.remove(unique_ids)


def _check_parts(store: object, authenticator: object, may_act_as: object) -> None:
    """Raise ConfigError, with advice, for an argument of the wrong kind."""
    if not isinstance(store, Store):
        raise ConfigError(
            f"MaildropService: the store is {_named(store)}: give an instance of a Store, such as"
            " MaildirStore('/srv/mail/{user}') or MemoryStore()"
        )
    if authenticator is not None and not isinstance(authenticator, Authenticator):
        advice = "give an instance of an Authenticator, such as PasswordFile('/etc/pop3.passwd')"
        if callable(authenticator) and not isinstance(authenticator, type):
            advice = "give FunctionAuthenticator(function), or decorate it with @service.authenticator"
        raise ConfigError(f"MaildropService: the authenticator is {_named(authenticator)}: {advice}")
    if may_act_as is not None:
        _check_function("MaildropService: may_act_as", may_act_as)


def _check_function(where: str, function: object) -> None:
    """Raise ConfigError unless *function* is a plain function: a coroutine would count as true."""
    if not callable(function) or isinstance(function, type):
        raise ConfigError(f"{where} needs a function, not {_named(function)}")
    try:
        plain_function(function)
    except PipelineError as mistake:
        raise ConfigError(f"{where}: {mistake}") from None


def _named(given: object) -> str:
    return f"the class {given.__name__}" if isinstance(given, type) else f"a {type(given).__name__}"


def _scan(maildrop: Maildrop) -> Snapshot:
    # Checked where it is made, in a thread if ``scan`` blocks: 100,000 messages take some milliseconds.
    return Snapshot.of(maildrop.scan())


def _is_loopback(host: str) -> bool:
    return host.removeprefix("::ffff:").startswith("127.") or host == "::1"


def _never(_authentication: str, _authorization: str) -> bool:
    return False
