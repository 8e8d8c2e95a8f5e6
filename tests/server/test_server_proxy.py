"""The PROXY protocol: who is believed, what is made of a header, what of one that is late, long, broken or missing."""

from __future__ import annotations

import re
import struct
import sys
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import gevent
import pytest
from authority import NAME
from gevent import socket
from hypothesis import given, settings
from hypothesis import strategies as st
from proxyprotocol.result import ProxyResultIPv4, ProxyResultIPv6, ProxyResultLocal, ProxyResultUnix
from proxyprotocol.tlv import ProxyProtocolSSLTLV, ProxyProtocolTLV
from proxyprotocol.v1 import ProxyProtocolV1
from proxyprotocol.v2 import ProxyProtocolV2

from geventpop3.errors import ConfigError
from geventpop3.server.proxy import V1_OCTETS, V2_OCTETS, Proxied, ProxyError, TrustedProxies, read_header
from geventpop3.server.server import session_over
from geventpop3.server.tls import Certificates
from geventpop3.testing.memory_stream import MemoryStream

GREETING = b"+OK pop.example.org POP3 server ready"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
OURS = ("198.51.100.1", 110)


def v1(host="192.0.2.7", port=40007):
    return b"PROXY TCP4 %b 198.51.100.1 %d 110\r\n" % (host.encode(), port)


def v2(host="192.0.2.7", port=40007, *, tls=None):
    tlv = ProxyProtocolTLV(ssl=ProxyProtocolSSLTLV(has_ssl=tls)) if tls is not None else ProxyProtocolTLV()
    theirs, ours = (IPv4Address(host), port), (IPv4Address(OURS[0]), OURS[1])
    return ProxyProtocolV2().pack(ProxyResultIPv4(theirs, ours, protocol=socket.SOCK_STREAM, tlv=tlv))


def raw_v2(command, family, data):
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(data)) + data


LOCAL_V2 = ProxyProtocolV2().pack(ProxyResultLocal(tlv=ProxyProtocolTLV(ssl=ProxyProtocolSSLTLV(has_ssl=True))))
UNSPECIFIED_V2 = raw_v2(1, 0x00, b"")
UNIX_V2 = ProxyProtocolV2().pack(ProxyResultUnix("/theirs", "/ours", protocol=socket.SOCK_STREAM))


@pytest.fixture
def proxied(app):
    """Makes started servers that believe loopback."""

    def make(**options):
        options.setdefault("proxies", TrustedProxies(["127.0.0.0/8", "::1"]))
        pop3d = app(**options)
        pop3d.start()
        return pop3d

    return make


def pieces(octets, split):
    return [octets[at : at + 1] for at in range(len(octets))] if split else [octets]


def summaries_of(pop3d):
    summaries = []
    pop3d.on("session_finished")(lambda pop3d, event: summaries.append(event.args[0]))
    return summaries


def read(*chunks):
    """What is read of these chunks, and what is left of them."""
    stream = MemoryStream(chunks)
    found = read_header(stream)
    left = b""
    while data := stream.recv(100):
        left += data
    return found, left


# What is read


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (v1(), Proxied(("192.0.2.7", 40007), OURS, False)),
        (v2(), Proxied(("192.0.2.7", 40007), OURS, False)),
        (v2(tls=False), Proxied(("192.0.2.7", 40007), OURS, False)),
        (v2(tls=True), Proxied(("192.0.2.7", 40007), OURS, True)),
        (
            b"PROXY TCP6 2001:DB8::7 2001:db8::1 65535 110\r\n",
            Proxied(("2001:db8::7", 65535), ("2001:db8::1", 110), False),
        ),
        (
            ProxyProtocolV2().pack(ProxyResultIPv6((IPv6Address("2001:db8::7"), 1), (IPv6Address("2001:db8::1"), 2))),
            Proxied(("2001:db8::7", 1), ("2001:db8::1", 2), False),
        ),
        (b"PROXY UNKNOWN\r\n", Proxied(None, None, False)),
        (b"PROXY UNKNOWN ffff:f... 65535 65535\r\n", Proxied(None, None, False)),
        (LOCAL_V2, Proxied(None, None, False)),
        (UNSPECIFIED_V2, Proxied(None, None, False)),
        (UNIX_V2, Proxied(None, None, False)),
    ],
    ids=[
        *("v1", "v2", "v2 without TLS", "v2 with TLS", "v1 IPv6", "v2 IPv6", "v1 unknown", "v1 unknown, filled"),
        *("v2 local", "v2 unspecified", "v2 unix"),
    ],
)
def test_a_header_is_read_and_not_an_octet_more(header, expected):
    behind = b"USER alice\r\n"
    assert read(header + behind) == (expected, behind)
    assert read(*pieces(header + behind, split=True)) == (expected, behind)


