"""Each check fails for a fault of its own: a small server breaks one rule, and the checks of that rule say so."""

from __future__ import annotations

import hashlib
import re
import select
import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest
import trustme
from conformance_small import CRLF, PASSWORD, USER, Session, small

from geventpop3.testing import conformance
from geventpop3.testing.conformance import lab, registered

FAULTS: list[tuple[type[Session], list[str]]] = []
IDS = [check.id for check in registered()]


def breaks(slugs: str) -> Callable[[type[Session]], type[Session]]:
    """Note that a server breaks the rules of these checks."""

    def note(kind: type[Session]) -> type[Session]:
        FAULTS.append((kind, [identity for slug in slugs.split() for identity in named(slug)]))
        return kind

    return note


def named(slug: str) -> list[str]:
    """The ids of the checks with this end; a star stands for anything."""
    pattern = re.compile(r"rfc\d+-[\d.]+-" + slug.replace("*", ".*"))
    found = [identity for identity in IDS if pattern.fullmatch(identity)]
    assert found, slug
    return found


# Replies and lines


@breaks(
    "*-before-login unknown-after-login empty-after-login eight-bit-after-login prefix-after-login longer-after-login"
    " format-after-login user-after-login pass-after-login apop-after-login auth-after-login stls-after-login"
    " utf8-after-login long-command-after-login"
    " list-after-user stat-after-a-failed-login very-long-line nul-in-a-command reply-length"
    " state-after-stls pass-later auth-is-for-credentials apop-wrong plain-wrong pipelined"
)
class PositiveToAll(Session):
    def unknown(self, line):
        return b"+OK\r\n"

    def do_QUIT(self, argument):
        return super().do_QUIT(argument) if self.logged_in else b"-ERR\r\n"

    def do_CAPA(self, argument):
        type(self).asked = getattr(self, "asked", 0) + 1
        return super().do_CAPA(argument) if self.asked < 3 else b"-ERR\r\n"


@breaks("reply-length first-line")
class Echo(Session):
    def unknown(self, line):
        return b"-ERR unknown: " + line * 3 + CRLF


@breaks("greeting replies-end-with-crlf lines-end-with-crlf crlf")
class LineFeeds(Session):
    def write(self, octets):
        super().write(octets.replace(CRLF, b"\n"))


@breaks("greeting-length")
class LongGreeting(Session):
    def greeting(self):
        return b"+OK " + b"x" * 600 + CRLF


@breaks("greeting-is-one-line")
class TwoGreetings(Session):
    def greeting(self):
        # Only a client that waits gets the second one: the others would be out of step at once.
        self.write(super().greeting())
        return b"" if select.select([self.socket], [], [], 0.1)[0] else b"+OK have a nice day\r\n"


@breaks("lower-case-login mixed-case mechanism-case")
class CaseMatters(Session):
    def answer(self, line):
        word = line.partition(b" ")[0]
        return b"-ERR unknown\r\n" if word != word.upper() else super().answer(line)


@breaks("status-in-upper-case noop many-commands pipelined-many mixed-case octet-by-octet split-line-end")
class LowerCaseStatus(Session):
    def do_NOOP(self, argument):
        return b"+ok\r\n"


@breaks("octet-by-octet split-line-end unfinished-command")
class PacketsAreCommands(Session):
    def read(self):
        return self.receive().rstrip(CRLF) or None


@breaks("unfinished-command-at-the-end")
class RunsWhatIsNotEnded(Session):
    def ended(self):
        if self.buffer:
            self.answer(self.buffer)


@breaks("one-reply-to-* many-commands")
class RepliesTwice(Session):
    def do_NOOP(self, argument):
        return b"+OK\r\n+OK\r\n"

    def do_RSET(self, argument):
        return b"+OK\r\n+OK\r\n"

    def do_LIST(self, argument):
        return super().do_LIST(argument) + (b"-ERR\r\n" if argument else b"")

    def unknown(self, line):
        return b"-ERR\r\n-ERR\r\n"


