"""The servers of ``geventpop3 record`` and ``geventpop3 replay``, on asyncio, until a signal ends them."""

from __future__ import annotations

import argparse
import asyncio
import signal
import ssl
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from functools import partial

from geventpop3.cli.hints import print_line
from geventpop3.errors import ConfigError
from geventpop3.hosts import is_loopback
from geventpop3.server.addresses import format_address, parse_address
from geventpop3.testing.recording.answers import answer_client
from geventpop3.testing.recording.proxy import Connect, Proxy, RecordingFiles, close_writer, reason
from geventpop3.testing.recording.recorder import Recorder
from geventpop3.testing.replay import Recording
from geventpop3.testing.script import ScriptError

CONNECT_SECONDS = 30.0
GRACE_SECONDS = 1.0
"""Seconds in which a session may end by itself after the signal: its client may just have said QUIT."""


def run_record(arguments: argparse.Namespace) -> int:
    """Record sessions until a signal. Raises ConfigError."""
    return asyncio.run(_record(arguments, _connector(arguments)))


def run_replay(arguments: argparse.Namespace) -> int:
    """Replay sessions until a signal. Raises ConfigError."""
    try:
        recording = Recording.load(arguments.file)
    except ScriptError as error:
        raise ConfigError(str(error)) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{arguments.file}: this is not UTF-8, so it is no dialogue") from None
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    answer = partial(answer_client, recording, warn)
    asyncio.run(_serve(arguments.listen, answer, f"replaying {_sessions(len(recording))} of {arguments.file}"))
    return 0


async def _record(arguments: argparse.Namespace, connect: Connect) -> int:
    # A server that cannot be reached, or not trusted, is an error before any client is there.
    try:
        _, writer = await connect()
    except OSError as error:
        raise ConfigError(f"--upstream: {arguments.upstream}: {reason(error)}") from None
    await close_writer(writer)
    bodies = "messages as they were" if arguments.keep_bodies else "messages are filler"
    heading = f"{arguments.upstream}, recorded by geventpop3; {bodies}, **** is anything"
    try:
        files = RecordingFiles(arguments.file, heading, force=arguments.force)
    except FileExistsError as error:
        raise ConfigError(f"{error}; --force replaces it") from None
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    make = partial(Recorder, mask_names=arguments.mask_names, keep_bodies=arguments.keep_bodies)
    proxy = Proxy(connect, files, make, warn)
    try:
        await _serve(arguments.listen, proxy.session, f"recording {arguments.upstream}")
    finally:
        await proxy.stop(GRACE_SECONDS)
        files.close()
    if not files.count:
        return print_line("there was no session to record")
    return print_line(f"recorded {_sessions(files.count)} in {arguments.file}")


async def _serve(listen: str, answer: Callable[[StreamReader, StreamWriter], Awaitable[None]], about: str) -> None:
    """Answer connections until SIGINT or SIGTERM; say the address and *about* when it listens. Raises ConfigError."""
    host, port = _tcp_address("--listen", listen)
    if not is_loopback(host):
        warn(f"--listen {listen}: passwords cross the network in clear text")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        server = await asyncio.start_server(answer, host, port)
    except OSError as error:
        raise ConfigError(f"--listen: {listen}: {reason(error)}") from None
    try:
        print_line(f"listening at {format_address(server.sockets[0].getsockname())}, {about}")
        await stop.wait()
    finally:
        server.close()


def _connector(arguments: argparse.Namespace) -> Connect:
    """Return the function that connects to the server. Raises ConfigError."""
    host, port = _tcp_address("--upstream", arguments.upstream)
    context = None
    if arguments.upstream_tls:
        try:
            context = ssl.create_default_context(cafile=arguments.upstream_ca)
        except OSError as error:
            raise ConfigError(f"--upstream-ca: {arguments.upstream_ca}: {error.strerror or error}") from None
    elif arguments.upstream_ca is not None:
        raise ConfigError("--upstream-ca goes with --upstream-tls")
    elif not is_loopback(host):
        warn(f"--upstream {arguments.upstream}: passwords cross the network in clear text without --upstream-tls")

    async def connect() -> tuple[StreamReader, StreamWriter]:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await asyncio.open_connection(host, port, ssl=context)

    return connect


def _tcp_address(option: str, text: str) -> tuple[str, int]:
    try:
        host, port = parse_address(text)
    except ConfigError as error:
        raise ConfigError(f"{option}: {error}") from None
    if isinstance(port, str):
        raise ConfigError(f"{option}: {text!r}: a host and a port are needed here, no unix socket")
    return host, port


def _sessions(count: int) -> str:
    return "1 session" if count == 1 else f"{count} sessions"


def warn(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"geventpop3: {text}\n")
    sys.stderr.flush()
