"""``serve_in_thread``: a server in a native thread of its own, beside a program that blocks."""

from __future__ import annotations

import gc
import os
import signal
import socket as native  # in a test that blocks, this thread runs no event loop
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import gevent
import pytest
from gevent import socket
from gevent import subprocess as green

from geventpop3 import POP3Server

PROGRAM = Path(__file__).parent / "thread_program.py"
FAREWELL = b"-ERR [SYS/TEMP] the server is shutting down, try again later\r\n"


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "geventpop3"]


@pytest.fixture
def ended(until):
    """The threads of the test's servers have ended."""
    yield
    until(lambda: not threads())


def test_it_serves_while_the_thread_that_called_it_blocks(ended, app):
    pop3d = app()
    pop3d.serve_in_thread()
    address = pop3d.getsockname()
    assert threads() == ["geventpop3"]
    with native.create_connection(address, 20) as sock, sock.makefile("rb") as file:
        assert file.readline().startswith(b"+OK")
        sock.sendall(b"USER x\r\nPASS x\r\n")
        assert [file.readline() for _ in range(2)] == [b"+OK yes\r\n"] * 2
        pop3d.shutdown()
        assert file.read() == FAREWELL
    with pytest.raises(ConnectionRefusedError), socket.create_connection(address):
        pass


@pytest.mark.parametrize("times", [1, 2])
def test_shutdown_from_any_thread_ends_it_at_once_too(ended, serve, times):
    pop3d = serve()
    pop3d.serve_in_thread()
    for _ in range(times):
        gevent.get_hub().threadpool.apply(pop3d.shutdown)


def test_a_shutdown_by_a_listener_while_it_starts_ends_it(ended, serve):
    pop3d = serve()
    pop3d.on("registered")(lambda pop3d, event: pop3d.shutdown(0))
    pop3d.serve_in_thread()


def test_an_error_of_start_is_raised_where_it_was_called(ended, serve):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        pop3d = serve(port=port)
        failed = []
        pop3d.on("listener_failed")(lambda pop3d, event: failed.append(event.args[0]))
        with pytest.raises(OSError, match="in use") as caught:
            pop3d.serve_in_thread()
    assert caught.value.filename == f"127.0.0.1:{port}"
    assert failed == ["bind"]
    assert threads() == []
    pop3d.serve_in_thread()  # the port is free now


def test_a_server_that_was_started_is_refused(ended, serve):
    pop3d = serve()
    pop3d.serve_in_thread()
    with pytest.raises(RuntimeError, match="started already"):
        pop3d.serve_in_thread()
    pop3d.shutdown()
    with pytest.raises(RuntimeError, match="create a new one"):
        pop3d.serve_in_thread()


def test_a_patched_process_is_referred_to_start():
    program = (
        "from gevent import monkey; monkey.patch_all()\n"
        "from geventpop3 import POP3Server\n"
        "try:\n    POP3Server(port=0).serve_in_thread()\n"
        "except RuntimeError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "call start()" in done.stdout


@pytest.mark.parametrize("how", ["end", "exit", "error", "shutdown", "interrupt", "fork"])
@pytest.mark.parametrize("doing", ["nothing", "idle", "RETR"])
def test_the_end_of_the_program_ends_it_without_a_word(dial, how, doing):
    unwarned = "ignore:This process:DeprecationWarning"  # from 3.12 on, of a fork beside any thread
    command = [sys.executable, "-X", "dev", "-W", unwarned, str(PROGRAM), how]
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1"}
    with green.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            with gevent.Timeout(20):
                host, port = process.stdout.readline().decode().split()
            if doing != "nothing":
                peer = dial((host, int(port)))
                peer.line()
                assert peer.command(b"USER x") == b"+OK"
                assert peer.command(b"PASS x") == b"+OK"
            if doing == "RETR":
                assert peer.command(b"RETR 1") == b"+OK here"
            if how == "interrupt":
                process.send_signal(signal.SIGINT)
            else:
                process.stdin.close()
            if doing == "idle":
                assert peer.rest() == FAREWELL
            assert process.wait(20) == (1 if how == "error" else 0)
            said = [line for line in process.stderr.read().decode().splitlines() if " INFO geventpop3" not in line]
            assert said == (["an error of the program's"] if how == "error" else [])
        finally:
            process.kill()


def test_it_logs_where_it_listens(ended, serve, caplog):
    caplog.set_level("INFO", "geventpop3.server")
    pop3d: POP3Server = serve()
    pop3d.serve_in_thread()
    assert "listening on 127.0.0.1:" in caplog.text


def test_nothing_of_the_server_is_left_when_its_thread_has_ended(ended, until):
    pop3d = POP3Server(port=0)
    pop3d.serve_in_thread()
    pop3d.shutdown()
    until(lambda: not threads())
    freed = weakref.ref(pop3d)
    del pop3d
    gc.collect()
    assert freed() is None
