"""Commands of the TRANSACTION state, LANG and QUIT, one function each (RFC 1939 sections 5 to 7, RFC 6856 section 3).

Arguments are parsed here, after the pipeline, so arguments that a plugin rewrote are checked like those of a client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from geventpop3.errors import Refusal
from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.service.body import Body, Content, Counted, Part, Watched
from geventpop3.service.language import match
from geventpop3.service.open_maildrop import Transaction, plural
from geventpop3.service.session import Command, Host, Session
from geventpop3.wire.arguments import expect, line_count, message_number
from geventpop3.wire.replies import Reply, multiline, ok
from geventpop3.wire.stuffing import count_octets, top_of

GOODBYE = ok("goodbye")


def opened(session: Session) -> Transaction:
    """Return the open maildrop. Raises Refusal outside the TRANSACTION state."""
    if session.transaction is None:
        raise Refusal("log in first")
    return session.transaction


def stat(session: Session, _pop3d: Host, event: Event) -> Reply:
    """Answer STAT with the drop listing: "+OK", the number of messages and their octets, and nothing else."""
    transaction = opened(session)
    expect(event.args, 0)
    return Reply(True, f"{transaction.count} {transaction.octets}")


def list_(session: Session, _pop3d: Host, event: Event) -> Reply:
    """Answer LIST [msg] with the scan listing of one message or of all."""
    transaction = opened(session)
    expect(event.args, 0, 1)
    if event.args:
        number = message_number(event.args[0])
        return ok(f"{number} {transaction.message(number).octets}")
    return multiline(
        f"{transaction.count} {plural(transaction.count)} ({transaction.octets} octets)", transaction.scan_listings()
    )


def uidl(session: Session, _pop3d: Host, event: Event) -> Reply:
    """Answer UIDL [msg] with the unique-id listing of one message or of all."""
    transaction = opened(session)
    expect(event.args, 0, 1)
    if event.args:
        number = message_number(event.args[0])
        return ok(f"{number} {transaction.message(number).unique_id}")
    return multiline(f"{transaction.count} {plural(transaction.count)}", transaction.unique_id_listings())


def retr(session: Session, _pop3d: Host, event: Event) -> Reply:
    """Answer RETR msg with the whole message."""
    transaction = opened(session)
    if len(event.args) != 1:
        expect(event.args, 1)
    number = message_number(event.args[0])
    message = transaction.message(number)
    read = transaction.read(message.unique_id)
    body: Content = read
    text = f"{message.octets} octets"
    if not transaction.maildrop.counted:
        body, text = _counted(transaction, number, read)
    if transaction.present is not None:
        body = transaction.present(body, partial(transaction.keep, number))
    if type(body) is tuple and not transaction.removes_retrieved:
        transaction.retrieved(number)
    else:
        body = Watched(body, partial(transaction.taken, number, event.client))
    return Reply(True, text, None, body)


def _counted(transaction: Transaction, number: int, body: tuple[bytes] | Body) -> tuple[Content, str]:
    """Return a message whose store does not guarantee its octets, and the text of the status line."""
    if isinstance(body, tuple):
        transaction.verify(number, count_octets(body))
        return body, f"{transaction.message(number).octets} octets"
    if transaction.is_verified(number):
        return body, f"{transaction.message(number).octets} octets"
    return Counted(body, partial(transaction.verify, number)), "message follows"


def top(session: Session, _pop3d: Host, event: Event) -> Reply:
    """Answer TOP msg n with the header, the blank line and n lines of the body."""
    transaction = opened(session)
    expect(event.args, 2)
    number = message_number(event.args[0])
    message = transaction.message(number)
    lines = line_count(event.args[1])
    body: Content = transaction.read(message.unique_id)
    if transaction.present is not None:
        body = transaction.present(body, partial(transaction.keep, number))
    return multiline("top of message follows", Part(top_of(body, lines), body))


def dele(session: Session, _pop3d: Host, event: Event) -> Reply:
    """Mark a message as deleted (DELE msg); UPDATE removes it."""
    transaction = opened(session)
    expect(event.args, 1)
    number = message_number(event.args[0])
    transaction.mark(number)
    return ok(f"message {number} marked as deleted")


def noop(session: Session, _pop3d: Host, event: Event) -> Reply:
    """Answer NOOP."""
    opened(session)
    expect(event.args, 0)
    return Reply(True)


def rset(session: Session, _pop3d: Host, event: Event) -> Reply:
    """Unmark all messages (RSET)."""
    transaction = opened(session)
    expect(event.args, 0)
    transaction.unmark_all()
    return ok(f"{transaction.count} {plural(transaction.count)} ({transaction.octets} octets)")


def lang(session: Session, _pop3d: Host, event: Event) -> Reply:
    """List the languages, or choose one (LANG [language-range])."""
    expect(event.args, 0, 1)
    site = session.site
    if not event.args:
        lines = (f"{language.tag} {language.name}\r\n" for language in site.languages.values())
        return multiline("languages follow", "".join(lines).encode("utf-8"))
    wanted = site.language if event.args[0] == "*" else event.args[0]
    language = match(wanted, site.languages)
    if language is None:
        raise Refusal("no such language here, LANG lists those that are")
    client = session.client
    session.spoken = client.translate
    session.done_at = client.summary.commands
    client.translate = language.translate if language.texts else None
    return ok(f"{language.tag} language changed")


def speak_as_before(session: Session) -> None:
    """Restore the previous language after a LANG whose ``+OK`` was not sent."""
    session.client.translate = session.spoken


def quit_(session: Session, _pop3d: Host, event: Event) -> Reply:
    """Answer QUIT; in the TRANSACTION state, perform UPDATE (RFC 1939 section 6) before the reply."""
    expect(event.args, 0)
    transaction, session.transaction = session.transaction, None
    if transaction is None:
        return GOODBYE
    client = session.client
    marked = transaction.marked
    try:
        if expired := transaction.expired:
            marked += _sent(client, expired)
        if marked:
            transaction.remove(marked)
            client.summary.removed = len(marked)
    except BaseException:
        # RFC 1939 section 6: "Whether the removal was successful or not, the server then releases any exclusive-access
        # lock on the maildrop and closes the TCP connection."
        client.disconnect()
        raise
    finally:
        # Before the reply, so that a client that returns at once finds the maildrop free.
        transaction.close()
    session.goodbye = ok(f"goodbye, {len(marked)} {plural(len(marked))} removed") if marked else GOODBYE
    return session.goodbye


def _sent(client: ClientInterface, unique_ids: list[str]) -> list[str]:
    """Return *unique_ids* once the messages are sent, or none if sending fails."""
    try:
        client.flush()
    except OSError:
        return []
    return unique_ids


TAKE_BACK: Mapping[str, Callable[[Session], None]] = {"cmd_lang": speak_as_before}
"""Functions that undo a command of the session whose ``+OK`` was not sent."""

TAKE_BACK_MARKS: Mapping[str, Callable[[Transaction], None]] = {
    "cmd_retr": Transaction.kept_back,
    "cmd_dele": Transaction.unmark,
    "cmd_rset": Transaction.mark_again,
}
"""Functions that undo a command on the open maildrop; the other commands change nothing in it."""

COMMANDS: Mapping[str, Command] = {
    "cmd_stat": stat,
    "cmd_list": list_,
    "cmd_uidl": uidl,
    "cmd_retr": retr,
    "cmd_top": top,
    "cmd_dele": dele,
    "cmd_noop": noop,
    "cmd_rset": rset,
    "cmd_lang": lang,
    "cmd_quit": quit_,
}
