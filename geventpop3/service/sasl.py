"""The AUTH command (RFC 5034): it answers a mechanism's requests by challenges and back-end calls, then logs in.

The authenticator and the connection determine the mechanisms that are offered; a list never does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from geventpop3.auth.authenticator import SecretAuthenticator, TokenAuthenticator
from geventpop3.auth.mechanisms import (
    CLEAR_SECRETS,
    PASSWORDS,
    TOKENS,
    Challenge,
    CheckPassword,
    CheckToken,
    ClearTextRefused,
    Compute,
    Context,
    CredentialsRejected,
    FindOwner,
    LookUp,
    MayActAs,
    Request,
    available,
    exchange,
    scram_secrets,
)
from geventpop3.auth.secret import SCRAM_HASHES, SCRAM_ITERATIONS
from geventpop3.errors import AuthenticationFailed, HandedOverError, Refusal
from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.service.login import log_in, reject
from geventpop3.service.session import Host, Session
from geventpop3.wire.arguments import expect
from geventpop3.wire.replies import Reply, multiline

if TYPE_CHECKING:
    from geventpop3.service.service import MaildropService

ABANDONED = 20
"""AUTH commands of a connection that may fail before any look-up; the last one closes the connection.

Clients try out what a server accepts: they cancel or send a malformed message, at most once for each mechanism.
"""


def auth(service: MaildropService, pop3d: Host, event: Event, session: Session) -> Reply:
    """Answer AUTH mechanism [initial-response]; AUTH alone lists the mechanisms for clients older than RFC 5034."""
    session.name = None
    expect(event.args, 0, 2)
    context = context_for(service, pop3d, session.client)
    if not event.args:
        return multiline("mechanisms follow", "".join(f"{name}\r\n" for name in available(context)).encode("ascii"))
    mechanism, initial = event.args[0], event.args[1] if len(event.args) == 2 else None
    dialogue = _Dialogue(service, pop3d, session.client, mechanism.upper())
    try:
        identity = exchange(mechanism, initial, context, dialogue.answer)
    except ClearTextRefused:
        _abandoned(session)
        raise
    except AuthenticationFailed as failure:
        name = failure.name if isinstance(failure, CredentialsRejected) else ""
        reject(service, pop3d, session, name, mechanism.upper())
        raise
    except Refusal as refusal:
        if type(refusal) is not Refusal:  # a failure that the client did not cause
            raise
        if dialogue.tried is None:
            _abandoned(session)
        else:
            # The client has already learned something from its try: the salt, or the time that it took.
            reject(service, pop3d, session, dialogue.tried, mechanism.upper())
        raise
    return log_in(service, pop3d, session, mechanism.upper(), identity.owner, identity.authentication)


def _abandoned(session: Session) -> None:
    """Count a dialogue that ended before any look-up: no failed login, but such dialogues are limited, too."""
    session.abandoned += 1
    if session.abandoned >= ABANDONED:
        session.client.disconnect()


class _Dialogue:
    """Answers to a mechanism's requests. ``tried`` is the name whose secret was looked up and not proven, if any."""

    def __init__(self, service: MaildropService, pop3d: Host, client: ClientInterface, mechanism: str) -> None:
        self._service = service
        self._pop3d = pop3d
        self._client = client
        self._mechanism = mechanism
        self._announced = False
        self.tried: str | None = None

    def answer(self, request: Request[Any]) -> Any:
        """Return the answer to *request*."""
        service = self._service
        match request:
            case Challenge(data):
                return self._client.challenge(data)
            case CheckPassword(name, password):
                self._announce(name)
                return self._checked(name, service.authenticate(name, password))
            case CheckToken(name, token):
                self._announce(name or "")
                return self._checked(name or "", service.check_token(name, token))
            case LookUp(name):
                self._announce(name)
                # Set for an unknown name, too: the outcome must not reveal whether a name exists.
                self.tried = name
                return service.look_up(name)
            case FindOwner(name):
                if not self._announced:  # EXTERNAL: a certificate has proven it, and nothing else is checked
                    self._announce(name)
                self.tried = None
                return service.owner(name)
            case MayActAs(authentication, authorization):
                one, other = service.canonical_name(authentication), service.canonical_name(authorization)
                return one == other or service.may_act_as(one, other)
            case Compute(function):
                return service.compute(function)
        raise HandedOverError(f"a mechanism asked for {type(request).__name__}, which nobody can answer")

    def _announce(self, name: str) -> None:
        """Send ``credentials`` before a name is checked. Raises Refusal if a plugin or a listener refuses."""
        self._announced = True
        reply = self._pop3d.send_event("credentials", name, self._mechanism, client=self._client).reply
        if reply is not None and not reply.positive:
            raise _NotNow(reply.text, reply.code)

    def _checked(self, name: str, owner: str | None) -> str | None:
        self.tried = name if owner is None else None
        return owner


class _NotNow(Refusal):
    """Refusal by a plugin or a listener before anything was checked."""


def mechanisms(service: MaildropService, pop3d: Host, client: ClientInterface) -> list[str]:
    """Return the names of the mechanisms that work for this client now, in order of preference."""
    certificate, binding = pop3d.tls_facts(client)
    # The names are cached by all that they depend on: every CAPA needs them, and they hardly ever change.
    key = (
        frozenset(_has(service)),
        service.allows_clear_text(client),
        certificate is not None,
        binding is not None,
        tuple(service.mechanisms),
    )
    names = service.offers.get(key)
    if names is None:
        names = service.offers[key] = list(available(context_for(service, pop3d, client)))
    return names


def context_for(service: MaildropService, pop3d: Host, client: ClientInterface) -> Context:
    """Return the facts about server and connection that mechanisms may use."""
    authenticator = service.back_end
    iterations = sorted({count for hash_name in SCRAM_HASHES for count in _scram_iterations(service, hash_name)})
    certificate, binding = pop3d.tls_facts(client)
    return Context(
        mechanisms=service.mechanisms,
        has=frozenset(_has(service)),
        clear_text=service.allows_clear_text(client),
        hostname=pop3d.hostname,
        certificate=certificate,
        binding=binding,
        iterations=tuple(iterations) or (SCRAM_ITERATIONS,),
        derives=not (isinstance(authenticator, SecretAuthenticator) and authenticator.has_scram_keys_alone()),
        key=service.fake_salt_key,
        canonical_name=service.canonical_name,
    )


def _has(service: MaildropService) -> Iterator[str]:
    authenticator = service.back_end
    if authenticator.checks_passwords():
        yield PASSWORDS
    if isinstance(authenticator, TokenAuthenticator) and authenticator.checks_tokens():
        yield TOKENS
    if isinstance(authenticator, SecretAuthenticator):
        if authenticator.has_clear_secrets():
            yield CLEAR_SECRETS
        for hash_name in SCRAM_HASHES:
            if authenticator.scram_iterations(hash_name):
                yield scram_secrets(hash_name)


def _scram_iterations(service: MaildropService, hash_name: str) -> tuple[int, ...]:
    authenticator = service.back_end
    return authenticator.scram_iterations(hash_name) if isinstance(authenticator, SecretAuthenticator) else ()
