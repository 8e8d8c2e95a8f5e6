"""What an owner may do with links, folders of others and planted files: nobody reads or loses mail of another by it."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from maildir_kernel import Clock, Kernel, left_over, make_maildir, names
from store_contract import MESSAGE, scan

from geventpop3.errors import Refusal, StoreBroken, StoreUnavailable
from geventpop3.stores import Maildrop
from geventpop3.stores.maildir import MaildirStore, index, journal, listing, opening, system

ALICE, EVE = 12_001, 12_002
"""Users that nobody is."""

MINE, SECRET = b"Subject: mine\n\n1\n", b"Subject: hers\n\n2\n"
MARKED = ["1.M1P1.h", "2.M2P2.h"]
PATHS = ["cur/1.M1P1.h:2,S", "new/2.M2P2.h", "cur/3.M3P3.h:2,"]


class Place:
    """Maildirs in example.org of eve, who attacks, and of the victim, whose messages have the same names and sizes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.domains = folder / "domains"
        self.eve = self.domains / "example.org/eve"
        self.victim = folder / "elsewhere/victim"
        for maildir, content in ((self.eve, MINE), (self.victim, SECRET)):
            make_maildir(maildir)
            for path in PATHS:
                (maildir / path).write_bytes(content)
        make_maildir(folder / "elsewhere/eve")
        for path in PATHS:
            (folder / "elsewhere/eve" / path).write_bytes(SECRET)
        self.hers = {path.stat().st_ino for path in (folder / "elsewhere").rglob("*")}
        self.before = self.picture()
        self.store = MaildirStore(f"{self.domains}/{{domain}}/{{local}}")
        real = system.openat

        def openat(*args: Any, **kwargs: Any) -> int:
            fd = real(*args, **kwargs)
            assert os.fstat(fd).st_ino not in self.hers, f"{args} opened what is the victim's"
            return fd

        monkeypatch.setattr(system, "openat", openat)

    def picture(self) -> dict[str, bytes]:
        """The victim's files."""
        folder = self.domains.parent / "elsewhere"
        return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}

    def swap(self, what: str) -> None:
        """Put a link to what is the victim's in the place of what is eve's."""
        elsewhere = self.domains.parent / "elsewhere"
        mine, hers = {
            "new": (self.eve / "new", self.victim / "new"),
            "cur": (self.eve / "cur", self.victim / "cur"),
            "maildir": (self.eve, self.victim),
            "domain": (self.eve.parent, elsewhere),
        }[what]
        mine.rename(mine.with_name("aside"))
        mine.symlink_to(hers)

    def outcome(self) -> tuple[list[bytes], Refusal | None]:
        """Return what a session read, and what it was refused, if anything."""
        read: list[bytes] = []
        try:
            self.session(read)
        except Refusal as refusal:
            return read, refusal
        return read, None

    def session(self, read: list[bytes] | None = None) -> list[bytes]:
        """Log in, read all, mark two, quit; return what was read, which is added to *read*."""
        read = [] if read is None else read
        maildrop = self.store.open("eve@example.org")
        try:
            for message in maildrop.scan():
                read.append(b"".join(maildrop.retrieve(message.unique_id)))
            maildrop.remove(MARKED)
        finally:
            maildrop.close()
        return read

    def check(self) -> None:
        assert self.picture() == self.before


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


