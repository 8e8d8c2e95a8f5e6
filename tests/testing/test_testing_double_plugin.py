"""The fixtures and the mixin of the double, as another project's tests use them."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


def run_pytest(folder, text, *options, python=()):
    """Run the tests in *text* in a process of their own."""
    (folder / "test_client.py").write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, *python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *options, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
    )


PASSING = """
import poplib
from pathlib import Path
from contextlib import suppress
from urllib.parse import urlsplit

def poll(url):
    url = urlsplit(url)
    box = poplib.POP3(url.hostname, url.port, timeout=10)
    try:
        box.user(url.username)
        box.pass_(url.password)
        for number in range(1, box.stat()[0] + 1):
            box.retr(number)
            box.dele(number)
        box.quit()
    finally:
        box.close()

def test_poller_survives_a_cut_retr(pop3_double):
    box = pop3_double.maildrop("alice", "secret")
    box.deliver(b"Subject: one\\n\\n" + b"1\\n" * 100, Path(__file__))
    box.fail("RETR", nth=1, after_octets=100, how="reset")
    with suppress(OSError):
        poll(box.url)
    poll(box.url)
    box.wait_for(sessions=2, timeout=5)
    assert box.sessions[0].removed == [] and box.messages == []
"""


def test_a_client_is_tested_as_the_design_shows_it(tmp_path):
    done = run_pytest(tmp_path, PASSING)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_it_works_in_a_monkey_patched_process(tmp_path):
    patched = "from gevent import monkey; monkey.patch_all()\n"
    (tmp_path / "conftest.py").write_text(patched)
    done = run_pytest(
        tmp_path,
        PASSING + "\n\ndef test_patched():\n    import socket\n    assert 'gevent' in socket.socket.__module__\n",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_it_works_in_many_processes_at_once(tmp_path):
    text = PASSING + textwrap.dedent(
        """
        import pytest

        @pytest.fixture(scope="module")
        def shared(pop3_double_factory):
            return pop3_double_factory(tls="required")

        @pytest.mark.parametrize("number", range(12))
        def test_more(pop3_double, shared, number):
            shared.reset()
            box = pop3_double.maildrop("alice", "secret")
            box.deliver(b"x")
            poll(box.url)
            box.wait_for(sessions=1)
        """
    )
    done = run_pytest(tmp_path, text, "-n", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 passed" in done.stdout


def test_a_failing_test_shows_the_transcript_without_secrets(tmp_path):
    done = run_pytest(
        tmp_path,
        PASSING
        + textwrap.dedent(
            """
            def test_fails(pop3_double):
                box = pop3_double.maildrop("bob", "sesame-of-bob")
                box.deliver(b"one")
                box.fail("LIST", how="close")
                poll(box.url)
                assert box.messages == [b"one"]
            """
        ),
    )
    assert "1 failed, 1 passed" in done.stdout
    assert "POP3 sessions (call)" in done.stdout
    assert "C: USER bob\nS: +OK send PASS\nC: PASS ****\nS: +OK 1 message" in done.stdout
    assert "S: +OK goodbye, 1 message removed" in done.stdout
    assert "C: USER alice" not in done.stdout
    # The fault on LIST never happened, but the test has failed already.
    assert "never happened" not in done.stdout
    assert "sesame-of-bob" not in done.stdout.replace('pop3_double.maildrop("bob", "sesame-of-bob")', "")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('box.fail("RETR", how="close")', "never happened: close on RETR (nth=1)"),
        ('pop3_double._pop3d.on("cmd_stat")(lambda pop3d, event: 1 / 0); poll_stat(box.url)', "ZeroDivisionError"),
    ],
)
def test_the_end_of_a_test_finds_what_the_client_did_not_notice(tmp_path, body, text):
    done = run_pytest(
        tmp_path,
        f"""
        import poplib
        from urllib.parse import urlsplit

        def poll_stat(url):
            url = urlsplit(url)
            box = poplib.POP3(url.hostname, url.port, timeout=10)
            box.user(url.username)
            box.pass_(url.password)
            try:
                box.stat()
            except poplib.error_proto:
                pass
            box.quit()

        def test_it(pop3_double):
            box = pop3_double.maildrop("alice", "secret")
            {body}
        """,
        "-rN",  # in CI, the summary would have the whole text once more
    )
    assert "1 passed, 1 error" in done.stdout, done.stdout
    assert text in done.stdout
    assert done.stdout.count("C: USER alice") == (1 if "poll_stat" in body else 0)


def test_a_factory_serves_several_tests_and_each_is_checked(tmp_path):
    done = run_pytest(
        tmp_path,
        """
        import pytest
        from geventpop3.testing import DoubleFailed

        @pytest.fixture
        def double(pop3_double_factory, request):
            if not hasattr(request.session, "mine"):
                request.session.mine = pop3_double_factory(tls="off", hostname="mail.example.org")
            yield request.session.mine
            request.session.mine.reset()

        def test_one(double):
            assert double.maildrop("alice", "secret").deliver(b"x")

        def test_two(double):
            assert double.maildrop("alice", "other").messages == []

        def test_three(double):
            double.fail("NOOP")
        """,
    )
    assert "3 passed, 1 error" in done.stdout, done.stdout
    assert "never happened: error on NOOP (nth=1)" in done.stdout


def test_a_start_that_fails_fails_the_test_at_once(tmp_path):
    done = run_pytest(
        tmp_path,
        """
        def test_it(pop3_double_factory):
            pop3_double_factory(host="192.0.2.1", tls="off")
        """,
    )
    assert "1 failed" in done.stdout
    assert "192.0.2.1" in done.stdout


UNITTEST = """
import poplib
import unittest
from geventpop3.testing import DoubleMixin

class PollerTest(DoubleMixin, unittest.TestCase):
    double_options = {"tls": "off"}

    def test_passes(self):
        self.pop3_double.maildrop("alice", "secret").deliver("one")
        box = poplib.POP3(self.pop3_double.host, self.pop3_double.port, timeout=10)
        box.user("alice")
        box.pass_("secret")
        self.assertEqual(box.stat()[0], 1)
        box.quit()

    def test_fails(self):
        self.pop3_double.fail("RETR")

if __name__ == "__main__":
    unittest.main()
"""


def test_the_mixin_serves_unittest(tmp_path):
    (tmp_path / "client.py").write_text(UNITTEST)
    done = subprocess.run(
        [sys.executable, "-W", "error", "client.py"], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert "Ran 2 tests" in done.stderr
    assert "FAILED (failures=1)" in done.stderr
    assert "never happened: error on RETR (nth=1)" in done.stderr


def test_tls_without_trustme_says_which_extra(tmp_path):
    text = """
        import sys
        sys.modules["trustme"] = None

        def test_it(pop3_double):
            pass
        """
    done = run_pytest(tmp_path, text)
    assert "pip install 'geventpop3[testing]'" in done.stdout
    assert "1 error" in done.stdout
