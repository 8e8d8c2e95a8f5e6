"""TLS of a server: its certificates, and the stream that carries it."""

from geventpop3.server.tls.certificates import Certificates

__all__ = ["Certificates"]