@breaks("many-commands pipelined-many")
class HangsUpSoon(Session):
    commands = 0

    def answer(self, line):
        self.commands += 1
        self.open = self.commands < 100
        return super().answer(line)


@breaks("short-connections")
class BreaksDown(Session):
    def ended(self):
        if self.buffer == b"USER":
            type(self).broken = True

    def greeting(self):
        return b"-ERR out of order\r\n" if hasattr(self, "broken") else super().greeting()


@breaks("quit-closes quit-closes-before-login quit-after-user pipelined-quit free-after-quit")
class StaysAtQuit(Session):
    def do_QUIT(self, argument):
        reply = super().do_QUIT(argument)
        self.open = True
        return reply


@breaks("long-command unknown-mechanism")
class UnknownTwice(Session):
    def do_USER(self, argument):
        return super().do_USER(argument) if len(argument) < 99 else b"-ERR\r\n-ERR\r\n"

    def do_AUTH(self, argument):
        return b"+OK\r\n"


@breaks("quit-before-login long-command")
class RefusesQuit(Session):
    def do_QUIT(self, argument):
        return super().do_QUIT(argument) if self.logged_in else b"-ERR stay\r\n"


# States and locks


@breaks("second-login")
class SecondBreaksFirst(Session):
    def locked(self):
        if isinstance(self.store.holder, Session):
            self.store.holder.messages = []
        self.store.holder = self
        return True


@breaks("second-session-removes-nothing")
class NoLock(Session):
    def locked(self):
        return True

    def number(self, argument):
        number = super().number(argument)
        if self.messages[number - 1][0] not in self.store.mail:
            raise LookupError
        return number


@breaks("free-after-quit")
class KeepsLock(Session):
    def release(self):
        if self.open:
            super().release()


@breaks("free-after-a-failed-login")
class LocksBeforeThePassword(Session):
    def wrong(self):
        self.locked()
        return super().wrong()


@breaks("login-after-a-failed-one login-after-failed-auth login-after-cancel")
class OneTry(Session):
    tried = False

    def do_PASS(self, argument):
        return self.wrong() if self.tried else super().do_PASS(argument)

    def do_AUTH(self, argument):
        self.tried = True
        return super().do_AUTH(argument)

    def wrong(self):
        self.tried = True
        return super().wrong()


@breaks("in-use")
class TellsInUse(Session):
    def do_PASS(self, argument):
        return super().do_PASS(argument) if self.locked() else b"-ERR [IN-USE] in use\r\n"


@breaks("in-use-code auth-wrong-password auth-unknown-user")
class NoCodes(Session):
    def login(self, right):
        return re.sub(rb"\[.*\] ", b"", super().login(right))


@breaks("auth-is-for-credentials")
class AuthForAll(Session):
    def do_RETR(self, argument):
        return b"-ERR [AUTH] no such message\r\n"


@breaks("response-codes")
class Brackets(Session):
    def unknown(self, line):
        return b"-ERR [what is this\r\n"


# Names and passwords


@breaks(
    "wrong-password password-cut password-longer password-case password-and-word empty-password no-password plain-wrong"
    " plain-empty login-after-failed-auth auth-wrong-password in-use pipelined-failed-login free-after-a-failed-login"
    " login-after-a-failed-one stat-after-a-failed-login"
)
class AnyPassword(Session):
    def is_password(self, given):
        return True


@breaks("user-and-pass lower-case-login pipelined-login")
class ForgetsThePassword(Session):
    def do_PASS(self, argument):
        if getattr(self, "logins", 0) >= 3:  # those before the checks
            return self.wrong()
        reply = super().do_PASS(argument)
        type(self).logins = getattr(self, "logins", 0) + reply.startswith(b"+OK")
        return reply


