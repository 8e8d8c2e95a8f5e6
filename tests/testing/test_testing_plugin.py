"""The fixtures, as a test of an application uses them."""

from __future__ import annotations

import logging
import poplib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from geventpop3 import POP3Server, ok
from geventpop3.testing import HandlerFailed, Mismatch, parse

SCRIPTS = Path(__file__).parent.parent / "scripts"

SCRIPT = """
    S: +OK ...
    C: USER alice
    S: +OK send PASS
    C: QUIT
    S: +OK ..."""


def application():
    pop3d = POP3Server("127.0.0.1", 1110, hostname="pop.example.org")

    @pop3d.on("cmd_user")
    def user(pop3d, event):
        return ok("send PASS")

    @pop3d.on("cmd_quit")
    def leave(pop3d, event):
        return ok("bye")

    return pop3d


@pytest.fixture
def pop3d():
    pop3d = application()
    yield pop3d
    pop3d.shutdown()


def test_a_dialogue_is_played_in_every_way(pop3_script, pop3d):
    connections = []
    pop3d.on("connection")(lambda pop3d, event: connections.append(event))
    pop3_script(pop3d, SCRIPT)
    assert len(connections) == 3


def test_in_every_way_that_it_can_be(pop3_script, pop3d):
    connections = []
    pop3d.on("connection")(lambda pop3d, event: connections.append(event))
    pop3_script(pop3d, "# not octets: no patience\n# not lines: none at all" + SCRIPT)
    assert len(connections) == 1


def test_a_factory_makes_a_fresh_server_for_each(pop3_script):
    made = []
    pop3_script(lambda: made.append(application()) or made[-1], parse(SCRIPT))
    assert len(made) == 3


def test_a_dialogue_may_be_a_file(pop3_script, pop3d):
    pop3_script(pop3d, SCRIPTS / "rfc1939-04-greeting.pop3")


def test_a_mismatch_fails_the_test(pop3_script, pop3d):
    with pytest.raises(Mismatch, match="played whole"):
        pop3_script(pop3d, SCRIPT.replace("send PASS", "go on"))


def test_over_tcp_with_poplib(pop3_server, pop3d):
    with pop3_server(pop3d) as address:
        box = poplib.POP3(*address, timeout=20)
        assert box.user("alice").startswith(b"+OK")
        box.quit()


def run_pytest(folder, text, *options):
    """Run the tests in *text* in a process of their own."""
    (folder / "test_app.py").write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *options, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
    )


