"""Commands of the TRANSACTION state, one function each (RFC 1939 sections 5 to 7).

Arguments are parsed here, after the pipeline, so arguments that a plugin rewrote are checked like those of a client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from geventpop3.pipeline.events import Event
from geventpop3.service.body import Body, Content, Counted, Part, Watched
from geventpop3.service.open_maildrop import Transaction, plural
from geventpop3.wire.arguments import expect, line_count, message_number
from geventpop3.wire.replies import Reply, multiline, ok
from geventpop3.wire.stuffing import count_octets
from geventpop3.wire.stuffing import top as top_of

if TYPE_CHECKING:
    from geventpop3.service.service import MaildropService


def stat(_service: MaildropService, transaction: Transaction, event: Event) -> Reply:
    """Answer STAT with the drop listing: "+OK", the number of messages and their octets, and nothing else."""
    expect(event.args, 0)
    return Reply(True, f"{transaction.count} {transaction.octets}")


def list_(_service: MaildropService, transaction: Transaction, event: Event) -> Reply:
    """Answer LIST [msg] with the scan listing of one message or of all."""
    expect(event.args, 0, 1)
    if event.args:
        number = message_number(event.args[0])
        return ok(f"{number} {transaction.message(number).octets}")
    return multiline(
        f"{transaction.count} {plural(transaction.count)} ({transaction.octets} octets)", transaction.scan_listings()
    )


def uidl(_service: MaildropService, transaction: Transaction, event: Event) -> Reply:
    """Answer UIDL [msg] with the unique-id listing of one message or of all."""
    expect(event.args, 0, 1)
    if event.args:
        number = message_number(event.args[0])
        return ok(f"{number} {transaction.message(number).unique_id}")
    return multiline(f"{transaction.count} {plural(transaction.count)}", transaction.unique_id_listings())


def retr(service: MaildropService, transaction: Transaction, event: Event) -> Reply:
    """Answer RETR msg with the whole message."""
    if len(event.args) != 1:
        expect(event.args, 1)
    number = message_number(event.args[0])
    message = transaction.message(number)
    read = service.read(transaction, message.unique_id)
    body: Content = read
    text = f"{message.octets} octets"
    if not transaction.maildrop.counted:
        body, text = _counted(service, transaction, number, read)
    if transaction.present is not None:
        body = transaction.present(service, body, partial(transaction.keep, number))
    if type(body) is tuple and not transaction.removes_retrieved:
        transaction.retrieved(number)
    else:
        body = Watched(body, partial(transaction.taken, number, event.client))
    return Reply(True, text, None, body)


def _counted(
    service: MaildropService, transaction: Transaction, number: int, body: tuple[bytes] | Body
) -> tuple[Content, str]:
    """Return a message whose store does not guarantee its octets, and the text of the status line."""
    if isinstance(body, tuple):
        service.verify(transaction, number, count_octets(body))
        return body, f"{transaction.message(number).octets} octets"
    if transaction.is_verified(number):
        return body, f"{transaction.message(number).octets} octets"
    return Counted(body, partial(service.verify, transaction, number)), "message follows"


def top(service: MaildropService, transaction: Transaction, event: Event) -> Reply:
    """Answer TOP msg n with the header, the blank line and n lines of the body."""
    expect(event.args, 2)
    number = message_number(event.args[0])
    message = transaction.message(number)
    lines = line_count(event.args[1])
    body: Content = service.read(transaction, message.unique_id)
    if transaction.present is not None:
        body = transaction.present(service, body, partial(transaction.keep, number))
    return multiline("top of message follows", Part(top_of(body, lines), body))


def dele(_service: MaildropService, transaction: Transaction, event: Event) -> Reply:
    """Mark a message as deleted (DELE msg); UPDATE removes it."""
    expect(event.args, 1)
    number = message_number(event.args[0])
    transaction.mark(number)
    return ok(f"message {number} marked as deleted")


def noop(_service: MaildropService, _transaction: Transaction, event: Event) -> Reply:
    """Answer NOOP."""
    expect(event.args, 0)
    return Reply(True)


def rset(_service: MaildropService, transaction: Transaction, event: Event) -> Reply:
    """Unmark all messages (RSET)."""
    expect(event.args, 0)
    transaction.unmark_all()
    return ok(f"{transaction.count} {plural(transaction.count)} ({transaction.octets} octets)")


TAKE_BACK: Mapping[str, Callable[[Transaction], None]] = {
    "cmd_retr": Transaction.kept_back,
    "cmd_dele": Transaction.unmark,
    "cmd_rset": Transaction.mark_again,
}
"""Functions that undo a command whose ``+OK`` was not sent; the other commands change nothing."""

COMMANDS: Mapping[str, Callable[[MaildropService, Transaction, Event], Reply]] = {
    "cmd_stat": stat,
    "cmd_list": list_,
    "cmd_uidl": uidl,
    "cmd_retr": retr,
    "cmd_top": top,
    "cmd_dele": dele,
    "cmd_noop": noop,
    "cmd_rset": rset,
}
