"""Certificates: what is read of them, the name and the protocol a client asks for, loading, replacing."""

from __future__ import annotations

import datetime
import hashlib
import os
import ssl
import time
from ipaddress import ip_address
from pathlib import Path

import pytest
from authority import Authority
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geventpop3.errors import ConfigError
from geventpop3.server.tls import Certificates
from geventpop3.server.tls.certificates import Pair
from geventpop3.server.tls.client_hello import HELLO_OCTETS, Hello, read_hello
from geventpop3.server.tls.der import end_point_of, names_of

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pop.example.org")])
EC_KEY = ec.generate_private_key(ec.SECP256R1())


SHA256 = hashes.SHA256()


def make(key=EC_KEY, algorithm=SHA256, *, names=(), signature_padding=None):
    """A certificate that is signed with its own key."""
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(NAME, NAME, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, algorithm, rsa_padding=signature_padding)


def der(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)


def shown(context, name="pop.example.org"):
    """The certificate that a context shows in a handshake, and the server's side of it."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server) * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client.getpeercert(binary_form=True), server


def certificate_in(pair):
    return der(x509.load_pem_x509_certificates(Path(pair.certificate).read_bytes())[0])


# What is read of our own certificate


def test_the_names_are_those_of_subject_alt_name_in_lower_case():
    names = [
        x509.DNSName("Pop.Example.org"),
        x509.IPAddress(ip_address("192.0.2.1")),
        x509.DNSName("*.mail.example.org"),
        x509.RFC822Name("postmaster@example.org"),
    ]
    assert names_of(der(make(names=names))) == {"pop.example.org", "*.mail.example.org"}


def test_a_certificate_without_alternative_names_is_for_no_name_whatever_its_subject_says():
    assert names_of(der(make())) == frozenset()


def test_a_certificate_of_version_1_has_no_extensions():
    tbs = b"\x30\x03\x02\x01\x01"
    algorithm = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"
    body = tbs + algorithm + b"\x03\x01\x00"
    assert names_of(b"\x30" + bytes([len(body)]) + body) == frozenset()


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize(
    "algorithm",
    [hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()],
    ids=lambda algorithm: algorithm.name,
)
def test_the_end_point_is_hashed_as_the_certificate_was(algorithm, rsa_key):
    pss = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
    for certificate in (
        make(algorithm=algorithm),
        make(rsa_key, algorithm),
        make(rsa_key, algorithm, signature_padding=pss),
    ):
        assert end_point_of(der(certificate)) == certificate.fingerprint(algorithm)


@pytest.mark.parametrize(
    "algorithm",
    [
        "06092a864886f70d010104",
        "06092a864886f70d010105",
        "06072a8648ce3d0401",
        "06092a864886f70d01010a3000",
        "06092a864886f70d01010a3005a203020114",
    ],
    ids=["md5WithRSA", "sha1WithRSA", "ecdsaWithSHA1", "PSS and nothing else, which is SHA-1", "PSS and a salt length"],
)
def test_where_md5_or_sha_1_was_used_the_end_point_is_hashed_with_sha_256(algorithm):
    # RFC 5929 section 4.1
    octets = bytes.fromhex(algorithm)
    body = b"\x30\x00" + b"\x30" + bytes([len(octets)]) + octets + b"\x03\x01\x00"
    certificate = b"\x30" + bytes([len(body)]) + body
    assert end_point_of(certificate) == hashlib.sha256(certificate).digest()


def test_a_signature_without_a_hash_function_has_no_end_point():
    # RFC 5929 section 4.1: "uses no hash functions [...] undefined at this time"
    assert end_point_of(der(make(ed25519.Ed25519PrivateKey.generate(), None))) is None


@given(st.binary(max_size=64))
@example(b"\x30\x00")
@settings(max_examples=200, deadline=None)
def test_what_is_no_certificate_is_a_value_error(octets):
    for read in (names_of, end_point_of):
        with pytest.raises(ValueError, match=r"."):
            read(octets)


WHOLE = der(make(names=[x509.DNSName("a.example.org")]))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_certificate_is_read_or_a_value_error(data):
    damaged = bytearray(WHOLE)
    damaged[data.draw(st.integers(0, len(WHOLE) - 1))] = data.draw(st.integers(0, 255))
    octets = bytes(damaged[: data.draw(st.integers(0, len(WHOLE)))])
    for read, kind in ((names_of, frozenset), (end_point_of, bytes | None)):
        try:
            found = read(octets)
        except ValueError:
            continue
        assert isinstance(found, kind)


# What a client asks for


def hello_of(name="pop.example.org", protocols=()):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(protocols)
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def cut(hello, *sizes):
    """The same handshake message in records of these sizes, the rest in one more."""
    message, records = hello[5:], b""
    for size in (*sizes, len(message)):
        part, message = message[:size], message[size:]
        records += b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
    return records


@pytest.mark.parametrize("protocols", [(), ("pop3",), ("http/1.1", "pop3")], ids=repr)
@pytest.mark.parametrize("name", [None, "Pop.Example.org", "xn--bcher-kva.example"], ids=repr)
def test_name_and_protocols_are_read_whole_or_cut_anywhere(name, protocols):
    hello = hello_of(name, protocols)
    expected = Hello(name and name.lower(), tuple(protocol.encode() for protocol in protocols))
    assert read_hello(hello) == expected
    assert read_hello(bytearray(hello) + b"what comes behind it") == expected
    for end in range(len(hello)):
        assert read_hello(hello[:end]) is None


@pytest.mark.parametrize("sizes", [(1,), (3,), (4,), (1, 1, 1), (100, 100), (0, 5)], ids=repr)
def test_a_hello_in_several_records_is_read(sizes):
    hello = cut(hello_of("a.example.org", ["pop3"]), *sizes)
    assert read_hello(hello) == Hello("a.example.org", (b"pop3",))
    for end in range(len(hello)):
        assert read_hello(hello[:end]) is None


def test_a_hello_cut_finer_than_anybody_needs_asks_for_nothing():
    assert read_hello(cut(hello_of("a.example.org"), 1, 1, 1, 1)) == Hello()


def test_a_name_that_is_not_ascii_is_one_that_no_certificate_is_for():
    hello = hello_of("a.example.org", ["pop3"]).replace(b"a.example.org", b"\xff.example.org")
    assert read_hello(hello) == Hello("\ufffd.example.org", (b"pop3",))


def test_a_name_of_another_kind_is_none():
    hello = hello_of("a.example.org", ["pop3"]).replace(b"\0\0\x0da.example.org", b"\1\0\x0da.example.org")
    assert read_hello(hello) == Hello(None, (b"pop3",))


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"USER alice\r\n",
        b"\0",
        b"\x80\x2e\x01\x03\x01",
        b"\x15\x03\x01\x00\x02\x01\x00",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
        b"\x16\x03\x01" + HELLO_OCTETS.to_bytes(2, "big"),
    ],
    ids=["HTTP", "POP3", "NUL", "SSL 2", "an alert", "another message", "an empty one", "an endless one"],
)
def test_what_is_no_hello_asks_for_nothing(octets):
    assert read_hello(octets) == Hello()


@given(st.binary(max_size=100), st.integers(0, 300))
@settings(max_examples=200, deadline=None)
def test_no_octets_make_the_reading_fail(octets, at):
    read_hello(octets)
    hello = bytearray(hello_of("a.example.org", ["pop3"]))
    hello[at : at + len(octets)] = octets
    read_hello(hello)
    read_hello(cut(bytes(hello), 10))


# Loading


def test_a_pair_may_be_in_one_file(authority, tmp_path):
    pair = authority.pair(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(Path(pair.certificate).read_bytes() + Path(pair.key).read_bytes())
    assert shown(Certificates([Pair(str(both))]).context_for(None))[0] == certificate_in(pair)


def test_old_versions_of_tls_and_renegotiation_are_off(authority, tmp_path):
    context = Certificates([authority.pair(tmp_path)]).context_for(None)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


def test_the_name_chooses_the_certificate_and_the_first_is_the_default(authority, tmp_path):
    default = authority.pair(tmp_path, "pop.example.org", "both.example.org", stem="default")
    wild = authority.pair(tmp_path, "*.example.net", stem="wild")
    other = authority.pair(tmp_path, "special.example.net", "both.example.org", stem="other")
    certificates = Certificates([default, wild, other])

    def chosen(name):
        return shown(certificates.context_for(name))[0]

    for name in (None, "", "pop.example.org", "both.example.org", "unknown.example.com", "example.net", "*", "."):
        assert chosen(name) == certificate_in(default)
    for name in ("mail.example.net", "x.example.net", "*.example.net"):
        assert chosen(name) == certificate_in(wild)
    assert chosen("special.example.net") == certificate_in(other)
    # RFC 6125 section 6.4.3: a wildcard is one label.
    assert chosen("a.b.example.net") == certificate_in(default)


def encrypted(path, folder):
    key = serialization.load_pem_private_key(Path(path).read_bytes(), None)
    locked = folder / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
    )
    return str(locked)


def broken_pairs(authority, folder):
    """Pairs that cannot be used, and what is said of each."""
    good, other = authority.pair(folder), authority.pair(folder, stem="other")
    loop = folder / "loop.pem"
    loop.symlink_to(loop)
    empty, garbage, half, half_key, odd = (folder / name for name in ("empty", "garbage", "half", "half.key", "odd"))
    empty.write_bytes(b"")
    garbage.write_bytes(os.urandom(4096))
    half.write_bytes(Path(good.certificate).read_bytes()[:300])
    half_key.write_bytes(Path(good.key).read_bytes()[:100])
    no_tls_key = ec.generate_private_key(ec.SECP256K1())
    odd.write_bytes(
        make(no_tls_key).public_bytes(serialization.Encoding.PEM)
        + no_tls_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    missing = str(folder / "missing.pem")
    return {
        "mismatched": (Pair(good.certificate, other.key), "key values mismatch"),
        "without a key": (Pair(good.certificate), "no private key in PEM form is in it"),
        "missing certificate": (Pair(missing, good.key), "No such file or directory"),
        "missing key": (Pair(good.certificate, missing), "No such file or directory"),
        "folder": (Pair(str(folder), good.key), "Is a directory"),
        "unreadable": (Pair(str(loop), good.key), "Too many levels of symbolic links"),
        "empty": (Pair(str(empty), good.key), "no certificate in PEM form is in it"),
        "empty key": (Pair(good.certificate, str(empty)), "no private key in PEM form is in it"),
        "garbage": (Pair(str(garbage), good.key), "no certificate in PEM form is in it"),
        "half a certificate": (Pair(str(half), good.key), "damaged"),
        "half a key": (Pair(good.certificate, str(half_key)), "damaged"),
        "swapped": (Pair(good.key, good.certificate), "no certificate in PEM form is in it"),
        "encrypted": (Pair(good.certificate, encrypted(good.key, folder)), "it is encrypted"),
        "of no use for TLS": (Pair(str(odd)), "no handshake is possible"),
    }


def test_what_cannot_be_used_is_told_in_one_line(authority, tmp_path):
    for what, (pair, text) in broken_pairs(authority, tmp_path).items():
        with pytest.raises(ConfigError, match=text) as caught:
            Certificates([pair])
        told = str(caught.value)
        assert told.startswith("TLS "), what
        assert any(file in told for file in pair if file), what
        assert not any(word in told for word in ("\n", "_ssl.c", "sesame")), what


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_authorities_of_clients_that_cannot_be_used_are_told_in_one_line(authority, tmp_path, content):
    path = tmp_path / "clients.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"\ATLS [^\n]*{path}: [^\n]+\Z"):
        Certificates([authority.pair(tmp_path)], client_ca=str(path))


def test_no_pair_is_no_tls():
    with pytest.raises(ConfigError, match="needs a certificate"):
        Certificates([])


# Replacing


def test_what_has_not_changed_is_not_read_again(authority, tmp_path):
    certificates = Certificates([authority.pair(tmp_path)], client_ca=authority.file(tmp_path))
    context = certificates.context_for(None)
    assert not certificates.reload()
    assert certificates.context_for(None) is context


def test_new_certificates_take_the_place_of_the_old_and_what_runs_keeps_its_own(authority, tmp_path):
    old = authority.pair(tmp_path)
    certificates = Certificates([old])
    first, running = shown(certificates.context_for(None))
    before = certificates.end_point(running)
    new = authority.pair(tmp_path, "new.example.org")
    assert certificates.reload()
    second, fresh = shown(certificates.context_for("new.example.org"))
    assert second == certificate_in(new) != first
    assert certificates.end_point(fresh) == hashlib.sha256(second).digest()
    assert certificates.end_point(running) == before == hashlib.sha256(first).digest()
    assert not certificates.reload()


def test_a_broken_pair_harms_nothing_and_is_told_once_for_each_change(authority, tmp_path):
    good = authority.pair(tmp_path)
    linked = Pair(str(tmp_path / "link.pem"), str(tmp_path / "link.key"))

    def use(pair):
        # As tools that renew certificates do.
        for link, target in zip(linked, (pair.certificate, pair.key or pair.certificate), strict=True):
            os.symlink(target, tmp_path / "new")
            os.replace(tmp_path / "new", link)

    use(good)
    certificates = Certificates([linked])
    for broken, text in broken_pairs(authority, tmp_path).values():
        context = certificates.context_for(None)
        use(broken)
        with pytest.raises(ConfigError, match=text):
            certificates.reload()
        assert not certificates.reload()
        assert certificates.context_for(None) is context
        use(good)
        assert certificates.reload()


def test_certificate_and_key_may_be_replaced_one_after_the_other(authority, tmp_path):
    pair = authority.pair(tmp_path)
    certificates = Certificates([pair])
    before = certificate_in(pair)
    new = authority.pair(tmp_path, stem="new")
    os.replace(new.certificate, pair.certificate)
    with pytest.raises(ConfigError, match="mismatch"):
        certificates.reload()
    assert shown(certificates.context_for(None))[0] == before
    os.replace(new.key, pair.key)
    assert certificates.reload()
    assert shown(certificates.context_for(None))[0] == certificate_in(pair) != before


def test_a_file_that_is_written_in_place_at_its_old_size_and_time_is_seen(authority, tmp_path):
    pair = authority.pair(tmp_path)
    certificates = Certificates([pair])
    was = os.stat(pair.certificate)
    content = Path(pair.certificate).read_bytes()
    while os.stat(pair.certificate).st_ctime_ns == was.st_ctime_ns:  # the kernel's clock has ticks
        Path(pair.certificate).write_bytes(content)
        os.utime(pair.certificate, ns=(was.st_atime_ns, was.st_mtime_ns))
        time.sleep(0)
    assert os.stat(pair.certificate).st_mtime_ns == was.st_mtime_ns
    assert certificates.reload()


def test_the_authorities_of_clients_are_watched_too(authority, tmp_path):
    path = authority.file(tmp_path)
    certificates = Certificates([authority.pair(tmp_path)], client_ca=path)
    (tmp_path / "other").mkdir()
    os.replace(Authority().file(tmp_path / "other"), path)
    assert certificates.reload()
    os.unlink(path)
    with pytest.raises(ConfigError, match="No such file"):
        certificates.reload()
