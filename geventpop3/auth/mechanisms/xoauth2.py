"""XOAUTH2: what Google and Microsoft had before OAUTHBEARER, and what most clients still send."""

from __future__ import annotations

import re

from geventpop3.auth.mechanisms.bearer import bearing
from geventpop3.auth.mechanisms.identity import Dialogue
from geventpop3.auth.mechanisms.mechanism import TOKENS, Context, Mechanism
from geventpop3.auth.mechanisms.requests import Challenge
from geventpop3.auth.mechanisms.text import name_of
from geventpop3.errors import Refusal

_MESSAGE = re.compile(rb"user=([^\x01]*)\x01auth=([^\x01]*)\x01\x01")


def _run(context: Context) -> Dialogue:
    found = _MESSAGE.fullmatch((yield from Challenge(b"")))
    if found is None:
        raise Refusal("malformed message of XOAUTH2")
    news = {"status": "401", "schemes": "bearer", "scope": context.scope}
    return (yield from bearing(name_of(found[1]), found[2], news))


XOAUTH2 = Mechanism(_run, needs=(frozenset({TOKENS}),), clear_text=True)
