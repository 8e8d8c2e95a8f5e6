"""TLS for the server: its certificates and its stream."""

from geventpop3.server.tls.certificates import Certificates

__all__ = ["Certificates"]
