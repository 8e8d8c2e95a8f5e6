"""The functions behind the routes: each takes a call and returns what becomes JSON, or a whole response."""

from __future__ import annotations

import base64
import binascii
import itertools
import os
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final

from geventpop3.testing.double.control.exchange import MESSAGE, TEXT, CallFailed, HttpCall, HttpResponse, json_response
from geventpop3.testing.double.double import Double, DoubleFailed, DoubleMaildrop
from geventpop3.testing.double.faults import KINDS, Fault
from geventpop3.testing.double.records import SessionRecord
from geventpop3.version import __version__
from geventpop3.wire.stuffing import count_octets

PASSWORD: Final = "secret"  # noqa: S105  of a maildrop in a test
_WAIT: Final = 5.0
_OPTIONS: Final = ("after_octets", "seconds", "octets", "code", "text", "probability", "seed")


def place_of(double: Double) -> dict[str, object]:
    """Return where a started double listens, and what a client must know to connect."""
    secure = has_tls(double)
    return {
        "host": double.host,
        "port": double.port,
        "tls_port": double.tls_port if secure else None,
        "url": double.url,
        "tls_url": double.tls_url if secure else None,
        "ca": str(double.ca) if secure else None,
        "pid": os.getpid(),
        "version": __version__,
    }


def has_tls(double: Double) -> bool:
    """Return whether a started double has a port with TLS."""
    try:
        return double.tls_port > 0
    except LookupError:
        return False


