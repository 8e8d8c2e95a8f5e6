"""The listener that makes a POP3 server from a store and an authenticator.

It has the lowest priority and answers only what no other listener answered. It receives ``disconnected`` first, and
then drops the client's session and the exclusive-access lock, however the session ended.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Self, TypeVar

from geventpop3.auth.authenticator import Authenticator, FunctionAuthenticator
from geventpop3.auth.mechanisms import MECHANISMS, Mechanism
from geventpop3.auth.memory import MemoryUsers
from geventpop3.errors import ConfigError, PipelineError
from geventpop3.forks import Registration
from geventpop3.owners import USERNAME_CASES, UsernameCase
from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.pipeline.plugin import handles, plain_function
from geventpop3.service import apop, capabilities, commands, login, sasl, utf8
from geventpop3.service.backend import BackEnd
from geventpop3.service.language import DEFAULT, LANGUAGES, Language
from geventpop3.service.open_maildrop import Maildrops
from geventpop3.service.policy import Expiry, LoginDelay, PerUser
from geventpop3.service.session import Capability, Command, Host, Session, Site
from geventpop3.service.threads import ADDED_NICENESS, CALLS_PER_THREAD, WAITING_THREADS, AuthThreads, Offload
from geventpop3.stores.contents import Content
from geventpop3.stores.functions import FunctionStore, Messages, Remove
from geventpop3.stores.memory import MemoryStore
from geventpop3.stores.store import Store
from geventpop3.wire.replies import Reply, ok

Check = TypeVar("Check", bound=Callable[[str, str], str | bool | None])
MessagesFunction = TypeVar("MessagesFunction", bound=Messages)
RemoveFunction = TypeVar("RemoveFunction", bound=Remove)

PRIORITY = 1000
"""Priority of the service: an application's listener with a lower number answers a command before it."""

FIRST = -1_000_000
"""Priority of the service at ``disconnected``: no listener that waits may keep a maildrop locked."""

STORE_THREADS = 8

COMMANDS: Mapping[str, Command] = {
    **login.COMMANDS,
    **apop.COMMANDS,
    **sasl.COMMANDS,
    **utf8.COMMANDS,
    **capabilities.COMMANDS,
    **commands.COMMANDS,
}

TAKE_BACK = {**login.TAKE_BACK, **apop.TAKE_BACK, **utf8.TAKE_BACK, **commands.TAKE_BACK}