def test_what_packs_headers_agrees_with_the_ones_here():
    theirs, ours = (IPv4Address("192.0.2.7"), 40007), (IPv4Address(OURS[0]), OURS[1])
    assert ProxyProtocolV1().pack(ProxyResultIPv4(theirs, ours)) == v1()
    assert raw_v2(1, 0x11, struct.pack("!4s4sHH", theirs[0].packed, ours[0].packed, 40007, 110)) == v2()


MALFORMED = {
    "nothing": b"",
    "a POP3 command": b"USER alice\r\n",
    "a ClientHello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "v1 without CR": v1().replace(b"\r", b""),
    "v1 without an end": v1()[:-2] + b" " * V1_OCTETS,
    "v1 cut off": v1()[:-4],
    "v1 with a comma": v1().replace(b"192.0.2.7", b"192,0,2,7"),
    "v1 with a port too large": v1(port=65536),
    "v1 with a negative port": v1(port=-1),
    "v1 with a missing address": b"PROXY TCP4 192.0.2.7 40007 110\r\n",
    "v1 of another family": v1().replace(b"TCP4", b"UDP4"),
    "v1 in small letters": v1().lower(),
    "v1 with other octets": v1().replace(b"192.0.2.7", b"\xff\xfe\0%s"),
    "v2 cut off": v2()[:-1],
    "v2 with another end of the signature": v2().replace(b"QUIT", b"QUIX"),
    "v2 of version 3": SIGNATURE + b"\x31\x11\0\x0c" + b"\0" * 12,
    "v2 with another command": raw_v2(2, 0x11, b"\0" * 12),
    "v2 too short for IPv4": raw_v2(1, 0x11, b"\0" * 11),
    "v2 too short for IPv6": raw_v2(1, 0x21, b"\0" * 12),
    "v2 with a unix path that is no text": raw_v2(1, 0x31, b"\xff" * 216),
    "v2 with a checksum too short": raw_v2(1, 0x11, b"\0" * 12 + b"\x03\0\1\0"),
    "v2 too long": SIGNATURE + b"\x21\x11" + struct.pack("!H", V2_OCTETS) + b"\0" * V2_OCTETS,
}


@pytest.mark.parametrize("octets", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_header_is_refused(octets):
    with pytest.raises(ProxyError) as caught:
        read_header(MemoryStream([octets]))
    # What the peer said is not repeated in the log.
    assert str(caught.value) in ("it is malformed", "it is too long", "the peer disconnected")


@given(
    st.one_of(
        st.binary(max_size=150),
        st.builds(lambda tail: b"PROXY " + tail + b"\r\n", st.binary(max_size=110)),
        st.builds(
            lambda command, family, data: raw_v2(command, family, data),
            st.integers(0, 1),
            st.integers(0, 255),
            st.binary(max_size=60),
        ),
    )
)
@settings(max_examples=200, deadline=None)
def test_no_octets_make_the_reading_fail_otherwise(octets):
    stream = MemoryStream([octets])
    try:
        found = read_header(stream)
    except ProxyError:
        return
    assert isinstance(found, Proxied)


def test_a_long_header_of_version_2_is_read_as_far_as_is_sensible():
    tlv = b"\x04" + struct.pack("!H", 4096 - 15) + b"\0" * (4096 - 15)
    assert read(raw_v2(1, 0x11, v2()[16:] + tlv))[0].peer == ("192.0.2.7", 40007)


# Who is believed


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("10.1.2.3", True),
        ("10.2.0.0", False),
        ("192.0.2.1", True),
        ("192.0.2.2", False),
        ("::ffff:192.0.2.1", True),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("fe80::1%eth0", True),
        ("unix:/run/pop3.sock", False),
        ("", False),
    ],
)
def test_only_named_networks_are_believed(host, trusted):
    assert (host in TrustedProxies(["10.1.0.0/16", "192.0.2.1", "2001:db8::/32", "fe80::/64"])) is trusted


