"""The driver of one AUTH command (RFC 5034 section 4), from its arguments to an Identity; the caller answers requests.

A dialogue is always closed, and no part of it outlives the call.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Any

from geventpop3.auth.mechanisms.dialogue import (
    Challenge,
    ClearTextRefused,
    Dialogue,
    FailureChallenge,
    Identity,
    Request,
)
from geventpop3.auth.mechanisms.mechanism import Context, Mechanism, available, possible
from geventpop3.errors import Refusal


def exchange(
    name: str, initial_response: str | None, context: Context, answer: Callable[[Request[Any]], Any]
) -> Identity:
    """Return the Identity of the client, by the mechanism *name*.

    *initial_response* is the argument as it stood in the command: None if absent, ``=`` if empty, else base64.
    *answer* answers a request as its class says, and a challenge with None if the client cancelled. Its errors
    propagate, except a Refusal of an answer to FailureChallenge. Raises AuthenticationFailed, as CredentialsRejected
    if the name is known. Raises ClearTextRefused or Refusal (unknown mechanism, malformed, cancelled) if it was no
    attempt.
    """
    mechanism = _mechanism(name, context)
    initial = _decoded(initial_response)
    if initial is not None and not mechanism.takes_initial_response:
        # "If the client uses an initial-response argument to the AUTH command with a SASL mechanism that does not
        # support an initial client send, the server MUST reject the AUTH command with an -ERR reply."
        raise Refusal("this mechanism takes no initial response")
    dialogue = mechanism.run(context)
    try:
        step = _advance(dialogue, None)
        while isinstance(step, Request):
            if initial is not None and isinstance(step, Challenge):
                response, initial = initial, None
            else:
                response = _answer_to(answer, step)
                if response is None and isinstance(step, Challenge):
                    response = _cancelled(step)
            step = _advance(dialogue, response)
        return step
    finally:
        dialogue.close()


def _advance(dialogue: Dialogue, response: Any) -> Request[Any] | Identity:
    try:
        return dialogue.send(response)
    except StopIteration as done:
        identity: Identity = done.value
        return identity


def _answer_to(answer: Callable[[Request[Any]], Any], step: Request[Any]) -> Any:
    try:
        return answer(step)
    except Refusal:
        if isinstance(step, FailureChallenge):
            return b""  # a failed attempt counts even if this response is bad base64
        raise


def _cancelled(challenge: Challenge) -> bytes:
    if isinstance(challenge, FailureChallenge):
        return b""
    raise Refusal("authentication cancelled")


def _mechanism(name: str, context: Context) -> Mechanism:
    # str.upper() would turn a long s into "S".
    name = name.upper() if name.isascii() else ""
    if (mechanism := available(context).get(name)) is not None:
        return mechanism
    if name in possible(context):
        raise ClearTextRefused
    raise Refusal("no such authentication mechanism")


def _decoded(initial_response: str | None) -> bytes | None:
    """Decode the argument.

    RFC 5034 section 4: "the single character "=", which represents an empty initial response".
    """
    if initial_response is None:
        return None
    if initial_response == "=":
        return b""
    try:
        return binascii.a2b_base64(initial_response, strict_mode=True)
    except ValueError:
        raise Refusal("the initial response is not valid base64") from None
