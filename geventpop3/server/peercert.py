"""Who a client certificate is for: an address of mail, else a common name. Only verified certificates come here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def name_of_client(certificate: Mapping[str, Any] | None) -> str | None:
    """The name in what ``SSLObject.getpeercert()`` returns: the first rfc822Name, else the common name, else None."""
    if not certificate:
        return None
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "email":
            return str(value)
    for relative_name in certificate.get("subject", ()):
        for key, value in relative_name:
            if key == "commonName":
                return str(value)
    return None