@pytest.mark.parametrize("network", ["192.0.2.0/24", "::ffff:192.0.2.0/120", "::FFFF:c000:200/120", "::ffff:0:0/96"])
@pytest.mark.parametrize("host", ["192.0.2.1", "::ffff:192.0.2.1", "0:0:0:0:0:FFFF:c000:201"])
def test_a_proxy_with_an_address_of_ipv4_is_trusted_in_every_spelling(network, host):
    assert host in TrustedProxies([network])
    assert "2001:db8::1" not in TrustedProxies([network])


@pytest.mark.parametrize("network", ["proxy.example.org", "10.0.0.1/8", "", "10.0.0.0/33"])
def test_what_is_no_network_is_told_in_one_line(network):
    with pytest.raises(ConfigError, match=r"\Aproxy network: [^\n]+\Z"):
        TrustedProxies([network])


def test_a_missing_extra_is_told_by_its_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "proxyprotocol", None)
    with pytest.raises(ConfigError, match=r"pip install 'geventpop3\[proxy\]'"):
        TrustedProxies(["127.0.0.1"])


@pytest.mark.parametrize("header", [v1(), v2()], ids=["v1", "v2"])
def test_from_elsewhere_a_header_is_a_bad_command(proxied, dial, header):
    pop3d = proxied(proxies=TrustedProxies(["192.0.2.0/24"]))
    seen = []
    pop3d.on("cmd_user", "connection")(lambda pop3d, event: seen.append(event.client.peer))
    peer = dial(pop3d)
    assert peer.line() == GREETING
    peer.send(header)
    assert peer.line() in (b"-ERR unknown command", b"-ERR no command")
    assert seen == [peer.sock.getsockname()]


# A session


@pytest.mark.parametrize("header", [v1(), v2()], ids=["v1", "v2"])
@pytest.mark.parametrize("split", [False, True], ids=["in one segment", "octet by octet"])
def test_events_and_summaries_name_the_real_peer(proxied, dial, until, header, split):
    pop3d = proxied()
    seen, summaries = [], summaries_of(pop3d)
    pop3d.on("connection")(lambda pop3d, event: seen.append((event.args, event.client.peer, event.client.local)))
    peer = dial(pop3d)
    for piece in pieces(header + b"USER x\r\nQUIT\r\n", split):
        peer.send(piece)
    assert peer.rest() == GREETING + b"\r\n" + b"+OK yes\r\n" * 2
    theirs = ("192.0.2.7", 40007)
    assert seen == [([*theirs, *OURS], theirs, OURS)]
    until(lambda: summaries)
    assert (summaries[0].address, summaries[0].port, summaries[0].octets_in) == (*theirs, len(b"USER x\r\nQUIT\r\n"))


@pytest.mark.parametrize(
    "header", [b"PROXY UNKNOWN\r\n", LOCAL_V2, UNSPECIFIED_V2], ids=["unknown", "local", "unspecified"]
)
def test_without_an_address_the_socket_s_hold(proxied, dial, header):
    pop3d = proxied()
    seen = []
    pop3d.on("connection")(lambda pop3d, event: seen.append((*event.args, event.client.secure)))
    peer = dial(pop3d)
    peer.send(header)
    assert peer.line() == GREETING
    assert seen == [(*peer.sock.getsockname(), *pop3d.getsockname(), False)]


def test_the_greeting_waits_for_the_header(app):
    pop3d = app(proxies=TrustedProxies(["127.0.0.0/8"]))
    said = []

    def proxy():
        # A session asks for more when it has said all that it has to say.
        yield v1()[:-1]
        said.append(bytes(stream.output))
        yield v1()[-1:]
        said.append(bytes(stream.output))

    stream = MemoryStream(proxy())
    session_over(pop3d, stream, ("127.0.0.1", 4), ("127.0.0.1", 110)).run()
    assert said == [b"", GREETING + b"\r\n"]


