"""How a parent begins: sockets from systemd, ports with TLS, another user, and what it says when it cannot."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import gevent
import pytest
from authority import Authority
from workers_server import make
from workers_site import SECONDS, Site, until

from geventpop3.errors import ConfigError
from geventpop3.workers import bind, in_native_thread, serve

NOBODY = "nobody"
STRANGER = 3_000_017  # a number that no account has


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Two that listen, as systemd makes them."""
    with ExitStack() as opened:
        yield [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def with_tls(site: Site, port: int) -> Authority:
    authority = Authority()
    pair = authority.pair(site.root)
    (site.root / "chain.pem").write_bytes(Path(pair.certificate).read_bytes() + Path(pair.key or "").read_bytes())
    site.environment["WORKERS_TLS_PORT"] = str(port)
    return authority


def test_sockets_from_systemd_are_served_with_tls_where_the_server_has_it(
    site: Site, kind: str, sockets: list[socket.socket]
) -> None:
    clear, secured = sockets
    authority = with_tls(site, port_of(secured))
    site.start(site.command(kind), sockets)
    assert site.port == port_of(clear)
    pids = site.settled(2)
    with site.dial() as pop:
        assert pop.who()[0] in pids
        assert pop.say("CAPA").startswith("+OK")
        assert "STLS" in pop.body()
    with site.dial_tls(port_of(secured), authority.blocking_context()) as pop:
        assert pop.login("alice").startswith("+OK")
        assert pop.say("QUIT").startswith("+OK")
    assert site.end() == 0
    # They are systemd's, and wait for the next start.
    socket.create_connection(("127.0.0.1", site.port), SECONDS).close()


@pytest.mark.slow
def test_sockets_from_systemd_pass_to_a_new_parent_at_usr2(site: Site, sockets: list[socket.socket]) -> None:
    authority = with_tls(site, port_of(sockets[1]))
    site.start(site.command("serve"), sockets)
    old = site.settled(2)
    site.send(signal.SIGUSR2)
    (heir,) = until(lambda: site.workers() - old, "the new parent")
    until(lambda: len(site.workers(heir) & site.serving()) == 2, "its workers")
    assert site.end_parent() == 0
    with site.dial() as pop:
        assert pop.who()[0] in site.workers(heir)
    with site.dial_tls(port_of(sockets[1]), authority.blocking_context()) as pop:
        assert pop.who()[0] in site.workers(heir)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_workers_become_the_user_and_the_group_that_are_given(site: Site, kind: str) -> None:
    account = pwd.getpwnam(NOBODY)
    _give(site.root, account.pw_uid, account.pw_gid)
    group = grp.getgrgid(account.pw_gid).gr_name
    # Imported before, in case that user cannot read the interpreter's own files.
    (site.root / "gunicorn.conf.py").write_text("import pprint\nimport workers_server\n")
    site.start(site.command(kind, user=NOBODY, group=group))
    for pid in site.settled(2):
        assert _ids(pid, "Uid") == {account.pw_uid}
        assert _ids(pid, "Gid") == {account.pw_gid}
        assert 0 not in _ids(pid, "Groups")
    assert _ids(site.pid, "Uid") == {0}
    with site.dial() as pop:
        assert pop.login("alice").startswith("+OK")
        assert pop.say("DELE 1").startswith("+OK")
        assert pop.say("QUIT").startswith("+OK")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_group_is_the_users_own_unless_another_is_given(site: Site) -> None:
    account = pwd.getpwnam(NOBODY)
    _give(site.root, account.pw_uid, account.pw_gid)
    site.start(site.command("serve", workers=1, user=NOBODY))
    (pid,) = site.settled(1)
    assert _ids(pid, "Gid") == {account.pw_gid}
    assert 0 not in _ids(pid, "Groups")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_number_without_an_account_is_its_own_group(site: Site) -> None:
    _give(site.root, STRANGER, STRANGER)
    (site.root / "gunicorn.conf.py").write_text("import pprint\nimport workers_server\n")
    site.start(site.command("gunicorn", workers=1, user=STRANGER))
    (pid,) = site.settled(1)
    for field in ("Uid", "Gid", "Groups"):
        assert _ids(pid, field) == {STRANGER}


def test_a_pid_file_names_the_parent_and_keeps_a_second_one_out(site: Site) -> None:
    file = site.root / "pid"
    command = site.command("serve", pid_file=str(file))
    site.start(command)
    assert file.read_text().strip() == str(site.pid)
    said = f"error: pid file {file}: in use by process {site.pid}: stop that process, or name another file"
    assert _said_by(site, command) == (2, said)
    assert site.end() == 0
    assert not file.exists()


@pytest.mark.parametrize("app", ["workers_app:make()", "workers_app"])
def test_gunicorn_may_name_a_function_or_the_module_alone(site: Site, app: str) -> None:
    site.start(site.command("gunicorn", app=app))
    site.settled(2)
    with site.dial() as pop:
        assert pop.login("alice").startswith("+OK")


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("workers_app:not_a_server", "the application is a builtin_function_or_method"),
        ("workers_app:absent", "the module 'workers_app' has no 'absent'"),
        (
            "workers_app:make(1)",
            "'workers_app:make(1)' is not the name of an application: give MODULE:NAME or MODULE:FUNCTION()",
        ),
        (
            "workers_app:make()()",
            "'workers_app:make()()' is not the name of an application: give MODULE:NAME or MODULE:FUNCTION()",
        ),
        ("no_such_module:pop3d", "No module named 'no_such_module'"),
    ],
)
def test_gunicorn_ends_when_the_application_cannot_be_served(site: Site, app: str, said: str) -> None:
    process = site.run(site.command("gunicorn", workers=1, app=app))
    assert process.wait(SECONDS) in (3, 4)
    assert said in site.written()


