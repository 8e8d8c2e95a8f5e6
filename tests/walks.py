"""Measure the walks through the package: the files that a command enters, in the order of their first call.

    python tests/walks.py                 # numbers and files of login (USER, PASS), RETR and QUIT
    python tests/walks.py --without-c     # the same without the accelerator in C
    python tests/walks.py --json          # for programs
    python tests/walks.py --document      # the section "Walks" of docs/architecture.md, with the sentences it has
    python tests/walks.py --update        # writes that section into the document

A session over a loopback socket is measured: a warm Maildir, a password file with a plain-text password, and QUIT with
one message marked as deleted. Calls in the session's greenlet and in threads count. The script imports only public
names, so it also measures an older version, whose root is then in PYTHONPATH.
"""

from __future__ import annotations

import _thread
import argparse
import gc
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
ACCELERATOR = "geventpop3.wire._speedups"

SESSIONS = 5
"""Measured sessions. The shortest walk of each command is reported; in the others it waited for the clock or a disk."""

TITLES = {
    "USER": "Login: `USER`",
    "PASS": "Login: `PASS`",
    "RETR": "`RETR`",
    "QUIT": "`QUIT` with one message marked as deleted",
}
HEADING = "\n## Walks\n"
_PART = "\n### "
UNKNOWN = "..."
"""The sentence of a module that the page has none for yet."""

SETTLED_NS = 2_500_000_000
"""Age of a directory's last change from which on a Maildir's index is believed."""


class Walk(NamedTuple):
    """The calls of one command: the entered files in the order of their first call, and how often the file changed."""

    files: list[str]
    changes: int


class Recorder:
    """A profiler that notes the file of each call in the package."""

    def __init__(self, package: Path) -> None:
        self._start = f"{package}{os.sep}"
        self._home = _thread.get_ident()
        self._calls: list[str] = []
        self._current: Callable[[], object] = lambda: self
        self._greenlet: object = None

    def follow(self, current: Callable[[], object]) -> None:
        """Count the calls of this greenlet, and of all threads; *current* returns the greenlet that runs."""
        self._current, self._greenlet = current, current()

    def begin(self) -> None:
        self._calls = []

    def end(self) -> Walk:
        calls, self._calls = self._calls, []
        changes = sum(one != other for one, other in itertools.pairwise(calls))
        return Walk(list(dict.fromkeys(calls)), changes)

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event != "call" or not file.startswith(self._start):
            return
        if _thread.get_ident() != self._home or self._current() is self._greenlet:
            self._calls.append(file.removeprefix(self._start))


def quick_place() -> str | None:
    """Return a directory where a read can tell that it would wait (RWF_NOWAIT), as on most disks; None without one.

    Elsewhere, as on tmpfs, RETR always reads in a thread, so its walk is longer.
    """
    for place in (tempfile.gettempdir(), "/var/tmp", str(ROOT)):
        try:
            with tempfile.TemporaryFile(dir=place) as file:
                file.write(b"x")
                file.flush()
                os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
        except (OSError, AttributeError):
            continue
        return place
    return None


def measure() -> dict[str, Walk]:
    """Return the shortest walk of each command. The process must have imported neither gevent nor the package."""
    spec = find_spec("geventpop3")
    if spec is None or spec.origin is None:
        raise SystemExit("geventpop3 is not there: put the root of its sources into PYTHONPATH")
    recorder = Recorder(Path(spec.origin).parent)
    with tempfile.TemporaryDirectory(dir=quick_place()) as folder:
        sessions = hold_sessions(Path(folder), recorder)
    return {
        name: min((walks[name] for walks in sessions), key=lambda walk: (len(walk.files), walk.changes))
        for name in TITLES
    }


def hold_sessions(folder: Path, recorder: Recorder) -> list[dict[str, Walk]]:
    """Hold an unmeasured and a measured session with each of some maildrops; return the walks of the measured ones."""
    users = [f"user{number}" for number in range(SESSIONS + 1)]
    for user in users:
        for part in ("tmp", "new", "cur"):
            (folder / user / part).mkdir(parents=True)
        for number in range(3):
            (folder / user / "cur" / f"{number}.message:2,S").write_bytes(b"Subject: one\n\nOne line.\n" * 9)
    (folder / "users").write_text("".join(f"{user}:{{PLAIN}}sesame\n" for user in users), "utf-8")
    (folder / "users").chmod(0o600)
    changed = max((folder / user / part).stat().st_ctime_ns for user in users for part in ("new", "cur"))
    while time.time_ns() - changed < SETTLED_NS:
        time.sleep(0.05)
    threading.setprofile(recorder)  # gevent's pools ask for it, too
    sys.setprofile(recorder)
    try:
        hold_two(folder, users[0], recorder)  # imports what is imported late
        gc.collect()
        gc.disable()  # else finalizers would run in the middle of a command
        return [hold_two(folder, user, recorder) for user in users[1:]]
    finally:
        gc.enable()
        sys.setprofile(None)
        threading.setprofile(None)


