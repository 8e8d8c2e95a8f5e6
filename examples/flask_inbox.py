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

import sys
import uuid
from email.message import EmailMessage

import gevent
from flask import Flask, Response, abort, g, render_template_string, request
from gevent.pywsgi import WSGIServer
from werkzeug.security import check_password_hash, generate_password_hash

from geventpop3 import POP3Server
from geventpop3.service import MaildropService
from geventpop3.stores import Item

PAGE = "<ul>{% for subject, text, _ in inbox %}<li>{{ subject }}: {{ text }}</li>{% endfor %}</ul>"
app, service = Flask(__name__), MaildropService()
app.config["MAX_CONTENT_LENGTH"] = 64 * 1024
hashes = {name: generate_password_hash(password) for name, password in [("alice", "sesame"), ("bob", "builder")]}
nobody = generate_password_hash(str(uuid.uuid4()))
inboxes: dict[str, dict[str, tuple[str, str, bytes]]] = {name: {} for name in hashes}


@service.authenticator
def check(name: str, password: str) -> bool:
    # An unknown name costs a hash too: the response time must not reveal which names exist.
    # Octets that are not UTF-8 arrive as surrogates; they cannot be hashed, and no password contains them.
    return check_password_hash(hashes.get(name, nobody), password.encode("utf-8", "backslashreplace").decode())


@service.messages
def messages(owner: str) -> list[Item]:
    return [Item(unique_id, message) for unique_id, (_, _, message) in inboxes[owner].items()]


@service.remove
def remove(owner: str, unique_ids: list[str]) -> None:
    for unique_id in unique_ids:
        inboxes[owner].pop(unique_id, None)


def add(name: str, subject: str, text: str) -> None:
    message = EmailMessage()
    message["Subject"] = subject
    message.set_content(text)
    inboxes[name][str(uuid.uuid4())] = (subject, text, message.as_bytes())


@app.before_request
def log_in() -> None:
    given = request.authorization or {}
    g.name = str(given.get("username"))
    # Hashing takes tens of milliseconds: a thread does it, so that other requests and sessions do not wait.
    if not gevent.get_hub().threadpool.apply(check, (g.name, str(given.get("password")))):
        abort(Response("Log in first.\n", 401, {"WWW-Authenticate": 'Basic realm="notifications"'}))


@app.get("/")
def page() -> str:
    return render_template_string(PAGE, inbox=inboxes[g.name].values())


@app.post("/notifications")
def notify() -> tuple[str, int]:
    match request.get_json():  # JSON only: a form on another site's page cannot send it
        case {"subject": str(subject), "text": str(text)}:
            try:
                add(g.name, subject, text)
            except ValueError:
                abort(400, "this cannot be in a message")
            return "", 201
    return abort(400, "a notification has a subject and a text")


add("alice", "Welcome", "Read this in your mail client.")

if __name__ == "__main__":
    web_port, pop3_port = map(int, sys.argv[1:] or ("8080", "1110"))
    pop3d = POP3Server(port=pop3_port, hostname="pop.example.org")
    pop3d.register(service)
    pop3d.start()
    web = WSGIServer(("127.0.0.1", web_port), app)
    web.start()
    print(f"http://127.0.0.1:{web.server_port}/", "pop3://{}:{}/".format(*pop3d.getsockname()), sep="\n", flush=True)
    pop3d.serve_forever()
