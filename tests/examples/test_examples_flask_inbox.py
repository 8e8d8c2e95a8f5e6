"""examples/flask_inbox.py: what the web page shows is what is in the maildrop, in one monkey-patched process."""

import base64
import email
import email.policy
import http.client
import json
import poplib
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import required

required.module("flask")
pytestmark = pytest.mark.slow


class Inbox(NamedTuple):
    web: tuple[str, int]
    pop3: tuple[str, int]

    def request(self, method, path, name="alice", password="sesame", body=None, kind="application/json"):
        """Status and text of the answer."""
        credentials = base64.b64encode(f"{name}:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}", "Content-Type": kind}
        connection = http.client.HTTPConnection(*self.web, timeout=20)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def notify(self, subject, text, **who):
        return self.request("POST", "/notifications", body=json.dumps({"subject": subject, "text": text}), **who)[0]

    def page(self, **who):
        return self.request("GET", "/", **who)[1]

    def login(self, name="alice", password="sesame"):
        box = poplib.POP3(*self.pop3, timeout=20)
        try:
            box.user(name)
            box.pass_(password)
        except BaseException:
            box.close()
            raise
        return box


@contextmanager
def served(run):
    with run("flask_inbox", "0", "0") as lines:
        urls = [urlsplit(next(lines)) for _ in range(2)]
        yield Inbox(*((str(url.hostname), int(url.port or 0)) for url in urls))


@pytest.fixture
def inbox(run):
    """The example as it starts."""
    with served(run) as inbox:
        yield inbox


@pytest.fixture(scope="module")
def closed(run):
    """One for many tests that leave nothing in it."""
    with served(run) as inbox:
        yield inbox


def test_a_notification_is_on_the_page_and_in_the_maildrop_until_a_mail_client_removes_it(inbox):
    assert inbox.notify("Build £5", "It passed.\n.hidden\n") == 201
    assert "Build £5: It passed." in inbox.page()
    box = inbox.login()
    count, octets = box.stat()
    assert count == 2
    messages = [b"\r\n".join(box.retr(number)[1]) + b"\r\n" for number in (1, 2)]
    assert [int(line.split()[1]) for line in box.list()[1]] == [len(message) for message in messages]
    assert sum(map(len, messages)) == octets
    message = email.message_from_bytes(messages[1], policy=email.policy.default)
    assert message["Subject"] == "Build £5"
    assert message.get_content().splitlines() == ["It passed.", ".hidden"]
    box.dele(2)
    assert "Build £5" in inbox.page()
    box.quit()
    assert "Build £5" not in inbox.page()
    assert "Welcome" in inbox.page()


def test_a_notification_that_comes_during_a_session_waits_for_the_next_one(inbox):
    box = inbox.login()
    before = box.uidl()[1]
    assert inbox.notify("Late", "But here.") == 201
    assert box.uidl()[1] == before
    box.dele(1)
    box.quit()
    assert "Late" in inbox.page()
    box = inbox.login()
    assert [line.split()[1] for line in box.uidl()[1]] != [line.split()[1] for line in before]
    assert box.stat()[0] == 1
    box.quit()


def test_everybody_has_a_maildrop_of_their_own(inbox):
    assert inbox.notify("For Bob", "Only.", name="bob", password="builder") == 201
    assert "For Bob" in inbox.page(name="bob", password="builder")
    assert "For Bob" not in inbox.page()
    box = inbox.login("bob", "builder")
    assert box.stat()[0] == 1
    box.quit()


def test_one_session_at_a_time_has_a_maildrop(closed):
    box = closed.login()
    with pytest.raises(poplib.error_proto, match="IN-USE"):
        closed.login()
    box.quit()
    closed.login().quit()


@pytest.mark.parametrize(("name", "password"), [("alice", "wrong"), ("mallory", "sesame"), ("mallory", "")])
def test_who_has_no_password_gets_nothing_of_either(closed, name, password):
    assert closed.request("GET", "/", name, password)[0] == 401
    assert closed.notify("x", "y", name=name, password=password) == 401
    with pytest.raises(poplib.error_proto, match="AUTH"):
        closed.login(name, password)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ('{"subject": "a\\nBcc: b", "text": "x"}', "application/json", 400),
        ('{"subject": "a \\ud800", "text": "x"}', "application/json", 400),
        ('{"subject": "a"}', "application/json", 400),
        ('{"subject": 5, "text": []}', "application/json", 400),
        ("[]", "application/json", 400),
        ("nonsense", "application/json", 400),
        ("subject=a&text=b", "application/x-www-form-urlencoded", 415),
        (json.dumps({"subject": "a", "text": "x" * 100_000}), "application/json", 413),
    ],
)
def test_what_is_no_notification_is_refused(closed, body, kind, status):
    assert closed.request("POST", "/notifications", body=body, kind=kind)[0] == status
    assert closed.page().count("<li>") == 1


def test_the_page_escapes_what_notifications_say(inbox):
    assert inbox.notify("<script>", "&") == 201
    assert "&lt;script&gt;: &amp;" in inbox.page()