def test_pytest_finds_the_fixtures_by_itself(tmp_path):
    done = run_pytest(
        tmp_path,
        """
        from geventpop3 import POP3Server

        def test_greeting(pop3_script, pop3_server):
            pop3_script(POP3Server, 'S: +OK ...')
            with pop3_server(POP3Server) as address:
                assert address.port
        """,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


# A handler that raises


def broken():
    """A server whose plugin raises: it is passed over, so the client notices nothing."""
    pop3d = application()

    @pop3d.plugin("cmd_user")
    def fails(pop3d, event):
        raise LookupError("planted")

    return pop3d


def talk(address):
    box = poplib.POP3(*address, timeout=20)
    assert box.user("alice") == b"+OK send PASS"
    box.quit()


def talk_to(server):
    with server as address:
        talk(address)
        return address


def test_a_handler_that_raised_fails_the_test(pop3_server):
    with pytest.raises(HandlerFailed) as caught:
        talk_to(pop3_server(broken))
    assert "plugin 'fails' failed at cmd_user of address=127.0.0.1 id=" in str(caught.value)
    assert str(caught.value).endswith("LookupError: planted")


def test_a_listener_that_raised_fails_the_test_also_where_the_client_was_answered(pop3_server):
    def application_that_answers():
        pop3d = application()

        @pop3d.on("cmd_user", priority=1)
        def fails(pop3d, event):
            raise KeyError("planted")

        return pop3d

    with pytest.raises(HandlerFailed, match="KeyError: 'planted'"):
        talk_to(pop3_server(application_that_answers))


def test_who_expects_the_error_says_so(pop3_server):
    with pop3_server(broken, errors="ignore") as address:
        talk(address)
        assert "planted" in address.errors[0]
    with pop3_server(broken) as address:
        talk(address)
        address.errors.clear()


def test_a_handler_that_raised_fails_a_dialogue_that_goes_as_written(pop3_script):
    with pytest.raises(HandlerFailed, match="LookupError: planted"):
        pop3_script(broken, SCRIPT)
    pop3_script(broken, SCRIPT, errors="ignore")


def test_what_fails_in_the_test_is_not_hidden_by_the_errors_of_the_server(pop3_server):
    def fail():
        with pop3_server(broken) as address:
            talk(address)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_each_server_has_its_own_errors(pop3_server):
    with pop3_server(application) as well, pop3_server(broken, errors="ignore") as ill:
        talk(ill)
        talk(well)
        assert (len(well.errors), len(ill.errors)) == (0, 1)


def test_errors_that_others_log_are_not_the_servers(pop3_server):
    with pop3_server(application):
        logging.getLogger("geventpop3.pipeline").error("of this thread, which serves nobody")


def test_what_is_logged_is_not_kept_any_more_once_the_server_has_ended(pop3_server):
    before = list(logging.getLogger("geventpop3").handlers)
    with pop3_server(application):
        assert logging.getLogger("geventpop3").handlers != before
    assert logging.getLogger("geventpop3").handlers == before


SESSION = """
    import poplib
    import pytest
    from geventpop3 import POP3Server, ok

    def application():
        pop3d = POP3Server()

        @pop3d.plugin("cmd_user")
        def fails(pop3d, event):
            if event.argument == "mallory":
                raise LookupError("planted")

        @pop3d.on("cmd_user", "cmd_quit")
        def yes(pop3d, event):
            return ok()

        return pop3d

    @pytest.fixture(scope="session")
    def address(pop3_server, pop3_script):
        with pop3_server(application) as address, pop3_server(application) as other:
            pop3_script(application, "S: +OK ...")
            yield address

    @pytest.mark.parametrize("user", ["alice", "mallory", "bob"])
    def test_login(address, user):
        box = poplib.POP3(*address, timeout=20)
        box.user(user)
        box.quit()
"""


@pytest.mark.parametrize("patched", [False, True], ids=["not patched", "patched"])
def test_a_server_of_a_whole_session_fails_the_test_that_was_running(tmp_path, patched):
    head = "from gevent import monkey; monkey.patch_all()\n" if patched else ""
    (tmp_path / "conftest.py").write_text(head)
    done = run_pytest(tmp_path, SESSION, "-rA")
    assert "3 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "ERROR test_app.py::test_login[mallory] - " in done.stdout
    assert "LookupError: planted" in done.stdout


def test_nothing_else_of_the_kit_imports_pytest():
    probe = "import sys, geventpop3.testing, geventpop3.testing.mail; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\n", "")


MISTAKEN = """
import poplib
from geventpop3 import POP3Server
from geventpop3.auth.authenticator import FunctionAuthenticator
from geventpop3.service import MaildropService
from geventpop3.stores import Maildrop, Message, Store

class Drop(Maildrop):
    def scan(self):
        return [Message("uid-1", 7)]
    def retrieve(self, unique_id):
        return (b"four\\r\\n",)
    def remove(self, unique_ids):
        pass
    def close(self):
        pass

class Shelf(Store):
    def open(self, owner):
        return Drop()

def application():
    pop3d = POP3Server()
    pop3d.register(MaildropService(Shelf(), FunctionAuthenticator(lambda name, password: True)))
    return pop3d

def test_over_tcp(pop3_server):
    with pop3_server(application) as address:
        box = poplib.POP3(*address, timeout=20)
        box.user("alice")
        box.pass_("secret")
        assert box.retr(1)[0] == b"+OK 6 octets"
        box.quit()

def test_in_memory(pop3_script):
    pop3_script(application, '''
        S: +OK ...
        C: USER alice
        S: +OK ...
        C: PASS secret
        S: +OK ...
        C: RETR 1
        S: +OK 6 octets
        S: four
        S: .
        C: QUIT
        S: +OK ...''')

def test_after_them(pop3_script):
    pass
"""


def test_a_mistake_of_the_store_fails_the_test(tmp_path):
    (tmp_path / "test_app.py").write_text(MISTAKEN)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert "2 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    said = "error in the store test_app.Shelf, maildrop of 'alice', message 'uid-1': message 1 has 6 octets"
    assert done.stdout.count(f"{said}, but scan() stated 7") >= 2