class TestASwapAtEveryStep:
    """Eve makes a link between any two system calls of a session: nothing outside her maildir is opened or removed."""

    @pytest.mark.parametrize("what", ["new", "cur", "maildir", "domain"])
    @pytest.mark.parametrize("warm", [False, True])
    def test_of_a_session(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, what: str, warm: bool
    ) -> None:
        refused = 0
        for step in itertools.count():
            with monkeypatch.context() as patch:
                place = Place(tmp_path / str(step), patch)
                kernel = Kernel(patch)
                if warm:
                    scan(place.store, "eve@example.org")
                kernel.reset()

                def before(number: int, *_: object, step: int = step, place: Place = place) -> None:
                    if number == step:
                        place.swap(what)

                kernel.before = before
                read, refusal = place.outcome()
                assert set(read) <= {MINE}
                if refusal is not None:
                    refused += 1
                    assert refusal.code is not None
                    assert "elsewhere" not in refusal.text
                place.check()
                if len(kernel.calls) <= step:
                    break
        assert step > 20
        assert refused

    @pytest.mark.parametrize("what", ["new", "cur", "maildir", "domain"])
    def test_of_a_login_that_makes_a_maildir(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
        for step in itertools.count():
            with monkeypatch.context() as patch:
                place = Place(tmp_path / str(step), patch)
                (place.eve / "tmp").rmdir()
                (place.victim / "tmp").rmdir()
                place.before = place.picture()
                kernel = Kernel(patch)

                def before(number: int, *_: object, step: int = step, place: Place = place) -> None:
                    if number == step:
                        place.swap(what)

                kernel.before = before
                store = MaildirStore(f"{place.domains}/{{domain}}/{{local}}", create=True)
                with suppress(StoreBroken):
                    store.open("eve@example.org").close()
                place.check()
                if len(kernel.calls) <= step:
                    break
        assert step > 5

    @pytest.mark.parametrize("part", ["new", "cur"])
    def test_a_directory_that_is_put_in_the_place_of_one_is_no_link(
        self, place: Place, part: str, clock: Clock
    ) -> None:
        maildrop = place.store.open("eve@example.org")
        assert len(maildrop.scan()) == len(PATHS)
        (place.eve / part).rename(place.eve / "aside")
        (place.eve / part).mkdir()
        (path,) = [path for path in PATHS if path.startswith(part)][:1]
        os.link(place.eve / "aside" / path[4:], place.eve / path)
        maildrop.remove(MARKED)
        maildrop.close()
        assert not (place.eve / path).exists()
        assert (place.eve / "aside" / path[4:]).exists()


class TestLinks:
    @pytest.mark.parametrize("what", ["new", "cur"])
    def test_a_part_that_becomes_a_link_after_the_login_serves_nothing(
        self, place: Place, what: str, clock: Clock
    ) -> None:
        scan(place.store, "eve@example.org")
        maildrop = place.store.open("eve@example.org")
        assert "scan" not in maildrop.blocking
        place.swap(what)
        (path,) = [path for path in PATHS if path.startswith(what)][:1]
        unique_id = path[4:].partition(":")[0]
        with pytest.raises(StoreBroken) as refused:
            maildrop.retrieve(unique_id)
        assert opening.LINK in str(refused.value.detail)
        with pytest.raises(StoreBroken):
            maildrop.remove([unique_id])
        maildrop.close()
        with pytest.raises(StoreBroken):
            scan(place.store, "eve@example.org")
        place.check()

    @pytest.mark.parametrize("what", ["new", "cur"])
    def test_a_message_that_was_renamed_is_not_looked_for_behind_a_link(
        self, place: Place, what: str, clock: Clock
    ) -> None:
        maildrop = place.store.open("eve@example.org")
        maildrop.scan()
        (place.eve / "new/2.M2P2.h").unlink()
        place.swap(what)
        with pytest.raises(Refusal):
            maildrop.retrieve("2.M2P2.h")
        maildrop.close()
        place.check()

    @pytest.mark.parametrize(("what", "where"), [("maildir", "example.org/eve"), ("domain", "example.org")])
    @pytest.mark.parametrize("warm", [False, True])
    def test_a_maildir_or_a_directory_above_it_is_no_link(
        self, place: Place, what: str, where: str, clock: Clock, warm: bool
    ) -> None:
        if warm:
            scan(place.store, "eve@example.org")
        place.swap(what)
        with pytest.raises(StoreBroken) as refused:
            place.store.open("eve@example.org")
        assert str(place.domains / where) in str(refused.value.detail)
        assert opening.LINK in str(refused.value.detail)
        assert refused.value.text == StoreBroken.default_text
        place.check()

    def test_the_fixed_part_of_the_template_is_the_operator_s(self, place: Place, tmp_path: Path) -> None:
        (tmp_path / "mail").symlink_to(place.domains)
        store = MaildirStore(f"{tmp_path}/mail/{{domain}}/{{local}}")
        assert len(scan(store, "eve@example.org")) == len(PATHS)
        store = MaildirStore(f"{tmp_path}/mail/example.org/{{local}}")
        assert len(scan(store, "eve@example.org")) == len(PATHS)

    def test_a_name_in_a_maildir_that_is_renamed_stays_the_session_s(self, place: Place, clock: Clock) -> None:
        maildrop = place.store.open("eve@example.org")
        assert len(maildrop.scan()) == len(PATHS)
        place.swap("maildir")
        aside = place.eve.with_name("aside")
        assert b"".join(maildrop.retrieve("1.M1P1.h")) == MINE
        maildrop.remove(MARKED)
        maildrop.close()
        assert names(aside) == {PATHS[2]}
        place.check()

    def test_what_is_in_place_of_a_directory_may_be_gone_before_it_is_looked_at(
        self, place: Place, kernel: Kernel
    ) -> None:
        place.swap("maildir")

        def before(_: int, name: str, first: object) -> None:
            if name == "stat" and first == "eve":
                place.eve.unlink()

        kernel.before = before
        with pytest.raises(StoreBroken):
            place.store.open("eve@example.org")

    def test_a_forged_index_makes_no_message_of_another_known(self, place: Place, clock: Clock) -> None:
        forge_index(place.eve, ["1.M1P1.h", "4.M4P4.h"], SECRET)
        (place.victim / "cur/4.M4P4.h:2,S").write_bytes(SECRET)
        place.before = place.picture()
        maildrop = place.store.open("eve@example.org")
        assert len(maildrop.scan()) == 2
        place.swap("cur")
        for unique_id in ("1.M1P1.h", "4.M4P4.h"):
            with pytest.raises(Refusal):
                maildrop.retrieve(unique_id)
        with pytest.raises(Refusal):
            maildrop.remove(["1.M1P1.h", "4.M4P4.h"])
        maildrop.close()
        place.check()

    @pytest.mark.parametrize("unique_id", ["..", ".", ".hidden"])
    def test_a_forged_index_leads_nowhere_else(self, place: Place, clock: Clock, unique_id: str) -> None:
        forge_index(place.eve, [unique_id], SECRET, tail="c")
        maildrop = place.store.open("eve@example.org")
        with pytest.raises(StoreUnavailable):
            maildrop.retrieve(unique_id)
        with suppress(Refusal):
            maildrop.remove([unique_id])
        maildrop.close()
        assert names(place.eve) == set(PATHS)
        place.check()


def forge_index(path: Path, unique_ids: list[str], content: bytes, tail: str = "c:2,S") -> None:
    """Write an index that the directories as they are bear out."""
    root = os.open(path, os.O_RDONLY)
    stamp = listing.fingerprint_of(root)
    os.close(root)
    octets = len(content) + content.count(b"\n")
    rows = [index.Row(time, each, octets, len(content)) for time, each in enumerate(unique_ids)]
    forged = index.Index.empty().updated(dict.fromkeys(unique_ids, tail), rows, stamp)
    (path / index.FILE).write_bytes(forged.encode())


Give = Callable[[Path, int], None]


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Give:
    """Make a directory another user's; where the tests are not root's the store is made to believe so."""
    owners: dict[int, int] = {}
    real = system.fstat

    def fstat(fd: int) -> os.stat_result:
        status = real(fd)
        if status.st_ino not in owners:
            return status
        return os.stat_result([*status[:4], owners[status.st_ino], *status[5:10]])

    def change(path: Path, uid: int) -> None:
        if os.geteuid() == 0:
            os.chown(path, uid, -1)
        else:
            owners[path.stat().st_ino] = uid

    if os.geteuid() != 0:
        monkeypatch.setattr(system, "fstat", fstat)
    return change


class TestOwners:
    @pytest.mark.parametrize(
        "whose",
        [
            {"example.org": 0, "example.org/eve": ALICE, "example.org/eve/new": ALICE, "example.org/eve/cur": ALICE},
            {"example.org": ALICE, "example.org/eve": ALICE, "example.org/eve/new": 0, "example.org/eve/cur": ALICE},
            {"example.org/eve": ALICE},
            {},
        ],
    )
    def test_directories_of_the_owner_of_root_and_of_the_server_are_opened(
        self, place: Place, give: Give, whose: dict[str, int]
    ) -> None:
        for name, uid in whose.items():
            give(place.domains / name, uid)
        assert place.session() == [MINE] * 3

    @pytest.mark.parametrize("name", ["example.org", "example.org/eve/new", "example.org/eve/cur"])
    def test_one_that_another_planted_is_not(self, place: Place, give: Give, name: str, clock: Clock) -> None:
        give(place.domains / "example.org/eve", ALICE)
        give(place.domains / name, EVE)
        before = set(os.listdir("/proc/self/fd"))
        with pytest.raises(StoreBroken) as refused:
            place.session()
        assert f"{str(place.domains / name)!r} is owned by uid {EVE}; expected uid {ALICE}" in str(refused.value.detail)
        assert str(EVE) not in refused.value.text
        assert set(os.listdir("/proc/self/fd")) == before
        assert names(place.eve) == set(PATHS)

    def test_one_that_another_plants_during_a_session_keeps_all_messages(
        self, place: Place, give: Give, clock: Clock
    ) -> None:
        scan(place.store, "eve@example.org")
        maildrop = place.store.open("eve@example.org")
        give(place.eve / "cur", EVE)
        with pytest.raises(StoreBroken):
            maildrop.retrieve("1.M1P1.h")
        with pytest.raises(StoreBroken):
            maildrop.remove(MARKED)
        maildrop.close()
        assert names(place.eve) == set(PATHS)
        assert journal.FILE not in left_over(place.eve)

    def test_messages_may_be_of_whoever_delivers_them(self, place: Place) -> None:
        if os.geteuid() == 0:
            os.chown(place.eve / PATHS[0], EVE, -1)
        assert place.session() == [MINE] * 3


class TestCreate:
    @pytest.fixture
    def creating(self, place: Place) -> MaildirStore:
        return MaildirStore(f"{place.domains}/{{domain}}/{{local}}", create=True)

    @pytest.mark.parametrize("name", ["example.net", "example.org/bob"])
    @pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
    def test_nothing_is_made_where_a_link_leads(
        self, place: Place, creating: MaildirStore, name: str, target: str
    ) -> None:
        (place.domains / name).symlink_to(place.domains.parent / target)
        owner = "bob@example.org" if "bob" in name else "bob@example.net"
        with pytest.raises(StoreBroken):
            creating.open(owner)
        assert not (place.domains.parent / "nowhere").exists()
        place.check()

    @pytest.mark.parametrize("part", ["new", "cur"])
    def test_nor_in_place_of_a_part(self, place: Place, creating: MaildirStore, part: str) -> None:
        make_maildir(place.domains / "example.org/bob")
        (place.domains / "example.org/bob" / part).rmdir()
        (place.domains / "example.org/bob" / part).symlink_to(place.domains.parent / "nowhere")
        with pytest.raises(StoreBroken):
            scan(creating, "bob@example.org")
        assert not (place.domains.parent / "nowhere").exists()

    def test_nor_in_a_directory_of_another(self, place: Place, creating: MaildirStore, give: Give) -> None:
        give(place.eve.parent, EVE)
        with pytest.raises(StoreBroken) as refused:
            creating.open("bob@example.org")
        assert f"{str(place.eve.parent)!r} is owned by uid {EVE}" in str(refused.value.detail)
        assert set(os.listdir(place.eve.parent)) == {"eve"}

    def test_two_logins_may_make_one_maildir(self, place: Place, creating: MaildirStore, kernel: Kernel) -> None:
        kernel.do_before("mkdir", lambda: (place.domains / "example.net").mkdir())
        assert list(scan(creating, "bob@example.net")) == []

    def test_a_directory_that_is_removed_again_is_missing(
        self, place: Place, creating: MaildirStore, kernel: Kernel
    ) -> None:
        kernel.do_before("mkdir", lambda: (place.domains / "example.net").rmdir(), nth=2)
        with pytest.raises(StoreUnavailable):
            creating.open("bob@example.net")

    def test_the_fixed_part_is_made_too(self, tmp_path: Path) -> None:
        store = MaildirStore(f"{tmp_path}/srv/mail/{{user}}", create=True)
        assert list(scan(store, "bob")) == []
        assert stat.S_IMODE((tmp_path / "srv/mail/bob").stat().st_mode) == 0o700

    def test_without_it_nothing_is_made(self, place: Place) -> None:
        with pytest.raises(StoreUnavailable) as refused:
            place.store.open("bob@example.net")
        assert str(place.domains / "example.net") in str(refused.value.detail)
        assert os.listdir(place.domains) == ["example.org"]


class TestTemporaryFiles:
    """Nothing is written through what somebody planted where a file of ours is written first."""

    @pytest.mark.parametrize("how", ["hard link", "symbolic link", "fifo", "left by a crash"])
    @pytest.mark.parametrize("name", [index.FILE, journal.FILE])
    def test_are_new_files(self, alice: Path, how: str, name: str, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.write_bytes(SECRET)
        temporary = alice / f"{name}.tmp"
        if how == "hard link":
            temporary.hardlink_to(precious)
        elif how == "symbolic link":
            temporary.symlink_to(precious)
        elif how == "fifo":
            os.mkfifo(temporary)
        else:
            temporary.write_bytes(SECRET * 100)
        root = os.open(alice, os.O_RDONLY)
        system.replace_file(name, MINE, root, durable=True)
        os.close(root)
        assert (alice / name).read_bytes() == MINE
        assert stat.S_ISREG((alice / name).lstat().st_mode)
        assert not temporary.exists()
        assert precious.read_bytes() == SECRET

    def test_that_are_planted_again_are_not_written_through_either(
        self, alice: Path, tmp_path: Path, kernel: Kernel
    ) -> None:
        precious = tmp_path / "precious"
        precious.write_bytes(SECRET)
        temporary = alice / f"{index.FILE}.tmp"
        root = os.open(alice, os.O_RDONLY)

        def before(_: int, name: str, first: object) -> None:
            if name == "openat" and first == temporary.name:
                temporary.unlink(missing_ok=True)
                temporary.hardlink_to(precious)

        kernel.before = before
        with pytest.raises(FileExistsError):
            system.replace_file(index.FILE, MINE, root, durable=False)
        os.close(root)
        assert precious.read_bytes() == SECRET

    def test_a_directory_in_place_of_one_costs_the_index_alone(
        self, store: MaildirStore, alice: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (alice / f"{index.FILE}.tmp").mkdir()
        (alice / "new/1.h").write_bytes(MESSAGE)
        with caplog.at_level(logging.WARNING):
            assert len(scan(store, "alice")) == 1
        assert "cannot be written" in caplog.text
        assert index.FILE not in left_over(alice)


class TestCalls:
    """A warm login and a warm RETR make as few calls as they would by whole paths, and hold no more than they need."""

    @pytest.fixture
    def open_before(self) -> set[str]:
        return set(os.listdir("/proc/self/fd"))

    @pytest.fixture
    def maildrop(
        self, store: MaildirStore, alice: Path, kernel: Kernel, clock: Clock, open_before: set[str]
    ) -> Maildrop:
        (alice / "cur/1.h:2,").write_bytes(MINE)
        (alice / "cur/2.h:2,").write_bytes(MINE)
        scan(store, "alice")
        kernel.reset()
        return store.open("alice")

    def test_of_a_warm_login(self, maildrop: Maildrop, kernel: Kernel, open_before: set[str]) -> None:
        maildrop.scan()
        assert kernel.names == ["openat", "flock", "stat", "stat", "stat"]
        assert len(set(os.listdir("/proc/self/fd"))) - len(open_before) == 1
        maildrop.close()

    def test_of_a_warm_login_two_directories_below_the_fixed_part(
        self, place: Place, kernel: Kernel, clock: Clock, open_before: set[str]
    ) -> None:
        scan(place.store, "eve@example.org")
        kernel.reset()
        maildrop = place.store.open("eve@example.org")
        assert kernel.names == ["openat", "fstat", "openat", "flock", "stat", "stat", "stat"]
        assert len(set(os.listdir("/proc/self/fd"))) - len(open_before) == 1
        maildrop.close()

    @pytest.mark.parametrize("link", [None, "example.org", "example.org/eve", "example.org/eve/Maildir"])
    def test_of_a_login_three_directories_below_the_fixed_part(
        self, place: Place, kernel: Kernel, open_before: set[str], link: str | None
    ) -> None:
        make_maildir(place.eve / "Maildir")
        store = MaildirStore(f"{place.domains}/{{domain}}/{{local}}/Maildir")
        if link is None:
            store.open("eve@example.org").close()
            assert kernel.names[:6] == ["openat", "fstat", "openat", "fstat", "openat", "flock"]
        else:
            (place.domains / link).rename(place.domains / "aside")
            (place.domains / link).symlink_to(place.domains / "aside")
            with pytest.raises(StoreBroken):
                store.open("eve@example.org")
        assert set(os.listdir("/proc/self/fd")) == open_before

    def test_of_each_retrieval_but_the_first(
        self, maildrop: Maildrop, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, open_before: set[str]
    ) -> None:
        monkeypatch.setattr(system, "preadv", lambda fd, buffers, offset, _: os.preadv(fd, buffers, offset))
        kernel.reset()
        assert maildrop.retrieve("1.h") == (MINE,)
        assert kernel.calls == [("openat", "cur"), ("fstat", kernel.calls[1][1]), ("openat", "cur/1.h:2,")]
        kernel.reset()
        assert maildrop.retrieve("2.h") == (MINE,)
        assert kernel.calls == [("openat", "cur/2.h:2,")]
        assert len(set(os.listdir("/proc/self/fd"))) - len(open_before) == 2
        maildrop.close()
        assert set(os.listdir("/proc/self/fd")) == open_before

    def test_a_close_that_fails_closes_the_rest(
        self, maildrop: Maildrop, monkeypatch: pytest.MonkeyPatch, open_before: set[str]
    ) -> None:
        maildrop.retrieve("1.h")
        real = system.close
        failures = iter([OSError(errno.EIO, os.strerror(errno.EIO))])

        def close(fd: int) -> None:
            real(fd)
            for failure in failures:
                raise failure

        monkeypatch.setattr(system, "close", close)
        maildrop.close()
        assert set(os.listdir("/proc/self/fd")) == open_before


class TestExamining:
    """``check --login`` finds what the first login would, and changes nothing."""

    @pytest.fixture
    def creating(self, place: Place) -> MaildirStore:
        return MaildirStore(f"{place.domains}/{{domain}}/{{local}}", create=True)

    def test_a_maildir_in_order(self, place: Place, creating: MaildirStore) -> None:
        (place.eve / "cur/.hidden").symlink_to("nowhere")
        (place.eve / "cur/link").symlink_to("nowhere")
        before = set(os.listdir("/proc/self/fd"))
        for store in (place.store, creating):
            found = store.examine("eve@example.org")
            assert (found.path, found.missing, found.complaints) == (str(place.eve), False, [])
        assert set(os.listdir("/proc/self/fd")) == before
        assert left_over(place.eve) == set()

    def test_a_name_that_no_maildir_can_have(self, place: Place) -> None:
        (complaint,) = place.store.examine("..@..").complaints
        assert "hidden" in complaint

    @pytest.mark.parametrize(("what", "where"), [("domain", ""), ("maildir", "/eve"), ("cur", "/eve/cur")])
    def test_a_link(self, place: Place, creating: MaildirStore, what: str, where: str) -> None:
        place.swap(what)
        for store in (place.store, creating):
            found = store.examine("eve@example.org")
            assert found.complaints == [f"{place.domains}/example.org{where}: {opening.LINK}"]
            with pytest.raises(StoreBroken):
                scan(store, "eve@example.org")

    @pytest.mark.parametrize("name", ["example.org", "example.org/eve/new"])
    def test_a_directory_of_another(self, place: Place, creating: MaildirStore, give: Give, name: str) -> None:
        give(place.domains / name, EVE)
        for store in (place.store, creating):
            (complaint,) = store.examine("eve@example.org").complaints
            assert f"is owned by uid {EVE}" in complaint
            with pytest.raises(StoreBroken):
                scan(store, "eve@example.org")

    @pytest.mark.parametrize("owner", ["bob@example.org", "bob@example.net"])
    def test_one_that_is_missing(self, place: Place, creating: MaildirStore, owner: str) -> None:
        (complaint,) = place.store.examine(owner).complaints
        assert os.strerror(errno.ENOENT) in complaint
        found = creating.examine(owner)
        assert (found.missing, found.complaints) == (True, [])
        assert os.listdir(place.domains) == ["example.org"]
        assert os.listdir(place.eve.parent) == ["eve"]
        assert list(scan(creating, owner)) == []

    def test_a_missing_one_above_which_something_is_wrong(
        self, place: Place, creating: MaildirStore, give: Give
    ) -> None:
        (place.domains / "example.net").symlink_to("example.org")
        assert creating.examine("bob@example.net").complaints == [f"{place.domains}/example.net: {opening.LINK}"]
        deep = MaildirStore(f"{place.domains}/{{domain}}/{{local}}/Maildir", create=True)
        (place.eve.parent / "bob").symlink_to("eve")
        assert deep.examine("bob@example.org").complaints == [f"{place.eve.parent}/bob: {opening.LINK}"]
        give(place.eve.parent, EVE)
        (complaint,) = creating.examine("carol@example.org").complaints
        assert f"is owned by uid {EVE}" in complaint
        (complaint,) = deep.examine("carol@example.org").complaints
        assert f"is owned by uid {EVE}" in complaint

    def test_a_link_that_appears_while_it_looks(self, place: Place, creating: MaildirStore, kernel: Kernel) -> None:
        def before(number: int, name: str, first: object) -> None:
            if name == "openat" and number > 2:
                place.swap("domain")
                kernel.before = None

        kernel.before = before
        (complaint,) = creating.examine("bob@example.org").complaints
        assert opening.LINK in complaint

    @pytest.mark.parametrize("part", ["new", "cur"])
    def test_a_part_that_is_missing(self, place: Place, creating: MaildirStore, part: str) -> None:
        for path in (place.eve / part).iterdir():
            path.unlink()
        (place.eve / part).rmdir()
        (complaint,) = place.store.examine("eve@example.org").complaints
        assert complaint == f"{place.eve / part}: No such file or directory"
        found = creating.examine("eve@example.org")
        assert (found.missing, found.complaints) == (True, [])

    def test_rights_that_are_missing(
        self, place: Place, creating: MaildirStore, monkeypatch: pytest.MonkeyPatch, kernel: Kernel
    ) -> None:
        monkeypatch.setattr(system, "access", lambda *_, **__: False)
        complaints = place.store.examine("eve@example.org").complaints
        assert complaints == [
            f"{path}: no permission to write and search" for path in (place.eve, place.eve / "new", place.eve / "cur")
        ]
        for owner, path in (("bob@example.org", place.eve.parent), ("bob@example.net", place.domains)):
            assert creating.examine(owner).complaints == [f"{path}: no permission to write and search"]

    def test_a_message_that_cannot_be_read(self, place: Place, kernel: Kernel) -> None:
        (place.eve / "cur/folder").mkdir()
        kernel.fail("openat", errno.EACCES, lambda name: str(name) in ("cur/folder", PATHS[0], PATHS[2]))
        (complaint,) = place.store.examine("eve@example.org").complaints
        assert complaint in [f"{place.eve}/{path}: Permission denied" for path in (PATHS[0], PATHS[2])]
