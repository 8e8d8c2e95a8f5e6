"""The server under test: its address, the account, and the use of TLS."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, field
from typing import Literal

Tls = Literal["no", "tls", "stls"]
"""TLS of the sessions: none, before the greeting, or by STLS after the greeting."""


@dataclass(frozen=True, slots=True)
class Target:
    """The address of the server and the account."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: Tls = "no"
    context: ssl.SSLContext | None = field(default=None, repr=False)
    """Context of the sessions over TLS; None if they use none."""
    timeout: float = 10.0
    """Seconds for one step: a connection, a reply, the end of a multi-line response."""

    @property
    def address(self) -> str:
        """``host:port``, with brackets for IPv6."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def name(self) -> bytes:
        """The user's name as it is sent."""
        return self.user.encode("utf-8")

    @property
    def secret(self) -> bytes:
        """The password as it is sent."""
        return self.password.encode("utf-8", "surrogateescape")

    @property
    def secrets(self) -> list[bytes]:
        """Octets that are masked in every record: the password, and the PLAIN messages that contain it."""
        plain = [b"\0" + self.name + b"\0" + self.secret, self.name + b"\0" + self.name + b"\0" + self.secret]
        return [self.secret, base64.b64encode(self.secret), *(base64.b64encode(each) for each in plain)]


def unverified_context() -> ssl.SSLContext:
    """Return a client's context that accepts every certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
