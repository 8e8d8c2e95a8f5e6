"""The CPU time for a MB over TLS: of geventpop3 for RETR, and of openssl's ``s_server -WWW`` for GET.

The number of octets, certificate, protocol version and cipher are about the same; so is the client, which waits for
nothing else.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peers import Place, end, free_port, undisturbed
from usage import cpu

LARGE = "l00000"
MESSAGES = 20
BUFFER = 1 << 18
READY_WITHIN = 10.0  # seconds
PATIENCE = 60.0  # maximum seconds of one read


def make_certificate(folder: Path) -> Path:
    """Make a key and certificate for localhost in one PEM file."""
    path = folder / "bench.pem"
    if not path.exists():
        key, certificate = folder / "bench.key", folder / "bench.crt"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)),
            ],
            check=True,
            capture_output=True,
        )
        path.write_bytes(key.read_bytes() + certificate.read_bytes())
        path.chmod(0o600)
    return path


def context(certificate: Path) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(certificate))
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


def connect(port: int, tls: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
    try:
        return tls.wrap_socket(plain, server_hostname="localhost", session=session)
    except BaseException:
        plain.close()
        raise


def read_to(sock: ssl.SSLSocket, last: bytes) -> int:
    """Read to *last*, or to the end without *last*; return the number of octets."""
    buffer, kept, octets = bytearray(BUFFER), b"", 0
    view = memoryview(buffer)
    while not last or not kept.endswith(last):
        count = sock.recv_into(view)
        if not count:
            if last:
                raise ConnectionError("the server closed")
            break
        octets += count
        if last:
            kept = (kept + bytes(view[max(0, count - 8) : count]))[-8:]
    return octets


def login(sock: ssl.SSLSocket, password: str) -> None:
    read_to(sock, b"\r\n")
    for command in (f"USER {LARGE}", f"PASS {password}"):
        sock.sendall(f"{command}\r\n".encode())
        read_to(sock, b"\r\n")


def retrieve(port: int, pid: int, certificate: Path, password: str) -> float:
    """Return the seconds of CPU time for a MB of RETR, over one session."""
    with connect(port, context(certificate)) as sock:
        login(sock, password)
        _fetch(sock, 2)  # now the file is in the page cache, and all modules are imported
        before = cpu(pid)
        octets = _fetch(sock, MESSAGES)
        return (cpu(pid) - before) / (octets / 1e6)


def _fetch(sock: ssl.SSLSocket, messages: int) -> int:
    octets = 0
    for number in range(1, messages + 1):
        sock.sendall(f"RETR {number}\r\n".encode())
        octets += read_to(sock, b"\r\n.\r\n")
    return octets


def resumed(port: int, certificate: Path, tries: int = 5) -> float:
    """Return the share of resumed handshakes in *tries*."""
    tls = context(certificate)
    went_on, session = 0, None
    for number in range(tries + 1):
        with connect(port, tls, session) as sock:
            read_to(sock, b"\r\n")
            sock.sendall(b"QUIT\r\n")
            read_to(sock, b"\r\n")
            went_on += bool(number and sock.session_reused)
            session = sock.session
    return went_on / tries


@contextmanager
def s_server(place: Place, certificate: Path) -> Iterator[tuple[int, int]]:
    """Run openssl's server for a file of as many octets as the messages; yield port and process."""
    served = place.scratch / "bulk"
    with served.open("wb") as bulk:
        for path in sorted((place.maildirs / LARGE / "cur").iterdir())[:MESSAGES]:
            bulk.write(path.read_bytes())
    port = free_port()
    process = subprocess.Popen(
        [
            *("openssl", "s_server", "-WWW", "-quiet", "-accept", f"127.0.0.1:{port}", "-tls1_3"),
            *("-cert", str(certificate), "-key", str(certificate)),
        ],
        cwd=place.scratch,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_until_it_listens(process, port)
        yield port, process.pid
    finally:
        with undisturbed():
            end(process)
        os.unlink(served)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise ConnectionError("openssl s_server did not start")


def download(port: int, pid: int, certificate: Path) -> float:
    """Return the seconds of CPU time for a MB of a file, over one connection."""
    tls = context(certificate)
    _get(port, tls)
    before = cpu(pid)
    octets = _get(port, tls)
    return (cpu(pid) - before) / (octets / 1e6)


def _get(port: int, tls: ssl.SSLContext) -> int:
    with connect(port, tls) as sock:
        sock.sendall(b"GET /bulk HTTP/1.0\r\n\r\n")
        try:
            return read_to(sock, b"")
        except ssl.SSLEOFError:  # it ends the connection without close_notify
            raise ConnectionError("openssl s_server cut the file off") from None