class MaildropService:
    """A listener that answers RFC 1939, CAPA and AUTH from *store*, for the users of *authenticator*.

    Without a store, functions decorated ``@service.messages`` and ``@service.remove`` are the store; without an
    authenticator, a function decorated ``@service.authenticator`` is that. ``in_memory`` makes a service for a test.

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
        store: Store | None = None,
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
        self._functions: FunctionStore | None = None
        if store is None:
            store = self._functions = FunctionStore()
        _check_parts(store, authenticator, may_act_as)
        if username_case not in USERNAME_CASES:
            raise ConfigError(f"username_case must be one of {', '.join(USERNAME_CASES)}")
        self._converting = Offload(1, CALLS_PER_THREAD, added_niceness=ADDED_NICENESS)
        self.site = Site(
            back_end=BackEnd(authenticator, AuthThreads(auth_threads, waiting_threads), username_case),
            maildrops=Maildrops(store, store_threads),
            mechanisms=mechanisms,
            may_act_as=_may_never_act_as if may_act_as is None else may_act_as,
            fake_salt_key=secrets.token_bytes(32) if fake_salt_key is None else fake_salt_key,
            allow_plaintext=allow_plaintext,
            max_tries=max_tries,
            expiry=Expiry(expire),
            login_delay=LoginDelay(login_delay),
            present=utf8.presentation(utf8_messages, self._converting),
            capabilities=dict(capabilities.CAPABILITIES),
            languages=dict(LANGUAGES),
            language=language,
        )
        self._sessions: dict[int, Session] = {}
        self._registration = Registration(self._disown)

    @property
    def capabilities(self) -> dict[str, Capability]:
        """The capabilities that CAPA may announce, by tag; more can be added."""
        return self.site.capabilities

    @property
    def languages(self) -> dict[str, Language]:
        """The languages that LANG offers, by tag; more can be added."""
        return self.site.languages

    def authenticator(self, function: Check) -> Check:
        """Make *function* the authenticator of a service that has none; for use as a decorator.

            @service.authenticator
            def check(name: str, password: str) -> str | bool | None: ...

        The function returns the owner, or True if the name is the owner; it rejects with None or False. It is called in
        a thread and may block. Raises ConfigError if the service has an authenticator already.
        """
        _check_function("@service.authenticator", function)
        self.site.back_end.add_authenticator(FunctionAuthenticator(function))
        return function

    def messages(self, function: MessagesFunction) -> MessagesFunction:
        """Make *function* return the messages of an owner, for a service without a store; for use as a decorator.

            @service.messages
            def messages(owner: str) -> Iterable[Item]: ...

        It is called in a thread at each login, and may block. The oldest message is first. It may be a generator
        function. Raises ConfigError if the service has a store, or such a function already.
        """
        functions = self._functions_for("@service.messages", function)
        if functions.messages is not None:
            raise ConfigError("@service.messages: this service has such a function already")
        functions.messages = function
        return function

    def remove(self, function: RemoveFunction) -> RemoveFunction:
        """Make *function* remove messages of an owner, for a service without a store; for use as a decorator.

            @service.remove
            def remove(owner: str, unique_ids: list[str]) -> None: ...

        It is called in a thread at QUIT, and may block. On return the messages are removed for ever. Without it, DELE
        is refused. Raises ConfigError if the service has a store, or such a function already.
        """
        functions = self._functions_for("@service.remove", function)
        if functions.remove is not None:
            raise ConfigError("@service.remove: this service has such a function already")
        functions.remove = function
        return function

    def _functions_for(self, where: str, function: object) -> FunctionStore:
        if self._functions is None:
            raise ConfigError(f"{where}: this service has a store: make it without one")
        if not inspect.isgeneratorfunction(function) or where == "@service.remove":
            _check_function(where, function)
        return self._functions

    @classmethod
    def in_memory(
        cls,
        users: Mapping[str, str],
        messages: Mapping[str, Iterable[Content]] | None = None,
        **options: Any,
    ) -> Self:
        """Return a service for these *users* (passwords by name) with these *messages* (lists by owner), in memory.

        A message is bytes, str or an EmailMessage. *options* are keywords of the class. It serves tests and first
        steps: nothing outlives the process. Raises TypeError for users or messages of another shape.
        """
        case: UsernameCase = options.get("username_case", "domain")
        return cls(MemoryStore(messages, username_case=case), MemoryUsers(users), **options)

    # The listener

    def check_ready(self, _pop3d: Host) -> None:
        """Raise ConfigError if there is no authenticator or no store: then the server is not started."""
        _ = self.site.back_end.authenticator
        if self._functions is not None and self._functions.messages is None:
            raise ConfigError("MaildropService has no store: pass one as its first argument, or use @service.messages")

    @handles("connection")
    def greet(self, pop3d: Host, event: Event) -> Reply | None:
        """Return a greeting with a timestamp if APOP could work (RFC 1939 section 7), else None."""
        if event.reply is not None or event.client is None or not pop3d.handle_connects:
            return None
        if not self.site.back_end.has_clear_secrets():
            return None
        session = self._session(event.client)
        text, session.timestamp = apop.greeting(pop3d.greeting, pop3d.hostname)
        return ok(text)

    @handles(*COMMANDS)
    def answer(self, pop3d: Host, event: Event) -> Reply | None:
        """Answer a command that no other listener answered."""
        if event.reply is not None or event.client is None:
            return None
        return COMMANDS[event.name](self._session(event.client), pop3d, event)

    @handles("tls_started")
    def start_over(self, _pop3d: Host, event: Event) -> None:
        """Forget what the client sent in clear text: an attacker may have inserted it (RFC 2595 section 4)."""
        session = None if event.client is None else self._sessions.get(event.client.id)
        if session is not None:
            session.name = None
            session.utf8 = False
            session.client.translate = None

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
        if name in commands.TAKE_BACK_MARKS:
            if session.transaction is not None:
                commands.TAKE_BACK_MARKS[name](session.transaction)
        elif name == "cmd_quit":
            if session.goodbye is not None:
                event.reply = session.goodbye
        elif name in TAKE_BACK and session.done_at == session.client.summary.commands:
            TAKE_BACK[name](session)

    @handles("disconnected", priority=FIRST)
    def forget(self, _pop3d: Host, event: Event) -> None:
        """Release the lock, however the session ended, and remove nothing; run before listeners that may wait."""
        if event.client is None:
            return
        session = self._sessions.pop(event.client.id, None)
        if session is not None and session.transaction is not None:
            session.transaction.close()

    @handles("unregistered")
    def close(self, _pop3d: Host, _event: Event) -> None:
        """End the threads: gevent does not end them with their hub."""
        self.site.back_end.close()
        self.site.maildrops.close()
        self._converting.close()

    def _disown(self) -> None:
        """Close a forked child's copies of the maildrops, which are the parent's (see ``geventpop3.forks``)."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            if session.transaction is not None:
                session.transaction.disown()
        self.site.maildrops.disown()
        self._converting.disown()
        self.site.back_end.disown()

    def _session(self, client: ClientInterface) -> Session:
        session = self._sessions.get(client.id)
        if session is None:
            session = self._sessions[client.id] = Session(client, self.site)
        return session


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


def _may_never_act_as(_authentication: str, _authorization: str) -> bool:
    return False
