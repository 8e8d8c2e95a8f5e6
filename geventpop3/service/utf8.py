"""UTF-8 mode (RFC 6856 section 2), and the handling of messages that need that mode.

A message needs it if its header has octets outside ASCII (RFC 6532); a body in 8bit does not need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from time import monotonic
from typing import Final

from gevent.monkey import get_original

from geventpop3.errors import ConfigError, Refusal, ResponseCode
from geventpop3.pipeline.events import Event
from geventpop3.service.body import Content, Part, close
from geventpop3.service.downgrade import HEADER_OCTETS, Rewrite, header_end, rewrite_header, surrogate
from geventpop3.service.open_maildrop import Present
from geventpop3.service.session import Command, Host, Session
from geventpop3.service.threads import Offload
from geventpop3.wire.arguments import expect
from geventpop3.wire.replies import Reply, ok


def utf8(session: Session, _pop3d: Host, event: Event) -> Reply:
    """Switch UTF-8 mode on (UTF8, section 2.1); a second UTF8 changes nothing."""
    expect(event.args, 0)
    if not session.utf8:
        session.utf8 = True
        session.done_at = session.client.summary.commands
        if session.transaction is not None:  # if states are not enforced: Outlook sends UTF8 after login
            session.transaction.present = None
    return ok("UTF-8 mode is on")


def switch_off(session: Session) -> None:
    """Undo a UTF8 whose ``+OK`` was not sent."""
    session.utf8 = False
    if session.transaction is not None:
        session.transaction.present = session.site.present


TAKE_BACK: Mapping[str, Callable[[Session], None]] = {"cmd_utf8": switch_off}


def stls(session: Session, _pop3d: Host, _event: Event) -> Reply | None:
    """Refuse STLS in UTF-8 mode: "Clients MUST NOT issue the "STLS" command after issuing UTF8" (section 2.1)."""
    if session.utf8:
        raise Refusal("STLS must come before UTF8")
    return None


COMMANDS: Mapping[str, Command] = {
    "cmd_utf8": utf8,
    "cmd_stls": stls,
}


# Messages (sections 2.1 and 5)

AT_ONCE_OCTETS: Final = 8192
"""Octets of the longest ASCII header that is parsed without a thread."""

SLICE_OCTETS: Final = 65536
"""Octets of the slices in which a message in one piece is converted: no search in a slice blocks the event loop."""

SLICE_SECONDS: Final = 0.001
"""Seconds after which a conversion pauses for as long as it ran, so that its thread leaves the interpreter to the event
loop."""

_sleep: Final[Callable[[float], object]] = get_original("time", "sleep")
"""The original ``time.sleep``, for a thread without a hub, also where gevent has patched the process."""


def refuse(content: Content, _changed: Callable[[], object]) -> Content:
    """Raise ``-ERR [UTF8]`` for a message that needs UTF-8 mode, else return the message.

    The client "MAY reissue the command after entering UTF-8 mode" (section 5).
    """
    header, rest, _ = _split_header(content)
    if not header.isascii():
        raise _refused(content)
    return content if isinstance(content, tuple) else Part(chain((header,), rest), content)


def convert(threads: Offload, content: Content, changed: Callable[[], object]) -> Content:
    """Return the surrogate of a message (RFC 6858); a message whose header is too long to be rewritten is refused.

    LIST and STAT give the size of the message itself, as section 4 there permits; the surrogate's size would require
    reading all mail. One message is converted at a time, in a thread of low priority: a header made for the purpose
    takes more than a millisecond for each kilobyte.
    """
    if isinstance(content, tuple):
        if content[0].isascii():
            return content
        converted = threads.run(lambda: b"".join(_with_pauses(_converted(content, rewrite_header))))
        if converted != content[0]:
            changed()
        return (converted,)

    def rewrite(header: bytes) -> tuple[bytes, bytes | None]:
        at_once = len(header) <= AT_ONCE_OCTETS and header.isascii()
        rewritten = rewrite_header(header) if at_once else threads.run(rewrite_header, header)
        if rewritten[0] != header:
            changed()
        return rewritten

    shown = _converted(content, rewrite)
    try:
        first = next(shown)  # before +OK, so that the message can still be refused
    except BaseException:
        close(content)
        raise
    return Part(chain((first,), shown), content)


def presentation(policy: str, threads: Offload) -> Present | None:
    """Return the function that carries out a policy of ``POLICIES``, None for messages as they are.

    *threads* convert headers. Raises ConfigError for another policy.
    """
    if policy not in POLICIES:
        raise ConfigError(f"utf8_messages must be one of {', '.join(POLICIES)}")
    return {"as-is": None, "refuse": refuse, "convert": partial(convert, threads)}[policy]


POLICIES: Final = ("as-is", "refuse", "convert")
"""Handling of messages that need UTF-8 mode, for clients without it.

Section 2.1 requires one of the latter two. Servers have always done the first, and clients accept such mail as it is.
"""


def _converted(content: Content, rewrite: Rewrite) -> Iterator[bytes]:
    header, rest, is_whole = _split_header(content)
    if not is_whole and not header.isascii():
        raise _refused(content)
    return surrogate(header, rest, rewrite) if is_whole else chain((header,), rest)


def _split_header(content: Content) -> tuple[bytes, Iterator[bytes], bool]:
    """Return a message's header, the rest of the message, and whether the header is complete and not too long."""
    chunks = iter(content)
    try:
        seen: bytes | bytearray = next(chunks, b"")
        end = header_end(seen)
        while end < 0 and len(seen) <= HEADER_OCTETS and (chunk := next(chunks, b"")):
            seen = bytearray(seen) if isinstance(seen, bytes) else seen
            seen += chunk
            end = header_end(seen, len(seen) - len(chunk))
    except BaseException:
        close(content)
        raise
    if end < 0:
        end = len(seen)
    header = bytes(seen[: min(end, HEADER_OCTETS)])
    return header, chain(_slices(seen, len(header)), chunks), end <= HEADER_OCTETS


def _slices(octets: bytes | bytearray, start: int) -> Iterator[bytes]:
    return (bytes(octets[at : at + SLICE_OCTETS]) for at in range(start, len(octets), SLICE_OCTETS))


def _with_pauses(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same pieces, with pauses in which other threads run; for use in a thread."""
    since = monotonic()
    for piece in pieces:
        yield piece
        worked = monotonic() - since
        if worked > SLICE_SECONDS:
            _sleep(worked)
            since = monotonic()


def _refused(content: Content) -> Refusal:
    close(content)
    return Refusal("the message is available only in UTF-8 mode", ResponseCode.UTF8)
