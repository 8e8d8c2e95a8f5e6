"""RFC 6856 section 2: UTF-8 mode, names and passwords in UTF-8, and what becomes of a message that needs that mode.

A message needs it if its header holds octets outside ASCII (RFC 6532); a body in 8bit never did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gevent.monkey import get_original

from geventpop3.errors import Refusal, ResponseCode
from geventpop3.pipeline.events import Event
from geventpop3.service.body import Content, Part, close
from geventpop3.service.downgrade import HEADER_OCTETS, Rewrite, header_end, rewrite_header, surrogate
from geventpop3.service.session import Host, Session
from geventpop3.wire.arguments import expect
from geventpop3.wire.replies import Reply, ok

if TYPE_CHECKING:
    from geventpop3.service.service import MaildropService


def utf8(_service: MaildropService, _pop3d: Host, event: Event, session: Session) -> Reply:
    """UTF8 (section 2.1); said again it changes nothing."""
    expect(event.args, 0)
    if not session.utf8:
        session.utf8 = True
        session.done_at = session.client.summary.commands
        if session.transaction is not None:  # where states are not enforced: Outlook says it after login
            session.transaction.present = None
    return ok("UTF-8 mode is on")


def switch_off(service: MaildropService, session: Session) -> None:
    """Take UTF8 back: its ``+OK`` did not go out."""
    session.utf8 = False
    if session.transaction is not None:
        session.transaction.present = service.present


TAKE_BACK: Mapping[str, Callable[[MaildropService, Session], None]] = {"cmd_utf8": switch_off}


def stls(_service: MaildropService, _pop3d: Host, _event: Event, session: Session) -> Reply | None:
    """STLS in UTF-8 mode: "Clients MUST NOT issue the "STLS" command after issuing UTF8" (section 2.1)."""
    if session.utf8:
        raise Refusal("STLS must come before UTF8")
    return None


COMMANDS: Mapping[str, Callable[[MaildropService, Host, Event, Session], Reply | None]] = {
    "cmd_utf8": utf8,
    "cmd_stls": stls,
}


# Messages (sections 2.1 and 5)

AT_ONCE_OCTETS: Final = 8192
"""A header in ASCII that is no longer is looked through without a thread."""

SLICE_OCTETS: Final = 65536
"""A message in one piece is converted in slices of this size: no search in one of them keeps the hub waiting."""

SLICE_SECONDS: Final = 0.001
"""After so long a conversion rests as long: its thread leaves the interpreter to the hub."""

_rest: Final[Callable[[float], object]] = get_original("time", "sleep")
"""In a thread without a hub, also where gevent has patched the process."""

Present = Callable[["MaildropService", Content, Callable[[], object]], Content]
"""Makes of a message what a client without UTF-8 mode may have; the function it gets is called if that is another."""


def refuse(_service: MaildropService, content: Content, _changed: Callable[[], object]) -> Content:
    """``-ERR [UTF8]``: the client "MAY reissue the command after entering UTF-8 mode" (section 5)."""
    header, rest, _ = _look(content)
    if not header.isascii():
        raise _refused(content)
    return content if isinstance(content, tuple) else Part(chain((header,), rest), content)


def convert(service: MaildropService, content: Content, changed: Callable[[], object]) -> Content:
    """The surrogate of RFC 6858. LIST and STAT tell the size of the message itself, as section 4 there permits.

    To tell the surrogate's they would have to read all mail. A header that is too long to be rewritten is refused. One
    message is converted at a time, in a thread that gives way to everything else: a header that is made for it takes
    more than a millisecond for each of its kilobytes.
    """
    if isinstance(content, tuple):
        if content[0].isascii():
            return content
        whole = service.convert(lambda: b"".join(_paced(_converted(content, rewrite_header))))
        if whole != content[0]:
            changed()
        return (whole,)

    def rewrite(header: bytes) -> tuple[bytes, bytes | None]:
        at_once = len(header) <= AT_ONCE_OCTETS and header.isascii()
        rewritten = rewrite_header(header) if at_once else service.convert(rewrite_header, header)
        if rewritten[0] != header:
            changed()
        return rewritten

    shown = _converted(content, rewrite)
    try:
        first = next(shown)  # while there is still time to refuse
    except BaseException:
        close(content)
        raise
    return Part(chain((first,), shown), content)


POLICIES: Final[Mapping[str, Present | None]] = MappingProxyType({"as-is": None, "refuse": refuse, "convert": convert})
"""What a client without UTF-8 mode gets of a message that needs it.

Section 2.1 has one of the latter two. The first is what servers have always done, and clients take such mail as it is.
"""


def _converted(content: Content, rewrite: Rewrite) -> Iterator[bytes]:
    header, rest, is_whole = _look(content)
    if not is_whole and not header.isascii():
        raise _refused(content)
    return surrogate(header, rest, rewrite) if is_whole else chain((header,), rest)


def _look(content: Content) -> tuple[bytes, Iterator[bytes], bool]:
    """The header of a message, what follows it, and whether that header is all of it and not too long."""
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


def _paced(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces; in a thread, whose rests are everybody else's turn."""
    since = monotonic()
    for piece in pieces:
        yield piece
        worked = monotonic() - since
        if worked > SLICE_SECONDS:
            _rest(worked)
            since = monotonic()


def _refused(content: Content) -> Refusal:
    close(content)
    return Refusal("the message can be had in UTF-8 mode alone", ResponseCode.UTF8)
