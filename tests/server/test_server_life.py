"""Start, several places to listen, unix sockets, shutdown, aliases, patched and unpatched processes."""

from __future__ import annotations

import gc
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading

import gevent
import pytest
from gevent import socket
from gevent.event import Event as GreenEvent
from patience import without_blame

from geventpop3 import POP3Server, handles, multiline, ok
from geventpop3.errors import ConfigError
from geventpop3.pipeline import events
from geventpop3.server.acceptor import listening_socket


def test_port_0_picks_a_free_one(pop3d):
    host, port = pop3d.getsockname()
    assert host == "127.0.0.1"
    assert port > 0


def test_a_server_that_is_not_started_has_no_address(serve):
    with pytest.raises(RuntimeError, match="not started"):
        serve().getsockname()


def test_ids_are_unique_and_an_alias_finds_a_server_again(serve):
    one, other = serve(alias="one"), serve()
    assert one.server_id != other.server_id
    assert POP3Server.find("one") is one
    assert POP3Server.find("two") is None
    with pytest.raises(ConfigError, match="'one'"):
        serve(alias="one")


def test_an_alias_is_free_again_when_its_server_was_shut_down(serve):
    serve(alias="again").shutdown()
    assert POP3Server.find("again") is None
    serve(alias="again")


def test_several_places_are_served_at_once(app, dial, tmp_path):
    path = str(tmp_path / "pop3.sock")
    ready = socket.socket()
    ready.bind(("127.0.0.1", 0))
    ready.listen(5)
    pop3d = app(listen=["127.0.0.1:0", ("127.0.0.1", 0), f"unix:{path}", "[::1]:0", ready])
    pop3d.start()
    names = pop3d.getsocknames()
    assert len(names) == 5
    for name in names:
        peer = dial(name)
        assert peer.line().startswith(b"+OK")
        assert peer.command(b"USER x") == b"+OK yes"


def test_a_unix_socket_is_secure_named_and_removed_in_the_end(serve, dial, tmp_path):
    path = tmp_path / "pop3.sock"
    seen = []
    pop3d = serve(listen=[f"unix:{path}"])
    pop3d.on("connection")(lambda pop3d, event: seen.append((event.client.peer, event.client.secure)))
    pop3d.start()
    assert stat.S_ISSOCK(path.stat().st_mode)
    dial(str(path)).line()
    assert seen == [((f"unix:{path}", 0), True)]
    pop3d.shutdown()
    assert not path.exists()


def test_a_unix_socket_that_was_passed_in_is_closed_and_its_file_is_left_to_who_made_it(serve, dial, tmp_path):
    import socket as stdlib

    for name, module in (("ours", socket), ("stdlib", stdlib)):
        path = tmp_path / name
        ready = module.socket(socket.AF_UNIX)
        ready.bind(str(path))
        ready.listen(5)
        pop3d = serve(listen=[ready])
        pop3d.start()
        assert dial(str(path)).line().startswith(b"+OK")
        pop3d.shutdown()
        assert stat.S_ISSOCK(path.stat().st_mode)
        with pytest.raises(ConnectionRefusedError):
            dial(str(path))


def test_a_bound_unix_socket_that_is_passed_in_removes_its_file_wherever_the_process_is(serve, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pop3d = serve(listen=[listening_socket(("unix", "pop3.sock"))])
    pop3d.start()
    assert pop3d.getsockname() == "pop3.sock"
    monkeypatch.chdir("/")
    pop3d.shutdown()
    assert list(tmp_path.iterdir()) == []


def test_a_socket_file_that_is_not_ours_any_more_stays(serve, dial, tmp_path):
    path = tmp_path / "pop3.sock"
    first, second = serve(listen=[f"unix:{path}"]), serve(listen=[f"unix:{path}"])
    first.start()
    path.unlink()
    second.start()
    first.shutdown()
    assert dial(str(path)).line().startswith(b"+OK")
    path.unlink()
    second.shutdown()


def test_a_forked_child_leaves_the_socket_file_to_its_parent(tmp_path, monkeypatch):
    path = tmp_path / "pop3.sock"
    sock = listening_socket(("unix", str(path)))
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 0)
        sock.close()
    assert path.exists()


def test_what_a_unix_socket_cannot_be_bound_for_leaves_nothing_open(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="No such file"):
        listening_socket(("unix", str(tmp_path / "none" / "pop3.sock")))
    with pytest.raises(OverflowError):
        listening_socket(("unix", str(tmp_path / "pop3.sock")), backlog=1 << 64)
    assert list(tmp_path.iterdir()) == []


