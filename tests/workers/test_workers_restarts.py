"""Rolling restarts while clients come and go: none is refused, none is cut off, no removal is lost."""

from __future__ import annotations

import signal
import threading

import pytest
from workers_site import MESSAGE, Site, until

CLIENTS = 6
RESTARTS = 20
OCTETS = len(MESSAGE) + MESSAGE.count(b"\n")


class Load(threading.Thread):
    """One user who polls without pause: each session fetches a message, removes it and finds the next one."""

    def __init__(self, site: Site, name: str) -> None:
        super().__init__()
        self._site = site
        self._name = name
        self.sessions = 0
        self.answered: set[int] = set()
        self.fault: BaseException | None = None
        self.stopping = threading.Event()

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                self._session()
                self.sessions += 1
        except BaseException as fault:  # raised again by the test
            self.fault = fault

    def _session(self) -> None:
        mine = self._site.root / self._name / "new"
        (mine / f"{self.sessions}.M2P2.host").write_bytes(MESSAGE)
        with self._site.dial() as pop:
            self.answered.add(pop.who()[0])
            for command in (f"USER {self._name}", "PASS sesame"):
                reply = pop.say(command)
                assert reply.startswith("+OK"), reply
            assert pop.say("STAT") == f"+OK 1 {OCTETS}"
            assert pop.say("RETR 1").startswith("+OK")
            assert pop.body()[-2:] == ["..dot", "bye"]
            assert pop.say("DELE 1").startswith("+OK")
            assert pop.say("QUIT").startswith("+OK")
        assert not list(mine.iterdir())


@pytest.mark.slow
def test_twenty_restarts_under_load_refuse_and_drop_nobody(site: Site, kind: str) -> None:
    users = [f"user{number}" for number in range(CLIENTS)]
    for name in users:
        for part in ("tmp", "new", "cur"):
            (site.root / name / part).mkdir(parents=True)
    (site.root / "passwords").write_text("".join(f"{name}:{{PLAIN}}sesame\n" for name in [*users, *site.names]))
    site.start(site.command(kind))
    pids = site.settled(2)
    loads = [Load(site, name) for name in users]
    for load in loads:
        load.start()
    try:
        for number in range(RESTARTS):
            # One session stays through the whole restart, and its worker for it.
            with site.dial() as patient:
                assert patient.login("alice").startswith("+OK")
                mine = patient.who()[0]
                site.configure(f"number-{number}")
                site.send(signal.SIGHUP)
                until(lambda pids=pids: len((site.workers() & site.serving()) - pids) == 2, "new workers")
                assert patient.who()[0] == mine
                assert patient.say("QUIT").startswith("+OK")
            before = pids
            pids = until(lambda before=before: _without(site, before), "the end of the old workers")
    finally:
        for load in loads:
            load.stopping.set()
        for load in loads:
            load.join()
    faults = [load.fault for load in loads if load.fault is not None]
    assert faults == []
    assert all(load.sessions > RESTARTS for load in loads)
    assert len(set.union(*(load.answered for load in loads))) > RESTARTS
    assert "Traceback" not in site.written()
    assert site.end() == 0


def _without(site: Site, before: set[int]) -> set[int]:
    found = site.workers()
    return found if len(found) == 2 and not found & before else set()
