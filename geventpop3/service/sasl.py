"""AUTH (RFC 5034): a mechanism says what it needs, this does it: challenges, back ends in a thread, the one way in.

What is offered follows from what the authenticator has and what the connection is, never from a list.
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
"""AUTH commands of a connection that come to nothing before anything is looked up; with the last it is closed.

Clients try what a server takes: they cancel, and send what is malformed, once for each mechanism and not more.
"""


def auth(service: MaildropService, pop3d: Host, event: Event, session: Session) -> Reply:
    """AUTH mechanism [initial-response]; AUTH alone lists the mechanisms, as clients older than RFC 5034 expect."""
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
        if type(refusal) is not Refusal:  # something is out of order, and that is not the client's doing
            raise
        if dialogue.tried is None:
            _abandoned(session)
        else:
            # The client has had an answer to what it tried: the salt, or how long it took.
            reject(service, pop3d, session, dialogue.tried, mechanism.upper())
        raise
    return log_in(service, pop3d, session, mechanism.upper(), identity.owner, identity.authentication)


def _abandoned(session: Session) -> None:
    """Count a dialogue that came to nothing before anything was looked up: no try, but not to be had without end."""
    session.abandoned += 1
    if session.abandoned >= ABANDONED:
        session.client.disconnect()


class _Dialogue:
    """Does what a mechanism asks for. ``tried`` is the name whose secret was looked up and not proven, if any."""

    def __init__(self, service: MaildropService, pop3d: Host, client: ClientInterface, mechanism: str) -> None:
        self._service = service
        self._pop3d = pop3d
        self._client = client
        self._mechanism = mechanism
        self._announced = False
        self.tried: str | None = None

    def answer(self, request: Request[Any]) -> Any:
        """What *request* asks for."""
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
                # Whether or not somebody has the name: what follows must not tell.
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
        """Let plugins and listeners see whose credentials come next. Raises Refusal if one of them refuses."""
        self._announced = True
        reply = self._pop3d.send_event("credentials", name, self._mechanism, client=self._client).reply
        if reply is not None and not reply.positive:
            raise _NotNow(reply.text, reply.code)

    def _checked(self, name: str, owner: str | None) -> str | None:
        self.tried = name if owner is None else None
        return owner


class _NotNow(Refusal):
    """A plugin or a listener refused, before anything was checked."""


def mechanisms(service: MaildropService, pop3d: Host, client: ClientInterface) -> list[str]:
    """The names of the mechanisms that work for this client now, in order of preference."""
    certificate, binding = pop3d.tls_facts(client)
    # What the names depend on; they are asked for by every CAPA, and change hardly ever.
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
    """What the mechanisms may know of this server and this connection."""
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
