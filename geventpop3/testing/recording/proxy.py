"""The recording proxy: between a client and a real server, it writes each session into a file.

It runs in an event loop of asyncio, in a process of its own: ``geventpop3 record``.
"""

from __future__ import annotations

import asyncio
import errno
import os
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from geventpop3.testing.recording.recorder import Recorder
from geventpop3.testing.replay import session_file, session_files

_CHUNK: Final = 65536

LINGER_SECONDS: Final = 10.0
"""Seconds without an octet in which a server may close after its client has gone."""

LINE_OCTETS: Final = 2 * _CHUNK
"""Octets of the longest line of a client, and of the lines that it may send ahead."""

_PLAIN: Final = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.ENETUNREACH, errno.EHOSTUNREACH}

Connect = Callable[[], Awaitable[tuple[StreamReader, StreamWriter]]]
"""A function that connects to the server. Raises OSError."""


class RecordingFiles:
    """The files of a recording: one for each session, for the owner alone, never over another file.

    The first is made at once, so that a wrong path is an error before any client is there. With *force* the files of an
    earlier recording are removed. Raises FileExistsError, OSError.
    """

    def __init__(self, path: str | Path, heading: str, *, force: bool = False) -> None:
        self._path = Path(path)
        self._heading = heading
        self.count = 0
        there = [one for one in session_files(path) if os.path.lexists(one)]
        if force:
            for one in there:
                one.unlink()
        elif there:
            raise FileExistsError(f"{there[0]} exists")
        self._first: TextIO | None = self._make(self._path)

    def next(self) -> TextIO:
        """Return the file of the next session, with the heading written."""
        self.count += 1
        file, self._first = self._first or self._make(session_file(self._path, self.count)), None
        return file

    def close(self) -> None:
        """Remove the first file if there was no session."""
        if self._first is not None:
            self._first.close()
            self._path.unlink()

    def _make(self, path: Path) -> TextIO:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        file = os.fdopen(descriptor, "w", encoding="utf-8", newline="\n")
        file.write(f"# {self._heading}\n")
        return file


class Proxy:
    """A proxy for any number of sessions; *make* returns the recorder of each."""

    def __init__(
        self, connect: Connect, files: RecordingFiles, make: Callable[[], Recorder], report: Callable[[str], object]
    ) -> None:
        self._connect = connect
        self._files = files
        self._make = make
        self._report = report
        self._sessions: set[asyncio.Task[None]] = set()

    async def session(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve a client until both sides have ended."""
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            try:
                await self._serve(reader, writer)
            finally:
                await close_writer(writer)
        except asyncio.CancelledError:
            pass  # only ``stop`` cancels; asyncio before 3.12 logs a cancelled session as an error
        except OSError as error:
            self._report(f"a session was not recorded to its end: {reason(error)}")
        finally:
            self._sessions.discard(task)

    async def stop(self, grace: float = 0.0) -> None:
        """End all sessions that do not end by themselves within *grace* seconds; what they recorded is in the files."""
        sessions = list(self._sessions)
        if sessions:
            await asyncio.wait(sessions, timeout=grace)
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            server = await self._connect()
        except OSError as error:
            self._report(f"cannot connect to the server: {reason(error)}")
            writer.write(b"-ERR [SYS/TEMP] the recording proxy cannot connect to the server\r\n")
            return
        try:
            await _Session((reader, writer), server, self._make(), self._files).run()
        finally:
            await close_writer(server[1])


class _Session:
    """Both directions of one session."""

    def __init__(
        self,
        client: tuple[StreamReader, StreamWriter],
        server: tuple[StreamReader, StreamWriter],
        recorder: Recorder,
        files: RecordingFiles,
    ) -> None:
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._recorder = recorder
        self._files = files
        self._file: TextIO | None = None  # once there is something to write
        self._complete = asyncio.Event()  # the reply to the last command
        self._received = 0  # octets of the server

    async def run(self) -> None:
        """Pass on and record until the server closes, or does not after the client has gone."""
        client = asyncio.create_task(self._pass_on_client())
        server = asyncio.create_task(self._pass_on_server())
        try:
            await asyncio.wait([client, server], return_when=asyncio.FIRST_COMPLETED)
            if client.done() and client.exception() is None:
                await self._linger(server)
            for task in (client, server):
                if task.done() and (error := task.exception()):
                    raise error
        finally:
            client.cancel()
            server.cancel()
            await asyncio.gather(client, server, return_exceptions=True)
            if self._file is not None:
                self._file.close()

    async def _linger(self, server: asyncio.Task[None]) -> None:
        """Wait until the server closes, as long as it sends something meanwhile."""
        before = -1
        while before < self._received and not server.done():
            before = self._received
            await asyncio.wait([server], timeout=LINGER_SECONDS)

    async def _pass_on_client(self) -> None:
        octets = b"more"
        while octets:
            octets = await _read(self._from_client)
            self._recorder.client(octets)
            await self._flush(self._to_server)
            if self._recorder.held > LINE_OCTETS:  # the next lines wait in the socket
                await self._complete.wait()
            if self._recorder.held > LINE_OCTETS:
                raise OSError(f"the client sent more than {LINE_OCTETS} octets without a line end")

    async def _pass_on_server(self) -> None:
        octets = b"more"
        while octets:
            octets = await _read(self._from_server)
            self._received += len(octets)
            self._recorder.server(octets)
            await self._flush(self._to_client)

    async def _flush(self, slow: StreamWriter) -> None:
        """Write what the recorder has to write, and wait until *slow* has taken most of it."""
        recorder = self._recorder
        if recorder.is_waiting:
            self._complete.clear()
        else:
            self._complete.set()
        if recorder.lines:
            self._file = self._file or self._files.next()
            self._file.writelines(f"{line}\n" for line in recorder.lines)
            self._file.flush()
            recorder.lines.clear()
        to_client, to_server = bytes(recorder.to_client), bytes(recorder.to_server)
        recorder.to_client.clear()
        recorder.to_server.clear()
        # All is written before anything is waited for: the other direction may come here meanwhile.
        _write(self._to_server, to_server)
        _write(self._to_client, to_client)
        if recorder.client_ended and not self._to_server.is_closing():
            if self._to_server.can_write_eof():
                self._to_server.write_eof()
            else:  # TLS
                self._to_server.close()
        # A peer that has gone is no error: what it sent is still to be read.
        with suppress(ConnectionError):
            await slow.drain()


def reason(error: OSError) -> str:
    """Return the system's words for an error; those of asyncio repeat the address and hide the reason."""
    if error.errno in _PLAIN or isinstance(error, ConnectionError):
        return os.strerror(error.errno or errno.ECONNRESET)
    if error.errno is None and str(error).startswith("could not bind on any address"):
        return os.strerror(errno.EADDRNOTAVAIL)  # newer versions of asyncio pass over such addresses
    return error.strerror or str(error) or "no answer in time"


async def _read(reader: StreamReader) -> bytes:
    try:
        return await reader.read(_CHUNK)
    except ConnectionError:
        return b""


def _write(writer: StreamWriter, octets: bytes) -> None:
    if octets and not writer.is_closing():
        writer.write(octets)


async def close_writer(writer: StreamWriter) -> None:
    """Close a connection once the peer has taken all, or after a while."""
    writer.close()
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            await writer.wait_closed()
    except OSError:  # also TimeoutError
        writer.transport.abort()
