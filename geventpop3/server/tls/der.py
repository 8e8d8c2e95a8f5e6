"""A reader of certificates in DER form: their names and their channel binding.

DER (X.690 section 8.1) is a tag, a length and contents, which may be DER elements again. Only the DER of the server's
own certificates is parsed here. A client's name comes from a certificate that OpenSSL has verified and parsed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

_SEQUENCE: Final = 0x30
_OBJECT_IDENTIFIER: Final = 0x06
_OCTET_STRING: Final = 0x04
_PSS_HASH: Final = 0xA0
_EXTENSIONS: Final = 0xA3
_DNS_NAME: Final = 0x82

_SUBJECT_ALT_NAME: Final = bytes.fromhex("551d11")  # 2.5.29.17
_RSASSA_PSS: Final = bytes.fromhex("2a864886f70d01010a")  # 1.2.840.113549.1.1.10

# RFC 5929 section 4.1: "if the certificate's signatureAlgorithm uses a single hash function, and that hash function is
# either MD5 or SHA-1, then use SHA-256".
_BINDING_HASHES: Final = {
    bytes.fromhex("2a864886f70d010104"): "sha256",  # md5WithRSAEncryption
    bytes.fromhex("2a864886f70d010105"): "sha256",  # sha1WithRSAEncryption
    bytes.fromhex("2a864886f70d01010e"): "sha224",  # sha224WithRSAEncryption
    bytes.fromhex("2a864886f70d01010b"): "sha256",  # sha256WithRSAEncryption
    bytes.fromhex("2a864886f70d01010c"): "sha384",  # sha384WithRSAEncryption
    bytes.fromhex("2a864886f70d01010d"): "sha512",  # sha512WithRSAEncryption
    bytes.fromhex("2a8648ce3d0401"): "sha256",  # ecdsa-with-SHA1
    bytes.fromhex("2a8648ce3d040301"): "sha224",  # ecdsa-with-SHA224
    bytes.fromhex("2a8648ce3d040302"): "sha256",  # ecdsa-with-SHA256
    bytes.fromhex("2a8648ce3d040303"): "sha384",  # ecdsa-with-SHA384
    bytes.fromhex("2a8648ce3d040304"): "sha512",  # ecdsa-with-SHA512
    # The hash functions in the parameters of RSASSA-PSS
    bytes.fromhex("2b0e03021a"): "sha256",  # SHA-1
    bytes.fromhex("608648016503040204"): "sha224",
    bytes.fromhex("608648016503040201"): "sha256",
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
}


class _Element(NamedTuple):
    tag: int
    contents: bytes


def names_of(certificate: bytes) -> frozenset[str]:
    """Return the DNS names in subjectAltName, in lower case, ``*.`` wildcards as they are.

    Raises ValueError if this is not a certificate.
    """
    for element in _elements(_certificate(certificate)[0].contents):
        if element.tag == _EXTENSIONS:
            return frozenset(_dns_names(element.contents))
    return frozenset()


def end_point_of(certificate: bytes) -> bytes | None:
    """Return the channel binding data ``tls-server-end-point`` (RFC 5929 section 4.1), None if undefined.

    "If the certificate's signatureAlgorithm uses no hash functions or uses multiple hash functions, then this channel
    binding type's channel bindings are undefined at this time". Raises ValueError if this is not a certificate.
    """
    algorithm = _certificate(certificate)[1]
    identifier, *parameters = _elements(algorithm.contents)
    if identifier.contents == _RSASSA_PSS:
        identifier = _pss_hash(parameters)
    name = _BINDING_HASHES.get(identifier.contents)
    return None if name is None else hashlib.new(name, certificate).digest()


def _certificate(octets: bytes) -> list[_Element]:
    """Return the parts of a certificate: the signed part, the signature's algorithm, the signature."""
    (whole,) = _elements(octets)
    parts = list(_elements(whole.contents))
    if len(parts) != 3 or parts[0].tag != _SEQUENCE or parts[1].tag != _SEQUENCE:
        raise ValueError("not a certificate in DER form")
    return parts


def _pss_hash(parameters: list[_Element]) -> _Element:
    """Return the hash function of RSASSA-PSS (RFC 4055 section 3.1), SHA-1 if it is not named."""
    for element in (element for sequence in parameters for element in _elements(sequence.contents)):
        if element.tag == _PSS_HASH:
            (algorithm,) = _elements(element.contents)
            return next(_elements(algorithm.contents), algorithm)
    return _Element(_OBJECT_IDENTIFIER, bytes.fromhex("2b0e03021a"))


def _dns_names(contents: bytes) -> Iterator[str]:
    (extensions,) = _elements(contents)
    for extension in _elements(extensions.contents):
        identifier, *_, value = _elements(extension.contents)
        if identifier == (_OBJECT_IDENTIFIER, _SUBJECT_ALT_NAME) and value.tag == _OCTET_STRING:
            (names,) = _elements(value.contents)
            for name in _elements(names.contents):
                if name.tag == _DNS_NAME:
                    # A client cannot request a name that is not ASCII.
                    yield name.contents.decode("ascii", "replace").lower()


def _elements(octets: bytes) -> Iterator[_Element]:
    at = 0
    while at < len(octets):
        tag, length, start = octets[at], int.from_bytes(octets[at + 1 : at + 2], "big"), at + 2
        if length & 0x80:
            size = length & 0x7F
            length, start = int.from_bytes(octets[start : start + size], "big"), start + size
        at = start + length
        if at > len(octets):
            raise ValueError("not a certificate in DER form: truncated")
        yield _Element(tag, octets[start:at])


def name_of_client(certificate: Mapping[str, Any] | None) -> str | None:
    """Return the name in a result of ``SSLObject.getpeercert()``: the first rfc822Name, else the common name.

    Returns None if there is neither.
    """
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
