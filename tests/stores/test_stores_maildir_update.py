"""UPDATE of the maildir store under a crash, or a fault, at every single system call, and with a mover meanwhile."""

from __future__ import annotations

import errno
import itertools
import logging
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from maildir_kernel import Clock, Crash, Disk, Kernel, left_over, make_maildir, names
from store_contract import MESSAGE, contents, remove, scan

from geventpop3.errors import NoSuchMessage, Refusal, RemovalIncomplete, StoreUnavailable
from geventpop3.stores.maildir import MaildirStore, index, journal, listing
from geventpop3.stores.maildir.maildrop import NOTHING_REMOVED, REMOVAL_INCOMPLETE, REMOVAL_UNCERTAIN
from geventpop3.stores.maildir.names import base_of, shared_unique_id, unique_id
from geventpop3.stores.maildir.opening import Parts
from geventpop3.stores.maildir.removal import Marked
from geventpop3.stores.store import Maildrop

KEPT = {"1.M1P1.h": b"one\n", "5.M5P5.h": b"five\n"}
MARKED = {"2.M2P2.h": b"two\n", "3.M3P3.h": b"three\n", "caf\u00e9 4": b"four\n"}
IDS = [unique_id(base) for base in MARKED]


class World:
    """A maildir of five messages, three of which a session marks; built anew for each fault."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder = folder
        self.options = options
        self.rounds = itertools.count()
        self.build()

    def build(self) -> None:
        self.owner = f"round{next(self.rounds)}"
        self.path = make_maildir(self.folder / self.owner)
        for name, content in {
            "cur/1.M1P1.h:2,S": KEPT["1.M1P1.h"],
            "new/2.M2P2.h": MARKED["2.M2P2.h"],
            "cur/3.M3P3.h:2,": MARKED["3.M3P3.h"],
            "cur/caf\u00e9 4:2,RS": MARKED["caf\u00e9 4"],
            "new/5.M5P5.h": KEPT["5.M5P5.h"],
        }.items():
            (self.path / name).write_bytes(content)

    def store(self) -> MaildirStore:
        return MaildirStore(f"{self.folder}/{{user}}", **self.options)  # type: ignore[arg-type]  # options by name

    def session(self, store: MaildirStore | None = None) -> None:
        """Logs in, marks, quits; whatever happens, the kernel closes what was open."""
        maildrop: Maildrop | None = None
        try:
            maildrop = (store or self.store()).open(self.owner)
            maildrop.scan()
            maildrop.remove(IDS)
        finally:
            if maildrop is not None:
                maildrop.close()

    def on_disk(self) -> dict[str, bytes]:
        """The messages by base name."""
        return {name[4:].partition(":")[0]: (self.path / name).read_bytes() for name in names(self.path)}

    def check(self, *, marked_left: set[int]) -> None:
        """After the next login: what was not marked is whole, so many of the marked are there, nothing is left over."""
        listed = scan(self.store(), self.owner)
        found = self.on_disk()
        assert {base: content for base, content in found.items() if base in KEPT} == KEPT
        assert {base: content for base, content in found.items() if base not in KEPT}.items() <= MARKED.items()
        assert len(found) - len(KEPT) in marked_left
        assert {message.unique_id for message in listed} == {unique_id(base) for base in found}
        assert left_over(self.path) <= {index.FILE}


@pytest.fixture(
    params=[
        pytest.param({}, id="exclusive"),
        pytest.param({"durable": False}, id="exclusive, not durable", marks=pytest.mark.slow),
        pytest.param({"lock": "none"}, id="no lock", marks=pytest.mark.slow),
    ]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(tmp_path, **request.param)


class TestACrashAtEveryStep:
    """P1, P2, P3: a session that dies at any system call removes all that was marked, or nothing."""

    def test_of_a_session(self, world: World, kernel: Kernel, clock: Clock) -> None:
        outcomes = []
        for step in itertools.count():
            kernel.crash_at(step)
            try:
                world.session()
            except Crash:
                kernel.reset()
                committed = journal.FILE in left_over(world.path) or not set(MARKED) & set(world.on_disk())
                outcomes.append(committed)
                world.check(marked_left={0} if committed else {len(MARKED)})
                world.build()
            else:
                break
        kernel.reset()
        world.check(marked_left={0})
        assert outcomes == sorted(outcomes)
        assert 15 < outcomes.count(False) < len(outcomes) - 10

    def test_of_the_session_that_finishes_what_another_began(self, world: World, kernel: Kernel, clock: Clock) -> None:
        for step in itertools.count():
            begin_update(world, unlinked=1)
            kernel.crash_at(step)
            try:
                scan(world.store(), world.owner)
            except Crash:
                kernel.reset()
                world.check(marked_left={0})
                world.build()
            else:
                break
        kernel.reset()
        world.check(marked_left={0})
        assert step > 20


class TestAFaultAtEveryStep:
    """P4: what the client hears is what happened, and the next login works."""

    @pytest.mark.parametrize(
        "code",
        [
            errno.EIO,
            *(pytest.param(code, marks=pytest.mark.slow) for code in (errno.ENOSPC, errno.EACCES, errno.EMFILE)),
        ],
    )
    def test_of_a_session(self, tmp_path: Path, kernel: Kernel, clock: Clock, code: int) -> None:
        world = World(tmp_path)
        refused = 0
        for step in itertools.count():
            kernel.fail_at(step, code)
            said = self.what_the_client_hears(world)
            left = len(set(MARKED) & set(world.on_disk()))
            if said is None:
                wanted = {0}
            elif isinstance(said, RemovalIncomplete):
                assert said.remaining == left > 0
                wanted = {left}
            else:
                assert said.code is not None
                assert str(world.path) in str(said.detail)
                assert "geventpop3" not in said.text
                wanted = {0, len(MARKED)}
            refused += said is not None
            done = len(kernel.calls) <= step
            kernel.reset()
            world.check(marked_left=wanted)
            if done:
                break
            world.build()
        assert refused > 15

    def what_the_client_hears(self, world: World) -> Refusal | None:
        try:
            world.session()
        except Refusal as refusal:
            return refusal
        return None

    @pytest.mark.parametrize("call", ["write", "fsync", "rename"])
    def test_a_journal_that_cannot_be_written_removes_nothing(self, tmp_path: Path, kernel: Kernel, call: str) -> None:
        world = World(tmp_path)
        store = world.store()
        scan(store, world.owner)
        maildrop = store.open(world.owner)
        maildrop.scan()
        kernel.fail(call, errno.EROFS)
        with pytest.raises(StoreUnavailable, match="no message was removed"):
            maildrop.remove(IDS)
        maildrop.close()
        kernel.reset()
        world.check(marked_left={3})

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
    @pytest.mark.parametrize("call", ["openat", "write", "fsync", "rename"])
    @pytest.mark.parametrize("left", [0, 1])
    def test_where_there_is_no_room_for_a_journal_messages_are_removed_one_by_one(
        self, tmp_path: Path, kernel: Kernel, code: int, call: str, left: int
    ) -> None:
        world = World(tmp_path)

        def before(_: int, name: str, first: object) -> None:
            wanted = {
                "write": True,
                "fsync": name == "fsync" and os.path.samefile(f"/proc/self/fd/{first}", world.path),
            }
            if name == call and wanted.get(name, str(first).endswith(".tmp")):
                raise OSError(code, os.strerror(code))
            if left and name == "unlink" and "3.M3P3.h" in str(first):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))

        kernel.before = before
        if left and call != "fsync":
            with pytest.raises(RemovalIncomplete, match="1 message left"):
                world.session()
        elif left:
            # The journal may have reached the disk, and may not have been taken away from it.
            with pytest.raises(StoreUnavailable, match="begun but not completed"):
                world.session()
        else:
            world.session()
        assert len(set(MARKED) & set(world.on_disk())) == left
        assert left_over(world.path) <= {index.FILE}
        kernel.reset()
        world.check(marked_left={left})

    def test_one_message_more_than_a_journal_holds_has_none(
        self, tmp_path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = World(tmp_path)
        monkeypatch.setattr(journal, "MAX_MESSAGES", 2)
        world.session()
        assert ("rename", f"{journal.FILE}.tmp") not in kernel.calls
        world.check(marked_left={0})

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
    def test_on_a_full_disk_the_index_makes_room_for_the_journal(
        self, tmp_path: Path, kernel: Kernel, code: int
    ) -> None:
        world = World(tmp_path)
        scan(world.store(), world.owner)
        (world.path / f"{index.FILE}.tmp").write_bytes(b"left by a crash")
        journals = 0

        def before(_: int, name: str, first: object) -> None:
            nonlocal journals
            if name == "write" and left_over(world.path) & {index.FILE, f"{index.FILE}.tmp"}:
                raise OSError(code, os.strerror(code))
            journals += (name, first) == ("rename", f"{journal.FILE}.tmp")

        kernel.before = before
        world.session()
        assert journals == 1
        assert left_over(world.path) == set()
        world.check(marked_left={0})

    def test_a_journal_that_cannot_be_taken_back_is_finished_by_the_next_session(
        self, tmp_path: Path, kernel: Kernel, caplog: pytest.LogCaptureFixture
    ) -> None:
        world = World(tmp_path)
        kernel.fail("unlink", errno.EIO, lambda name: name == journal.FILE)
        with caplog.at_level(logging.WARNING):
            world.session()
        assert "cannot be removed, the next session finishes it" in caplog.text
        kernel.reset()
        world.check(marked_left={0})

    def test_messages_that_cannot_be_removed_are_counted(self, tmp_path: Path, kernel: Kernel) -> None:
        world = World(tmp_path)
        kernel.fail("unlink", errno.EACCES, lambda name: "3.M3P3.h" in name)
        with pytest.raises(RemovalIncomplete) as refused:
            world.session()
        assert refused.value.remaining == 1
        assert refused.value.text == "some deleted messages not removed: 1 message left"
        assert "3.M3P3.h" in str(refused.value.detail)
        kernel.reset()
        world.check(marked_left={1})

    def test_if_no_message_can_be_removed_it_says_so(self, tmp_path: Path, kernel: Kernel) -> None:
        world = World(tmp_path)
        kernel.fail("unlink", errno.EACCES, lambda name: "/" in name)
        with pytest.raises(StoreUnavailable, match="no message was removed"):
            world.session()
        kernel.reset()
        world.check(marked_left={3})

    @pytest.mark.parametrize("code", [errno.EROFS, errno.EIO, errno.ENOSPC])
    @pytest.mark.parametrize("which", ["all", "one"])
    @pytest.mark.parametrize("lock", ["exclusive", "none"])
    def test_an_update_that_cannot_be_finished_keeps_its_journal_and_the_mail_is_served(
        self, tmp_path: Path, kernel: Kernel, code: int, which: str, lock: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        world = World(tmp_path, lock=lock)
        begin_update(world, unlinked=1)
        kernel.fail("unlink", code, lambda name: which == "all" or "3.M3P3.h" in name)
        maildrop = world.store().open(world.owner)
        with caplog.at_level(logging.ERROR):
            listed = [message.unique_id for message in maildrop.scan()]
        assert set(listed) == ({*KEPT, *IDS[1:]} if which == "all" else {*KEPT, IDS[1]})
        assert "cannot be finished now" in caplog.text
        assert str(world.path) in caplog.text
        assert b"".join(maildrop.retrieve("1.M1P1.h")) == KEPT["1.M1P1.h"]
        for marked in (["1.M1P1.h"], ["1.M1P1.h", IDS[1]]):
            with pytest.raises(StoreUnavailable, match="an earlier removal must be completed first"):
                maildrop.remove(marked)
        maildrop.close()
        assert journal.FILE in left_over(world.path)
        kernel.reset()
        world.check(marked_left={0})

    @pytest.mark.parametrize(("call", "code"), [("openat", errno.EACCES), ("read", errno.EIO), ("fsync", errno.EIO)])
    def test_a_journal_that_cannot_be_read_or_synced_keeps_nobody_out(
        self, tmp_path: Path, kernel: Kernel, call: str, code: int
    ) -> None:
        world = World(tmp_path)
        begin_update(world, unlinked=1)
        scanned: list[str] = []

        def before(_: int, name: str, first: object) -> None:
            if name == call and (call != "openat" or first == journal.FILE) and not scanned:
                scanned.append(name)
                raise OSError(code, os.strerror(code))

        kernel.before = before
        assert {message.unique_id for message in scan(world.store(), world.owner)} >= set(KEPT)
        assert scanned
        kernel.reset()
        world.check(marked_left={0})

    @pytest.mark.parametrize("what", ["directory", "full directory", "link", "fifo"])
    @pytest.mark.parametrize("name", [journal.FILE, f"{journal.FILE}.tmp", index.FILE, f"{index.FILE}.tmp"])
    @pytest.mark.parametrize("marked", [IDS, IDS[:1]], ids=["three", "one"])
    @pytest.mark.parametrize("room", [True, False])
    def test_what_is_no_file_in_place_of_ours_keeps_nothing_from_its_removal(
        self,
        tmp_path: Path,
        kernel: Kernel,
        caplog: pytest.LogCaptureFixture,
        what: str,
        name: str,
        marked: list[str],
        room: bool,
    ) -> None:
        world = World(tmp_path)
        self.obstruct(world.path / name, what, world)
        if not room:
            kernel.fail("write", errno.ENOSPC)
        maildrop = world.store().open(world.owner)
        assert len(maildrop.scan()) == 5
        assert (world.path / index.FILE).is_file() or not room or index.FILE in name
        with caplog.at_level(logging.WARNING):
            maildrop.remove(marked)
        maildrop.close()
        assert len(world.on_disk()) == 5 - len(marked)
        told = "without a journal: a directory has the journal's name" in caplog.text
        assert told == (
            what.endswith("directory") and journal.FILE in name and marked == IDS and (room or name != journal.FILE)
        )
        kernel.reset()
        assert len(scan(world.store(), world.owner)) == 5 - len(marked)
        assert (world.path / name).is_dir() == (what.endswith("directory"))

    def obstruct(self, place: Path, what: str, world: World) -> None:
        if what == "link":
            place.symlink_to(world.path / "cur/1.M1P1.h:2,S")
        elif what == "fifo":
            os.mkfifo(place)
        else:
            place.mkdir()
        if what == "full directory":
            (place / "file").touch()

    @pytest.mark.parametrize("what", ["directory", "full directory", "link", "fifo"])
    def test_a_damaged_journal_that_cannot_be_moved_aside_is_removed(self, tmp_path: Path, what: str) -> None:
        world = World(tmp_path)
        (world.path / journal.FILE).write_bytes(b"damaged")
        self.obstruct(world.path / journal.DAMAGED, what, world)
        world.session()
        assert set(world.on_disk()) == set(KEPT)
        assert journal.FILE not in left_over(world.path)

    @pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EISDIR])
    def test_a_file_that_cannot_ever_be_removed_keeps_nobody_out(
        self, tmp_path: Path, kernel: Kernel, code: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        world = World(tmp_path)
        begin_update(world, unlinked=1)
        kernel.fail("unlink", code, lambda name: "3.M3P3.h" in name)
        with caplog.at_level(logging.ERROR):
            assert IDS[1] in [message.unique_id for message in scan(world.store(), world.owner)]
        assert "abandoned" in caplog.text
        assert "3.M3P3.h" in caplog.text
        assert kernel.names.count("fsync") == 3
        kernel.reset()
        world.check(marked_left={1})

    def test_a_directory_in_place_of_a_message_keeps_nobody_out(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        world = World(tmp_path)
        begin_update(world, unlinked=1)
        (world.path / "new/2.M2P2.h").mkdir()
        with caplog.at_level(logging.ERROR):
            assert [message.unique_id for message in scan(world.store(), world.owner)] == list(KEPT)
        assert len(caplog.records) == 1
        assert left_over(world.path) == {index.FILE}


class TestTheReplyToQuitIsTrueAtEveryLaterLogin:
    """Whatever fails in UPDATE, once or from then on, whether it heals, and whether the power fails as well."""

    WRITING = frozenset({"write", "fsync", "unlink", "rename"})
    CODES = (
        errno.EIO,
        errno.ENOSPC,
        *(pytest.param(code, marks=pytest.mark.slow) for code in (errno.EACCES, errno.EROFS, errno.EDQUOT)),
    )

    @pytest.mark.parametrize("code", CODES)
    @pytest.mark.parametrize("extent", ["once", "that call", "all that writes", "all"])
    @pytest.mark.parametrize("marked", [IDS, IDS[:1]], ids=["three", "one"])
    def test_of_a_fault_at_every_step(
        self, tmp_path: Path, kernel: Kernel, clock: Clock, code: int, extent: str, marked: list[str]
    ) -> None:
        said = Counter(
            self.said(tmp_path / f"{step} {healed}", kernel, marked, self.fault(step, code, extent), healed=healed)
            for step in range(60)
            for healed in (True, False)
        )
        # The claims are no empty ones: most is said exactly where it can be.
        assert said[None] > 0
        exact = said[NOTHING_REMOVED] + said["some deleted messages not removed: 1 message left"]
        if extent == "once" and code not in journal.FULL:
            assert exact >= (4 if len(marked) == 1 else 12)
            assert said[REMOVAL_INCOMPLETE] + said[REMOVAL_UNCERTAIN] <= 26

    def fault(self, step: int, code: int, extent: str) -> Callable[[int, str, Any], None]:
        failed: list[tuple[str, str]] = []

        def before(number: int, name: str, first: Any) -> None:
            where = os.path.basename(os.readlink(f"/proc/self/fd/{first}")) if isinstance(first, int) else first
            if number == step:
                failed.append((name, where))
            fails = {
                "once": number == step,
                "that call": (name, where) in failed,
                "all that writes": number == step or name in self.WRITING or str(where).endswith(".tmp"),
                "all": True,
            }
            if failed and fails[extent]:
                raise OSError(code, os.strerror(code))

        return before

    def said(
        self,
        folder: Path,
        kernel: Kernel,
        marked: list[str],
        fault: Callable[[int, str, Any], None],
        *,
        healed: bool,
    ) -> str | None:
        world = World(folder)
        kernel.disk = None
        kernel.reset()
        scan(world.store(), world.owner)
        maildrop = world.store().open(world.owner)
        maildrop.scan()
        kernel.reset()
        kernel.disk = Disk(folder / "spare")
        kernel.before = fault
        refused: Refusal | None = None
        try:
            maildrop.remove(marked)
        except Refusal as refusal:
            refused = refusal
        maildrop.close()
        disk, kernel.disk = kernel.disk, None
        before = kernel.before
        kernel.before = None
        said = None if refused is None else refused.text
        left = len(marked)
        if refused is None:
            claimed = {0}
        elif isinstance(refused, RemovalIncomplete):
            claimed = {refused.remaining}
        elif said == NOTHING_REMOVED:
            claimed = {len(marked)}
        else:
            assert said in (REMOVAL_INCOMPLETE, REMOVAL_UNCERTAIN, StoreUnavailable.default_text)
            assert str(world.path) in str(refused.detail)
            claimed = set(range(len(marked) + 1))
        for cut in disk.after_cuts(world.path):
            self.check(world, cut.name, claimed, marked, len(marked))
        if not healed:
            for _ in range(2):
                kernel.before = before
                left = self.check(world, world.owner, claimed, marked, left)
                kernel.before = None
        for _ in range(2):
            left = self.check(world, world.owner, claimed, marked, left)
        assert left in claimed
        return said

    def check(self, world: World, owner: str, claimed: set[int], marked: list[str], most: int) -> int:
        """A later login, if there can be one: returns how many of the marked messages are left."""
        try:
            listed = {message.unique_id for message in scan(world.store(), owner)}
        except StoreUnavailable:
            return most
        left = len(listed & set(marked))
        assert left in claimed
        assert left <= most
        assert listed >= {unique_id(base) for base in KEPT | MARKED} - set(marked)
        return left

    def test_of_a_power_cut_at_every_step(self, tmp_path: Path, kernel: Kernel, clock: Clock) -> None:
        """P2, P3: nobody was told anything, so all that was marked is gone at the next login, or nothing is."""
        halfway = 0
        for step in itertools.count():
            world = World(tmp_path / str(step))
            scan(world.store(), world.owner)
            kernel.disk = Disk(tmp_path / str(step) / "spare")
            kernel.crash_at(step)
            try:
                world.session()
                crashed = False
            except Crash:
                crashed = True
            disk, kernel.disk = kernel.disk, None
            kernel.reset()
            for cut in disk.after_cuts(world.path):
                halfway += len(names(cut)) not in (2, 5)
                left = {message.unique_id for message in scan(world.store(), cut.name)}
                assert left in ({*KEPT}, {*KEPT, *IDS}) if crashed else left == {*KEPT}
            if not crashed:
                break
        assert halfway > 5


class TestOtherFilesOfItsBaseName:
    """UPDATE removes the file that the session saw under a unique-id, wherever it is and whatever has its name."""

    @pytest.fixture
    def world(self, tmp_path: Path, clock: Clock) -> World:
        return World(tmp_path)

    def swap(self, one: Path, other: Path) -> None:
        spare = one.with_name("tmp")
        os.rename(one, spare)
        os.rename(other, one)
        os.rename(spare, other)

    @pytest.mark.parametrize("others", [[], [IDS[1]]])
    @pytest.mark.parametrize("marked", [0, 1])
    def test_two_that_were_there_at_the_scan_and_swapped(self, world: World, others: list[str], marked: int) -> None:
        places = world.path / "new/2.M2P2.h", world.path / "cur/2.M2P2.h:2,S"
        places[1].write_bytes(b"owt\n")
        contents = [place.read_bytes() for place in places]
        unique_ids = [shared_unique_id("2.M2P2.h", place.stat().st_ino) for place in places]
        maildrop = world.store().open(world.owner)
        assert set(unique_ids) < {message.unique_id for message in maildrop.scan()}
        self.swap(*places)
        assert [b"".join(maildrop.retrieve(each)) for each in unique_ids] == contents
        maildrop.remove([unique_ids[marked], *others])
        maildrop.close()
        assert world.on_disk()["2.M2P2.h"] == contents[1 - marked]

    @pytest.mark.parametrize("others", [[], [IDS[1]]])
    @pytest.mark.parametrize("restarted", [False, True])
    def test_one_that_came_after_the_scan_and_swapped(self, world: World, others: list[str], restarted: bool) -> None:
        store = world.store()
        scan(store, world.owner)
        maildrop = (world.store() if restarted else store).open(world.owner)
        maildrop.scan()
        places = world.path / "new/2.M2P2.h", world.path / "cur/2.M2P2.h:2,S"
        places[1].write_bytes(b"owt\n")
        self.swap(*places)
        maildrop.remove(["2.M2P2.h", *others])
        maildrop.close()
        assert world.on_disk()["2.M2P2.h"] == b"owt\n"
        assert not places[1].exists()

    @pytest.mark.parametrize("others", [[], [IDS[1]]])
    def test_one_that_is_alone_when_the_marked_one_is_gone(self, world: World, others: list[str]) -> None:
        """Those two were there at the scan, so an inode is part of the unique-id."""
        places = world.path / "new/2.M2P2.h", world.path / "cur/2.M2P2.h:2,S"
        places[1].write_bytes(b"owt\n")
        marked = shared_unique_id("2.M2P2.h", places[0].stat().st_ino)
        maildrop = world.store().open(world.owner)
        maildrop.scan()
        os.rename(places[1], places[0])
        maildrop.remove([marked, *others])
        maildrop.close()
        assert world.on_disk()["2.M2P2.h"] == b"owt\n"

    @pytest.mark.parametrize("others", [[], [IDS[1]]])
    def test_one_of_another_size_that_took_its_place_is_left_and_counted(self, world: World, others: list[str]) -> None:
        maildrop = world.store().open(world.owner)
        maildrop.scan()
        place = world.path / "new/2.M2P2.h"
        place.with_name("3").write_bytes(b"another one\n")
        os.rename(place.with_name("3"), place)
        with pytest.raises(StoreUnavailable) as refused:
            maildrop.remove(["2.M2P2.h", *others])
        assert isinstance(refused.value, RemovalIncomplete) == bool(others)
        assert "another file has the same unique name" in str(refused.value.detail)
        maildrop.close()
        assert world.on_disk()["2.M2P2.h"] == b"another one\n"

    def test_two_others_in_its_place_are_left_and_counted(self, world: World) -> None:
        maildrop = world.store().open(world.owner)
        maildrop.scan()
        (world.path / "cur/2.M2P2.h:2,F").write_bytes(b"two\n")
        (world.path / "cur/2.M2P2.h:2,S").write_bytes(b"two\n")
        (world.path / "new/2.M2P2.h").unlink()
        with pytest.raises(RemovalIncomplete) as refused:
            maildrop.remove(IDS)
        assert "several other files have the same unique name" in str(refused.value.detail)
        maildrop.close()
        assert {"cur/2.M2P2.h:2,F", "cur/2.M2P2.h:2,S"} <= names(world.path)

    @pytest.mark.parametrize("moved", [False, True])
    def test_a_copy_that_took_its_place_is_the_message(self, world: World, moved: bool) -> None:
        """A restore or a mover gives a message another inode, and its base name is its identity."""
        maildrop = world.store().open(world.owner)
        maildrop.scan()
        for name in names(world.path):
            copy = world.path / "tmp/copy"
            copy.write_bytes((world.path / name).read_bytes())
            (world.path / name).unlink()
            os.rename(copy, world.path / (f"cur/{name[4:].partition(':')[0]}:2,T" if moved else name))
        maildrop.remove(IDS)
        maildrop.close()
        world.check(marked_left={0})

    def test_a_journal_knows_them_apart_too(self, world: World) -> None:
        (world.path / "tmp/other").write_bytes(b"owt\n")
        begin_update(world, unlinked=0)
        os.rename(world.path / "new/2.M2P2.h", world.path / "cur/2.M2P2.h:2,S")
        os.rename(world.path / "tmp/other", world.path / "new/2.M2P2.h")
        scan(world.store(), world.owner)
        assert names(world.path) == {"cur/1.M1P1.h:2,S", "new/5.M5P5.h", "new/2.M2P2.h"}
        assert world.on_disk()["2.M2P2.h"] == b"owt\n"

    def test_a_crash_between_the_two_removes_no_other(self, world: World) -> None:
        begin_update(world, unlinked=1)
        (world.path / "cur/2.M2P2.h:2,").write_bytes(b"another one\n")
        scan(world.store(), world.owner)
        assert world.on_disk()["2.M2P2.h"] == b"another one\n"
        assert left_over(world.path) == {index.FILE}

    def test_one_that_comes_when_the_marked_one_is_unlinked_is_kept(self, world: World, kernel: Kernel) -> None:
        maildrop = world.store().open(world.owner)
        maildrop.scan()
        (world.path / "cur/2.M2P2.h:2,").write_bytes(b"two\n")
        (world.path / "cur/2.M2P2.h:2,S").write_bytes(b"two\n")
        maildrop.remove(IDS)
        maildrop.close()
        assert {"cur/2.M2P2.h:2,", "cur/2.M2P2.h:2,S"} < names(world.path)
        assert not (world.path / "new/2.M2P2.h").exists()


class TestTheOrderOfUpdate:
    def update_calls(self, world: World, kernel: Kernel, unique_ids: list[str]) -> list[str]:
        maildrop = world.store().open(world.owner)
        maildrop.scan()
        kernel.reset()
        maildrop.remove(unique_ids)
        calls = [
            f"{name} {first}" if name in ("openat", "rename", "unlink") else name
            for name, first in kernel.calls
            if name in ("write", "fsync", "rename", "unlink")
        ]
        maildrop.close()
        return calls

    def test_nothing_is_unlinked_before_the_journal_is_durable_and_it_goes_last(
        self, tmp_path: Path, kernel: Kernel
    ) -> None:
        calls = self.update_calls(World(tmp_path), kernel, IDS)
        assert calls == [
            "write",
            "fsync",
            f"rename {journal.FILE}.tmp",
            "fsync",
            "unlink new/2.M2P2.h",
            "unlink cur/3.M3P3.h:2,",
            "unlink cur/caf\u00e9 4:2,RS",
            "fsync",
            "fsync",
            f"unlink {journal.FILE}",
            "fsync",
        ]

    def test_one_message_needs_no_journal(self, tmp_path: Path, kernel: Kernel) -> None:
        calls = self.update_calls(World(tmp_path), kernel, IDS[:1])
        assert calls == ["unlink new/2.M2P2.h", "fsync", "fsync"]

    def test_not_durable_is_the_same_order_without_fsync(self, tmp_path: Path, kernel: Kernel) -> None:
        calls = self.update_calls(World(tmp_path, durable=False), kernel, IDS)
        assert "fsync" not in calls
        assert calls.index(f"rename {journal.FILE}.tmp") < calls.index("unlink new/2.M2P2.h")

    def test_not_durable_finishes_what_was_begun_without_fsync(self, tmp_path: Path, kernel: Kernel) -> None:
        world = World(tmp_path, durable=False)
        begin_update(world, unlinked=1)
        world.check(marked_left={0})
        assert "fsync" not in kernel.names

    def test_an_update_that_another_session_left_is_finished_before_a_new_one(self, tmp_path: Path) -> None:
        world = World(tmp_path, lock="none")
        maildrop = world.store().open(world.owner)
        maildrop.scan()
        begin_update(world, unlinked=1)
        maildrop.remove([unique_id("1.M1P1.h")])
        maildrop.close()
        assert set(world.on_disk()) == {"5.M5P5.h"}

    def test_after_it_the_next_login_reads_no_message(self, tmp_path: Path, kernel: Kernel, clock: Clock) -> None:
        world = World(tmp_path)
        store = world.store()
        world.session(store)
        kernel.reset()
        assert [message.unique_id for message in scan(store, world.owner)] == list(KEPT)
        assert "read" not in kernel.names
        kernel.reset()
        scan(store, world.owner)
        assert "listdir" not in kernel.names


class TestAMoverDuringUpdate:
    def test_messages_that_were_renamed_before_it_are_found(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        maildrop = world.store().open(world.owner)
        maildrop.scan()
        for name in names(world.path):
            os.rename(world.path / name, world.path / f"cur/{name[4:].partition(':')[0]}:2,F")
        maildrop.remove(IDS)
        maildrop.close()
        world.check(marked_left={0})

    def test_messages_whose_new_names_a_read_has_shown_are_removed_by_those(
        self, tmp_path: Path, kernel: Kernel, clock: Clock
    ) -> None:
        world = World(tmp_path)
        maildrop = world.store().open(world.owner)
        maildrop.scan()
        os.rename(world.path / "new/2.M2P2.h", world.path / "cur/2.M2P2.h:2,S")
        list(maildrop.retrieve("2.M2P2.h"))
        kernel.reset()
        maildrop.remove(["2.M2P2.h", IDS[1]])
        assert ("unlink", "cur/2.M2P2.h:2,S") in kernel.calls
        assert ("unlink", "new/2.M2P2.h") not in kernel.calls
        maildrop.close()

    def test_a_message_that_another_program_removed_counts_as_removed(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        maildrop = world.store().open(world.owner)
        maildrop.scan()
        (world.path / "new/2.M2P2.h").unlink()
        maildrop.remove(IDS)
        maildrop.close()
        world.check(marked_left={0})

    def test_a_message_that_never_rests_is_said_to_be_left(self, tmp_path: Path, kernel: Kernel) -> None:
        world = World(tmp_path)
        maildrop = world.store().open(world.owner)
        maildrop.scan()
        flags = iter("abcdefghijklmnopqrstuvwxyz")

        def before(_: int, name: str, first: object) -> None:
            if name == "unlink" and "2.M2P2.h" in str(first):
                (path,) = world.path.glob("*/2.M2P2.h*")
                os.rename(path, world.path / f"cur/2.M2P2.h:2,{next(flags)}")

        kernel.before = before
        with pytest.raises(RemovalIncomplete) as refused:
            maildrop.remove(IDS)
        assert refused.value.remaining == 1
        maildrop.close()
        kernel.reset()
        world.check(marked_left={1})

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        moves=st.dictionaries(
            st.integers(0, 110), st.tuples(st.sampled_from([*KEPT, *MARKED]), st.sampled_from("FRS")), max_size=3
        )
    )
    def test_renames_between_any_two_system_calls_lose_and_double_nothing(
        self, tmp_path_factory: pytest.TempPathFactory, kernel: Kernel, moves: dict[int, tuple[str, str]]
    ) -> None:
        world = World(tmp_path_factory.mktemp("world"))

        def before(number: int, _: str, __: object) -> None:
            if number in moves:
                base, flag = moves[number]
                for path in world.path.glob(f"*/{base}*"):
                    os.rename(path, world.path / f"cur/{base}:2,{flag}")

        kernel.reset()
        kernel.before = before
        maildrop = world.store().open(world.owner)
        listed = maildrop.scan()
        everything = KEPT | MARKED
        assert {message.unique_id for message in listed} == set(map(unique_id, everything))
        for base, content in everything.items():
            assert b"".join(maildrop.retrieve(unique_id(base))) == content
        maildrop.remove(IDS)
        maildrop.close()
        kernel.reset()
        world.check(marked_left={0})


class TestAJournalThatIsFound:
    def test_a_torn_temporary_one_is_nothing_and_cleared_away(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        (world.path / f"{journal.FILE}.tmp").write_bytes(naming(*IDS)[:-3])
        world.check(marked_left={3})

    @pytest.mark.parametrize("content", [b"", b"\n", b"torn", b"foreign", b"octets", b"flipped"])
    def test_a_damaged_one_is_moved_aside_and_removes_nothing(
        self, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        world = World(tmp_path)
        whole = naming(*IDS)
        content = {
            b"torn": whole[:-3],
            b"foreign": whole.replace(b"update 2", b"update 3"),
            b"octets": whole + b"\xff",
            b"flipped": whole.replace(b"2.M2", b"1.M1"),
        }.get(content, content)
        (world.path / journal.FILE).write_bytes(content)
        with caplog.at_level(logging.ERROR):
            assert len(scan(world.store(), world.owner)) == 5
        assert "damaged" in caplog.text
        assert (world.path / journal.DAMAGED).read_bytes() == content
        (world.path / journal.DAMAGED).unlink()
        world.check(marked_left={3})

    def test_one_that_names_nothing_that_is_there_is_cleared_away(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        (world.path / journal.FILE).write_bytes(naming("no-such-message"))
        world.check(marked_left={3})

    def test_it_finds_the_last_of_several_files_that_shared_a_name(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        (world.path / "cur/2.M2P2.h:2,S").write_bytes(b"another\n")
        status = os.stat(world.path / "new/2.M2P2.h")
        (world.path / journal.FILE).write_bytes(
            naming(shared_unique_id("2.M2P2.h", status.st_ino), shared_unique_id("5.M5P5.h", 0), *IDS[1:])
        )
        (world.path / "cur/2.M2P2.h:2,S").unlink()
        world.check(marked_left={0})

    def test_one_that_vanishes_while_it_is_looked_for_is_no_error(self, tmp_path: Path, kernel: Kernel) -> None:
        world = World(tmp_path)
        (world.path / journal.FILE).write_bytes(naming(shared_unique_id("2.M2P2.h", 0)))

        def before(_: int, name: str, first: object) -> None:
            if name == "stat" and first == "new/2.M2P2.h":
                (world.path / "new/2.M2P2.h").unlink()

        kernel.before = before
        assert len(scan(world.store(), world.owner)) == 4

    def test_one_that_another_session_finished_first_is_no_error(self, tmp_path: Path, kernel: Kernel) -> None:
        world = World(tmp_path, lock="none")
        (world.path / journal.FILE).write_bytes(naming(*IDS))
        kernel.do_before("flock", (world.path / journal.FILE).unlink)
        maildrop = world.store().open(world.owner)
        assert len(maildrop.scan()) == 5
        maildrop.close()
        world.check(marked_left={3})

    def test_it_is_finished_also_when_this_process_has_the_maildrop_in_its_cache(
        self, tmp_path: Path, clock: Clock
    ) -> None:
        world = World(tmp_path)
        store = world.store()
        scan(store, world.owner)
        (world.path / journal.FILE).write_bytes(naming(*IDS))
        maildrop = store.open(world.owner)
        assert "scan" in maildrop.blocking
        assert [message.unique_id for message in maildrop.scan()] == list(KEPT)
        maildrop.close()


class TestSessions:
    def test_a_removal_marks_of_which_are_unknown_removes_nothing(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        with pytest.raises(NoSuchMessage):
            remove(world.store(), world.owner, [*IDS, "no-such-message"])
        world.check(marked_left={3})

    def test_what_is_delivered_during_update_is_kept(self, tmp_path: Path, kernel: Kernel) -> None:
        world = World(tmp_path)
        maildrop = world.store().open(world.owner)
        maildrop.scan()
        kernel.do_before("unlink", lambda: (world.path / "new/9.M9P9.h").write_bytes(MESSAGE), nth=2)
        maildrop.remove(IDS)
        maildrop.close()
        assert contents(world.store(), world.owner) == [*KEPT.values(), MESSAGE]

    def test_the_journal_is_legible(self) -> None:
        marked = {"1.a": Marked("new/1.a", 11, 5), "2.b": Marked("cur/2.b:2,S", 12, 6)}
        assert journal.encode(marked).decode("ascii").splitlines()[1:] == ["1.a 11 5", "2.b 12 6"]

    def test_listings_tell_the_base_of_every_message(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        root = os.open(world.path, os.O_RDONLY)
        parts = Parts(root, str(world.path))
        tails = listing.list_maildir(parts).tails
        parts.close()
        os.close(root)
        assert {base_of(each, tail) for each, tail in tails.items()} == {*KEPT, *MARKED}


def begin_update(world: World, *, unlinked: int) -> None:
    """What a crash leaves after the commit point."""
    found = {base: path for base in MARKED for path in world.path.glob(f"*/{base}*")}
    identities = {base: (status.st_ino, status.st_size) for base, path in found.items() for status in [path.stat()]}
    marked = {unique_id(base): Marked("", *identity) for base, identity in identities.items()}
    (world.path / journal.FILE).write_bytes(journal.encode(marked))
    for base in list(MARKED)[:unlinked]:
        found[base].unlink()


def naming(*unique_ids: str) -> bytes:
    """A journal of files that nothing else is known of, as version 1 had it."""
    return journal.encode(dict.fromkeys(unique_ids, Marked("")))
