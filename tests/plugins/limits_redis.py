"""A redis-server of the tests' own: on a port of its own, in a folder of its own, ended by its process id."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from pathlib import Path

import pytest
import redis
import required

ATTEMPTS = 5


class RedisServer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = required.program("redis-server")
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        # Between our looking for a free port and its binding it, somebody may have come.
        for _ in range(ATTEMPTS):
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
            with contextlib.suppress(RuntimeError):
                self.start()
                return
        pytest.fail("redis-server does not start")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    def start(self) -> None:
        """Raises RuntimeError if it does not come up."""
        self._process = subprocess.Popen(
            [self._program, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder), "--save", ""],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        # It goes on without: it ignores SIGPIPE.
        with self._process.stdout as log:
            if any("Ready to accept connections" in line for line in log):
                return
        self.stop()
        raise RuntimeError

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