def test_a_link_or_what_cannot_be_asked_is_in_use(tmp_path):
    target, link, datagrams = tmp_path / "target", tmp_path / "link", tmp_path / "datagrams"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(target))
    link.symlink_to(target)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(datagrams))
        for path in (link, datagrams):
            with pytest.raises(OSError, match="in use"):
                listening_socket(("unix", str(path)))
    assert link.is_symlink()
    assert target.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_an_abstract_socket_has_a_name(serve, dial):
    name = f"\0geventpop3-{os.getpid()}"
    ready = socket.socket(socket.AF_UNIX)
    ready.bind(name)
    ready.listen(5)
    pop3d = serve(listen=[ready])
    pop3d.start()
    seen = []
    pop3d.on("connection")(lambda pop3d, event: seen.append(event.args[0]))
    assert pop3d.getsockname() == "@" + name[1:]
    assert dial(name).line().startswith(b"+OK")
    assert seen == [f"unix:@{name[1:]}"]


def test_a_stale_unix_socket_is_replaced_and_a_live_one_or_a_file_is_not(serve, dial, tmp_path):
    path = tmp_path / "pop3.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    first = serve(listen=[f"unix:{path}"])
    first.start()
    with pytest.raises(OSError, match="in use"):
        serve(listen=[f"unix:{path}"]).start()
    assert dial(str(path)).line().startswith(b"+OK")
    plain = tmp_path / "mail"
    plain.write_text("mine")
    with pytest.raises(OSError, match="in use"):
        serve(listen=[f"unix:{plain}"]).start()
    assert plain.read_text() == "mine"


def test_serve_forever_returns_after_shutdown(serve):
    pop3d, begun = serve(), GreenEvent()
    pop3d.on("registered")(lambda pop3d, event: begun.set())
    serving = gevent.spawn(pop3d.serve_forever)
    begun.wait()
    pop3d.shutdown()
    serving.get(timeout=60)
    pop3d.shutdown()
    with pytest.raises(RuntimeError, match="create a new one"):
        pop3d.start()


def test_starting_twice_is_starting_once(pop3d):
    name = pop3d.getsockname()
    pop3d.start()
    assert pop3d.getsockname() == name


def test_a_server_is_told_registered_when_it_listens(serve):
    pop3d = serve()
    heard = []
    pop3d.on("registered")(lambda pop3d, event: heard.append(pop3d.getsockname()))
    pop3d.start()
    assert heard == [pop3d.getsockname()]


def test_registered_goes_once_to_each_listener_also_to_one_that_comes_late(serve):
    told = []

    class Late:
        @handles("registered", "unregistered")
        def note(self, pop3d, event):
            told.append(f"late {event.name} at {pop3d.getsockname()[0]}" if event.name == "registered" else event.name)

    pop3d = serve()
    pop3d.on("registered")(lambda pop3d, event: told.append("early"))
    assert told == []
    pop3d.start()
    assert told == ["early"]
    pop3d.register(Late())
    pop3d.register(lambda pop3d, event: told.append(f"all {event.name}"), "all")
    pop3d.register(lambda pop3d, event: told.append("other"), "unregistered")
    assert told == ["early", "late registered at 127.0.0.1", "all registered"]


def test_a_listener_that_fails_at_a_late_registered_is_logged(pop3d, caplog):
    pop3d.on("registered")(lambda pop3d, event: 1 / 0)
    assert "failed at registered" in caplog.text


def test_shutdown_tells_idle_sessions_and_closes_them(pop3d, login, dial):
    peer, before_login = login(pop3d), dial(pop3d)
    before_login.line()
    pop3d.shutdown()
    assert peer.rest() == b"-ERR [SYS/TEMP] the server is shutting down, try again later\r\n"
    assert before_login.rest() == b"-ERR [SYS/TEMP] the server is shutting down, try again later\r\n"
    assert not pop3d.clients
    with pytest.raises(ConnectionRefusedError):
        dial(("127.0.0.1", peer.sock.getpeername()[1]))


def test_shutdown_lets_a_running_reply_finish(pop3d, login, shut_down):
    go, begun = GreenEvent(), GreenEvent()

    @pop3d.on("cmd_list")
    def slow(pop3d, event):
        def body():
            yield b"1 2\n"
            begun.set()
            go.wait()
            yield b"2 3\n"

        return multiline("slowly", body())

    peer = login(pop3d)
    peer.send(b"LIST\r\nNOOP\r\n")
    begun.wait()
    stopping = shut_down(pop3d)
    go.set()
    # The command that was buffered behind is not begun any more.
    assert peer.rest() == (
        b"+OK slowly\r\n1 2\r\n2 3\r\n.\r\n-ERR [SYS/TEMP] the server is shutting down, try again later\r\n"
    )
    stopping.get(timeout=60)


