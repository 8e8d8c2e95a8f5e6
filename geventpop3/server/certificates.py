"""What TLS needs to know of its own certificate, read from its DER form: the names it is for, the binding it gives.

DER (X.690 section 8.1) is a tag, a length and contents, which may be such again. Only our own certificates are read
here, never a peer's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final, NamedTuple

_SEQUENCE: Final = 0x30
_OBJECT_IDENTIFIER: Final = 0x06
_OCTET_STRING: Final = 0x04
_EXTENSIONS: Final = 0xA3
_DNS_NAME: Final = 0x82
_IP_ADDRESS: Final = 0x87

_SUBJECT_ALT_NAME: Final = bytes.fromhex("551d11")  # 2.5.29.17

_SIGNATURE_HASHES: Final = {
    bytes.fromhex("2a864886f70d01010c"): "sha384",  # sha384WithRSAEncryption
    bytes.fromhex("2a864886f70d01010d"): "sha512",  # sha512WithRSAEncryption
    bytes.fromhex("2a8648ce3d040303"): "sha384",  # ecdsa-with-SHA384
    bytes.fromhex("2a8648ce3d040304"): "sha512",  # ecdsa-with-SHA512
}


class _Element(NamedTuple):
    tag: int
    contents: bytes


def names_of(certificate: bytes) -> frozenset[str]:
    """The DNS names (lower case, ``*.`` wildcards as they are) and addresses in subjectAltName.

    Raises ValueError if this is no certificate.
    """
    to_be_signed = _certificate(certificate)[0]
    for element in _elements(to_be_signed.contents):
        if element.tag == _EXTENSIONS:
            return frozenset(_alternative_names(element.contents))
    return frozenset()


def end_point_of(certificate: bytes) -> bytes:
    """The ``tls-server-end-point`` channel binding (RFC 5929 section 4.1).

    "If the certificate's signatureAlgorithm uses a single hash function, and that hash function is either MD5 or SHA-1,
    then use SHA-256 as the hash function". Raises ValueError if this is no certificate.
    """
    algorithm = next(_elements(_certificate(certificate)[1].contents))
    return hashlib.new(_SIGNATURE_HASHES.get(algorithm.contents, "sha256"), certificate).digest()


def _certificate(octets: bytes) -> list[_Element]:
    """What a certificate is made of: the part that is signed, the signature's algorithm, the signature."""
    (whole,) = _elements(octets)
    parts = list(_elements(whole.contents))
    if len(parts) != 3 or parts[0].tag != _SEQUENCE or parts[1].tag != _SEQUENCE:
        raise ValueError("no certificate in DER form")
    return parts


def _alternative_names(contents: bytes) -> Iterator[str]:
    (extensions,) = _elements(contents)
    for extension in _elements(extensions.contents):
        identifier, *_, value = _elements(extension.contents)
        if identifier != (_OBJECT_IDENTIFIER, _SUBJECT_ALT_NAME) or value.tag != _OCTET_STRING:
            continue
        (names,) = _elements(value.contents)
        for name in _elements(names.contents):
            if name.tag == _DNS_NAME:
                yield name.contents.decode("ascii").lower()
            elif name.tag == _IP_ADDRESS:
                yield str(ip_address(name.contents))


def _elements(octets: bytes) -> Iterator[_Element]:
    at = 0
    while at < len(octets):
        tag, length, at = octets[at], octets[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(octets[at : at + size], "big"), at + size
        if at + length > len(octets):
            raise ValueError("no certificate in DER form: it is cut off")
        yield _Element(tag, octets[at : at + length])
        at += length