@breaks("unknown-user plain-unknown apop-unknown plain-authorization")
class AnyName(Session):
    def do_PASS(self, argument):
        return self.login(self.is_password(argument))

    def is_plain(self, authorized, name, password):
        return self.is_password(password)

    def do_APOP(self, argument):
        return self.login(self.is_digest(argument.partition(b" ")[2]))


@breaks("unknown-user-without-password")
class UnknownUserNeedsNone(Session):
    def do_PASS(self, argument):
        return self.login(True) if self.name != USER and not argument else super().do_PASS(argument)


@breaks("no-clues")
class Clues(Session):
    def do_USER(self, argument):
        return super().do_USER(argument) if argument == USER else b"-ERR no such user\r\n"


@breaks("user-without-name")
class NoName(Session):
    def do_USER(self, argument):
        return super().do_USER(argument or b"somebody")


@breaks("pass-first pass-again pass-later name-is-forgotten")
class PassAnyTime(Session):
    def answer(self, line):
        if line.startswith(b"PASS ") and not self.logged_in:
            self.name = self.name or USER
            return self.do_PASS(line[5:])
        return super().answer(line)

    def begin_tls(self):
        name = self.name
        super().begin_tls()
        self.name = name


@breaks("nul-in-a-command nul-in-a-name")
class CutsAtNul(Session):
    def answer(self, line):
        return super().answer(line.partition(b"\0")[0])


@breaks("invalid-name")
class AnyOctets(Session):
    def do_USER(self, argument):
        return super().do_USER(argument.decode(errors="ignore").encode())


@breaks("apop-timestamp-is-new apop-replayed")
class OneTimestamp(Session):
    def greeting(self):
        self.stamp = "<1@small.invalid>"
        return super().greeting()


@breaks("apop-timestamp")
class NoMsgId(Session):
    def greeting(self):
        self.stamp = "<1234>"
        return super().greeting()


@breaks("apop-wrong apop-replayed apop-arguments")
class AnyDigest(Session):
    def is_digest(self, digest):
        return True


@breaks("apop")
class ApopForNothing(Session):
    def do_APOP(self, argument):
        return b"+OK\r\n"


# The maildrop


@breaks("stat-format stat-plain stat-adds stat-empty stat-leaves-out all-marked")
class WordsInStat(Session):
    def do_STAT(self, argument):
        return b"+OK %d messages\r\n" % len(self.present())


@breaks("stat-plain list-plain")
class MoreInListings(Session):
    def do_STAT(self, argument):
        return super().do_STAT(argument).replace(CRLF, b" more\r\n")

    def do_LIST(self, argument):
        return self.listing(argument, lambda number: b"%d more" % self.size(number))


@breaks("stat-counts stat-adds stat-empty")
class CountsOneMore(Session):
    def do_STAT(self, argument):
        return b"+OK %d %d\r\n" % (len(self.present()) + 1, sum(map(self.size, self.present())) + 1)


@breaks("list-format list-one")
class OddListings(Session):
    def do_LIST(self, argument):
        reply = super().do_LIST(argument)
        return reply.replace(b"\r\n1 ", b"\r\n1: ").replace(b"+OK 1 ", b"+OK ")


@breaks("list-one")
class NoNumber(Session):
    def do_LIST(self, argument):
        return super().do_LIST(argument).replace(b"+OK 1 ", b"+OK ")


@breaks("list-numbers")
class FromZero(Session):
    def do_LIST(self, argument):
        return re.sub(rb"(?m)^(\d) ", lambda found: b"%d " % (int(found[1]) - 1), super().do_LIST(argument))


@breaks("list-empty uidl-empty all-marked")
class EmptyIsRefused(Session):
    def listing(self, argument, item):
        return super().listing(argument, item) if self.present() else b"-ERR empty\r\n"


@breaks("retr-empty")
class EmptyHasOne(Session):
    def do_RETR(self, argument):
        return super().do_RETR(argument) if self.present() else self.multi("", [])