@pytest.mark.parametrize("octets", MALFORMED.values(), ids=MALFORMED)
def test_a_bad_header_closes_without_a_word_and_with_one_line(proxied, dial, quiet, until, octets):
    pop3d = proxied()
    summaries, seen = summaries_of(pop3d), []
    pop3d.on("connection", "disconnected")(lambda pop3d, event: seen.append(event.name))
    peer = dial(pop3d)
    peer.send(octets)
    peer.sock.shutdown(socket.SHUT_WR)
    assert peer.rest() == b""
    until(lambda: summaries)
    assert summaries[0].reason.startswith("no PROXY header: ")
    (line,) = quiet()
    assert re.fullmatch(rf"session address=127\.0\.0\.1 id=\d+: {re.escape(summaries[0].reason)}", line)
    assert seen == []
    assert not pop3d.clients


@pytest.mark.parametrize("octets", [b"", v1()[:20], v2()[:-1]], ids=["silent", "v1", "v2"])
def test_a_header_has_a_deadline(proxied, dial, quiet, until, octets):
    pop3d = proxied(proxy_deadline=0.05)
    summaries = summaries_of(pop3d)
    peer = dial(pop3d)
    peer.send(octets)
    assert peer.rest() == b""
    until(lambda: summaries)
    assert summaries[0].reason == "no PROXY header: it did not arrive in time"
    assert len(quiet()) == 1


def test_the_deadline_is_for_all_of_the_header(proxied, dial, until):
    pop3d = proxied(proxy_deadline=0.1)
    summaries = summaries_of(pop3d)
    peer = dial(pop3d)

    def drip():
        with suppress(OSError):  # the server has closed
            for at in range(len(v1()) - 1):
                peer.send(v1()[at : at + 1])
                gevent.sleep(0.01)

    dripping = gevent.spawn(drip)
    until(lambda: summaries)
    dripping.kill()
    assert summaries[0].reason == "no PROXY header: it did not arrive in time"


def test_shutdown_does_not_wait_for_a_header(proxied, dial, quiet, until):
    pop3d = proxied(proxy_deadline=3600)
    summaries = summaries_of(pop3d)
    peer = dial(pop3d)
    until(lambda: pop3d.clients)
    with gevent.Timeout(20):
        pop3d.shutdown(grace=3600)
    assert peer.rest() == b""
    assert summaries[0].reason == "shutdown"
    assert quiet() == []


# Limits


def test_sessions_are_counted_by_the_real_address(proxied, dial, until):
    pop3d = proxied(max_sessions_per_address=1)
    first, second, other = dial(pop3d), dial(pop3d), dial(pop3d)
    # The proxy's own address has no limit: three of its connections are here before any header.
    until(lambda: len(pop3d.clients) == 3)
    first.send(v1("192.0.2.7"))
    assert first.line() == GREETING
    second.send(v2("192.0.2.7", 40008))
    assert second.rest() == b"-ERR [SYS/TEMP] too many connections from your address\r\n"
    second.close()
    other.send(v1("192.0.2.8"))
    assert other.line() == GREETING
    first.send(b"QUIT\r\n")
    first.rest()
    until(lambda: len(pop3d.clients) == 1)
    again = dial(pop3d)
    again.send(v1("192.0.2.7"))
    assert again.line() == GREETING


def test_who_is_not_let_in_is_no_connection(proxied, dial, until):
    pop3d = proxied(max_sessions_per_address=1)
    seen, summaries = [], summaries_of(pop3d)
    pop3d.on("connection", "disconnected")(lambda pop3d, event: seen.append((event.name, event.client.peer[1])))
    first, second = dial(pop3d), dial(pop3d)
    first.send(v1(port=1))
    first.line()
    second.send(v1(port=2))
    second.rest()
    second.close()
    until(lambda: summaries)
    assert summaries[0].reason == "refused"
    assert (summaries[0].address, summaries[0].port) == ("192.0.2.7", 2)
    assert seen == [("connection", 1)]


