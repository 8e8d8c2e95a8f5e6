"""A certificate authority of the test process, and certificates of it: for the double's TLS and for clients.

It is made once for each process, when TLS is first used. Its files are removed when the process ends.
"""

from __future__ import annotations

import atexit
import ssl
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from geventpop3.errors import ConfigError


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
        path = Path(self._folder.name) / f"{'_'.join(names)}.pem"
        if not path.exists():
            self._ca.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(path)
        return path

    def client_certificate(self, name: str) -> Path:
        """Return a file with the key and the certificate of a client called *name*, for SASL EXTERNAL."""
        path = Path(self._folder.name) / f"client-{name.encode().hex()}.pem"
        if not path.exists():
            certificate = self._ca.issue_cert(common_name=name) if "@" not in name else self._ca.issue_cert(name)
            certificate.private_key_and_cert_chain_pem.write_to_path(path)
        return path

    def client_context(self, certificate: Path | None = None) -> ssl.SSLContext:
        """Return a context that trusts this authority, with a client's *certificate* if one is given."""
        context = ssl.create_default_context(cafile=self.ca)
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context


@cache
def authority() -> Authority:
    """Return the authority of this process."""
    return Authority()
