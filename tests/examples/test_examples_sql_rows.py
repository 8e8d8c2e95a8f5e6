"""examples/sql_rows.py: rows of a table are messages, and DELE removes a row."""

import poplib
import sqlite3
from contextlib import closing
from urllib.parse import urlsplit

import pytest


def login(address, name="alice"):
    box = poplib.POP3(*address, timeout=20)
    box.user(name)
    box.pass_("sesame")
    return box


def test_rows_are_messages_until_they_are_deleted(run, tmp_path):
    file = tmp_path / "notes.db"
    with run("sql_rows", "0", str(file)) as lines:
        url = urlsplit(next(lines))
        address = str(url.hostname), int(url.port or 0)
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            db.execute("INSERT INTO notes (owner, title, text) VALUES ('bob', 'x', 'y'), ('alice', 'Late', '.hidden')")
        box = login(address)
        assert box.stat()[0] == 2
        assert box.retr(1)[1] == [b"Subject: Tea", b"", b"At five."]
        assert box.retr(2)[1] == [b"Subject: Late", b"", b".hidden"]
        unique_ids = box.uidl()[1]
        box.dele(1)
        box.quit()
        box = login(address)
        assert box.uidl()[1][0].split()[1] == unique_ids[1].split()[1]
        box.quit()
        with closing(sqlite3.connect(file)) as db:
            assert db.execute("SELECT owner, title FROM notes ORDER BY id").fetchall() == [
                ("bob", "x"),
                ("alice", "Late"),
            ]
        with pytest.raises(poplib.error_proto, match="AUTH"):
            wrong(address)


def wrong(address):
    with closing(poplib.POP3(*address, timeout=20)) as box:
        box.user("alice")
        box.pass_("wrong")
