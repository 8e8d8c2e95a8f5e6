"""``geventpop3 serve --workers``: the command line's own server in several processes."""

from __future__ import annotations

import base64
import signal
import socket
import sys
from pathlib import Path

import pytest
from authority import Authority
from workers_site import SECONDS, Pop, Site, until

from geventpop3.cli.main import main


def command(site: Site, *flags: str, workers: int = 2) -> list[str]:
    """With its settings in a file, which ``configure`` writes."""
    configure(site, "first.example.org")
    config = ["--config", str(site.root / "config.toml")]
    return [sys.executable, "-m", "geventpop3", "serve", *config, f"--workers={workers}", *flags]


def configure(site: Site, hostname: str) -> None:
    (site.root / "config.toml").write_text(
        f'maildir = "{site.root}/{{user}}"\npasswords = "{site.root}/passwords"\nhostname = "{hostname}"\n'
        'listen = ["127.0.0.1:0"]\n'
    )


def greeting(site: Site) -> str:
    with Pop(socket.create_connection(("127.0.0.1", site.port), SECONDS)) as pop:
        said = pop.line()
        assert pop.say("QUIT").startswith("+OK")
    return said


def test_serve_with_workers_serves_maildrops_and_ends_at_term(site: Site) -> None:
    site.start(command(site))
    pids = site.listening(2)
    for pid in pids:
        with site.dial_held(pid) as pop:
            assert pop.login("alice").startswith("+OK")
            assert pop.say("QUIT").startswith("+OK")
    assert site.end() == 0
    logged = [line for line in site.written().splitlines() if "session user=alice" in line]
    assert all(any(f"[{pid}] INFO geventpop3.access" in line for line in logged) for pid in pids)


def test_the_parent_speaks_of_its_sockets_as_the_workers_do_and_under_our_name(site: Site) -> None:
    site.start(command(site, workers=1))
    site.listening(1)
    written = site.written()
    assert f"INFO geventpop3.workers: Listening at: 127.0.0.1:{site.port} (" in written
    assert "http" not in written
    assert "gunicorn.error" not in written