def test_shutdown_ends_within_its_grace_what_does_not_end_by_itself(pop3d, login):
    begun = GreenEvent()

    @pop3d.on("cmd_list")
    def stuck(pop3d, event):
        begun.set()
        GreenEvent().wait()

    peer = login(pop3d)
    peer.send(b"LIST\r\n")
    begun.wait()
    pop3d.shutdown(grace=0.05)
    assert peer.rest() == b""
    assert not pop3d.clients


def test_shutdown_never_cuts_quit_short(pop3d, login, monkeypatch):
    begun, go, killing, done = GreenEvent(), GreenEvent(), GreenEvent(), []
    killall = gevent.killall

    def telling(*arguments, **options):
        killall(*arguments, **options)
        killing.set()

    monkeypatch.setattr(gevent, "killall", telling)
    monkeypatch.setattr("geventpop3.server.sessions.KILL_SECONDS", 0.01)

    @pop3d.on("cmd_quit", priority=-1)
    def update(pop3d, event):
        begun.set()
        go.wait()
        done.append(True)
        return ok("removed")

    peer = login(pop3d)
    peer.send(b"QUIT\r\n")
    begun.wait()
    stopping, again = gevent.spawn(pop3d.shutdown, 0), gevent.spawn(pop3d.shutdown, 0)
    killing.wait()  # what has not ended by now was killed
    go.set()
    stopping.get(timeout=20)
    again.get(timeout=20)
    assert done == [True]


def test_a_shutdown_while_an_address_is_looked_up_leaves_nothing_bound(serve, dial, monkeypatch):
    pop3d, bound = serve(), []

    def slow(place):
        gevent.spawn(pop3d.shutdown).join()
        bound.append(listening_socket(place))
        return bound[0]

    monkeypatch.setattr("geventpop3.server.listening.listening_socket", slow)
    pop3d.start()
    assert pop3d.getsocknames() == []
    assert bound[0].fileno() == -1


def test_a_second_start_while_an_address_is_looked_up_is_refused_and_binds_nothing(serve, monkeypatch):
    pop3d, bound, refused = serve(), [], []

    def again():
        try:
            pop3d.start()
        except RuntimeError as error:
            refused.append(str(error))

    def slow(place):
        bound.append(listening_socket(place))
        if len(bound) == 1:
            gevent.spawn(again).join()
        return bound[-1]

    monkeypatch.setattr("geventpop3.server.listening.listening_socket", slow)
    pop3d.start()
    assert refused == ["the server is being started: call start() once"]
    assert [sock.getsockname() for sock in bound] == pop3d.getsocknames()
    pop3d.start()  # it is started: nothing happens


def test_after_shutdown_nothing_is_registered_any_more(serve):
    pop3d = serve()
    gc.collect()  # else what earlier tests left goes meanwhile
    before = len(events.cmd_user.receivers)
    pop3d.on("cmd_user")(lambda pop3d, event: ok())
    assert len(events.cmd_user.receivers) == before + 1
    pop3d.shutdown()
    assert len(events.cmd_user.receivers) == before


def test_a_server_that_is_forgotten_is_freed(serve):
    import weakref

    pop3d = POP3Server(port=0)
    pop3d.on("cmd_user")(lambda pop3d, event: ok("yes"))
    gone = weakref.ref(pop3d)
    del pop3d
    gc.collect()
    assert gone() is None


def test_the_trace_shows_the_dialogue_and_no_secret(app, dial, caplog):
    caplog.set_level("INFO", "geventpop3.trace")
    pop3d = app(options={"trace": True})
    pop3d.start()
    peer = dial(pop3d)
    peer.send(b"USER alice\r\nPASS open sesame\r\nRETR 1\r\nBOGUS line\r\nQUIT\r\n")
    peer.rest()
    lines = [record.getMessage().split(" ", 2)[2] for record in caplog.records if record.name == "geventpop3.trace"]
    assert lines == [
        "S: +OK pop.example.org POP3 server ready",
        "C: USER alice",
        "S: +OK yes",
        "C: PASS ****",
        "S: +OK yes",
        "C: RETR 1",
        "S: +OK here",
        "S: (24 octets)",
        "C: BOGUS line (no command, 12 octets)",
        "S: -ERR unknown command",
        "C: QUIT",
        "S: +OK yes",
    ]


def test_handle_connects_false_sends_no_greeting(app, dial):
    pop3d = app(handle_connects=False)
    pop3d.start()
    peer = dial(pop3d)
    assert peer.command(b"USER x") == b"+OK yes"


