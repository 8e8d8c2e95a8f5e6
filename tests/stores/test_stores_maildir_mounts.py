"""Mounts: which calls to a maildir may be made where they would stop all sessions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from maildir_kernel import Clock, make_maildir

from geventpop3.errors import ConfigError, StoreUnavailable
from geventpop3.stores.maildir import MaildirStore, mounts
from geventpop3.stores.maildir.mounts import Mount, Mounts

EVERYTHING = {"scan", "retrieve", "remove", "close"}
LINES = """\
22 1 8:1 / / rw,relatime shared:1 - {root} /dev/sda1 rw
23 22 0:20 / /proc rw,nosuid - proc proc rw
30 22 0:40 / {base} rw,relatime - ext4 /dev/sdb1 rw
31 30 0:41 / {base}/example.org rw - {domain} server:/mail rw
32 30 0:42 / {base}/with\\040blank rw - fuse.sshfs host: rw
a line of another table
short - line
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Make the kernel's table of mounts."""
    path = tmp_path / "mountinfo"
    monkeypatch.setattr(mounts, "TABLE", str(path))

    def write(base: object = "/srv/mail", root: str = "ext4", domain: str = "nfs4") -> str:
        path.write_text(LINES.format(base=base, root=root, domain=domain))
        return str(base)

    return write


def test_a_path_is_on_the_longest_mount_above_it(table: Callable[..., str]) -> None:
    base = table()
    found = Mounts(base)
    assert found.of(f"{base}/alice").point == base
    assert found.of(f"{base}/example.org/alice").point == f"{base}/example.org"
    assert found.of(f"{base}/example.organic/alice").point == base
    assert found.of(f"{base}/with blank/alice").point == f"{base}/with blank"
    assert Mounts("/var/mail").of("/var/mail/alice").point == "/"
    assert repr(found.of(f"{base}/alice")) == f"<Mount {base}>"


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "fuse", "fuse.sshfs", "9p", "ceph", "virtiofs", "glusterfs"]
)
def test_what_waits_for_another_machine_or_process_waits(table: Callable[..., str], kind: str) -> None:
    base = table(domain=kind)
    found = Mounts(base)
    assert found.waits(found.of(f"{base}/example.org/alice"))
    assert not found.waits(found.of(f"{base}/alice"))


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay"])
def test_a_local_file_system_does_not(table: Callable[..., str], kind: str) -> None:
    base = table(domain=kind)
    found = Mounts(base)
    assert not found.waits(found.of(f"{base}/example.org/alice"))


def test_links_in_the_fixed_part_are_followed(table: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    table(base=tmp_path / "real")
    found = Mounts(f"{tmp_path}/link")
    assert found.of(f"{tmp_path}/link/alice").point == str(tmp_path / "real")
    assert found.waits(found.of(f"{tmp_path}/link/example.org/alice"))


def test_a_system_without_the_table_has_one_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "TABLE", str(tmp_path / "none"))
    found = Mounts("/srv/mail")
    assert found.of("/srv/mail/alice").point == "/"
    assert not found.waits(found.of("/srv/mail/alice"))


def test_a_mount_that_was_slow_waits_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(mounts, "monotonic", lambda: now[0])
    monkeypatch.setattr(mounts, "SLOW_SECONDS", 0.05)
    mount = Mount("/", "ext4")
    assert not mount.record_duration(0.05)
    assert not mount.waits()
    assert mount.record_duration(0.051)
    assert mount.waits()
    now[0] += mounts.SLOW_FOR
    assert not mount.waits()


def test_the_table_is_read_again_and_a_mount_keeps_its_record(
    table: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(mounts, "monotonic", lambda: now[0])
    base = table(domain="ext4")
    found = Mounts(base)
    before = found.of(f"{base}/alice")
    table(domain="nfs4")
    found.refresh()
    assert not found.waits(found.of(f"{base}/example.org/alice"))
    now[0] += mounts.TABLE_SECONDS
    found.refresh()
    assert found.waits(found.of(f"{base}/example.org/alice"))
    assert found.of(f"{base}/alice") is before


@pytest.fixture
def scanned(tmp_path: Path, clock: Clock) -> Callable[..., MaildirStore]:
    """A store that had alice's maildir, of one message, open lately."""
    (make_maildir(tmp_path / "alice") / "new/1.M1P1.host").write_bytes(b"one\n")

    def make(**options: Any) -> MaildirStore:
        store = MaildirStore(f"{tmp_path}/{{user}}", **options)
        maildrop = store.open("alice")
        maildrop.scan()
        maildrop.close()
        return store

    return make


def test_always_and_never_decide_for_all_mounts(
    scanned: Callable[..., MaildirStore], table: Callable[..., str], tmp_path: Path
) -> None:
    table(root="nfs4")
    for threads_for, waits in (("auto", True), ("always", True), ("never", False)):
        store = scanned(threads_for=threads_for)
        assert store.opens_at_once("alice") is not waits
        maildrop = store.open("alice")
        assert maildrop.blocking == (EVERYTHING if waits else {"remove"})
        maildrop.close()
    with pytest.raises(ConfigError, match="'sometimes': must be one of auto, always, never"):
        MaildirStore(f"{tmp_path}/{{user}}", threads_for="sometimes")  # type: ignore[arg-type]


def test_places_are_mounts(scanned: Callable[..., MaildirStore]) -> None:
    store = scanned()
    place = store.place("alice")
    assert isinstance(place, Mount)
    assert store.place("bob") is place
    assert store.place("../bob") is None
    maildrop = store.open("alice")
    assert maildrop.place is place
    maildrop.close()


def test_one_slow_call_has_the_next_made_in_threads(
    scanned: Callable[..., MaildirStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = scanned()
    maildrop = store.open("alice")
    assert maildrop.blocking == {"remove"}
    (message,) = maildrop.scan()
    times = iter([0.0, 1.0])
    with monkeypatch.context() as patch:
        patch.setattr(mounts, "SLOW_SECONDS", 0.05)
        patch.setattr("geventpop3.stores.maildir.maildrop.monotonic", lambda: next(times))
        assert maildrop.retrieve(message.unique_id) == (b"one\n",)
    assert maildrop.blocking == EVERYTHING
    maildrop.close()
    assert not store.opens_at_once("alice")


def test_a_scan_that_is_interrupted_ends_soon(tmp_path: Path) -> None:
    box = make_maildir(tmp_path / "alice")
    for number in range(100):
        (box / f"new/{number}.M1P1.host").write_bytes(b"one\n")
    maildrop = MaildirStore(f"{tmp_path}/{{user}}").open("alice")
    maildrop.interrupt()
    with pytest.raises(StoreUnavailable) as given_up:
        maildrop.scan()
    assert "the client disconnected" in str(given_up.value.detail)
    maildrop.close()
