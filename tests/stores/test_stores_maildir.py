"""The maildir store: the contract, what other programs may do to a maildir meanwhile, and what may fail."""

from __future__ import annotations

import errno
import fcntl
import gc
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from maildir_kernel import Clock, Crash, Kernel, left_over, make_maildir, names
from store_contract import MESSAGE, StoreContract, contents, remove, remove_all, scan

from geventpop3.errors import ConfigError, MaildropLocked, Refusal, StoreBroken, StoreUnavailable
from geventpop3.stores.maildir import MaildirStore, index, measure, system
from geventpop3.stores.maildir import chunks as reading
from geventpop3.stores.maildir.cache import Cache
from geventpop3.stores.maildir.opening import Parts
from geventpop3.stores.store import Chunks, Maildrop, Store
from geventpop3.wire.stuffing import count_octets

HASHED_OCTETS = 67


class TestMaildirStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.delivered = 0

    def make_store(self) -> Store:
        return MaildirStore(f"{self.folder}/{{user}}")

    def deliver(self, store: Store, owner: str, content: bytes) -> None:
        path = self.folder / owner
        if not path.exists():
            make_maildir(path)
        self.delivered += 1
        (path / "new" / f"17000000{self.delivered:02}.M5P7.host").write_bytes(content)


class TestMaildirStoreOnAQuietDisk(TestMaildirStore):
    """The same where directories that are unchanged are trusted at once: every second login is a warm one."""

    @pytest.fixture(autouse=True)
    def _quiet(self, clock: Clock) -> None:
        return


@pytest.fixture
def three(alice: Path) -> Path:
    """A maildir of three messages, one of them new."""
    (alice / "new/1700000003.M3P1.host").write_bytes(b"Subject: 3\n\n3\n")
    (alice / "cur/1700000001.M1P1.host:2,S").write_bytes(b"Subject: 1\n\n1\n")
    (alice / "cur/1700000002.M2P1.host:2,").write_bytes(b"Subject: 2\n\n2\n")
    return alice


ONE, TWO, THREE = "1700000001.M1P1.host", "1700000002.M2P1.host", "1700000003.M3P1.host"


def ids(store: Store, owner: str = "alice") -> list[str]:
    return [message.unique_id for message in scan(store, owner)]


