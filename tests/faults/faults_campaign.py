"""Rounds of a server under load that is ended at a random moment, started again, and looked at from outside.

Meanwhile a deliverer and a mover go on without a pause, as they do on a mail host: they belong to other programs and
know nothing of the server's death. All chance comes from one seed; what the scheduler does with it does not.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

from faults_ledger import Ledger, Outcome, message
from faults_pop import SECONDS, Pop, Refused
from faults_serve import PASSWORD, Server, command_line, make_root, program

OWNERS = ("anna", "bertil", "cecilia", "david")
CLIENTS = 5  # more than owners, so that they meet at the lock
MESSAGES = 50  # that the deliverer keeps in a maildrop
LOAD_SECONDS = 0.25  # a round that is not aimed at UPDATE ends within this time
AIMED = 0.8  # the share of rounds that are
SESSIONS = 2_000  # of one client in one round: a bound that is never met
LAST_DELIVERY = 200_000  # another one


@dataclass
class Tally:
    """What the rounds met."""

    rounds: int = 0
    sessions: int = 0
    acknowledged: int = 0
    refused: int = 0
    unanswered: int = 0  # QUITs with marks, cut off by the server's end
    done: int = 0  # of those, removed as a whole
    undone: int = 0
    journals: int = 0  # on the disk when the server was dead: UPDATE was committed and not finished
    halfway: int = 0  # of those, with some messages unlinked and some not
    farewells: int = 0  # sessions that heard that the server is shutting down
    login_seconds: list[float] = field(default_factory=list)
    update_seconds: list[float] = field(default_factory=list)
    end_seconds: list[float] = field(default_factory=list)


class Campaign:
    """The maildrops of *OWNERS* below *root*, and who works on them; ``run`` it inside ``with``."""

    def __init__(self, root: Path, seed: int, *, without_journal: bool = False) -> None:
        self.root = root
        self.log = root.with_name("server.log")
        self.ledger = Ledger()
        self.tally = Tally()
        self._chance = random.Random(seed)
        self._without_journal = without_journal
        self._stop = threading.Event()
        self._others = [threading.Thread(target=self._deliver), threading.Thread(target=self._move)]
        make_root(root, OWNERS)

    def __enter__(self) -> Campaign:
        for thread in self._others:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._others:
            thread.join()

    def start(self) -> Server:
        if self._without_journal:
            return Server(program(self.root, without_journal=True), self.log)
        return Server(command_line(self.root), self.log)

    def round(self, number: signal.Signals) -> int:
        """Starts the server, settles what the round before left open, loads it, and ends it by *number*.

        Returns its exit status.
        """
        server = self.start()
        try:
            for owner in self._in_doubt_first():
                self.settle(server, owner)
            self._load(server, number)
            status = server.process.wait(SECONDS)
        finally:
            server.kill()
        self.tally.rounds += 1
        self._look_at_the_disk()
        return status

    def finish(self) -> None:
        """Settles what the last round left open, and looks for what should not have stayed on the disk."""
        server = self.start()
        try:
            for owner in OWNERS:
                self.settle(server, owner)
        finally:
            server.kill()
        self._stop.set()
        for thread in self._others:
            thread.join()
        for owner in OWNERS:
            self._check_the_disk(owner)

    def settle(self, server: Server, owner: str) -> None:
        """Logs in as a client would, looks at every message, and has the ledger judge."""
        before = self.ledger.expected(owner)
        started = perf_counter()
        with Pop(server.port) as pop:
            pop.line()
            reply = pop.login(owner, PASSWORD)
            if not reply.startswith(b"+OK"):
                self.ledger.violation(f"{owner}: no login after the restart: {reply!r}")
                return
            self.tally.login_seconds.append(perf_counter() - started)
            unique_ids = pop.unique_ids()
            messages = pop.retrieve(range(1, len(unique_ids) + 1))
            pop.command(b"QUIT")
        for update in self.ledger.settle(owner, before, list(zip(unique_ids, messages, strict=True))):
            if update.outcome is Outcome.DONE:
                self.tally.done += 1
            else:
                self.tally.undone += 1

    def _in_doubt_first(self) -> list[str]:
        return sorted(OWNERS, key=lambda owner: not self.ledger.unsettled(owner))

    # The load of one round

    def _load(self, server: Server, number: signal.Signals) -> None:
        over = threading.Event()
        aim = None
        if self._chance.random() < AIMED:
            usual = median(self.tally.update_seconds[-50:]) if self.tally.update_seconds else 0.002
            aim = _Aim(server, number, self._chance.randint(1, 4), self._chance.random() * 1.2 * usual)
        clients = [
            threading.Thread(target=self._client, args=(server.port, self._chance.random(), over, aim))
            for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        if aim is None:
            over.wait(self._chance.random() * LOAD_SECONDS)
            server.signal(number)
        elif not aim.fired.wait(SECONDS):
            self.ledger.violation(f"no QUIT was sent within {SECONDS:g} s")
            server.kill()
        signalled = perf_counter()
        server.process.wait(SECONDS)
        self.tally.end_seconds.append(perf_counter() - signalled)
        over.set()
        for client in clients:
            client.join()
        self.tally.unanswered += sum(len(self.ledger.unsettled(owner)) for owner in OWNERS)

    def _client(self, port: int, seed: float, over: threading.Event, aim: _Aim | None) -> None:
        chance = random.Random(seed)
        for _ in range(SESSIONS):
            if over.is_set():
                return
            try:
                with Pop(port) as pop:
                    self._session(pop, chance, aim)
            except (OSError, EOFError):
                over.wait(0.002)  # the server has ended, or is about to
            except Refused as refused:
                if not self._is_farewell(refused.reply):
                    self.ledger.violation(f"a client was refused what it may do: {refused.reply!r}")

    def _session(self, pop: Pop, chance: random.Random, aim: _Aim | None) -> None:
        owner = chance.choice(OWNERS)
        if self._is_farewell(pop.line()):
            return
        reply = pop.login(owner, PASSWORD)
        if not reply.startswith(b"+OK"):
            if not reply.startswith(b"-ERR [IN-USE]") and not self._is_farewell(reply):
                self.ledger.violation(f"{owner}: no login: {reply!r}")
            return
        self.tally.sessions += 1
        unique_ids = pop.unique_ids()
        numbers = sorted(chance.sample(range(1, len(unique_ids) + 1), chance.randint(0, len(unique_ids))))
        messages = pop.retrieve(numbers)
        named = [
            self.ledger.identify(owner, unique_ids[n - 1], octets) for n, octets in zip(numbers, messages, strict=True)
        ]
        pop.mark(numbers)
        way = chance.random()
        if way < 0.1:
            return  # the line drops: nothing is removed
        if way < 0.2:
            pop.command(b"RSET")
            numbers = []
        self._quit(pop, owner, [each for each in named if each is not None] if numbers else [], aim)

    def _quit(self, pop: Pop, owner: str, identities: list[str], aim: _Aim | None) -> None:
        if not identities:
            pop.command(b"QUIT")
            return
        update = self.ledger.begin(owner, identities)
        sent = perf_counter()
        pop.send(b"QUIT\r\n")
        if aim is not None:
            aim.take(sent)
        reply = pop.line()
        self.ledger.answered(update, reply)
        if reply.startswith(b"+OK"):
            self.tally.acknowledged += 1
            if aim is None or not aim.fired.is_set():
                self.tally.update_seconds.append(perf_counter() - sent)
        else:
            self.tally.refused += 1
            if not self._is_farewell(reply):
                self.ledger.violation(f"{owner}: QUIT was refused: {reply!r}")

    def _is_farewell(self, reply: bytes) -> bool:
        if not reply.startswith(b"-ERR [SYS/TEMP] the server is shutting down"):
            return False
        self.tally.farewells += 1
        return True

    # Other programs

    def _deliver(self) -> None:
        """Keeps every maildrop filled: written to tmp, renamed into new (or linked, as some do)."""
        chance = random.Random(1)
        for serial in itertools.islice(itertools.count(1), LAST_DELIVERY):
            owner = OWNERS[serial % len(OWNERS)]
            if self._stop.wait(0 if len(self.ledger.expected(owner)) < MESSAGES else 0.002):
                return
            if len(self.ledger.expected(owner)) >= MESSAGES:
                continue
            identity = f"{owner}-{serial}"
            octets = message(identity)
            lines = octets.count(b"\n")
            size = f",S={len(octets)},W={len(octets) + lines}" if chance.random() < 0.5 else ""
            name = f"{1_700_000_000 + serial}.M{serial}P7.example{size}"
            maildir = self.root / owner
            (maildir / "tmp" / name).write_bytes(octets)
            self.ledger.announce(owner, identity)
            if chance.random() < 0.5:
                os.rename(maildir / "tmp" / name, maildir / "new" / name)
            else:
                os.link(maildir / "tmp" / name, maildir / "new" / name)
                os.unlink(maildir / "tmp" / name)
            self.ledger.deliver(owner, identity)

    def _move(self) -> None:
        """What another program does to messages: from new to cur, and flags that come and go."""
        chance = random.Random(2)
        while not self._stop.wait(0.001):
            maildir = self.root / chance.choice(OWNERS)
            for name in os.listdir(maildir / "new")[:10]:
                _rename(maildir / "new" / name, maildir / "cur" / f"{name}:2,")
            names = os.listdir(maildir / "cur")
            for name in chance.sample(names, min(5, len(names))):
                base, _, flags = name.partition(":2,")
                _rename(maildir / "cur" / name, maildir / "cur" / f"{base}:2,{'' if 'S' in flags else 'RS'}")

    # The disk

    def _look_at_the_disk(self) -> None:
        """Counts how far UPDATE was when the server died; judges nothing."""
        for owner in OWNERS:
            maildir = self.root / owner
            if not (maildir / "geventpop3.update").exists():
                continue
            self.tally.journals += 1
            names = [name.partition(":")[0] for part in ("new", "cur") for name in os.listdir(maildir / part)]
            lines = (maildir / "geventpop3.update").read_text().splitlines()[1:]
            named = [line.split(" ")[0] for line in lines]
            if 0 < len(set(named) & set(names)) < len(named):
                self.tally.halfway += 1

    def _check_the_disk(self, owner: str) -> None:
        maildir = self.root / owner
        found = sorted(path.read_bytes() for part in ("new", "cur") for path in (maildir / part).iterdir())
        wanted = sorted(message(identity) for identity in self.ledger.expected(owner))
        if found != wanted:
            self.ledger.violation(f"{owner}: {len(found)} files on the disk, {len(wanted)} messages expected")
        left = {path.name for path in maildir.iterdir()} - {"new", "cur", "tmp", "geventpop3.index"}
        if left or list((maildir / "tmp").iterdir()):
            self.ledger.violation(f"{owner}: left on the disk: {sorted(left) or 'in tmp'}")


class _Aim:
    """Ends the server so many seconds after the *countdown*-th QUIT with marks was sent."""

    def __init__(self, server: Server, number: signal.Signals, countdown: int, delay: float) -> None:
        self.fired = threading.Event()
        self._server = server
        self._number = number
        self._delay = delay
        self._countdown = itertools.count(1 - countdown)

    def take(self, sent: float) -> None:
        """Called right after a QUIT; to sleep would be to wake up too late, so this spins."""
        if next(self._countdown) != 0:
            return
        while perf_counter() - sent < self._delay:
            pass
        self._server.signal(self._number)
        self.fired.set()


def _rename(old: Path, new: Path) -> None:
    with suppress(FileNotFoundError):  # the server, or the other program, was quicker
        os.rename(old, new)