class Api:
    """The functions of one started *double*. *stop* asks the process to end; it must return at once."""

    def __init__(self, double: Double, document: Mapping[str, Any], stop: Callable[[], object]) -> None:
        self._double = double
        self._document = document
        self._stop = stop
        self._faults: dict[int, tuple[str | None, Fault]] = {}
        """Faults, and the maildrop of each, by the number that callers know."""
        self._numbers = itertools.count(1)

    # The double itself

    def show(self, _call: HttpCall) -> object:
        """Say where the double listens."""
        return place_of(self._double)

    def describe(self, _call: HttpCall) -> object:
        """Return the OpenAPI document."""
        return self._document

    def kinds(self, _call: HttpCall) -> object:
        """List the kinds of faults."""
        return {
            "kinds": [
                {
                    "how": how,
                    "on": sorted(kind.at),
                    "options": sorted(kind.options),
                    "does": kind.does,
                    "finds": kind.finds,
                }
                for how, kind in KINDS.items()
            ]
        }

    def check(self, _call: HttpCall) -> object:
        """Report faults that never happened and errors of the server's own."""
        return self._report(self._double.failures, self._double.transcript)

    def reset(self, _call: HttpCall) -> object:
        """Remove everything, and report as ``check`` does."""
        self._faults.clear()
        try:
            self._double.reset()
        except DoubleFailed as error:
            return self._report(error.failures, error.transcript)
        return self._report([], "")

    def stop(self, call: HttpCall) -> HttpResponse:
        """End the process, and report as ``check`` does."""
        return json_response(self.check(call))._replace(then=self._stop)

    def _report(self, failures: list[str], transcript: str) -> dict[str, object]:
        return {"ok": not failures, "failures": failures, "transcript": transcript}

    # Maildrops and messages

    def list_maildrops(self, _call: HttpCall) -> object:
        """List the maildrops."""
        return {"maildrops": [self._shown(box) for box in self._double.maildrops.values()]}

    def add_maildrop(self, call: HttpCall) -> HttpResponse:
        """Add a user with an empty maildrop."""
        name, password = call.body["name"], call.body.get("password", PASSWORD)
        name = unicodedata.normalize("NFC", name)
        if not name.isprintable() or any("\ud800" <= character <= "\udfff" for character in password):
            raise CallFailed(400, "no client can send this name or password", "leave out control characters")
        known = self._double.maildrops.get(name)
        if known is not None and known.password != password:
            raise CallFailed(
                409, f"the maildrop {name!r} exists already, with another password", f"DELETE /maildrops/{name} first"
            )
        box = self._double.maildrop(name, password, token=call.body.get("token"))
        return json_response(self._shown(box), 201 if known is None else 200)

    def show_maildrop(self, call: HttpCall) -> object:
        """Show one maildrop."""
        return self._shown(self._box(call.path["name"]))

    def remove_maildrop(self, call: HttpCall) -> object:
        """Remove a user with the maildrop and its faults."""
        self._double.remove_maildrop(self._box(call.path["name"]).name)
        return {"ok": True}

    def deliver(self, call: HttpCall) -> HttpResponse:
        """Add messages: the body itself, or those in JSON."""
        box = self._box(call.path["name"])
        if call.content_type == MESSAGE:
            contents = [call.body]
        else:
            contents = [_octets_of(each, index) for index, each in enumerate(call.body["messages"])]
        return json_response({"unique_ids": box.deliver(*contents)}, 201)

    def list_messages(self, call: HttpCall) -> object:
        """List the messages that are in the maildrop now."""
        messages = self._box(call.path["name"]).by_unique_id
        return {
            "messages": [
                {"unique_id": unique_id, "octets": count_octets((content,)), "base64": _base64(content)}
                for unique_id, content in messages.items()
            ]
        }

    def show_message(self, call: HttpCall) -> HttpResponse:
        """Return a message as it was delivered."""
        content = self._box(call.path["name"]).by_unique_id.get(call.path["unique_id"])
        if content is None:
            name = call.path["name"]
            raise CallFailed(
                404,
                f"the maildrop {name!r} has no message {call.path['unique_id']!r}",
                f"GET /maildrops/{name}/messages lists those that are left",
            )
        return HttpResponse(200, content, MESSAGE)

    def clear(self, call: HttpCall) -> object:
        """Remove all messages of a maildrop."""
        self._box(call.path["name"]).clear()
        return {"ok": True}

    def _shown(self, box: DoubleMaildrop) -> dict[str, object]:
        return {
            "name": box.name,
            "password": box.password,
            "url": box.url,
            "tls_url": box.tls_url if has_tls(self._double) else None,
            "messages": len(box.messages),
        }

    def _box(self, name: str) -> DoubleMaildrop:
        box = self._double.maildrops.get(unicodedata.normalize("NFC", name))
        if box is None:
            raise CallFailed(404, f"there is no maildrop {name!r}", "POST /maildrops adds one")
        return box

    # Faults

    def add_fault(self, call: HttpCall) -> HttpResponse:
        """Ask for a fault, in one maildrop or in all sessions."""
        options = dict(call.body)
        name = options.pop("maildrop", None)
        target = self._double if name is None else self._box(name)
        fault = target.fail(options.pop("on"), options.pop("how", "error"), **options)
        number = next(self._numbers)
        self._faults[number] = (name, fault)
        return json_response(_shown_fault(number, name, fault), 201)

    def list_faults(self, _call: HttpCall) -> object:
        """List the faults, and how often each has happened."""
        return {"faults": [_shown_fault(number, *each) for number, each in self._known_faults().items()]}

    def show_fault(self, call: HttpCall) -> object:
        """Show one fault."""
        number = self._number_of_fault(call)
        return _shown_fault(number, *self._faults[number])

    def remove_fault(self, call: HttpCall) -> object:
        """Take a fault back."""
        number = self._number_of_fault(call)
        self._double.remove_fault(self._faults.pop(number)[1])
        return {"ok": True}

    def _known_faults(self) -> dict[int, tuple[str | None, Fault]]:
        """Return the faults that are left: those of a removed maildrop have gone with it."""
        present = {id(fault) for fault in self._double.faults}
        self._faults = {number: each for number, each in self._faults.items() if id(each[1]) in present}
        return self._faults

    def _number_of_fault(self, call: HttpCall) -> int:
        number = _number(call)
        if number not in self._known_faults():
            raise CallFailed(404, f"there is no fault {call.path['number']}", "GET /faults lists them")
        return number

    # Sessions

    def list_sessions(self, call: HttpCall) -> object:
        """List the sessions that have ended."""
        name = self._chosen(call)
        sessions = enumerate(self._double.sessions, 1)
        return {"sessions": [_shown_session(*each) for each in sessions if name is None or each[1].user == name]}

    def show_session(self, call: HttpCall) -> object:
        """Show one session."""
        return _shown_session(*self._session(call))

    def show_transcript_of_session(self, call: HttpCall) -> HttpResponse:
        """Return the dialogue of one session."""
        return _text(self._session(call)[1].transcript)

    def show_transcript(self, call: HttpCall) -> HttpResponse:
        """Return the dialogues of all sessions, also of those that run."""
        name = self._chosen(call)
        return _text(self._double.transcript if name is None else self._box(name).transcript)

    def wait(self, call: HttpCall) -> object:
        """Wait until something has happened, for a limited time."""
        options = dict(call.body)
        name = options.pop("maildrop", None)
        timeout = options.pop("timeout", _WAIT)
        target = self._double if name is None else self._box(name)
        if name is None and options.pop("messages", None) is not None:
            raise CallFailed(
                400, "'messages' counts those of one maildrop", "add 'maildrop' with the name of a maildrop"
            )
        try:
            target.wait_for(options.pop("moment", None), timeout=timeout, **options)
        except DoubleFailed as error:
            raise CallFailed(
                409,
                "\n".join(error.failures),
                "compare the transcript with what you wait for; a longer 'timeout' may be needed",
                transcript=error.transcript,
            ) from None
        return {"ok": True}

    def _chosen(self, call: HttpCall) -> str | None:
        """Return the name in the query, which must be known: a misspelt one would have no sessions, silently."""
        name = call.query.get("maildrop")
        return None if name is None else self._box(name).name

    def _session(self, call: HttpCall) -> tuple[int, SessionRecord]:
        number = _number(call)
        sessions = self._double.sessions
        if not 0 < number <= len(sessions):
            raise CallFailed(
                404,
                f"there is no session {call.path['number']} among the {len(sessions)} that have ended",
                'POST /wait {"sessions": N} waits until N have ended; GET /transcript shows those that run too',
            )
        return number, sessions[number - 1]