@breaks("dele")
class RefusesDele(Session):
    def do_DELE(self, argument):
        return b"-ERR no\r\n"


@breaks(
    "retr-marked dele-marked list-marked top-marked uidl-marked stat-leaves-out list-leaves-out uidl-leaves-out"
    " all-marked quit-removes quit-removes-only quit-removes-all"
)
class MarksNothing(Session):
    def do_DELE(self, argument):
        reply = super().do_DELE(argument)
        self.marked.clear()
        return reply


@breaks("numbers-stay uidl-leaves-out")
class Renumbers(Session):
    def do_DELE(self, argument):
        reply = super().do_DELE(argument)
        for number in self.marked:
            del self.messages[number - 1]
        self.marked.clear()
        return reply


@breaks("rset retr-after-rset quit-after-rset")
class RsetForNothing(Session):
    def do_RSET(self, argument):
        return b"+OK\r\n"


@breaks("rset-without-marks")
class RefusesRset(Session):
    def do_RSET(self, argument):
        return super().do_RSET(argument) if self.marked else b"-ERR nothing to do\r\n"


@breaks("noop-does-nothing")
class NoopUnmarks(Session):
    def do_NOOP(self, argument):
        return self.do_RSET(b"")


@breaks("lost-connection end-of-input no-marks-at-login quit-after-rset unfinished-command-at-the-end")
class RemovesAtOnce(Session):
    def do_DELE(self, argument):
        reply = super().do_DELE(argument)
        self.update()
        return reply


@breaks("quit-removes-only quit-without-marks quit-keeps-retrieved others-are-whole late-message")
class RemovesAll(Session):
    def update(self):
        self.store.empty()


@breaks("quit-keeps-retrieved")
class RemovesRetrieved(Session):
    capabilities = tuple(one for one in Session.capabilities if not one.startswith("EXPIRE"))

    def do_RETR(self, argument):
        self.taken = argument
        return super().do_RETR(argument)

    def update(self):
        super().update()
        if hasattr(self, "taken"):
            self.store.mail.pop(self.messages[int(self.taken) - 1][0], None)


@breaks("quit-before-login-removes-nothing")
class RemovesBeforeLogin(Session):
    def do_QUIT(self, argument):
        if self.name and not self.logged_in:
            self.store.empty()
        return super().do_QUIT(argument)


@breaks("numbers-stay-at-arrival")
class SeesArrivals(Session):
    def do_LIST(self, argument):
        self.messages = list(reversed(self.store.mail.items()))
        return super().do_LIST(argument)


@breaks(
    "*-zero *-beyond *-huge [a-z]+-word *-trailing *-two-arguments *-without-argument *-marked top-lines-* no-password"
)
class AnythingIsMessageOne(Session):
    def number(self, argument):
        if not self.messages:
            raise LookupError
        return 1

    def do_TOP(self, argument):
        return self.do_RETR(argument)

    def do_PASS(self, argument):
        return super().do_PASS(argument or PASSWORD)


@breaks("*-with-argument capa-argument utf8-argument stls-argument")
class IgnoresArguments(Session):
    def answer(self, line):
        word = line.partition(b" ")[0]
        return super().answer(word if word in (b"STAT", b"NOOP", b"RSET", b"CAPA", b"UTF8", b"STLS") else line)


# Messages


@breaks(
    "retr-leading-dots retr-lone-dot retr-dot-* retr-mime retr-many-lines retr-large retr-all stuffed top-stuffs"
    " top-stuffs-the-first-octet"
)
class StuffsNothing(Session):
    def stuff(self, octets):
        return octets


@breaks("retr-dot-first top-stuffs-the-first-octet")
class StuffsAfterLineEnds(Session):
    def stuff(self, octets):
        return octets.replace(b"\n.", b"\n..")


class Content(Session):
    """What is sent is not what is stored."""

    def content(self, number):
        return self.changed(super().content(number))

    def changed(self, octets):
        return octets