class TestScan:
    def test_new_and_cur_are_one_maildrop_and_nothing_is_renamed(self, store: MaildirStore, three: Path) -> None:
        before = names(three)
        assert ids(store) == [ONE, TWO, THREE]
        assert names(three) == before

    def test_the_order_is_that_of_delivery_by_seconds_then_microseconds_then_name(
        self, store: MaildirStore, alice: Path
    ) -> None:
        wanted = ["9.M1P1.h", "10.M2P1.h", "10.M10P1.h", "10.V1I2M10.h", "11.1_1.h", "11.2_1.h"]
        for name in reversed(wanted):
            (alice / "cur" / name).write_bytes(MESSAGE)
        assert ids(store) == wanted

    def test_a_name_without_a_time_is_ordered_by_the_file_s(self, store: MaildirStore, alice: Path) -> None:
        for name, seconds in (("b", 5), ("a", 15), ("before 1970", -5)):
            (alice / "cur" / name).write_bytes(MESSAGE)
            os.utime(alice / "cur" / name, (seconds, seconds))
        (alice / "cur/10.M1.h").write_bytes(MESSAGE)
        assert ids(store)[1:] == ["b", "10.M1.h", "a"]

    def test_a_late_delivery_with_an_early_time_is_sorted_in(
        self, store: MaildirStore, three: Path, clock: Clock
    ) -> None:
        ids(store)
        (three / "new/1600000000.M1P1.host").write_bytes(MESSAGE)
        (three / "new/1700000002.M9P1.host").write_bytes(MESSAGE)
        assert ids(store) == ["1600000000.M1P1.host", ONE, TWO, "1700000002.M9P1.host", THREE]
        assert contents(store, "alice")[0] == MESSAGE

    def test_many_messages_are_sorted_in_parts(
        self, store: MaildirStore, alice: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(index, "_SORTED_AT_ONCE", 3)
        wanted = [f"{number}.h" for number in range(1, 12)]
        for name in sorted(wanted):
            (alice / "cur" / name).write_bytes(MESSAGE)
        assert ids(store) == wanted

    def test_hidden_files_folders_links_and_fifos_are_no_messages(self, store: MaildirStore, three: Path) -> None:
        (three / "cur/.hidden").write_bytes(MESSAGE)
        (three / "cur/folder").mkdir()
        (three / "cur/link").symlink_to(three / "cur/1700000001.M1P1.host:2,S")
        os.mkfifo(three / "cur/fifo")
        make_maildir(three / ".Sent")
        (three / ".Sent/cur/1.x").write_bytes(MESSAGE)
        assert ids(store) == [ONE, TWO, THREE]

    def test_a_message_copied_in_by_hand_is_a_message(self, store: MaildirStore, three: Path) -> None:
        (three / "cur/mail from aunt.eml").write_bytes(b"Subject: hand\n\nmade\n")
        assert contents(store, "alice")[-1] == b"Subject: hand\n\nmade\n"

    @pytest.mark.parametrize(
        "name",
        [
            b"caf\xc3\xa9:2,S",
            b"\xff\xfe.latin",
            b"with space",
            b"x" * 71,
            b"new\nline",
            b":2,S",
            b"\x7f",
            b"x" * 200 + b":2,\xff",
        ],
    )
    def test_a_name_that_is_no_unique_id_gets_one_for_ever(
        self, store: MaildirStore, alice: Path, tmp_path: Path, name: bytes, clock: Clock
    ) -> None:
        path = os.fsencode(alice) + b"/cur/" + name
        with open(path, "wb") as file:
            file.write(MESSAGE)
        (unique_id,) = ids(store)
        assert len(unique_id) == HASHED_OCTETS
        assert contents(store, "alice") == [MESSAGE]
        os.rename(path, os.fsencode(alice) + b"/new/" + name.partition(b":")[0] + b":2,RS")
        assert ids(store) == [unique_id]
        assert ids(MaildirStore(f"{tmp_path}/{{user}}")) == [unique_id]
        assert contents(MaildirStore(f"{tmp_path}/{{user}}"), "alice") == [MESSAGE]
        remove_all(store, "alice")
        assert names(alice) == set()

    def test_one_message_under_two_names_is_one_message_and_removed_whole(
        self, store: MaildirStore, three: Path
    ) -> None:
        os.link(three / f"new/{THREE}", three / f"cur/{THREE}:2,S")
        assert ids(store) == [ONE, TWO, THREE]
        remove(store, "alice", [THREE])
        assert ids(store) == [ONE, TWO]

    def test_the_unique_id_stays_when_flags_and_folders_change(
        self, store: MaildirStore, three: Path, tmp_path: Path
    ) -> None:
        before = scan(store, "alice")
        os.rename(three / f"new/{THREE}", three / f"cur/{THREE}:2,FS")
        os.rename(three / f"cur/{ONE}:2,S", three / f"cur/{ONE}:2,RS")
        assert scan(store, "alice") == before
        os.unlink(three / index.FILE)
        assert scan(MaildirStore(f"{tmp_path}/{{user}}"), "alice") == before


class TestRenamesDuringAScan:
    def test_from_new_to_cur_between_the_two_lists(self, store: MaildirStore, three: Path, kernel: Kernel) -> None:
        kernel.do_before("listdir", lambda: os.rename(three / f"new/{THREE}", three / f"cur/{THREE}:2,"), nth=2)
        assert ids(store) == [ONE, TWO, THREE]

    def test_a_name_that_a_rename_hid_from_the_reader(
        self, store: MaildirStore, three: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        real = os.listdir

        def listdir(fd: int) -> list[str]:
            listed = real(fd)
            if f"{ONE}:2,S" not in listed:
                return listed
            os.rename(three / f"cur/{ONE}:2,S", three / f"cur/{ONE}:2,RS")
            return [name for name in listed if not name.startswith(ONE)]

        monkeypatch.setattr(system, "listdir", listdir)
        assert ids(store) == [ONE, TWO, THREE]

    def test_directories_that_never_rest_are_joined_from_the_last_two_lists(
        self, store: MaildirStore, three: Path, kernel: Kernel
    ) -> None:
        turns = iter(range(100))

        def before(_: int, name: str, __: object) -> None:
            if name == "listdir":
                (three / f"new/.{next(turns)}").touch()

        kernel.before = before
        assert ids(store) == [ONE, TWO, THREE]
        assert 4 <= kernel.names.count("listdir") <= 8

    def test_a_message_that_moves_before_it_is_measured(self, store: MaildirStore, three: Path, kernel: Kernel) -> None:
        kernel.do_before("read", lambda: os.rename(three / f"new/{THREE}", three / f"cur/{THREE}:2,"), nth=1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(measure, "BATCH", 1)
            assert [message.octets for message in scan(store, "alice")] == [17, 17, 17]

    def test_a_message_that_is_removed_before_it_is_measured(
        self, store: MaildirStore, three: Path, kernel: Kernel, clock: Clock
    ) -> None:
        kernel.do_before("prefetch", lambda: os.unlink(three / f"new/{THREE}"))
        assert ids(store) == [ONE, TWO]
        kernel.reset()
        assert ids(store) == [ONE, TWO]

    def test_a_message_that_keeps_moving_is_left_to_the_next_session(
        self, store: MaildirStore, three: Path, kernel: Kernel
    ) -> None:
        flags = iter("abcdefghijklmnopqrstuvwxyz")

        def before(_: int, name: str, first: object) -> None:
            if name == "openat" and THREE in str(first):
                (path,) = three.glob(f"*/{THREE}*")
                os.rename(path, three / f"cur/{THREE}:2,{next(flags)}")

        kernel.before = before
        assert ids(store) == [ONE, TWO]
        kernel.reset()
        assert ids(store) == [ONE, TWO, THREE]


class TestSizes:
    def test_a_size_in_the_name_saves_reading_the_message(
        self, store: MaildirStore, alice: Path, kernel: Kernel
    ) -> None:
        (alice / "new/1.M1P1.h,S=12,W=17").write_bytes(b"a: b\n\nc\nd\ne\n")
        kernel.reset()
        (message,) = scan(store, "alice")
        assert message.octets == 17
        assert "read" not in kernel.names
        assert kernel.names.count("pread") == 1

    def test_a_missing_final_line_end_is_added_to_the_size_in_the_name(self, store: MaildirStore, alice: Path) -> None:
        content = b"a: b\n\nc\nd"
        (alice / f"new/1.M1P1.h,S={len(content)},W={len(content) + 3}").write_bytes(content)
        (message,) = scan(store, "alice")
        assert message.octets == len(b"a: b\r\n\r\nc\r\nd\r\n")

    def test_an_empty_message_may_say_so(self, store: MaildirStore, alice: Path) -> None:
        (alice / "new/1.M1P1.h,S=0,W=0").write_bytes(b"")
        (message,) = scan(store, "alice")
        assert message.octets == 0

    @pytest.mark.parametrize("fields", [",S=11,W=15", ",W=11", ",W=25", ",W=x", ",W=", ",S=12", ",W=15x"])
    def test_a_size_in_the_name_that_cannot_be_is_not_believed(
        self, store: MaildirStore, alice: Path, fields: str
    ) -> None:
        (alice / f"new/1.M1P1.h{fields}").write_bytes(b"a: b\n\nc\nd\ne\n"[:12])
        (message,) = scan(store, "alice")
        assert message.octets == len(b"a: b\r\n\r\nc\r\nd\r\ne\r\n"[:17])

    @pytest.mark.parametrize(
        "content", [b"a\r\n" * 3000, b"\r\n" * 4095, b"x" + b"\r\n" * 3000, b"\n" * 9000, b"x" * 9000]
    )
    def test_the_end_of_a_message_is_enough_to_believe_its_name(
        self, store: MaildirStore, alice: Path, kernel: Kernel, content: bytes
    ) -> None:
        stated = len(content) + content.count(b"\n") - content.count(b"\r\n")
        (alice / f"new/1.M1P1.h,S={len(content)},W={stated}").write_bytes(content)
        kernel.reset()
        (message,) = scan(store, "alice")
        assert message.octets == count_octets((content,))
        assert "read" not in kernel.names

    @pytest.mark.parametrize("fields", [",S=17,W=34", ",W=17", ",S=17,W=22"])
    def test_a_small_message_of_which_the_name_tells_lies_is_counted(
        self, store: MaildirStore, alice: Path, fields: str
    ) -> None:
        (alice / f"new/1.M1P1.h{fields}").write_bytes(b"A: b\n\nc\nno end!!\n"[:17])
        (message,) = scan(store, "alice")
        assert message.octets == len(b"A: b\r\n\r\nc\r\nno end!!\r\n")

    @pytest.mark.parametrize("stated", [8000, 9000, 15_000, 16_000])
    def test_a_name_that_the_end_of_the_message_contradicts_is_not_believed(
        self, store: MaildirStore, alice: Path, stated: int
    ) -> None:
        (alice / f"new/1.M1P1.h,S=8000,W={stated}").write_bytes(b"x\n" * 4000)
        (message,) = scan(store, "alice")
        assert message.octets == 12_000

    def test_a_large_message_is_counted_in_pieces(
        self, store: MaildirStore, alice: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(measure, "READ_OCTETS", 7)
        (alice / "new/1.h").write_bytes(b"a\r\nb\n" * 100)
        (message,) = scan(store, "alice")
        assert message.octets == 600

    def test_only_what_is_new_is_read_at_the_next_login(
        self, store: MaildirStore, three: Path, kernel: Kernel, clock: Clock
    ) -> None:
        ids(store)
        (three / "new/1700000004.M4P1.host").write_bytes(MESSAGE)
        kernel.reset()
        assert len(ids(store)) == 4
        assert [first for name, first in kernel.calls if name == "openat" and "1700" in str(first)] == [
            "new/1700000004.M4P1.host"
        ]


class TestALieInANameThatOnlyReadingShows:
    """One ``octets`` for STAT, LIST and RETR: what would not be so is refused, and right at the next login."""

    LIE, TRUE = "1.M1P1.h,W=11000", "2.M2P2.h,W=12000"
    CONTENT = b"x\n" * 4000

    @pytest.fixture(autouse=True)
    def _messages(self, alice: Path, clock: Clock) -> None:
        for name in (self.LIE, self.TRUE, "3.M3P3.h,W=11000"):
            (alice / "new" / name).write_bytes(self.CONTENT)

    def read(self, maildrop: Maildrop, how: str) -> bytes:
        read = maildrop.retrieve(self.LIE)
        if how == "next" or not isinstance(read, Chunks):
            return b"".join(read)
        content = b""
        while not read.complete:
            chunk = read.ready()
            content += next(read) if chunk is None else chunk
        return content

    def check(self, store: MaildirStore, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
        maildrop = store.open("alice")
        size = maildrop.scan()[0].octets
        with caplog.at_level(logging.ERROR), pytest.raises(StoreUnavailable, match="log in again"):
            self.read(maildrop, how)
        assert self.LIE in caplog.text
        with pytest.raises(StoreUnavailable):
            maildrop.retrieve(self.LIE)
        assert b"".join(maildrop.retrieve(self.TRUE)) != b""
        maildrop.close()
        for later in (MaildirStore(f"{tmp_path}/{{user}}"), store):
            octets = [message.octets for message in scan(later, "alice")]
            assert octets == [count_octets((each,)) for each in contents(later, "alice")]
            assert octets[0] != size

    @pytest.mark.parametrize("how", ["at hand", "ready", "next"])
    def test_a_message_of_one_chunk(
        self, store: MaildirStore, tmp_path: Path, kernel: Kernel, how: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        if how == "next":
            kernel.fail("preadv", errno.EAGAIN)
        elif how == "ready":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("geventpop3.stores.maildir.maildrop.CHUNK_OCTETS", 0)
                self.check(store, tmp_path, how, caplog)
            return
        self.check(store, tmp_path, how, caplog)

    @pytest.mark.parametrize("how", ["ready", "next"])
    @pytest.mark.parametrize("size", [reading.CHUNK_OCTETS, 2 * reading.CHUNK_OCTETS, 300_000])
    def test_a_message_of_several(
        self, store: MaildirStore, alice: Path, tmp_path: Path, how: str, size: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.LIE = f"0.M1P1.h,W={size + size // 2 + 1}"
        (alice / "new" / self.LIE).write_bytes(b"x\n" * (size // 2))
        self.check(store, tmp_path, how, caplog)

    def test_it_is_looked_for_once_a_message(self, store: MaildirStore, monkeypatch: pytest.MonkeyPatch) -> None:
        maildrop = store.open("alice")
        maildrop.scan()
        assert list(maildrop.retrieve(self.TRUE)) == [self.CONTENT]
        monkeypatch.setattr("geventpop3.stores.maildir.maildrop.count_octets", None)
        assert list(maildrop.retrieve(self.TRUE)) == [self.CONTENT]
        maildrop.close()

    @pytest.mark.parametrize("how", ["ready", "next", "not at hand"])
    def test_a_large_message_with_a_true_name_is_read_whole_and_believed_then(
        self, store: MaildirStore, alice: Path, kernel: Kernel, how: str
    ) -> None:
        if how == "not at hand":
            kernel.fail("preadv", errno.EAGAIN)
        content = b"x\n" * 200_000
        self.LIE = f"0.M1P1.h,W={len(content) * 3 // 2}"
        (alice / "new" / self.LIE).write_bytes(content)
        maildrop = store.open("alice")
        assert maildrop.scan()[0].octets == 600_000
        closed = maildrop.retrieve(self.LIE)
        assert isinstance(closed, reading.CountedFileChunks)
        closed.close()
        assert self.read(maildrop, how) == content
        assert isinstance(maildrop.retrieve(self.LIE), reading.FileChunks)
        maildrop.close()


class TestFilesThatShareABaseName:
    @pytest.fixture
    def sharing(self, alice: Path) -> dict[str, bytes]:
        """Three messages, which nothing but their flags tells apart."""
        files = {"new/1.h": b"one\n", "cur/1.h:2,S": b"two\n", "cur/1.h:2,RS": b"three\n"}
        for name, content in files.items():
            (alice / name).write_bytes(content)
        (alice / "cur/1.h").mkdir()
        return files

    def test_are_messages_of_their_own_with_unique_ids_that_stay(
        self, store: MaildirStore, alice: Path, sharing: dict[str, bytes], clock: Clock
    ) -> None:
        assert sorted(contents(store, "alice")) == sorted(sharing.values())
        before = set(scan(store, "alice"))
        os.rename(alice / "cur/1.h:2,S", alice / "cur/1.h:2,FS")
        assert set(scan(store, "alice")) == before

    def test_are_removed_one_by_one(
        self, store: MaildirStore, alice: Path, sharing: dict[str, bytes], clock: Clock
    ) -> None:
        left = set(sharing.values())
        while left:
            maildrop = store.open("alice")
            first = maildrop.scan()[0].unique_id
            content = b"".join(maildrop.retrieve(first))
            maildrop.remove([first])
            maildrop.close()
            left.remove(content)
            assert {(alice / name).read_bytes() for name in names(alice) - {"cur/1.h"}} == left

    def test_all_that_are_marked_are_removed_also_when_they_were_renamed(
        self, store: MaildirStore, alice: Path, sharing: dict[str, bytes]
    ) -> None:
        (alice / "new/1.h").unlink()
        maildrop = store.open("alice")
        unique_ids = [message.unique_id for message in maildrop.scan()]
        os.rename(alice / "cur/1.h:2,S", alice / "cur/1.h:2,FS")
        maildrop.remove(unique_ids)
        maildrop.close()
        assert names(alice) == {"cur/1.h"}

    def test_that_come_while_a_session_is_open_are_kept(self, store: MaildirStore, three: Path) -> None:
        maildrop = store.open("alice")
        maildrop.scan()
        (three / f"cur/{THREE}:2,S").write_bytes(b"another\n")
        maildrop.remove([THREE, TWO])
        maildrop.close()
        assert names(three) == {f"cur/{ONE}:2,S", f"cur/{THREE}:2,S"}

    def test_that_cost_nothing_where_there_are_none(
        self, store: MaildirStore, three: Path, kernel: Kernel, clock: Clock
    ) -> None:
        scan(store, "alice")
        assert not [first for name, first in kernel.calls if name == "stat" and "/" in str(first)]

    @pytest.mark.parametrize("base", ["9.h", "nine h"])
    @pytest.mark.parametrize("made", ["directory", "two directories"])
    def test_a_directory_is_no_such_file(self, store: MaildirStore, three: Path, base: str, made: str) -> None:
        (three / f"cur/{base}:2,S").mkdir()
        if made == "directory":
            (three / f"new/{base}").write_bytes(b"nine\n")
        else:
            (three / f"new/{base}").mkdir()
        found = contents(store, "alice")
        assert len(found) == len(names(three)) - (1 if made == "directory" else 2)
        assert (b"nine\n" in found) == (made == "directory")

    def test_one_that_is_gone_when_it_is_looked_at_is_not_told_apart(
        self, store: MaildirStore, three: Path, kernel: Kernel
    ) -> None:
        os.link(three / f"new/{THREE}", three / f"cur/{THREE}:2,S")
        kernel.do_before("stat", lambda: (three / f"new/{THREE}").unlink(), nth=4)
        assert ids(store) == [ONE, TWO, THREE]


class TestWarmLogins:
    def test_a_warm_login_lists_and_reads_nothing(
        self, store: MaildirStore, three: Path, kernel: Kernel, clock: Clock
    ) -> None:
        assert not store.opens_at_once("alice")
        before = scan(store, "alice")
        assert store.opens_at_once("alice")
        kernel.reset()
        maildrop = store.open("alice")
        assert maildrop.blocking == {"remove"}
        assert list(maildrop.scan()) == before
        maildrop.close()
        assert sorted(kernel.names) == ["flock", "flock", "openat", "stat", "stat", "stat"]

    def test_sessions_share_one_snapshot(self, store: MaildirStore, three: Path, clock: Clock) -> None:
        first = store.open("alice")
        snapshot = first.scan()
        first.close()
        second = store.open("alice")
        assert second.scan() is snapshot
        second.close()

    def test_after_a_restart_the_index_is_loaded_and_nothing_listed(
        self, store: MaildirStore, three: Path, tmp_path: Path, kernel: Kernel, clock: Clock
    ) -> None:
        before = scan(store, "alice")
        kernel.reset()
        again = MaildirStore(f"{tmp_path}/{{user}}")
        assert scan(again, "alice") == before
        assert "listdir" not in kernel.names
        assert contents(again, "alice")[2] == b"Subject: 3\n\n3\n"

    def test_a_directory_that_changed_a_moment_ago_is_not_trusted(
        self, store: MaildirStore, three: Path, kernel: Kernel, clock: Clock
    ) -> None:
        clock.ahead = 0
        ids(store)
        kernel.reset()
        ids(store)
        assert kernel.names.count("listdir") == 4
        clock.ahead = Clock.QUIET
        ids(store)
        kernel.reset()
        ids(store)
        assert "listdir" not in kernel.names

    def test_a_delivery_that_the_clock_hides_is_seen(
        self, store: MaildirStore, three: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        clock.ahead = 0
        frozen = {part: os.stat(three / part) for part in ("new", "cur")}
        real = os.stat
        monkeypatch.setattr(system, "stat", lambda name, **options: frozen.get(name) or real(name, **options))
        assert len(ids(store)) == 3
        (three / "new/1700000004.M4P1.host").write_bytes(MESSAGE)
        assert len(ids(store)) == 4

    def test_a_large_maildrop_retrieves_in_a_thread(
        self, store: MaildirStore, three: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("geventpop3.stores.maildir.maildrop.RELIST_AT_ONCE", 2)
        maildrop = store.open("alice")
        assert maildrop.blocking == {"scan", "retrieve", "remove"}
        maildrop.scan()
        assert maildrop.blocking == {"retrieve", "remove"}
        maildrop.close()

    def test_the_cache_is_bounded_and_forgets_what_was_not_used(self) -> None:
        cache = Cache(limit=200)
        empty = index.Index.empty()
        for number in range(100):
            cache.put(str(number), empty)
            assert cache.get("0") is empty
        kept = [number for number in range(100) if str(number) in cache]
        assert kept[0] == 0
        assert 2 <= len(kept) <= 13
        cache.drop("0")
        assert cache.get("0") is None

    def test_the_cache_does_not_keep_what_is_too_large_for_it(self) -> None:
        cache = Cache(limit=20)
        cache.put("large", index.Index.empty())
        assert cache.get("large") is None

    @pytest.mark.parametrize("messages", [[484], [84], [0], [484, 0, 84], [300, 100]], ids=str)
    def test_what_the_cache_keeps_has_a_bound_in_messages_whatever_the_indexes_have(self, messages: list[int]) -> None:
        class Sized:
            def __init__(self, octets: int) -> None:
                self.octets = octets

            def __len__(self) -> int:
                return self.octets

        cache = Cache(limit=1000)
        put: dict[str, Sized] = {}
        for number, octets in enumerate(messages * 100):
            put[str(number)] = each = Sized(octets)
            cache.put(str(number), each)  # type: ignore[arg-type]
            kept = [len(one) + 16 for path, one in put.items() if path in cache]
            assert str(number) in cache
            assert sum(kept) <= 1000
            # And as much as there is room for: half of the limit at least, but for one that did not fit.
            assert sum(kept) + max(messages) + 16 > min(500, sum(len(one) + 16 for one in put.values()))

    def test_an_index_that_has_grown_too_large_for_the_cache_is_not_kept_as_it_was(self) -> None:
        cache = Cache(limit=40)
        cache.put("grown", index.Index.empty())

        class Large:
            def __len__(self) -> int:
                return 5

        cache.put("grown", Large())  # type: ignore[arg-type]
        assert cache.get("grown") is None


class TestTheIndex:
    def damage(self, path: Path, content: bytes) -> None:
        (path / index.FILE).write_bytes(content)

    def test_it_is_rebuilt_when_it_is_lost(
        self, store: MaildirStore, three: Path, tmp_path: Path, clock: Clock
    ) -> None:
        before = scan(store, "alice")
        (three / index.FILE).unlink()
        assert scan(MaildirStore(f"{tmp_path}/{{user}}"), "alice") == before
        assert left_over(three) == {index.FILE}

    @pytest.mark.parametrize("content", [b"", b"geventpop3 index 2 lit\n", b"\0" * 4096, "torn", "flipped"])
    def test_it_is_rebuilt_when_it_is_damaged_and_the_log_says_so_once(
        self,
        store: MaildirStore,
        three: Path,
        tmp_path: Path,
        clock: Clock,
        caplog: pytest.LogCaptureFixture,
        content: bytes | str,
    ) -> None:
        before = scan(store, "alice")
        whole = (three / index.FILE).read_bytes()
        if content == "torn":
            content = whole[:-9]
        elif content == "flipped":
            content = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
        assert isinstance(content, bytes)
        self.damage(three, content)
        with caplog.at_level(logging.WARNING):
            assert scan(MaildirStore(f"{tmp_path}/{{user}}"), "alice") == before
        assert len(caplog.records) == 1
        assert (three / index.FILE).read_bytes() == whole

    @pytest.mark.parametrize(
        ("call", "code"), [("write", errno.ENOSPC), ("openat", errno.EROFS), ("rename", errno.EIO)]
    )
    def test_that_it_cannot_be_written_is_no_error_for_the_client(
        self,
        store: MaildirStore,
        three: Path,
        kernel: Kernel,
        call: str,
        code: int,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        kernel.fail(call, code, lambda first: call == "write" or first == f"{index.FILE}.tmp")
        with caplog.at_level(logging.WARNING):
            assert ids(store) == [ONE, TWO, THREE]
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert repr(str(three)) in caplog.text

    def test_one_that_is_too_large_to_be_one_is_not_read(
        self, store: MaildirStore, three: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(index, "AT_ONCE", 100)
        monkeypatch.setattr(index, "MAX_OCTETS", 1000)
        (three / index.FILE).write_bytes(b"x" * 1001)
        with caplog.at_level(logging.WARNING):
            assert ids(store) == [ONE, TWO, THREE]
        assert "is too long and is rebuilt" in caplog.text

    def forge(self, path: Path, count: int) -> None:
        """An index that the owner wrote, with a right checksum and fingerprint."""
        rows = [index.Row(number, f"{number}.h", 20, 19) for number in range(count)]
        tails = dict.fromkeys([row.unique_id for row in rows], "n")
        new, cur = os.stat(path / "new"), os.stat(path / "cur")
        stamp = new.st_ino, new.st_ctime_ns, cur.st_ino, cur.st_ctime_ns
        (path / index.FILE).write_bytes(index.Index.empty().updated(tails, rows, stamp).encode())

    @pytest.mark.parametrize(
        ("times_held", "held_octets"),
        [pytest.param(10**6, 1000, id="octets"), pytest.param(1000, 10**6, id="messages")],
    )
    def test_one_that_is_longer_than_the_maildir_can_need_is_not_read(
        self,
        store: MaildirStore,
        three: Path,
        kernel: Kernel,
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        times_held: int,
        held_octets: int,
    ) -> None:
        """Also where the directories take much room on the disk, because more was in them."""
        self.forge(three, 10_000)
        monkeypatch.setattr(index, "AT_ONCE", 1000)
        monkeypatch.setattr(index, "TIMES_HELD", times_held)
        monkeypatch.setattr(index, "HELD_OCTETS", held_octets)
        real = os.stat

        def stat(name: str, **options: int) -> os.stat_result:
            status = real(name, **options)  # type: ignore[arg-type]  # options by name
            times = {"st_ctime_ns": status.st_ctime_ns}
            return os.stat_result([*status[:6], 1 << 40, *status[7:]], times)

        monkeypatch.setattr(system, "stat", stat)
        kernel.reset()
        with caplog.at_level(logging.WARNING):
            assert ids(store) == [ONE, TWO, THREE]
        assert "is too long and is rebuilt" in caplog.text
        assert ids(store) == [ONE, TWO, THREE]

    def test_one_that_lies_about_its_messages_is_not_counted_for(
        self, store: MaildirStore, three: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither more than the file has room for, nor too few to be an index."""
        monkeypatch.setattr(index, "AT_ONCE", 10)
        (three / index.FILE).write_bytes(b"\xff" * 1000)
        assert ids(store) == [ONE, TWO, THREE]
        assert "scandir" not in kernel.names
        monkeypatch.setattr(index, "HELD_OCTETS", 10)
        (three / index.FILE).write_bytes(b"x" * 20)
        assert ids(MaildirStore(f"{three.parent}/{{user}}")) == [ONE, TWO, THREE]

    def test_a_long_one_whose_message_count_changes_while_it_is_read_is_none(
        self, three: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(index, "AT_ONCE", 10)
        self.forge(three, 40)
        other = (three / index.FILE).read_bytes()
        self.forge(three, 30)
        kernel.do_before("read", lambda: (three / index.FILE).write_bytes(other))
        root = os.open(three, os.O_RDONLY)
        assert index.read_index(root, lambda enough: enough) == b""
        os.close(root)

    def test_a_long_one_is_read_if_the_maildir_holds_enough_for_it(
        self, store: MaildirStore, alice: Path, kernel: Kernel, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No more of its names are counted than that takes, and none is kept."""
        for number in range(30):
            (alice / f"{('new', 'cur')[number % 2]}/{number}.h").write_bytes(MESSAGE)
        before = scan(store, "alice")
        counted = []
        real = Parts.count

        def count(parts: Parts, enough: int) -> int:
            counted.append((enough, real(parts, enough)))
            return counted[-1][1]

        monkeypatch.setattr(Parts, "count", count)
        monkeypatch.setattr(index, "AT_ONCE", 10)
        kernel.reset()
        assert scan(MaildirStore(f"{alice.parent}/{{user}}"), "alice") == before
        assert "prefetch" not in kernel.names
        assert "listdir" not in kernel.names
        assert counted == [(3, 3)]

    def test_one_that_grows_while_it_is_read_is_read_no_further(
        self, store: MaildirStore, three: Path, kernel: Kernel
    ) -> None:
        ids(store)
        whole = (three / index.FILE).read_bytes()

        def grow() -> None:
            with (three / index.FILE).open("ab") as file:
                file.write(b"x" * 2000)

        kernel.do_before("read", grow)
        root = os.open(three, os.O_RDONLY)
        assert index.read_index(root, lambda enough: enough) == whole
        os.close(root)
        assert kernel.names.count("read") == 1

    def test_it_is_not_written_when_there_is_nothing_new_to_write(
        self, store: MaildirStore, three: Path, kernel: Kernel, clock: Clock
    ) -> None:
        clock.ahead = 0
        ids(store)
        kernel.reset()
        ids(store)
        assert "write" not in kernel.names

    def test_that_it_cannot_be_read_is_no_error_for_the_client(
        self, store: MaildirStore, three: Path, kernel: Kernel, caplog: pytest.LogCaptureFixture
    ) -> None:
        kernel.fail("openat", errno.EIO, lambda name: name == index.FILE)
        with caplog.at_level(logging.WARNING):
            assert ids(store) == [ONE, TWO, THREE]
        assert "cannot be read" in caplog.text

    def test_an_index_of_another_maildir_does_no_harm(
        self, store: MaildirStore, three: Path, tmp_path: Path, clock: Clock
    ) -> None:
        other = make_maildir(tmp_path / "bob")
        (other / "cur/5.M5P5.h").write_bytes(b"x" * 100)
        (other / f"cur/{ONE}:2,S").write_bytes(b"another\n")
        ids(store, "bob")
        shutil.copy(other / index.FILE, three / index.FILE)
        assert ids(store) == [ONE, TWO, THREE]

    def test_a_link_in_its_place_is_not_followed(self, store: MaildirStore, three: Path, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.write_bytes(b"precious")
        (three / index.FILE).symlink_to(precious)
        (three / f"{index.FILE}.tmp").symlink_to(precious)
        assert ids(store) == [ONE, TWO, THREE]
        assert ids(store) == [ONE, TWO, THREE]
        assert precious.read_bytes() == b"precious"


class TestRetrieve:
    @pytest.mark.parametrize("new_name", [f"cur/{THREE}:2,", f"cur/{THREE}:2,RS", f"cur/{THREE}"])
    def test_a_message_that_was_renamed_is_found(self, store: MaildirStore, three: Path, new_name: str) -> None:
        maildrop = store.open("alice")
        maildrop.scan()
        os.rename(three / f"new/{THREE}", three / new_name)
        os.rename(three / f"cur/{ONE}:2,S", three / f"cur/{ONE}:2,")
        assert b"".join(maildrop.retrieve(THREE)) == b"Subject: 3\n\n3\n"
        assert b"".join(maildrop.retrieve(ONE)) == b"Subject: 1\n\n1\n"
        maildrop.close()

    def test_one_listing_finds_all_that_were_renamed(
        self, store: MaildirStore, three: Path, kernel: Kernel, clock: Clock
    ) -> None:
        maildrop = store.open("alice")
        maildrop.scan()
        for name in names(three):
            os.rename(three / name, three / f"cur/{name[4:].partition(':')[0]}:2,RS")
        kernel.reset()
        for unique_id in (ONE, TWO, THREE):
            maildrop.retrieve(unique_id)
        assert kernel.names.count("listdir") == 2
        maildrop.close()

    def test_a_message_that_is_renamed_between_listing_and_opening_is_found(
        self, store: MaildirStore, three: Path, kernel: Kernel
    ) -> None:
        maildrop = store.open("alice")
        maildrop.scan()
        flags = iter("ab")

        def before(_: int, name: str, first: object) -> None:
            if name == "openat" and THREE in str(first) and (flag := next(flags, None)) is not None:
                (path,) = three.glob(f"*/{THREE}*")
                os.rename(path, three / f"cur/{THREE}:2,{flag}")

        kernel.before = before
        assert b"".join(maildrop.retrieve(THREE)) == b"Subject: 3\n\n3\n"
        maildrop.close()

    @pytest.mark.parametrize("ahead", [0, Clock.QUIET])
    def test_a_message_that_another_program_removed_is_gone_and_the_rest_is_served(
        self, store: MaildirStore, three: Path, clock: Clock, ahead: int
    ) -> None:
        clock.ahead = ahead
        maildrop = store.open("alice")
        maildrop.scan()
        (three / f"new/{THREE}").unlink()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="gone"):
                maildrop.retrieve(THREE)
        assert b"".join(maildrop.retrieve(ONE)) == b"Subject: 1\n\n1\n"
        maildrop.close()
        assert ids(store) == [ONE, TWO]

    @pytest.mark.parametrize("content", [b"Subject: 3\n\nlonger than it was\n", b""])
    def test_a_message_that_was_rewritten_is_refused_once_and_right_at_the_next_login(
        self, store: MaildirStore, three: Path, clock: Clock, content: bytes
    ) -> None:
        maildrop = store.open("alice")
        maildrop.scan()
        (three / f"new/{THREE}").write_bytes(content)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="changed"):
                maildrop.retrieve(THREE)
        maildrop.close()
        assert contents(store, "alice")[2] == content
        assert scan(store, "alice")[2].octets == len(content) + content.count(b"\n")

    def test_a_rewritten_message_is_measured_anew_after_a_restart_too(
        self, store: MaildirStore, three: Path, tmp_path: Path, clock: Clock
    ) -> None:
        maildrop = store.open("alice")
        maildrop.scan()
        (three / f"new/{THREE}").write_bytes(b"shorter\n")
        with pytest.raises(StoreUnavailable):
            maildrop.retrieve(THREE)
        maildrop.close()
        assert contents(MaildirStore(f"{tmp_path}/{{user}}"), "alice")[2] == b"shorter\n"

    @pytest.mark.parametrize("made", ["symlink", "fifo", "directory"])
    def test_what_took_the_place_of_a_message_is_not_read(
        self, store: MaildirStore, three: Path, tmp_path: Path, made: str
    ) -> None:
        (tmp_path / "secret").write_bytes(b"Subject: 3\n\n3\n")
        maildrop = store.open("alice")
        maildrop.scan()
        path = three / f"new/{THREE}"
        path.unlink()
        if made == "symlink":
            path.symlink_to(tmp_path / "secret")
        elif made == "fifo":
            os.mkfifo(path)
        else:
            path.mkdir()
        with pytest.raises(Refusal):
            maildrop.retrieve(THREE)
        maildrop.close()

    @pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
    def test_a_message_that_cannot_be_read_is_listed_and_refused(
        self, store: MaildirStore, three: Path, kernel: Kernel, code: int, clock: Clock
    ) -> None:
        kernel.fail("openat", code, lambda name: THREE in str(name))
        assert scan(store, "alice")[2].octets == 14
        maildrop = store.open("alice")
        maildrop.scan()
        with pytest.raises(StoreUnavailable):
            maildrop.retrieve(THREE)
        assert b"".join(maildrop.retrieve(ONE)) == b"Subject: 1\n\n1\n"
        kernel.reset()
        with pytest.raises(StoreUnavailable, match="changed"):
            maildrop.retrieve(THREE)
        maildrop.close()
        assert scan(store, "alice")[2].octets == 17

    def test_an_unreadable_thing_that_is_no_file_is_no_message(
        self, store: MaildirStore, three: Path, kernel: Kernel
    ) -> None:
        (three / "cur/folder").mkdir()
        kernel.fail("openat", errno.EACCES, lambda name: "folder" in str(name))
        assert ids(store) == [ONE, TWO, THREE]

    def test_out_of_descriptors_is_no_property_of_a_message(
        self, store: MaildirStore, three: Path, kernel: Kernel
    ) -> None:
        kernel.fail("openat", errno.EMFILE, lambda name: THREE in str(name))
        with pytest.raises(StoreUnavailable):
            ids(store)
        kernel.reset()
        assert ids(store) == [ONE, TWO, THREE]

    def test_a_maildrop_may_be_retrieved_from_before_it_is_scanned(self, store: MaildirStore, three: Path) -> None:
        maildrop = store.open("alice")
        assert b"".join(maildrop.retrieve(THREE)) == b"Subject: 3\n\n3\n"
        maildrop.close()


class TestReading:
    CONTENT = bytes(range(256)) * 4096

    @pytest.fixture
    def chunks(self, store: MaildirStore, alice: Path) -> Chunks:
        (alice / "cur/1.h").write_bytes(self.CONTENT)
        maildrop = store.open("alice")
        chunks = maildrop.retrieve("1.h")
        maildrop.close()
        assert isinstance(chunks, Chunks)
        return chunks

    def test_ready_reads_what_is_at_hand(self, chunks: Chunks) -> None:
        read = b""
        while (chunk := chunks.ready()) is not None and chunk:
            read += chunk
        assert read == self.CONTENT[: len(read)]

    @pytest.mark.parametrize("code", [errno.EAGAIN, errno.EOPNOTSUPP])
    def test_ready_says_none_when_the_kernel_will_not_say(self, chunks: Chunks, kernel: Kernel, code: int) -> None:
        kernel.fail("preadv", code)
        assert chunks.ready() is None
        assert b"".join(chunks) == self.CONTENT
        assert chunks.ready() == b""

    def test_ready_says_none_on_a_system_without_the_flag(
        self, chunks: Chunks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "_NOWAIT", None)
        assert chunks.ready() is None
        assert b"".join(chunks) == self.CONTENT

    def test_a_message_whose_state_cannot_be_read_is_refused(
        self, store: MaildirStore, alice: Path, kernel: Kernel
    ) -> None:
        (alice / "cur/1.h").write_bytes(MESSAGE)
        maildrop = store.open("alice")
        maildrop.scan()
        before = set(os.listdir("/proc/self/fd"))

        def fail(_: int, name: str, __: object) -> None:
            if name in ("preadv", "fstat"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        kernel.before = fail
        with pytest.raises(StoreUnavailable, match="cannot be read"):
            maildrop.retrieve("1.h")
        assert set(os.listdir("/proc/self/fd")) == before
        maildrop.close()

    def test_ready_and_next_may_take_turns(self, chunks: Chunks, monkeypatch: pytest.MonkeyPatch) -> None:
        def preadv(fd: int, buffers: tuple[bytearray], offset: int, _: int) -> int:
            part = os.pread(fd, 1000, offset)
            buffers[0][: len(part)] = part
            return len(part)

        monkeypatch.setattr(system, "preadv", preadv)
        read = [chunks.ready() or b"", next(chunks), chunks.ready() or b"", *chunks]
        assert b"".join(read) == self.CONTENT
        assert len(read[0]) == len(read[2]) == 1000

    @pytest.mark.parametrize("size", [0, 1000, 300_000])
    @pytest.mark.parametrize("how", ["ready", "next"])
    def test_a_message_that_is_cut_while_it_is_read_is_an_error_not_an_end(
        self, chunks: Chunks, alice: Path, size: int, how: str
    ) -> None:
        os.truncate(alice / "cur/1.h", size)
        with pytest.raises(StoreUnavailable, match="changed"):
            self.read(chunks, how)

    @pytest.mark.parametrize("how", ["ready", "next"])
    def test_a_message_that_grows_while_it_is_read_is_an_error(self, chunks: Chunks, alice: Path, how: str) -> None:
        with open(alice / "cur/1.h", "ab") as file:
            file.write(b"more")
        with pytest.raises(StoreUnavailable, match="changed"):
            self.read(chunks, how)

    @pytest.mark.parametrize(("call", "how"), [("preadv", "ready"), ("pread", "next")])
    def test_a_disk_error_while_reading_is_an_error(self, chunks: Chunks, kernel: Kernel, call: str, how: str) -> None:
        kernel.fail(call, errno.EIO)
        with pytest.raises(StoreUnavailable) as refused:
            self.read(chunks, how)
        assert "1.h" in str(refused.value.detail)
        assert "1.h" not in refused.value.text

    def test_the_file_is_closed_at_the_end_on_close_and_when_it_is_forgotten(
        self, store: MaildirStore, alice: Path, kernel: Kernel
    ) -> None:
        (alice / "cur/1.h").write_bytes(MESSAGE)
        maildrop = store.open("alice")
        maildrop.scan()
        before = set(os.listdir("/proc/self/fd"))
        kernel.fail("preadv", errno.EAGAIN)
        read, closed, forgotten = (maildrop.retrieve("1.h") for _ in range(3))
        assert isinstance(closed, Chunks)
        assert list(read) == [MESSAGE]
        closed.close()
        closed.close()
        del forgotten
        gc.collect()
        assert set(os.listdir("/proc/self/fd")) == before
        maildrop.close()

    def read(self, chunks: Chunks, how: str) -> None:
        for _ in range(10):
            if how == "next":
                next(chunks)
            else:
                chunk = chunks.ready()
                assert chunk


class TestReadingAtOnce:
    """A message that is in the page cache whole is read when it is retrieved, and nothing stays open."""

    @pytest.fixture
    def maildrop(self, store: MaildirStore, alice: Path, kernel: Kernel) -> Iterator[Maildrop]:
        for number, content in enumerate((MESSAGE, b"", b"x" * 4096, b"x" * reading.CHUNK_OCTETS), 1):
            (alice / f"cur/{number}.h").write_bytes(content)
        maildrop = store.open("alice")
        maildrop.scan()
        before = set(os.listdir("/proc/self/fd"))
        kernel.reset()
        yield maildrop
        gc.collect()
        assert set(os.listdir("/proc/self/fd")) == before
        maildrop.close()

    @pytest.mark.parametrize(("unique_id", "content"), [("1.h", MESSAGE), ("2.h", b"")])
    def test_takes_an_open_and_a_read(
        self, maildrop: Maildrop, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, unique_id: str, content: bytes
    ) -> None:
        monkeypatch.setattr(system, "preadv", lambda fd, buffers, offset, _: os.preadv(fd, buffers, offset))
        assert maildrop.retrieve(unique_id) == (content,)
        assert kernel.names == ["openat"]

    def test_takes_a_look_at_the_size_if_the_message_ends_where_a_page_does(
        self, maildrop: Maildrop, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(system, "preadv", lambda fd, buffers, offset, _: os.preadv(fd, buffers, offset))
        assert maildrop.retrieve("3.h") == (b"x" * 4096,)
        assert kernel.names == ["openat", "fstat"]

    def test_is_not_for_a_message_that_has_grown_by_what_is_not_at_hand(
        self, maildrop: Maildrop, alice: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (alice / "cur/3.h").write_bytes(b"x" * 4097)
        monkeypatch.setattr(system, "preadv", lambda *_: 4096)
        with pytest.raises(StoreUnavailable, match="has changed"):
            maildrop.retrieve("3.h")

    def test_is_not_for_what_is_large(self, maildrop: Maildrop, kernel: Kernel) -> None:
        read = maildrop.retrieve("4.h")
        assert isinstance(read, reading.FileChunks)
        assert kernel.names == ["openat", "fstat"]
        assert set(b"".join(read)) == {ord("x")}

    def test_is_not_for_a_part_of_a_message(self, maildrop: Maildrop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(system, "preadv", lambda fd, buffers, offset, _: len(MESSAGE) - 1)
        assert b"".join(maildrop.retrieve("1.h")) == MESSAGE

    @pytest.mark.parametrize("code", [errno.EAGAIN, errno.EOPNOTSUPP, errno.EIO])
    def test_is_left_to_later_when_the_kernel_will_not(self, maildrop: Maildrop, kernel: Kernel, code: int) -> None:
        kernel.fail("preadv", code)
        assert b"".join(maildrop.retrieve("1.h")) == MESSAGE

    def test_is_not_for_a_system_without_the_flag(self, maildrop: Maildrop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "_NOWAIT", None)
        assert b"".join(maildrop.retrieve("1.h")) == MESSAGE

    @pytest.mark.parametrize("raised", [MemoryError, KeyboardInterrupt])
    def test_closes_the_file_whatever_is_raised(
        self, maildrop: Maildrop, monkeypatch: pytest.MonkeyPatch, raised: type[BaseException]
    ) -> None:
        def preadv(*_: object) -> int:
            raise raised

        monkeypatch.setattr(system, "preadv", preadv)
        with pytest.raises(raised):
            maildrop.retrieve("1.h")

    @pytest.mark.parametrize("at_once", [True, False])
    def test_needs_no_good_word_of_close(
        self, maildrop: Maildrop, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, at_once: bool
    ) -> None:
        def close(fd: int) -> None:
            os.close(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        if not at_once:
            kernel.fail("preadv", errno.EAGAIN)
        with monkeypatch.context() as patch:
            patch.setattr(system, "close", close)
            assert b"".join(maildrop.retrieve("1.h")) == MESSAGE


class TestOpening:
    def test_a_missing_maildir_is_unavailable_and_only_the_log_hears_where(
        self, store: MaildirStore, tmp_path: Path
    ) -> None:
        with pytest.raises(StoreUnavailable) as refused:
            store.open("bob")
        assert refused.value.code == "SYS/TEMP"
        assert str(tmp_path) not in refused.value.text
        assert str(tmp_path / "bob") in str(refused.value.detail)

    @pytest.mark.parametrize("part", ["new", "cur"])
    def test_a_directory_that_is_no_maildir_is_unavailable(
        self, store: MaildirStore, alice: Path, part: str, clock: Clock
    ) -> None:
        shutil.rmtree(alice / part)
        with pytest.raises(StoreUnavailable) as refused:
            ids(store)
        assert str(refused.value.detail) == f"maildir {str(alice)!r}: {part!r}: No such file or directory"
        (alice / part).mkdir()
        assert ids(store) == []
        shutil.rmtree(alice / part)
        with pytest.raises(StoreUnavailable):
            ids(store)
        assert not store.opens_at_once("alice")
        (alice / part).mkdir()
        assert ids(store) == []

    def test_a_file_in_place_of_a_maildir_is_broken(self, store: MaildirStore, tmp_path: Path) -> None:
        (tmp_path / "bob").write_bytes(b"")
        with pytest.raises(StoreBroken):
            store.open("bob")

    def test_new_and_cur_are_not_followed_elsewhere(self, store: MaildirStore, three: Path, tmp_path: Path) -> None:
        bob = make_maildir(tmp_path / "bob")
        (bob / "cur").rmdir()
        (bob / "cur").symlink_to(three / "cur")
        with pytest.raises(StoreBroken):
            ids(store, "bob")

    @pytest.mark.parametrize(
        ("call", "code"),
        [("openat", errno.EACCES), ("flock", errno.ENOLCK), ("stat", errno.EIO), ("listdir", errno.EMFILE)],
    )
    def test_a_maildir_that_cannot_be_opened_is_unavailable_and_nothing_stays_open(
        self, store: MaildirStore, three: Path, kernel: Kernel, call: str, code: int, clock: Clock
    ) -> None:
        ids(store)
        clock.ahead = 0
        (three / "new/.touched").touch()
        before = set(os.listdir("/proc/self/fd"))
        kernel.fail(call, code)
        with pytest.raises(StoreUnavailable) as refused:
            ids(store)
        assert os.strerror(code) in str(refused.value.detail)
        assert set(os.listdir("/proc/self/fd")) == before
        kernel.reset()
        assert ids(store) == [ONE, TWO, THREE]

    def test_create_makes_a_missing_maildir_for_its_owner_alone(self, tmp_path: Path) -> None:
        store = MaildirStore(f"{tmp_path}/{{domain}}/{{local}}", create=True)
        assert ids(store, "bob@example.org") == []
        path = tmp_path / "example.org/bob"
        assert {"new", "cur", "tmp"} <= set(os.listdir(path))
        assert {oct(part.stat().st_mode & 0o777) for part in (path, path / "new")} == {"0o700"}

    def test_create_completes_a_maildir_that_a_crash_left_half_made(self, tmp_path: Path, kernel: Kernel) -> None:
        store = MaildirStore(f"{tmp_path}/{{user}}", create=True)
        for step in range(20):
            shutil.rmtree(tmp_path / "bob", ignore_errors=True)
            kernel.crash_at(step)
            try:
                maildrop = store.open("bob")
            except Crash:
                kernel.reset()
                assert ids(MaildirStore(f"{tmp_path}/{{user}}", create=True), "bob") == []
            else:
                kernel.reset()
                maildrop.close()
                return
        pytest.fail("open never came to an end")

    def test_create_makes_a_maildir_again_that_somebody_removed(self, tmp_path: Path) -> None:
        store = MaildirStore(f"{tmp_path}/{{user}}", create=True)
        ids(store, "bob")
        shutil.rmtree(tmp_path / "bob")
        with pytest.raises(StoreUnavailable):
            ids(store, "bob")
        assert ids(store, "bob") == []

    def test_a_read_only_maildir_can_be_read_and_is_locked(
        self, store: MaildirStore, three: Path, kernel: Kernel, caplog: pytest.LogCaptureFixture
    ) -> None:
        for call in ("write", "rename", "unlink"):
            kernel.fail(call, errno.EROFS)
        maildrop = store.open("alice")
        with pytest.raises(MaildropLocked):
            store.open("alice")
        assert len(maildrop.scan()) == 3
        maildrop.close()

    def test_an_unknown_lock_is_a_mistake_of_the_operator(self) -> None:
        with pytest.raises(ConfigError, match="exclusive"):
            MaildirStore("/srv/mail/{user}", lock="dotlock")  # type: ignore[arg-type]  # what is tested


class TestTheLock:
    def test_it_is_free_at_once_when_its_holder_is_killed(self, store: MaildirStore, three: Path) -> None:
        reader, writer = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            try:
                store.open("alice").scan()
                os.write(writer, b"locked")
                signal.pause()
            finally:
                os._exit(1)
        try:
            assert os.read(reader, 6) == b"locked"
            with pytest.raises(MaildropLocked):
                store.open("alice")
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reader)
            os.close(writer)
        assert ids(store) == [ONE, TWO, THREE]

    @pytest.mark.slow
    def test_it_is_free_on_close_in_a_process_that_gevent_patched(self, three: Path, tmp_path: Path) -> None:
        program = """
            import sys
            from gevent import monkey, sleep
            monkey.patch_all()
            from geventpop3.stores.maildir import MaildirStore
            sleep(0)
            store = MaildirStore(sys.argv[1])
            for _ in range(3):
                maildrop = store.open("alice")
                maildrop.scan()
                maildrop.close()
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(program), f"{tmp_path}/{{user}}"], check=True)

    def test_an_operator_may_take_it_with_flock(self, store: MaildirStore, three: Path) -> None:
        fd = os.open(three, os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(MaildropLocked):
            store.open("alice")
        os.close(fd)
        store.open("alice").close()

    def test_closing_twice_closes_no_file_of_another(self, store: MaildirStore, three: Path) -> None:
        maildrop = store.open("alice")
        maildrop.close()
        other = store.open("alice")
        maildrop.close()
        assert len(other.scan()) == 3
        other.close()

    def test_it_leaves_no_file(self, store: MaildirStore, three: Path) -> None:
        store.open("alice").close()
        assert left_over(three) == set()

    def test_two_names_of_one_maildir_have_one_lock(self, three: Path, tmp_path: Path) -> None:
        store = MaildirStore(f"{tmp_path}/{{local}}")
        maildrop = store.open("alice@example.org")
        with pytest.raises(MaildropLocked):
            store.open("alice@example.net")
        maildrop.close()

    def test_without_it_sessions_share_a_maildrop(self, three: Path, tmp_path: Path) -> None:
        store = MaildirStore(f"{tmp_path}/{{user}}", lock="none")
        first, second = store.open("alice"), store.open("alice")
        assert list(first.scan()) == list(second.scan())
        first.remove([ONE, TWO])
        second.remove([TWO, THREE])
        first.close()
        second.close()
        assert ids(store) == []

    def test_without_it_only_an_update_waits_for_an_update(
        self, three: Path, tmp_path: Path, kernel: Kernel, clock: Clock
    ) -> None:
        store = MaildirStore(f"{tmp_path}/{{user}}", lock="none")
        maildrop = store.open("alice")
        maildrop.scan()
        other = os.open(three, os.O_RDONLY)
        fcntl.flock(other, fcntl.LOCK_EX)
        assert ids(store) == [ONE, TWO, THREE]
        with pytest.raises(StoreUnavailable, match="another session"):
            maildrop.remove([ONE])
        assert len(clock.pauses) > 5
        clock.pauses.clear()
        kernel.do_before("flock", lambda: fcntl.flock(other, fcntl.LOCK_UN), nth=3)
        maildrop.remove([ONE])
        assert len(clock.pauses) == 2
        os.close(other)
        maildrop.close()
        assert ids(store) == [TWO, THREE]

    def test_without_it_an_index_is_not_written_while_another_has_the_lock(self, three: Path, tmp_path: Path) -> None:
        store = MaildirStore(f"{tmp_path}/{{user}}", lock="none")
        other = os.open(three, os.O_RDONLY)
        fcntl.flock(other, fcntl.LOCK_EX)
        assert ids(store) == [ONE, TWO, THREE]
        assert left_over(three) == set()
        os.close(other)
        (three / "new/1700000004.M4P1.host").write_bytes(MESSAGE)
        assert len(ids(store)) == 4
        assert left_over(three) == {index.FILE}


class TestForks:
    """A descriptor that is copied, as by a fork, is the same open directory, and so the same holder of the lock."""

    def test_a_lock_is_released_although_a_child_has_a_copy_of_the_descriptor(
        self, store: MaildirStore, alice: Path
    ) -> None:
        maildrop = store.open("alice")
        copy = os.dup(maildrop._root)
        try:
            maildrop.close()
            store.open("alice").close()
        finally:
            os.close(copy)

    def test_a_child_closes_its_copies_and_the_lock_stays_its_parents(self, store: MaildirStore, alice: Path) -> None:
        (alice / "new/1.M1P1.host").write_bytes(b"one\n")
        maildrop = store.open("alice")
        maildrop.scan()
        copy = os.dup(maildrop._root)
        try:
            maildrop.disown()
            maildrop.disown()
            with pytest.raises(MaildropLocked):
                store.open("alice")
        finally:
            os.close(copy)
        store.open("alice").close()
