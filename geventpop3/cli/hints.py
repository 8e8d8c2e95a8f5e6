"""Advice added to the system's errors about addresses and files, for operators new to this server."""

from __future__ import annotations

import errno
import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from geventpop3.cli.settings import Settings
from geventpop3.errors import ConfigError

_OF_ADDRESSES = {
    errno.EADDRINUSE: "; another program listens at this address: stop it or choose another address",
    errno.EADDRNOTAVAIL: "; no network interface of this machine has this address",
}


@contextmanager
def bind_errors(settings: Settings, name: str) -> Iterator[None]:
    """Convert an OSError of ``bind`` into a ConfigError with advice that names the setting."""
    with settings.errors_of(name):
        try:
            yield
        except OSError as error:
            raise ConfigError(f"{error.filename}: {error.strerror or error}{_of_address(error)}") from None


@contextmanager
def file_errors(path: str, how_to_make: str) -> Iterator[None]:
    """Convert a ConfigError or OSError into a ConfigError with advice about the file *path*."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{error}{_of_file(path, how_to_make)}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}{_of_file(path, how_to_make)}") from None


def process_user() -> str:
    """Return the user of this process, for messages."""
    try:
        return f"the user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"the user {os.geteuid()}"


def _of_address(error: OSError) -> str:
    if error.errno != errno.EACCES:
        return _OF_ADDRESSES.get(error.errno or 0, "")
    is_path = str(error.filename).startswith("unix:")
    need = "its directory must be writable" if is_path else "a port below 1024 needs root or CAP_NET_BIND_SERVICE"
    return f"; {need}, and this process runs as {process_user()}"


def _of_file(path: str, how_to_make: str) -> str:
    try:
        os.stat(path)
    except FileNotFoundError:
        return f"; create it with: {how_to_make}"
    except OSError:
        return f"; this process runs as {process_user()}"
    return "" if os.access(path, os.R_OK) else f"; {process_user()} must be able to read it"


def print_line(text: str) -> int:
    """Write a line to standard output and flush it; return the exit status of success."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    return 0
