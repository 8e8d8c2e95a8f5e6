"""Certificates for tests, as PEM files: one authority that clients trust, elliptic keys, nothing that takes time."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import trustme
from gevent import ssl as green_ssl

from geventpop3.server.tls.certificates import Pair

NAME = "pop.example.org"


class Authority:
    """Issues certificates."""

    def __init__(self) -> None:
        self.ca = trustme.CA()

    def pair(self, folder: Path, *names: str, stem: str = "server") -> Pair:
        """A certificate for *names* and its key, in files named *stem*, which may be there already."""
        leaf = self.ca.issue_cert(*(names or (NAME,)))
        certificate, key = folder / f"{stem}.pem", folder / f"{stem}.key"
        certificate.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        key.write_bytes(leaf.private_key_pem.bytes())
        return Pair(str(certificate), str(key))

    def file(self, folder: Path) -> str:
        """The authority's own certificate."""
        path = folder / "authority.pem"
        self.ca.cert_pem.write_to_path(str(path))
        return str(path)

    def context(self, client: Pair | None = None, **options: Any) -> green_ssl.SSLContext:
        """A client's context in this hub that trusts the authority and checks names; *options* are its attributes."""
        return self._trusting(green_ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), client, options)

    def blocking_context(self, client: Pair | None = None, **options: Any) -> ssl.SSLContext:
        """The same for native threads, and for TLS in memory."""
        return self._trusting(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), client, options)

    def _trusting(self, context: Any, client: Pair | None, options: dict[str, Any]) -> Any:
        self.ca.configure_trust(context)
        if client is not None:
            context.load_cert_chain(*client)
        for name, value in options.items():
            setattr(context, name, value)
        return context
