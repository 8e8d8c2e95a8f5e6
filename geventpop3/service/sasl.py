"""The AUTH command (RFC 5034): it answers a mechanism's requests by challenges and back-end calls, then logs in.

The authenticator and the connection determine the mechanisms that are offered; a list never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geventpop3.auth.mechanisms import (
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
)
from geventpop3.auth.secret import SCRAM_ITERATIONS
from geventpop3.errors import AuthenticationFailed, HandedOverError, Refusal
from geventpop3.pipeline.events import Event
from geventpop3.service.login import allows_clear_text, log_in, reject
from geventpop3.service.session import Command, Host, Session
from geventpop3.wire.arguments import expect
from geventpop3.wire.replies import Reply, multiline

ABANDONED = 20
"""AUTH commands of a connection that may fail before any look-up; the last one closes the connection.

Clients try out what a server accepts: they cancel or send a malformed message, at most once for each mechanism.
"""


def auth(session: Session, pop3d: Host, event: Event) -> Reply:
    """Answer AUTH mechanism [initial-response]; AUTH alone lists the mechanisms for clients older than RFC 5034."""
    session.name = None
    expect(event.args, 0, 2)
    context = context_for(session, pop3d)
    if not event.args:
        return multiline("mechanisms follow", "".join(f"{name}\r\n" for name in available(context)).encode("ascii"))
    mechanism, initial = event.args[0], event.args[1] if len(event.args) == 2 else None
    dialogue = _Dialogue(session, pop3d, mechanism.upper())
    try:
        identity = exchange(mechanism, initial, context, dialogue.answer)
    except ClearTextRefused:
        _abandoned(session)
        raise
    except AuthenticationFailed as failure:
        name = failure.name if isinstance(failure, CredentialsRejected) else ""
        reject(session, pop3d, name, mechanism.upper())
        raise
    except Refusal as refusal:
        if type(refusal) is not Refusal:  # a failure that the client did not cause
            raise
        if dialogue.tried is None:
            _abandoned(session)
        else:
            # The client has already learned something from its try: the salt, or the time that it took.
            reject(session, pop3d, dialogue.tried, mechanism.upper())
        raise
    return log_in(session, pop3d, mechanism.upper(), identity.owner, identity.authentication)


def _abandoned(session: Session) -> None:
    """Count a dialogue that ended before any look-up: no failed login, but such dialogues are limited, too."""
    session.abandoned += 1
    if session.abandoned >= ABANDONED:
        session.client.disconnect()


class _Dialogue:
    """Answers to a mechanism's requests. ``tried`` is the name whose secret was looked up and not proven, if any."""

    def __init__(self, session: Session, pop3d: Host, mechanism: str) -> None:
        self._site = session.site
        self._pop3d = pop3d
        self._client = session.client
        self._mechanism = mechanism
        self._announced = False
        self.tried: str | None = None

    def answer(self, request: Request[Any]) -> Any:
        """Return the answer to *request*."""
        site = self._site
        back_end = site.back_end
        match request:
            case Challenge(data):
                return self._client.challenge(data)
            case CheckPassword(name, password):
                self._announce(name)
                return self._checked(name, back_end.authenticate(name, password))
            case CheckToken(name, token):
                self._announce(name or "")
                return self._checked(name or "", back_end.check_token(name, token))
            case LookUp(name):
                self._announce(name)
                # Set for an unknown name, too: the outcome must not reveal whether a name exists.
                self.tried = name
                return back_end.look_up(name)
            case FindOwner(name):
                if not self._announced:  # EXTERNAL: a certificate has proven it, and nothing else is checked
                    self._announce(name)
                self.tried = None
                return back_end.owner(name)
            case MayActAs(authentication, authorization):
                one, other = back_end.canonical_name(authentication), back_end.canonical_name(authorization)
                return one == other or site.may_act_as(one, other)
            case Compute(function):
                return back_end.compute(function)
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


def mechanisms(session: Session, pop3d: Host) -> list[str]:
    """Return the names of the mechanisms that work for this client now, in order of preference."""
    site = session.site
    certificate, binding = pop3d.tls_facts(session.client)
    # The names are cached by all that they depend on: every CAPA needs them, and they hardly ever change.
    key = (
        site.back_end.secrets(),
        allows_clear_text(session),
        certificate is not None,
        binding is not None,
        tuple(site.mechanisms),
    )
    names = site.offers.get(key)
    if names is None:
        names = site.offers[key] = list(available(context_for(session, pop3d)))
    return names


def context_for(session: Session, pop3d: Host) -> Context:
    """Return the facts about server and connection that mechanisms may use."""
    site, back_end = session.site, session.site.back_end
    certificate, binding = pop3d.tls_facts(session.client)
    return Context(
        mechanisms=site.mechanisms,
        has=back_end.secrets(),
        clear_text=allows_clear_text(session),
        hostname=pop3d.hostname,
        certificate=certificate,
        binding=binding,
        iterations=back_end.scram_iterations() or (SCRAM_ITERATIONS,),
        derives=back_end.derives_scram_keys(),
        key=site.fake_salt_key,
        canonical_name=back_end.canonical_name,
    )


COMMANDS: Mapping[str, Command] = {"cmd_auth": auth}
