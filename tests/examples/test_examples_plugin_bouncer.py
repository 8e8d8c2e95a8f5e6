"""examples/plugin_bouncer.py: who is on the list is turned away before the application hears of it."""

import poplib
from base64 import b64encode

import pytest

from geventpop3.testing import serve

ALICE = b64encode(b"\0alice\0sesame").decode()
TURNED_AWAY = """
    S: +OK ...
    C: USER mallory
    S: -ERR [AUTH] not tonight
    S: <closed>
"""
LET_IN = """
    S: +OK ...
    C: USER alice
    S: +OK send PASS
    C: PASS sesame
    S: +OK 0 messages (0 octets)
    C: QUIT
    S: +OK goodbye
    S: <closed>
"""


@pytest.fixture
def pop3d(example):
    pop3d = example("plugin_bouncer").make_server(["mallory"], port=0)
    yield pop3d
    pop3d.shutdown()


def test_who_is_on_the_list_is_refused_and_hung_up_on(pop3d, pop3_script):
    pop3_script(pop3d, TURNED_AWAY)


BY_AUTH = """
    S: +OK ...
    C: AUTH PLAIN {response}
    S: -ERR [AUTH] not tonight
    S: <closed>
"""


def test_auth_is_no_way_past_it(pop3d, pop3_script):
    pop3_script(pop3d, BY_AUTH.format(response=b64encode(b"\0mallory\0sesame").decode()))
    pop3_script(pop3d, LET_IN.replace("USER alice\n    S: +OK send PASS\n    C: PASS sesame", f"AUTH PLAIN {ALICE}"))


def test_the_application_does_not_hear_of_them(pop3d, pop3_script):
    heard = []
    pop3d.on("cmd_user")(lambda pop3d, event: heard.append(event.argument))
    pop3_script(pop3d, TURNED_AWAY)
    assert heard == []
    assert pop3d.plugin_get("bouncer").turned_away == 3  # whole, by lines, by octets


def test_everybody_else_is_served(pop3d, pop3_script):
    pop3_script(pop3d, LET_IN)


def test_the_list_may_change_while_it_runs(pop3d, pop3_script):
    pop3d.plugin_get("bouncer").names.clear()
    pop3_script(pop3d, LET_IN.replace("alice", "mallory"))


def test_a_bouncer_that_was_removed_lets_all_in(pop3d, pop3_script):
    pop3d.plugin_del("bouncer")
    pop3_script(pop3d, LET_IN.replace("alice", "mallory"))


def test_it_works_for_a_real_client(example):
    with serve(lambda: example("plugin_bouncer").make_server(["mallory"], port=0)) as address:
        box = poplib.POP3(*address, timeout=20)
        with pytest.raises(poplib.error_proto, match="not tonight"):
            box.user("mallory")
        box.close()
