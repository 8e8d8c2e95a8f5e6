"""A certificate authority of the test process, and certificates of it: for the double's TLS and for clients.

It is made once for each process, when TLS is first used. Its files are removed when the process ends.
"""

from __future__ import annotations

import atexit
import ssl
import tempfile
from pathlib import Path
from typing import Any

from geventpop3.errors import ConfigError
from geventpop3.server.native import allocate_lock


class Authority:
    """A certificate authority, and a certificate for 127.0.0.1, ::1, localhost and the double's host name.

    Raises ConfigError if trustme is not installed.
    """

    def __init__(self) -> None:
        try:
            import trustme
        except ImportError:
            raise ConfigError(
                "TLS of a test double needs trustme: pip install 'geventpop3[testing]', or use Double(tls='off')"
            ) from None
        self._folder = tempfile.TemporaryDirectory(prefix="geventpop3-ca-")
        atexit.register(self._folder.cleanup)
        self._ca: Any = trustme.CA()
        self.ca = Path(self._folder.name) / "ca.pem"
        """The authority's certificate, for clients to trust."""
        self._ca.cert_pem.write_to_path(self.ca)

    def certificate_for(self, *names: str) -> Path:
        """Return a file with the key and the certificate of a server with these names and addresses."""
        # Older clients read the common name alone.
        return self._file("_".join(names), *names, common_name=names[0])

    def client_certificate(self, name: str) -> Path:
        """Return a file with the key and the certificate of a client called *name*, for SASL EXTERNAL."""
        file = f"client-{name.encode().hex()}"
        return self._file(file, name) if "@" in name else self._file(file, common_name=name)

    def _file(self, file: str, *names: str, common_name: str | None = None) -> Path:
        path = Path(self._folder.name) / f"{file}.pem"
        with _lock:
            if not path.exists():
                certificate = self._ca.issue_cert(*names, common_name=common_name)
                certificate.private_key_and_cert_chain_pem.write_to_path(path)
        return path

    def client_context(self, certificate: Path | None = None) -> ssl.SSLContext:
        """Return a context that trusts this authority, with a client's *certificate* if one is given."""
        context = ssl.create_default_context(cafile=self.ca)
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context


_lock = allocate_lock()
"""A lock for the authority and its files: doubles may start in several threads at once."""

_authorities: list[Authority] = []


def authority() -> Authority:
    """Return the authority of this process. Raises ConfigError if trustme is not installed."""
    with _lock:
        if not _authorities:
            _authorities.append(Authority())
        return _authorities[0]
