"""Where to listen, as people write it: ``127.0.0.1:110``, ``[::1]:110``, ``:110`` or ``unix:/path``."""

from __future__ import annotations

from geventpop3.errors import ConfigError

Address = tuple[str, int | str]
"""``(host, port)``, or ``("unix", path)``; an empty host means every address."""


def parse_listener(text: str) -> Address:
    """The address that *text* names. Raises ConfigError with a line that says what is wrong with it."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path:
            raise ConfigError(f"{text!r}: unix: is followed by the path of the socket")
        return "unix", path
    host, colon, port = text.rpartition(":")
    if not colon or not port:
        raise ConfigError(f"{text!r}: a listener is HOST:PORT, [IPV6]:PORT or unix:PATH")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ConfigError(f"{text!r}: a port is a number from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ConfigError(f"{text!r}: an IPv6 address is written in brackets, [::1]:{port}")
    return host, int(port)