def test_a_server_that_cannot_begin_ends_everything_at_the_first_start(site: Site) -> None:
    site.configure("unbootable")
    process = site.run(site.command("serve"))
    assert process.wait(SECONDS) == 3
    assert "ERROR geventpop3.workers: the worker cannot start: unbootable: this worker cannot begin" in site.written()
    assert "Traceback" not in site.written()


def test_a_configuration_that_cannot_work_is_not_reloaded(site: Site) -> None:
    site.start(site.command("serve"))
    pids = site.settled(2)
    site.configure("broken")
    site.send(signal.SIGHUP)
    until(
        lambda: "the configuration was not reloaded, the old one stays in force: this cannot work" in site.written(),
        "a word",
    )
    assert site.workers() == pids
    # Whoever is replaced has the configuration of the last reload, not what the file says by now.
    site.send(signal.SIGKILL, min(pids))
    until(lambda: len(site.workers() & site.serving() - pids) == 1, "another worker")
    (heir,) = site.workers() & site.serving() - pids
    with site.dial_worker(heir) as pop:
        assert pop.who() == (heir, "first")


def test_workers_stay_while_their_successors_cannot_begin(site: Site) -> None:
    site.start(site.command("serve"))
    pids = site.settled(2)
    site.configure("unbootable")
    site.send(signal.SIGHUP)
    until(
        lambda: "Worker failed to boot. The other workers continue; a new worker is started." in site.written(),
        "a word",
    )
    with site.dial() as pop:
        assert pop.who()[0] in pids
        assert pop.who()[1] == "first"
    site.configure("mended")
    site.send(signal.SIGHUP)
    until(lambda: len((site.workers() & site.serving()) - pids) == 2, "new workers")
    until(lambda: not site.workers() & pids, "the end of the old ones")


