"""The fixtures, as a test of an application uses them."""

from __future__ import annotations

import poplib
import subprocess
import sys
from pathlib import Path

import pytest

from geventpop3 import POP3Server, ok
from geventpop3.testing import Mismatch, parse

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


def test_pytest_finds_the_fixtures_by_itself(tmp_path):
    (tmp_path / "test_app.py").write_text(
        "from geventpop3 import POP3Server\n"
        "def test_greeting(pop3_script, pop3_server):\n"
        "    pop3_script(POP3Server, 'S: +OK ...')\n"
        "    with pop3_server(POP3Server) as address:\n"
        "        assert address.port\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_nothing_else_of_the_kit_imports_pytest():
    probe = "import sys, geventpop3.testing, geventpop3.testing.mail; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\n", "")


MISTAKEN = """
import poplib
from geventpop3 import POP3Server
from geventpop3.auth.function import FunctionAuthenticator
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
    assert "3 passed, 2 errors" in done.stdout, done.stdout + done.stderr
    said = "mistake of the store test_app.Shelf, maildrop of 'alice', message 'uid-1': message 1 has 6 octets"
    assert done.stdout.count(f"{said}, and scan() told 7") >= 2