@breaks("retr-plain retr-all retr-large list-sizes")
class AddsAField(Content):
    def changed(self, octets):
        return b"X-UIDL: 1\r\n" + octets


@breaks("retr-no-final-line-end retr-dot-last")
class CutsTheLastLine(Session):
    def content(self, number):
        octets = self.messages[number - 1][1].replace(b"\n", CRLF)
        return octets if octets.endswith(CRLF) else octets.rpartition(b"\n")[0] + b"\n"


@breaks("retr-trailing-blank-lines")
class CutsBlankLines(Content):
    def changed(self, octets):
        return re.sub(rb"(\r\n){3,}\Z", CRLF, octets)


@breaks("retr-leading-blank-lines")
class CutsLeadingBlankLines(Content):
    def changed(self, octets):
        return re.sub(rb"(\r\n){3,}", b"\r\n\r\n", octets, count=1)


@breaks("retr-trailing-blanks")
class CutsBlanks(Content):
    def changed(self, octets):
        return re.sub(rb"[ \t]+\r\n", CRLF, octets)


@breaks("retr-empty-body")
class CutsTheEmptyLine(Content):
    def changed(self, octets):
        return octets.removesuffix(CRLF) if octets.endswith(b"\r\n\r\n") else octets


@breaks("retr-folded-header")
class Unfolds(Content):
    def changed(self, octets):
        return re.sub(rb"\r\n[ \t]", b" ", octets)


@breaks("retr-long-lines retr-very-long-line top-of-long-lines")
class WrapsLines(Content):
    def changed(self, octets):
        return re.sub(rb"([^\r\n]{500})", rb"\1\r\n", octets)


@breaks("retr-from-lines")
class QuotesFrom(Content):
    def changed(self, octets):
        return octets.replace(b"\nFrom x", b"\n>From x")


@breaks("retr-eight-bit retr-eight-bit-header")
class SevenBits(Content):
    def changed(self, octets):
        return bytes(octet & 0x7F for octet in octets)


@breaks("retr-bare-cr")
class EndsLinesAtCr(Content):
    def changed(self, octets):
        return re.sub(rb"\r(?!\n)", CRLF, octets)


@breaks("retr-nul")
class LinesEndAtNul(Content):
    def changed(self, octets):
        return re.sub(rb"\0[^\r]*", b"", octets)


@breaks("retr-many-lines retr-large")
class CutsMessages(Content):
    def changed(self, octets):
        return octets[:100_000]


@breaks("size-* sizes list-sizes")
class CountsLineFeeds(Session):
    def size(self, number):
        return len(self.messages[number - 1][1])


@breaks("retr-twice retr-in-a-second-session pipelined-retr others-are-whole")
class ChangesEachTime(Session):
    def do_RETR(self, argument):
        type(self).time = getattr(self, "time", 0) + 1
        return super().do_RETR(argument).replace(CRLF, b"\r\nX-Time: %d\r\n" % self.time, 1)


@breaks("retr-deletes-nothing retr-twice")
class RetrMarks(Session):
    def do_RETR(self, argument):
        reply = super().do_RETR(argument)
        self.do_DELE(argument)
        return reply


# TOP and UIDL


@breaks("top-0 top-1 top-3 top-counts-the-body top-of-long-lines")
class TopIsRetr(Session):
    def top(self, octets, lines):
        return octets


@breaks("top-all top-stuffs")
class TopIsShort(Session):
    def top(self, octets, lines):
        return super().top(octets, min(lines, 2))


@breaks("top-of-an-empty-body")
class TopOfNothing(Session):
    def top(self, octets, lines):
        return b"" if octets.endswith(b"\r\n\r\n") else super().top(octets, lines)


@breaks("top-marks-nothing")
class TopMarks(Session):
    def do_TOP(self, argument):
        reply = super().do_TOP(argument)
        self.marked.add(1)
        return reply