def test_connections_that_never_say_who_they_are_leave_nothing_behind(proxied, dial, until):
    pop3d = proxied(max_sessions_per_address=1)
    for _ in range(3):
        peer = dial(pop3d)
        peer.close()
    until(lambda: not pop3d.clients)
    peer = dial(pop3d)
    peer.send(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 110\r\n")
    assert peer.line() == GREETING


def test_a_full_server_is_full_for_proxies_too(proxied, dial, until):
    pop3d = proxied(max_sessions=1)
    dial(pop3d)
    until(lambda: pop3d.clients)
    assert dial(pop3d).rest() == b"-ERR [SYS/TEMP] too many connections, try again later\r\n"


# With TLS


@pytest.fixture
def both(proxied, authority, tmp_path):
    def make(**options):
        return proxied(
            listen=["127.0.0.1:0"],
            tls_listen=["127.0.0.1:0"],
            tls=Certificates([authority.pair(tmp_path)]),
            **options,
        )

    return make


@pytest.mark.parametrize("split", [False, True], ids=["in one segment", "octet by octet"])
@pytest.mark.parametrize("header", [v1(), v2()], ids=["v1", "v2"])
def test_the_header_comes_before_tls(both, dial, authority, header, split):
    pop3d = both()
    seen = []
    pop3d.on("tls_started")(lambda pop3d, event: seen.append(event.client.peer))
    for number, address in enumerate(pop3d.getsocknames()):
        peer = dial(address)
        for piece in pieces(header, split):
            peer.send(piece)
        if not number:
            assert peer.line() == GREETING
            assert peer.command(b"STLS") == b"+OK begin TLS"
        peer.sock = authority.context().wrap_socket(peer.sock, server_hostname=NAME)
        if number:
            assert peer.line() == GREETING
        assert peer.command(b"USER x") == b"+OK yes"
    assert seen == [("192.0.2.7", 40007)] * 2


def test_a_refusal_is_not_said_in_clear_text_where_tls_is_expected(both, dial, until):
    pop3d = both(max_sessions_per_address=1)
    first, second = dial(pop3d), dial(pop3d.getsocknames()[1])
    first.send(v1(port=1))
    assert first.line() == GREETING
    second.send(v1(port=2))
    assert second.rest() == b""


def test_tls_with_the_proxy_makes_a_client_secure_and_stls_needless(both, dial):
    pop3d = both()
    seen = []
    pop3d.on("connection")(lambda pop3d, event: seen.append((event.client.secure, event.client.tls)))
    for tls in (True, False):
        peer = dial(pop3d)
        peer.send(v2(tls=tls))
        peer.line()
        assert peer.command(b"STLS") == (b"-ERR TLS is not available here" if tls else b"+OK begin TLS")
    assert seen == [(True, None), (False, None)]


def test_a_clear_text_login_is_allowed_where_the_proxy_has_tls_with_the_client(serve, dial, maildrops):
    pop3d = serve(proxies=TrustedProxies(["127.0.0.1"]))
    pop3d.register(maildrops)
    pop3d.start()
    clear, secure = dial(pop3d), dial(pop3d)
    clear.send(v2(tls=False))
    clear.line()
    # The proxy is on loopback, its client is not.
    assert clear.command(b"USER alice").startswith(b"-ERR [AUTH] ")
    secure.send(v2(tls=True))
    secure.line()
    assert secure.command(b"USER alice") == b"+OK send PASS"
    assert secure.command(b"PASS alice").startswith(b"+OK")


@pytest.mark.parametrize(
    "header",
    [v1("127.0.0.1"), v2("127.0.0.1"), v2("127.0.0.1", tls=False), b"PROXY UNKNOWN\r\n", LOCAL_V2, UNSPECIFIED_V2],
    ids=["v1", "v2", "v2 without TLS", "unknown", "local", "unspecified"],
)
def test_behind_a_proxy_nothing_is_loopback(serve, dial, maildrops, header):
    pop3d = serve(proxies=TrustedProxies(["127.0.0.1"]))
    pop3d.register(maildrops)
    pop3d.start()
    peer = dial(pop3d)
    peer.send(header)
    peer.line()
    assert peer.command(b"USER alice").startswith(b"-ERR [AUTH] ")
    assert peer.command(b"CAPA").startswith(b"+OK")
    told = peer.body()
    assert b"USER\r\n" not in told.replace(b"UTF8 USER", b"")
    assert b"PLAIN" not in told
    peer.close()
    allowed = dial(pop3d)
    allowed.send(v2("127.0.0.1", tls=True))
    allowed.line()
    assert allowed.command(b"USER alice") == b"+OK send PASS"
