"""What an application sees of a server: what is documented, and nothing else; and the table of commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from geventpop3 import PipelineError, ok
from geventpop3.protocol.commands import COMMANDS, CommandSpec, State

PUBLIC = {
    "life": [
        "start",
        "start_at",
        "serve_forever",
        "serve_in_thread",
        "drain",
        "shutdown",
        "getsockname",
        "getsocknames",
        "reload_certificates",
        "find",
        "in_thread",
        "spawn",
    ],
    "clients": ["clients", "send_to_client", "disconnect", "offers_tls", "tls_facts"],
    "events": ["add_event", "add_command", "send_event", "wanted", "register", "unregister", "on"],
    "plugins": [
        "plugin",
        *(f"plugin_{what}" for what in ["add", "del", "get", "list", "order", "register", "unregister"]),
    ],
    "facts": ["server_id", "alias", "hostname", "greeting", "handle_connects", "strict", "trace"],
    "parts": ["pipeline", "commands", "limits", "tls", "proxies"],
}


def test_what_is_public_is_the_documented_api(serve):
    names = [name for some in PUBLIC.values() for name in some]
    assert sorted(name for name in dir(serve()) if not name.startswith("_")) == sorted(names)
    docs = "".join(path.read_text() for path in (Path(__file__).parents[2] / "docs").glob("*.md"))
    assert [name for name in names if not re.search(rf"(?:`|pop3d\.|POP3Server\.){name}\b", docs)] == []


def test_the_table_of_commands_is_to_be_looked_at(serve):
    pop3d = serve()
    assert pop3d.commands == COMMANDS
    with pytest.raises(TypeError):
        pop3d.commands["XFOO"] = CommandSpec("XFOO", frozenset(State))


def test_a_command_of_an_application_has_its_states_and_its_secrets(app, dial, caplog):
    caplog.set_level("INFO", "geventpop3.trace")
    pop3d, other = app(options={"trace": True}), app()
    pop3d.add_command(CommandSpec("XPIN", frozenset({State.AUTHORIZATION}), secret_from=0))
    heard = []

    @pop3d.on("cmd_xpin")
    def pin(pop3d, event):
        heard.append(event.args)
        return ok("yes")

    pop3d.start()
    peer = dial(pop3d)
    peer.line()
    assert peer.command(b"XPIN 1234") == b"+OK yes"
    assert peer.command(b"PASS x") == b"+OK yes"
    assert peer.command(b"XPIN 1234").startswith(b"-ERR not allowed in the TRANSACTION state")
    assert heard == [["1234"]]
    assert "XPIN ****" in caplog.text
    assert "1234" not in caplog.text
    assert "XPIN" not in other.commands


def test_a_command_may_be_described_before_and_after_it_is_listened_to(serve):
    pop3d = serve()
    pop3d.on("cmd_xone")(lambda pop3d, event: ok())
    assert pop3d.commands["XONE"].states == frozenset(State)
    row = CommandSpec("XONE", frozenset({State.TRANSACTION}))
    pop3d.add_command(row)
    pop3d.on("cmd_xone")(lambda pop3d, event: ok("again"))
    assert pop3d.commands["XONE"] is row


def test_an_event_that_is_no_verb_is_no_command(serve):
    pop3d = serve()
    pop3d.add_event("my_event")
    assert pop3d.commands == COMMANDS


def test_a_command_of_pop3_is_not_the_applications_to_describe(serve):
    pop3d = serve()
    with pytest.raises(PipelineError, match="PASS is a standard command: listen to 'cmd_pass'"):
        pop3d.add_command(CommandSpec("PASS", frozenset(State)))
    assert pop3d.commands == COMMANDS