def _shown_fault(number: int, maildrop: str | None, fault: Fault) -> dict[str, object]:
    options = {name: getattr(fault, name) for name in _OPTIONS if getattr(fault, name) is not None}
    return {
        "number": number,
        "maildrop": maildrop,
        "on": fault.on,
        "how": fault.how,
        "nth": fault.nth,
        "times": fault.times,
        "optional": fault.optional,
        "happened": fault.happened,
        **options,
    }


def _shown_session(number: int, session: SessionRecord) -> dict[str, object]:
    return {
        "number": number,
        "user": session.user,
        "mechanism": session.mechanism,
        "secure": session.secure,
        "ended": session.ended,
        "retrieved": list(session.retrieved),
        "removed": list(session.removed),
        "commands": [command._asdict() for command in session.commands],
    }


def _octets_of(message: Mapping[str, str], index: int) -> bytes:
    """Return the octets of a message in JSON: ``{"text": ...}`` or ``{"base64": ...}``."""
    if "text" in message:
        return message["text"].encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(message["base64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise CallFailed(
            400, f"'messages'[{index}] is not base64: {error}", "encode the octets of the message as RFC 4648 section 4"
        ) from None


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _number(call: HttpCall) -> int:
    number = call.path["number"]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0


def _text(text: str) -> HttpResponse:
    return HttpResponse(200, f"{text}\n".encode("utf-8", "replace") if text else b"", TEXT)