def test_the_parent_keeps_to_the_log_level(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        site.run(command(site, "--log-level=error", workers=1), [given])
        site.port = int(given.getsockname()[1])
        assert greeting(site).startswith("+OK")
        assert site.end() == 0
    assert site.written() == ""


def salt(pop: Pop, name: str) -> str:
    """What SCRAM shows as the salt of *name*."""
    first = base64.b64encode(f"n,,n={name},r=nonce".encode()).decode()
    challenge = base64.b64decode(pop.say(f"AUTH SCRAM-SHA-256 {first}").removeprefix("+ ")).decode()
    assert pop.say("*").startswith("-ERR")
    return challenge.split(",")[1]


def test_all_workers_show_the_same_salt_for_a_name_that_nobody_has(site: Site) -> None:
    site.start(command(site))
    salts = []
    for pid in site.listening(2):
        with site.dial_held(pid) as pop:
            salts.append(salt(pop, "nobody"))
    site.send(signal.SIGHUP)
    until(lambda: site.written().count("listening on") >= 4, "new workers")
    with site.dial() as pop:
        salts.append(salt(pop, "nobody"))
        assert salt(pop, "no-one") != salts[0]
    assert salts[0].startswith("s=")
    assert len(set(salts)) == 1


def test_at_hup_the_file_is_read_again_if_it_can_be(site: Site) -> None:
    site.start(command(site, workers=1))
    (old,) = site.listening(1)
    configure(site, "not a name")
    site.send(signal.SIGHUP)
    until(lambda: "not reloaded" in site.written() and "is not a host name" in site.written(), "a word")
    assert "first.example.org" in greeting(site)
    configure(site, "second.example.org")
    site.send(signal.SIGHUP)
    until(lambda: len(site.workers()) == 1 and old not in site.workers(), "another worker")
    assert "second.example.org" in greeting(site)


@pytest.mark.slow
def test_the_program_is_started_again_as_it_was_at_usr2(site: Site) -> None:
    site.start(command(site, f"--pid-file={site.root}/pid", workers=1))
    old = site.listening(1)
    configure(site, "second.example.org")
    site.send(signal.SIGUSR2)
    (heir,) = until(lambda: site.workers() - old, "the new parent")
    until(lambda: site.workers(heir) and site.has_said_listening(site.workers(heir)), "its worker")
    assert (site.root / "pid.2").read_text().strip() == str(heir)
    assert site.end_parent() == 0
    assert "second.example.org" in greeting(site)
    until(lambda: (site.root / "pid").exists() and (site.root / "pid").read_text().strip() == str(heir), "its name")


def test_tls_comes_first_at_the_ports_that_the_settings_say(site: Site) -> None:
    authority = Authority()
    pair = authority.pair(site.root)
    with socket.create_server(("127.0.0.1", 0)) as clear, socket.create_server(("127.0.0.1", 0)) as secured:
        port = int(secured.getsockname()[1])
        tls = [f"--tls-listen=127.0.0.1:{port}", f"--tls-cert={pair.certificate}", f"--tls-key={pair.key}"]
        site.start(command(site, *tls), [clear, secured])
        assert "first.example.org" in greeting(site)
        with site.dial_tls(port, authority.blocking_context()) as pop:
            assert pop.login("alice").startswith("+OK")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--user=nobody"],
            "user: has no effect without workers: add --workers N, or remove this setting (from --user)",
        ),
        (
            ["--pid-file=pid"],
            "pid-file: has no effect without workers: add --workers N, or remove this setting (from --pid-file)",
        ),
        (["--workers=2", "--user=no-such"], "user: the user 'no-such' does not exist on this machine (from --user)"),
        (
            ["--workers=2", "--group=no-such"],
            "group: the group 'no-such' does not exist on this machine (from --group)",
        ),
        (["--workers=0"], "workers: 0 is not a whole number, at least 1 (from --workers)"),
    ],
)
def test_what_cannot_be_is_one_line(
    site: Site, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", f"--maildir={site.root}/{{user}}", f"--passwords={site.root}/passwords", *flags]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_tls_needs_a_port_that_is_known(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    pair = Authority().pair(site.root)
    tls = ["--tls-listen=127.0.0.1:0", f"--tls-cert={pair.certificate}", f"--tls-key={pair.key}"]
    served = [f"--maildir={site.root}/{{user}}", f"--passwords={site.root}/passwords", "--workers=2"]
    assert main(["serve", *served, *tls]) == 2
    assert "tls-listen: 127.0.0.1:0: port 0 cannot be used for TLS with workers" in capsys.readouterr().err


def test_an_address_in_use_is_blamed_on_its_setting(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"--listen=127.0.0.1:{taken.getsockname()[1]}"
        served = [f"--maildir={site.root}/{{user}}", f"--passwords={site.root}/passwords", "--workers=2"]
        assert main(["serve", *served, listen]) == 2
    assert "listen: 127.0.0.1:" in (said := capsys.readouterr().err)
    assert "Address already in use" in said


def test_the_extra_is_named_where_it_is_missing(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("geventpop3.workers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("geventpop3.workers", raising=False)
    monkeypatch.setitem(sys.modules, "gunicorn", None)
    served = [f"--maildir={site.root}/{{user}}", f"--passwords={site.root}/passwords", "--workers=2"]
    assert main(["serve", *served]) == 2
    assert "workers: several workers need an extra: pip install 'geventpop3[workers]'" in capsys.readouterr().err


def test_the_page_shows_what_is_there() -> None:
    page = (Path(__file__).parents[2] / "docs" / "workers.md").read_text()
    for flag in ("--workers", "--user", "--group", "--pid-file", "--graceful-timeout"):
        assert flag in page