PROGRAM = """
    {first}
    import geventpop3
    from geventpop3 import POP3Server, ok
    from gevent import monkey, socket
    import gevent
    assert monkey.is_module_patched("socket") is {patched}
    pop3d = POP3Server(port=0)
    pop3d.on("cmd_user")(lambda pop3d, event: ok("hello " + event.argument))
    pop3d.start()
    with socket.create_connection(pop3d.getsockname()) as peer:
        file = peer.makefile("rb")
        assert file.readline().startswith(b"+OK")
        peer.sendall(b"USER alice\\r\\n")
        print(file.readline().decode().strip())
    pop3d.shutdown()
"""


@pytest.mark.parametrize(("first", "patched"), [("", False), ("from gevent import monkey; monkey.patch_all()", True)])
def test_it_works_in_a_process_that_is_monkey_patched_and_in_one_that_is_not(first, patched):
    program = textwrap.dedent(PROGRAM).format(first=first, patched=patched)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONDEVMODE": ""},
    )
    assert (done.stdout.strip(), without_blame(done.stderr)) == ("+OK hello alice", "")


def test_a_listener_may_shut_the_server_down(app, login, until):
    pop3d = app()

    @pop3d.on("cmd_xdown")
    def down(pop3d, event):
        pop3d.shutdown()
        return ok("going down")

    serving = gevent.spawn(pop3d.serve_forever)
    until(lambda: pop3d.getsocknames())
    peer = login(pop3d)
    assert peer.command(b"XDOWN") == b"+OK going down"
    assert peer.rest().startswith(b"-ERR [SYS/TEMP] the server is shutting down")
    serving.get(timeout=20)


def test_another_native_thread_may_shut_the_server_down(app, login, until):
    pop3d = app()
    pop3d.start()
    peer = login(pop3d)
    finished = []

    def stop():
        pop3d.shutdown()
        finished.append(True)

    thread = threading.Thread(target=stop)
    thread.start()
    assert peer.rest() == b"-ERR [SYS/TEMP] the server is shutting down, try again later\r\n"
    until(lambda: finished)
    thread.join()


def test_a_socket_file_that_cannot_be_removed_keeps_no_other_place_open(serve, dial, tmp_path, caplog, monkeypatch):
    pop3d = serve(listen=[f"unix:{tmp_path}/pop3.sock", "127.0.0.1:0"])
    pop3d.start()
    address = pop3d.getsocknames()[1]
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", lambda path: (_ for _ in ()).throw(PermissionError(13, "denied")))
        pop3d.shutdown()
    assert f"the socket file {tmp_path}/pop3.sock cannot be removed: denied" in caplog.text
    with pytest.raises(ConnectionRefusedError):
        dial(address)


@pytest.mark.parametrize("folder", [True, False], ids=["the file", "the folder too"])
def test_a_socket_file_that_somebody_has_removed_already_is_nothing_to_complain_about(tmp_path, caplog, folder):
    home = tmp_path / "run"
    home.mkdir()
    sock = listening_socket(("unix", str(home / "pop3.sock")))
    (home / "pop3.sock").unlink()
    if not folder:
        home.rmdir()
    sock.close()
    assert sock.fileno() == -1
    assert caplog.text == ""


INTERRUPTED = """
    import signal
    from geventpop3 import POP3Server
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts this with & has it ignored
    pop3d = POP3Server(port=0)
    pop3d.on("registered")(lambda pop3d, event: print(*pop3d.getsockname(), flush=True))
    pop3d.on("unregistered")(lambda pop3d, event: print("unregistered", flush=True))
    pop3d.serve_forever()
"""


def test_serve_forever_that_is_interrupted_shuts_down(dial):
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        host, port = process.stdout.readline().split()
        peer = dial((host, int(port)))
        peer.line()
        process.send_signal(signal.SIGINT)
        assert peer.rest() == b"-ERR [SYS/TEMP] the server is shutting down, try again later\r\n"
        assert process.stdout.read() == "unregistered\n"
        assert process.wait(timeout=20) == 0


def test_a_listening_socket_of_the_standard_library_is_taken_over(serve, dial):
    import socket as stdlib

    ready = stdlib.create_server(("127.0.0.1", 0))
    address = ready.getsockname()
    pop3d = serve(listen=[ready])
    pop3d.start()
    assert dial(address).line().startswith(b"+OK")


def test_clients_is_a_picture_of_the_moment(pop3d, login):
    one = login(pop3d)
    picture = pop3d.clients
    login(pop3d)
    assert len(picture) == 1
    assert len(pop3d.clients) == 2
    one.close()


def test_an_idle_client_can_be_dropped_at_once(pop3d, login):
    peer = login(pop3d)
    (client,) = pop3d.clients.values()
    assert pop3d.disconnect(client.id, now=True)
    assert peer.rest() == b""
