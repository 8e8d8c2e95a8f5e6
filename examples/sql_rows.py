"""Rows of an application's own table as messages: one function lists them, one removes them.

    python examples/sql_rows.py            # and then, in another terminal:
    curl -u alice:sesame pop3://127.0.0.1:1110/1     # the first note of alice

Another port and another file: ``sql_rows.py PORT FILE``.
"""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing

from geventpop3 import POP3Server
from geventpop3.service import MaildropService
from geventpop3.stores import Item

port, file = sys.argv[1:3] if len(sys.argv) > 2 else ("1110", "notes.db")
service = MaildropService()


def connect() -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(file, isolation_level=None))


@service.authenticator
def check(name: str, password: str) -> bool:
    return password == "sesame"


@service.messages
def notes(owner: str) -> Iterator[Item]:
    with connect() as db:
        for number, title, text in db.execute("SELECT id, title, text FROM notes WHERE owner = ? ORDER BY id", [owner]):
            yield Item(f"note-{number}", f"Subject: {title}\n\n{text}\n")


@service.remove
def remove(owner: str, unique_ids: list[str]) -> None:
    numbers = [(owner, int(unique_id.removeprefix("note-"))) for unique_id in unique_ids]
    with connect() as db, db:
        db.execute("BEGIN")
        db.executemany("DELETE FROM notes WHERE owner = ? AND id = ?", numbers)


def main() -> None:
    with connect() as db:
        db.execute("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY AUTOINCREMENT, owner, title, text)")
        db.execute("INSERT INTO notes (owner, title, text) VALUES ('alice', 'Tea', 'At five.')")
    pop3d = POP3Server(port=int(port), hostname="pop.example.org")
    pop3d.register(service)
    pop3d.start()
    print("pop3://{}:{}/".format(*pop3d.getsockname()), flush=True)
    pop3d.serve_forever()


if __name__ == "__main__":
    main()