@breaks("top-works uidl-works")
class TopAndUidlAreRefused(Session):
    def do_TOP(self, argument):
        return b"-ERR no\r\n"

    def do_UIDL(self, argument):
        return b"-ERR no\r\n"


@breaks("uidl-format uidl-one")
class UidlWithoutNumber(Session):
    def do_UIDL(self, argument):
        return re.sub(rb"(?m)^(\+OK )?\d ", rb"\1", super().do_UIDL(argument))


@breaks("uidl-characters")
class BlanksInUidl(Session):
    def unique_id(self, number):
        return "a b"


@breaks("uidl-unique uidl-of-bodies uidl-not-reused")
class OneUidl(Session):
    def unique_id(self, number):
        return "same"


@breaks("uidl-of-bodies")
class HashesHeaders(Session):
    def unique_id(self, number):
        return hashlib.md5(self.content(number).partition(b"\r\n\r\n")[0]).hexdigest()


@breaks("uidl-persists uidl-persists-without-quit")
class UidlOfTheSession(Session):
    def unique_id(self, number):
        return f"{self.stamp[1:9]}{number}"


@breaks("uidl-after-removal uidl-not-reused")
class UidlIsThePlace(Session):
    def unique_id(self, number):
        return str(number)


# Extensions


@breaks("capa-after-login sasl-after-auth")
class CapaBeforeLogin(Session):
    def do_CAPA(self, argument):
        return b"-ERR no\r\n" if self.logged_in else super().do_CAPA(argument)


@breaks("capa-both sasl-after-auth")
class LessAfterLogin(Session):
    def do_CAPA(self, argument):
        if self.logged_in:
            self.capabilities = ("TOP", "UIDL")
        return super().do_CAPA(argument)


@breaks("capa-early")
class MoreAfterLogin(Session):
    def do_CAPA(self, argument):
        if not self.logged_in:
            self.capabilities = ("USER",)
        return super().do_CAPA(argument)


@breaks("capa-lines capa-line-length capa-once login-delay expire implementation sasl-names")
class OddCapabilities(Session):
    capabilities = ("TOP", "TOP", "A  B", "X " + "x" * 600, "LOGIN-DELAY soon", "EXPIRE soon", "IMPLEMENTATION", "SASL")


@breaks("pipelined pipelined-login pipelined-failed-login pipelined-many pipelined-retr pipelined-auth")
class ThrowsAwayTheRest(Session):
    def read(self):
        line = super().read()
        self.buffer = b""
        return line


@breaks("stls")
class NoHandshake(Session):
    def begin_tls(self):
        self.open = False


@breaks("login-after-stls capa-after-stls state-after-stls after-failed-handshake")
class OddWithinTls(Session):
    def is_password(self, given):
        return not self.secure and super().is_password(given)

    def do_CAPA(self, argument):
        return b"-ERR\r\n" if self.secure else super().do_CAPA(argument)

    def do_QUIT(self, argument):
        return b"-ERR\r\n" if self.secure else super().do_QUIT(argument)

    def begin_tls(self):
        super().begin_tls()
        self.logged_in = True


@breaks("not-announced")
class AlwaysStls(Session):
    capabilities = (*Session.capabilities, "STLS")


@breaks("injected injected-beginning")
class KeepsWhatCameBeforeTls(Session):
    def begin_tls(self):
        kept = self.buffer
        super().begin_tls()
        self.buffer = kept


@breaks("failed-handshake")
class ClearTextAgain(Session):
    def begin_tls(self):
        assert self.context is not None
        again = self.socket.dup()
        try:
            self.socket = self.context.wrap_socket(self.socket, server_side=True)
        except OSError:
            self.socket = again
        else:
            again.close()


@breaks("plain-initial pipelined-auth mechanism-case plain-wrong sasl-after-auth")
class InitialIsLogin(Session):
    def plain(self, initial):
        if initial is None:
            return super().plain(initial)
        return b"+OK\r\n" if self.decode(initial) != b"\0" + USER + b"\0" + PASSWORD else b"-ERR\r\n"