def test_an_address_that_cannot_be_bound_is_named(sockets: list[socket.socket], tmp_path: Path) -> None:
    taken = f"127.0.0.1:{port_of(sockets[0])}"
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="in use") as told:
        bind([f"unix:{tmp_path}/socket", taken])
    assert told.value.filename == taken
    with pytest.raises(ConfigError, match="HOST:PORT"):
        bind(["127.0.0.1:0", "nonsense"])
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_what_is_bound_listens_and_leaves_no_hub_behind(tmp_path: Path) -> None:
    script = (
        "import socket, threading\n"
        "from gevent._hub_local import get_hub_if_exists\n"
        "from geventpop3.workers import bind\n"
        f"fds = bind(['127.0.0.1:0', '[::1]:0', 'localhost:0', 'unix:{tmp_path}/socket'])\n"
        "sockets = [socket.socket(fileno=fd) for fd in fds]\n"
        "assert all(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for one in sockets)\n"
        "assert get_hub_if_exists() is None and threading.active_count() == 1\n"
        "for one in sockets: one.close()\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=SECONDS)
    assert (tmp_path / "socket").is_socket()


def test_a_patched_process_does_not_fork() -> None:
    script = (
        "from gevent import monkey; monkey.patch_all()\n"
        "from geventpop3.workers import bind\n"
        "try: bind(['127.0.0.1:0'])\n"
        "except RuntimeError as error: print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, timeout=SECONDS, capture_output=True, text=True)
    assert told.stdout == "the process is monkey-patched: workers cannot be forked from it, so do not patch it\n"


@pytest.mark.parametrize(
    ("file", "words"), [("none/pid", "no file can be created in ROOT/none"), ("alice", "Is a directory")]
)
def test_a_pid_file_that_cannot_be_is_told_before_anything_else(site: Site, file: str, words: str) -> None:
    path = site.root / file
    status, said = _said_by(site, site.command("serve", pid_file=str(path)))
    assert (status, said) == (2, f"error: pid file {path}: {words.replace('ROOT', str(site.root))}")


@pytest.mark.parametrize("wanted", [{"user": "root"}, {"group": "root"}])
def test_only_root_has_workers_of_another_user(monkeypatch: pytest.MonkeyPatch, wanted: dict[str, str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    monkeypatch.setattr(os, "getegid", lambda: STRANGER)
    with pytest.raises(ConfigError, match="only root can start workers of another user or group"):
        serve(make, [], workers=1, **wanted)


def test_without_a_socket_nothing_is_served(site: Site) -> None:
    status, said = _said_by(site, site.command("serve", listen=[]))
    assert (status, said) == (2, "error: no listening socket was given: give the sockets that bind() returns")


@pytest.mark.parametrize(("option", "name"), [("user", "no-such-user"), ("group", "no-such-group")])
def test_an_account_that_is_not_there_is_said(site: Site, option: str, name: str) -> None:
    status, said = _said_by(site, site.command("serve", **{option: name}))
    assert status == 2
    assert said == f"error: the {option} {name!r} does not exist on this machine"


def test_without_gunicorn_the_extra_is_named() -> None:
    script = (
        "import sys; sys.modules['gunicorn'] = None\n"
        "try: import geventpop3.workers\n"
        "except ImportError as error: print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, timeout=SECONDS, capture_output=True, text=True)
    assert told.stdout == "several workers need an extra: pip install 'geventpop3[workers]'\n"


def _give(folder: Path, uid: int, gid: int) -> None:
    """Give the folder, and everything below."""
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, uid, gid)


def _ids(pid: int, field: str) -> set[int]:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, values = line.partition(":")
        if name == field:
            return set(map(int, values.split()))
    raise AssertionError(field)


def _said_by(site: Site, command: list[str]) -> tuple[int, str]:
    """The exit status of another parent, and its last line."""
    done = subprocess.run(
        command,
        cwd=site.root,
        env={**os.environ, **site.environment},
        timeout=SECONDS,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()[-1]


def test_no_thread_is_left_when_aside_returns() -> None:
    """greenlet holds a lock while a thread ends: a process that was forked then did not end when it exited."""

    def work() -> set[int]:
        return {threading.get_native_id(), gevent.get_hub().threadpool.apply(threading.get_native_id)}

    for _ in range(100):
        left = {number for number in in_native_thread(work) if Path(f"/proc/self/task/{number}").exists()}
        assert left == set()
