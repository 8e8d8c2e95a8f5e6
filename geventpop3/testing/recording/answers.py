"""A server that answers from a recording, in an event loop of asyncio: ``geventpop3 replay``."""

from __future__ import annotations

from asyncio import CancelledError, IncompleteReadError, LimitOverrunError, StreamReader, StreamWriter
from collections.abc import Callable

from geventpop3.testing.recording.proxy import close_writer
from geventpop3.testing.replay import Recording, Replay


async def answer_client(
    recording: Recording, report: Callable[[str], object], reader: StreamReader, writer: StreamWriter
) -> None:
    """Answer a client until it or the recorded server ends; *report* each line that was not the recorded one."""
    replay = recording.replay()
    try:
        try:
            await _answer(replay, reader, writer)
        finally:
            for difference in replay.differences:
                report(difference)
            await close_writer(writer)
    except (ConnectionError, LimitOverrunError, CancelledError):
        pass  # the client has gone, a line has no end, or the program ends


async def _answer(replay: Replay, reader: StreamReader, writer: StreamWriter) -> None:
    writer.write(replay.greeting())
    while not replay.closes:
        await writer.drain()
        try:
            line = await reader.readuntil(b"\n")
        except IncompleteReadError as end:
            if end.partial:
                writer.write(replay.answer(end.partial) or b"")
            return
        writer.write(replay.answer(line) or b"")