@breaks("plain-challenged")
class RefusesResponses(Session):
    def plain(self, initial):
        return super().plain(initial) if initial else super().plain(self.challenge(b"")[:8])


@breaks("empty-challenge cram-challenge")
class OddChallenges(Session):
    def challenge(self, octets):
        self.write(b"+\r\n" if not octets else b"+ " + octets + CRLF)
        return self.read() or b"*"


@breaks("cancel login-after-cancel no-base64 command-as-response")
class AnyResponseIsGood(Session):
    def plain(self, initial):
        if initial is None:
            self.challenge(b"")
        return b"+OK\r\n"


@breaks("base64-of-the-password")
class LenientBase64(Session):
    def decode(self, text):
        return super().decode(re.sub(rb"[^A-Za-z0-9+/=]", b"", text))


@breaks("empty-initial-response")
class EqualsIsAbsent(Session):
    def plain(self, initial):
        return super().plain(None if initial == b"=" else initial)


@breaks("long-response")
class ShortLines(Session):
    def read(self):
        line = super().read()
        return line if line is None or len(line) < 1000 else None

    def challenge(self, octets):
        reply = super().challenge(octets)
        self.open = reply != b"*"
        return reply

    def write(self, octets):
        if self.open or not octets.startswith(b"-ERR cancelled"):
            super().write(octets)


@breaks("cram-initial cram-wrong")
class LenientCram(Session):
    def cram(self, initial):
        return super().cram(None)

    def is_cram(self, digest):
        return True


@breaks("plain-fields")
class TwoFields(Session):
    def plain(self, initial):
        fields = (self.decode(initial or b"") or b"").split(b"\0")
        return self.login(self.is_password(fields[-1])) if len(fields) == 2 else super().plain(initial)


@breaks("utf8 utf8-argument")
class Utf8EndsIt(Session):
    def do_UTF8(self, argument):
        self.capabilities = ()
        return b"+OK\r\n"

    def is_password(self, given):
        return bool(self.capabilities) and super().is_password(given)


@breaks("surrogate")
class AsItIs(Session):
    def content(self, number):
        self.utf8 = True
        return super().content(number)


@breaks("lang-list lang-selects lang-unknown lang-star lang-after-login")
class OddLanguages(Session):
    AFTER = tuple(verb for verb in Session.AFTER if verb != "LANG")

    def do_LANG(self, argument):
        if not argument:
            return self.multi("", [b"?? what"])
        return b"-ERR no\r\n" if argument == b"*" else b"+OK chosen\r\n"


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "LOCK_SECONDS", 1.0)


@pytest.mark.parametrize(("kind", "ids"), FAULTS, ids=[kind.__name__ for kind, _ in FAULTS])
def test_a_fault_is_found(kind: type[Session], ids: list[str], context: ssl.SSLContext) -> None:
    with small(kind, context) as (target, store):
        report = conformance.run_checks(
            replace(target, timeout=1.0), delivery=store, may_delete=True, only=lambda check: check.id in ids
        )
    found = {result.check.id: f"{result.outcome}: {result.reason}" for result in report.results}
    assert {name: told for name, told in found.items() if not told.startswith("fail")} == {}
    assert len(found) == len(set(ids))
    for result in report.failures:
        assert result.reason
        assert result.exchange
        assert PASSWORD.decode() not in "\n".join(result.exchange)


def test_each_check_was_seen_to_fail() -> None:
    assert {identity for _, ids in FAULTS for identity in ids} == set(IDS)


def test_a_server_that_keeps_the_rules_passes_all(context: ssl.SSLContext) -> None:
    with small(Session, context) as (target, store):
        report = conformance.run_checks(target, delivery=store, may_delete=True)
    assert [(result.check.id, result.reason) for result in report.results if result.outcome != "pass"] == []
