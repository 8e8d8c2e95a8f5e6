"""A Flask application that also serves its users' notifications to mail clients: web and POP3 in one process.

    pip install flask
    python examples/flask_inbox.py            # and then, in another terminal:
    curl -u alice:sesame http://127.0.0.1:8080/
    curl -u alice:sesame http://127.0.0.1:8080/notifications --json '{"subject": "Build", "text": "It passed."}'
    curl -u alice:sesame pop3://127.0.0.1:1110/2     # message 1 is the welcome

What a mail client removes disappears from the web page. Other ports: ``flask_inbox.py WEB_PORT POP3_PORT``. With
``flask run`` or gunicorn the server is started differently: see docs/embedding.md.
"""

# ruff: noqa: E402  modules that use sockets are imported after the patch
from gevent import monkey

monkey.patch_all()

import itertools
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import NamedTuple

import gevent
from flask import Flask, Response, abort, render_template_string, request
from gevent.pywsgi import WSGIServer
from werkzeug.security import check_password_hash, generate_password_hash

from geventpop3 import POP3Server
from geventpop3.auth import Authenticator
from geventpop3.errors import MaildropLocked, NoSuchMessage
from geventpop3.service import MaildropService
from geventpop3.stores import Maildrop, Message, Store

PAGE = """<!doctype html>
<title>Notifications for {{ name }}</title>
<ul>
{% for each in notifications %}<li>{{ each.subject }}: {{ each.text }}</li>
{% else %}<li>nothing new</li>
{% endfor %}</ul>
"""


class Notification(NamedTuple):
    unique_id: str
    subject: str
    text: str
    message: bytes


class Users(Authenticator):
    """The users; each has one password for the web and for POP3."""

    def __init__(self, passwords: dict[str, str]) -> None:
        self._hashes = {name: generate_password_hash(password) for name, password in passwords.items()}
        self._nobody = generate_password_hash("")

    def authenticate(self, name: str, password: str) -> str | None:
        # An unknown name costs a hash too: the response time must not reveal which names exist.
        stored = self._hashes.get(name, self._nobody)
        # Octets that are not UTF-8 arrive as surrogates; they cannot be hashed, and no password contains them.
        matches = check_password_hash(stored, password.encode("utf-8", "backslashreplace").decode())
        return name if matches and name in self._hashes else None


class Notifications(Store):
    """The notifications of all users, for the web page and for the maildrops."""

    def __init__(self) -> None:
        self._by_owner: dict[str, dict[str, Notification]] = {}
        self._open: set[str] = set()
        self._serials = itertools.count(1)

    def of(self, owner: str) -> dict[str, Notification]:
        return self._by_owner.setdefault(owner, {})

    def add(self, owner: str, subject: str, text: str) -> None:
        """Add a notification. Raises ValueError if its text cannot be in a message."""
        now = datetime.now(UTC)
        # A unique-id is never reused, not even after a restart, which restarts the counter.
        unique_id = f"{now:%Y%m%d%H%M%S%f}.{next(self._serials)}"
        message = EmailMessage(policy=SMTP)
        message["From"] = "Notifications <notifications@example.org>"
        message["Subject"] = subject
        message["Date"] = format_datetime(now)
        message["Message-ID"] = f"<{unique_id}@example.org>"
        message.set_content(text)
        self.of(owner)[unique_id] = Notification(unique_id, subject, text, message.as_bytes())

    def open(self, owner: str) -> Maildrop:
        if owner in self._open:
            raise MaildropLocked
        self._open.add(owner)
        return NotificationDrop(self, owner)

    def opens_at_once(self, owner: str) -> bool:
        return True

    def release(self, owner: str) -> None:
        self._open.discard(owner)


class NotificationDrop(Maildrop):
    """One POP3 session's view of a user's notifications."""

    blocking: frozenset[str] = frozenset()  # all data is in memory: no method blocks, so none needs a thread

    def __init__(self, store: Notifications, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._snapshot = store.of(owner).copy()

    def scan(self) -> list[Message]:
        return [Message(unique_id, len(each.message)) for unique_id, each in self._snapshot.items()]

    def retrieve(self, unique_id: str) -> list[bytes]:
        if unique_id not in self._snapshot:
            raise NoSuchMessage
        return [self._snapshot[unique_id].message]

    def remove(self, unique_ids: Iterable[str]) -> None:
        for unique_id in unique_ids:
            self._store.of(self._owner).pop(unique_id, None)

    def close(self) -> None:
        self._store.release(self._owner)


app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 64 * 1024
users = Users({"alice": "sesame", "bob": "builder"})
notifications = Notifications()
notifications.add("alice", "Welcome", "Read this in your mail client.")


def logged_in() -> str:
    """Return the user of this request, or end the request with status 401."""
    name: str | None = None
    given = request.authorization
    if given is not None and given.type == "basic":
        # Hashing takes tens of milliseconds: a thread does it, so that other requests and sessions do not wait.
        credentials = (given.username or "", given.password or "")
        name = gevent.get_hub().threadpool.apply(users.authenticate, credentials)
    if name is None:
        abort(Response("Log in first.\n", 401, {"WWW-Authenticate": 'Basic realm="notifications"'}))
    return name


@app.get("/")
def page() -> str:
    name = logged_in()
    return render_template_string(PAGE, name=name, notifications=notifications.of(name).values())


@app.post("/notifications")
def notify() -> tuple[str, int]:
    name = logged_in()
    # JSON only: a form on another site's page cannot send it.
    match request.get_json():
        case {"subject": str(subject), "text": str(text)}:
            pass
        case _:
            abort(400, "a notification has a subject and a text")
    try:
        notifications.add(name, subject, text)
    except ValueError:
        abort(400, "this cannot be in a message")
    return "", 201


def main(web_port: str = "8080", pop3_port: str = "1110") -> None:
    pop3d = POP3Server(port=int(pop3_port), hostname="pop.example.org")
    pop3d.register(MaildropService(notifications, users))
    pop3d.start()
    web = WSGIServer(("127.0.0.1", int(web_port)), app)
    web.start()
    print(f"http://127.0.0.1:{web.server_port}/", "pop3://{}:{}/".format(*pop3d.getsockname()), sep="\n", flush=True)
    pop3d.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
