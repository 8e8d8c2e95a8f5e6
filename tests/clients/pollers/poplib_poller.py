"""A minimal poller on poplib: fetch what has an unknown unique-id, store it, then delete it; QUIT.

    python poplib_poller.py HOST PORT TLS CA USER PASSWORD FOLDER SEEN SECONDS

TLS is yes or no. A message that an earlier run stored is deleted without being fetched again.
"""

from __future__ import annotations

import contextlib
import os
import poplib
import ssl
import sys
from pathlib import Path


def poll(
    host: str, port: str, tls: str, ca: str, user: str, password: str, folder: str, seen: str, seconds: str
) -> None:
    known = set(Path(seen).read_text("utf-8").split("\n")) if Path(seen).exists() else set()
    box: poplib.POP3
    if tls == "yes":
        box = poplib.POP3_SSL(host, int(port), timeout=float(seconds), context=ssl.create_default_context(cafile=ca))
    else:
        box = poplib.POP3(host, int(port), timeout=float(seconds))
    with contextlib.closing(box):
        box.user(user)
        box.pass_(password)
        for line in box.uidl()[1]:
            number, unique_id = line.decode().split(" ", 1)
            if unique_id not in known:
                lines = box.retr(int(number))[1]
                store(Path(folder), b"".join(each + b"\r\n" for each in lines))
                with open(seen, "a", encoding="utf-8") as file:
                    file.write(unique_id + "\n")
            box.dele(int(number))
        box.quit()


def store(folder: Path, content: bytes) -> None:
    number = len(list(folder.iterdir()))
    partial = folder.parent / "partial"
    partial.write_bytes(content)
    os.rename(partial, folder / str(number))


try:
    poll(*sys.argv[1:])
except (poplib.error_proto, OSError) as error:  # what poplib and sockets are documented to raise
    sys.exit(f"{type(error).__name__}: {error}")