def hold_two(folder: Path, user: str, recorder: Recorder) -> dict[str, Walk]:
    """Hold two sessions of *user*; return the walks of the second, which removes a message.

    They have a server and a store of their own: a store that was slow once uses more threads for a minute.
    """
    from gevent import getcurrent, socket

    from geventpop3 import POP3Server
    from geventpop3.auth.passwd import PasswordFile
    from geventpop3.service import MaildropService
    from geventpop3.stores.maildir import MaildirStore

    pop3d = POP3Server(port=0)
    pop3d.register(MaildropService(MaildirStore(f"{folder}/{{user}}"), PasswordFile(folder / "users")))
    session: Any = None

    @pop3d.on("connection")
    def follow(*_: object) -> None:
        nonlocal session
        session = getcurrent()
        recorder.follow(getcurrent)

    def hold(fourth: str) -> dict[str, Walk]:
        walks = {}
        with socket.create_connection(pop3d.getsockname()[:2], 60) as sock, sock.makefile("rb") as replies:
            assert replies.readline().startswith(b"+OK")
            for line in (f"USER {user}", "PASS sesame", "RETR 1", fourth, "QUIT"):
                recorder.begin()
                sock.sendall(f"{line}\r\n".encode())
                # This greenlet goes on when the session's waits again: for the next command, or for ever.
                reply = replies.readline()
                assert reply.startswith(b"+OK"), f"{line}: {reply!r}"
                if line.startswith("RETR"):
                    while replies.readline() != b".\r\n":
                        pass
                if line == "QUIT":
                    assert replies.read() == b""
                    session.join(60)
                walks[line[:4]] = recorder.end()
        return walks

    pop3d.start()
    try:
        hold("NOOP")
        return hold("DELE 1")
    finally:
        pop3d.shutdown()


def measure_apart(*, with_c: bool) -> dict[str, Walk]:
    """Return the walks that a new process measures: a test's own process has imported gevent and the package."""
    command = [sys.executable, __file__, "--json", *([] if with_c else ["--without-c"])]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return {name: Walk(*walk) for name, walk in json.loads(told.stdout).items()}


def documented(page: str) -> dict[str, list[tuple[str, str]]]:
    """Return the modules that the section "Walks" of *page* lists for each command, each with its sentence."""
    walks = {}
    for name, title in TITLES.items():
        part = _section_of(page).partition(f"{_PART}{title}\n")[2].partition(_PART)[0]
        items = re.findall(r"^\d+\. `([\w/]+\.py)`: (.+(?:\n {3,}.+)*)$", part, re.M)
        walks[name] = [(module, " ".join(sentence.split())) for module, sentence in items]
    return walks


def listed(walk: Walk) -> list[str]:
    """Return the files of a walk that the page lists: all but the packages' own ``__init__.py``."""
    return [file for file in walk.files if not file.endswith("__init__.py")]


def section(walks: dict[str, Walk], page: str) -> str:
    """Return the section as it should be now: with the text and sentences of *page*, ``...`` where one is missing."""
    known = documented(page)
    everywhere = {module: sentence for items in known.values() for module, sentence in items}
    lines = ["", f"{HEADING}{_section_of(page).partition(_PART)[0]}".strip()]
    for name, title in TITLES.items():
        own = dict(known[name])
        lines += ["", f"### {title}", ""]
        for number, module in enumerate(listed(walks[name]), 1):
            lines.append(f"{number}. `{module}`: {own.get(module, everywhere.get(module, UNKNOWN))}")
    return "\n".join([*lines, ""])


def updated(page: str, walks: dict[str, Walk]) -> str:
    """Return *page* with the section as it should be now, in its place or at the end."""
    if HEADING not in page:
        page = f"{page.rstrip()}\n{HEADING}"
    return page.replace(f"{HEADING}{_section_of(page)}", section(walks, page))


def _section_of(page: str) -> str:
    return page.partition(HEADING)[2].partition("\n## ")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--without-c", action="store_true", help="without the accelerator in C")
    parser.add_argument("--json", action="store_true", help="print the walks as JSON")
    parser.add_argument("--document", action="store_true", help="print the section of docs/architecture.md")
    parser.add_argument("--update", action="store_true", help="write the section into docs/architecture.md")
    options = parser.parse_args()
    if options.without_c or options.document or options.update:
        sys.modules[ACCELERATOR] = None  # type: ignore[assignment]  # an import of it then fails
    walks = measure()
    if options.json:
        print(json.dumps(walks))
    elif options.document:
        print(section(walks, PAGE.read_text("utf-8")))
    elif options.update:
        PAGE.write_text(updated(PAGE.read_text("utf-8"), walks), "utf-8")
    else:
        with_c = sys.modules.get(ACCELERATOR) is not None
        print(f"{sys.modules['geventpop3'].__path__[0]}, {'with' if with_c else 'without'} the accelerator in C")
        for name, walk in walks.items():
            print(f"\n{name}: {len(walk.files)} files, {walk.changes} changes of file")
            print("\n".join(f"  {number:2} {file}" for number, file in enumerate(walk.files, 1)))


if __name__ == "__main__":
    main()
