"""LDAP with ldap3 as the client and a small server that can be told to misbehave; slapd itself is tested elsewhere."""

import logging
import ssl
import sys
import threading
import time
from functools import cache

import pytest
import trustme
from backends_ldap_server import LdapServer
from hypothesis import given, settings
from hypothesis import strategies as st

from geventpop3.auth import ldap
from geventpop3.auth.ldap import LdapAuthenticator, UserDn, UserSearch, escape_dn, escape_filter
from geventpop3.errors import ConfigError, StoreUnavailable

BASE = "ou=people,dc=example,dc=org"
SERVICE = "cn=pop3,dc=example,dc=org"
ALICE = f"uid=alice,{BASE}"
SEARCH = UserSearch(BASE, "(&(objectClass=person)(mail={name}))", SERVICE, "service's own")
DN = UserDn("uid={name}," + BASE)


def person(uid, mail, password=b"secret"):
    return password, {"uid": uid, "mail": mail, "objectclass": [b"person"]}


ENTRIES = {
    SERVICE: (b"service's own", {}),
    ALICE: person([b"alice"], [b"alice@example.org"]),
    f"uid=bob,{BASE}": person([b"bob", b"robert"], [b"bob@example.org"]),
    f"uid=two1,{BASE}": person([b"two1"], [b"two@example.org"]),
    f"uid=two2,{BASE}": person([b"two2"], [b"two@example.org"]),
    f"uid=bare,{BASE}": (b"secret", {"mail": [b"bare@example.org"], "objectclass": [b"person"]}),
    f"uid=star,{BASE}": person([b"star"], [b"a*@example.org"]),
    f"uid=odd,{BASE}": person([b"o\0d"], [b"odd@example.org"]),
    f"uid=o\\,dd\\+,{BASE}": person([b"o,dd+"], [b"(*)>=\\2a@example.org"]),
}


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def certified(authority):
    """Makes the server's TLS context with a certificate for a host."""

    @cache
    def certified(host):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(host).configure_cert(context)
        return context

    return certified


@pytest.fixture
def make_server(certified):
    servers = []

    def make_server(host="127.0.0.1", *, tls_at_once=False):
        servers.append(LdapServer(dict(ENTRIES), certified(host), tls_at_once=tls_at_once))
        return servers[-1]

    yield make_server
    for server in servers:
        server.close()


@pytest.fixture
def server(make_server):
    return make_server()


@pytest.fixture
def make():
    """Makes authenticators whose connections, of this thread, are closed at the end."""
    made = []

    def make(urls, users=SEARCH, *, allow_plaintext=True, **options):
        made.append(LdapAuthenticator(urls, users, allow_plaintext=allow_plaintext, **options))
        return made[-1]

    yield make
    for users in made:
        users.close()


@pytest.fixture(scope="module")
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def messages(caplog, level):
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def said(server):
    return [line[0] for line in server.log]


# Who gets in, found by a search


def test_a_user_who_is_found_and_may_bind_gets_in(server, make):
    users = make(server.url)
    assert users.authenticate("alice@example.org", "secret") == "alice"
    assert [line[:2] for line in server.log] == [("bind", SERVICE), ("search", BASE), ("bind", ALICE)]


@pytest.mark.parametrize("name", ["alice@example.org", "nobody@example.org", "two@example.org"])
def test_a_failure_takes_as_many_steps_for_an_unknown_user(server, make, name):
    assert make(server.url).authenticate(name, "wrong") is None
    assert said(server) == ["bind", "search", "bind"]
    assert server.log[2][2] == b"wrong"


def test_the_owner_is_the_attribute_however_the_client_spells_the_name(server, make):
    assert make(server.url).authenticate("ALICE@example.org", "secret") == "alice"


def test_without_an_attribute_the_owner_is_the_name(server, make):
    users = make(server.url, UserSearch(BASE, "(mail={name})", SERVICE, "service's own", owner_attribute=None))
    assert users.authenticate("alice@example.org", "secret") == "alice@example.org"


@pytest.mark.parametrize(
    "name", ["*", "a*", "alice@example.org)(uid=*", "*)(uid=*))(|(uid=*", "\\2a", "a\\2a@example.org"]
)
def test_a_name_is_a_value_in_the_filter_and_nothing_else(server, make, name):
    users = make(server.url)
    assert users.authenticate(name, "secret") is None
    assert users.knows(name) is False


def test_signs_of_a_filter_in_a_name_find_the_user_who_has_them(server, make):
    assert make(server.url).authenticate("(*)>=\\2a@example.org", "secret") == "o,dd+"


def test_two_entries_for_a_name_are_nobody_and_an_error(server, make, caplog):
    users = make(server.url)
    assert users.authenticate("two@example.org", "secret") is None
    assert messages(caplog, logging.ERROR) == [
        "LDAP: login of 'two@example.org' refused: the search finds more than one entry"
    ]
    assert users.knows("two@example.org") is True
    assert users.owner("two@example.org") is None


def test_more_entries_than_were_asked_for_are_nobody_too(server, make):
    server.entries[f"uid=two3,{BASE}"] = person([b"two3"], [b"two@example.org"])
    assert make(server.url).authenticate("two@example.org", "secret") is None


def test_a_search_tells_who_is_known_and_who_the_owner_is(server, make):
    users = make(server.url)
    assert users.knows("alice@example.org") is True
    assert users.knows("nobody@example.org") is False
    assert users.knows("alice\0") is False
    assert users.owner("alice@example.org") == "alice"
    assert users.owner("nobody@example.org") is None
    assert users.owner("\udcff") is None


# Who gets in, by a template


def test_a_user_whose_dn_is_known_gets_in_without_a_search_account(server, make):
    assert make(server.url, DN).authenticate("alice", "secret") == "alice"
    assert server.log[0] == ("bind", ALICE, b"secret")


def test_a_wrong_password_does_not(server, make):
    assert make(server.url, DN).authenticate("alice", "wrong") is None


def test_a_name_is_a_value_in_the_dn_and_nothing_else(server, make):
    users = make(server.url, DN)
    assert users.authenticate("o,dd+", "secret") == "o,dd+"
    assert users.authenticate("alice,ou=people", "secret") is None
    assert server.log[-1][1] == f"uid=alice\\,ou\\=people,{BASE}"


def test_one_of_several_values_is_the_owner_if_it_is_the_name(server, make, caplog):
    server.entries[f"uid=Bob,{BASE}"] = server.entries[f"uid=bob,{BASE}"]
    users = make(server.url, DN)
    assert users.authenticate("bob", "secret") == "bob"
    assert users.authenticate("Bob", "secret") is None
    assert messages(caplog, logging.ERROR) == [
        "LDAP: login of 'Bob' refused: the attribute uid of its entry is missing, unusable or has several values"
    ]


@pytest.mark.parametrize("name", ["bare", "odd"])
def test_an_entry_that_shows_no_owner_lets_nobody_in(server, make, caplog, name):
    assert make(server.url, DN).authenticate(name, "secret") is None
    assert len(messages(caplog, logging.ERROR)) == 1


def test_an_entry_that_may_not_be_read_lets_nobody_in(server, make):
    server.results["search"] = 32
    assert make(server.url, DN).authenticate("bare", "secret") is None


def test_a_template_without_an_attribute_takes_the_name(server, make):
    users = make(server.url, UserDn("uid={name}," + BASE, owner_attribute=None))
    assert users.authenticate("bare", "secret") == "bare"
    assert said(server) == ["bind"]


def test_a_template_cannot_tell_who_is_known(server, make):
    users = make(server.url, DN)
    assert users.knows("alice") is None
    assert users.owner("alice") == "alice"
    assert not users.answers_at_once()


# What never reaches the server


@pytest.mark.parametrize("users", [SEARCH, DN])
@pytest.mark.parametrize(
    ("name", "password"), [("alice", ""), ("", "secret"), ("alice", "x\0"), ("alice", "\udcff"), ("a\udcff", "x")]
)
def test_no_bind_is_tried_with_what_could_be_anonymous(server, make, users, name, password):
    assert make(server.url, users).authenticate(name, password) is None
    assert server.connections == 0


# What the server says


@pytest.mark.parametrize("code", sorted(ldap.REFUSALS))
def test_a_result_that_refuses_the_user_is_a_wrong_password(server, make, code):
    server.results["bind"] = code
    assert make(server.url, DN).authenticate("alice", "secret") is None


@pytest.mark.parametrize(("code", "name"), [(1, "operationsError"), (8, "strongerAuthRequired"), (52, "unavailable")])
def test_any_other_result_is_an_outage(server, make, code, name):
    server.results["bind"] = code
    with pytest.raises(StoreUnavailable) as caught:
        make(server.url, DN).authenticate("alice", "secret")
    assert caught.value.code == "SYS/TEMP"
    assert caught.value.detail == f"{server.url}: a bind returned the result {code}, {name}"


@pytest.mark.parametrize(
    ("users", "code", "detail"),
    [
        (SEARCH, 32, f"the search below {BASE} returned the result 32, noSuchObject"),
        (SEARCH, 4, f"the search below {BASE} returned the result 4, sizeLimitExceeded"),
        (DN, 50, "the search of one entry returned the result 50, insufficientAccessRights"),
    ],
)
def test_a_search_that_fails_is_an_outage(server, make, users, code, detail):
    server.results["search"] = code
    with pytest.raises(StoreUnavailable) as caught:
        make(server.url, users).authenticate("alice", "secret")
    assert caught.value.detail == f"{server.url}: {detail}"


def test_a_referral_is_an_outage_and_takes_no_password_elsewhere(make_server, make):
    server, other = make_server(), make_server()
    server.results["search"] = 10
    server.referral = f"{other.url}/{BASE}"
    with pytest.raises(StoreUnavailable) as caught:
        make(server.url).authenticate("alice@example.org", "secret")
    assert "result 10, referral" in caught.value.detail
    assert other.connections == 0


def test_a_service_account_that_is_refused_is_an_outage_and_not_the_users_fault(server, make):
    server.results["bind", SERVICE] = 49
    with pytest.raises(StoreUnavailable) as caught:
        make(server.url).authenticate("alice@example.org", "secret")
    assert caught.value.detail == f"{server.url}: the bind of the service account {SERVICE} was refused"


@pytest.mark.parametrize("behave", ["silent", "garbage"])
@pytest.mark.parametrize("users", [SEARCH, DN])
def test_a_server_without_an_answer_is_an_outage_in_bounded_time(server, make, users, behave):
    server.behave = behave
    begin = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        make(server.url, users, seconds=0.1).authenticate("alice", "secret")
    assert caught.value.detail.startswith(server.url)
    assert time.monotonic() - begin < 60


def test_a_server_that_is_not_there_is_an_outage(server, make):
    server.close()
    with pytest.raises(StoreUnavailable) as caught:
        make(server.url).authenticate("alice", "secret")
    assert "Connection refused" in caught.value.detail


# Connections


def test_a_connection_is_kept(server, make):
    users = make(server.url)
    for _ in range(3):
        assert users.authenticate("alice@example.org", "secret") == "alice"
        assert users.authenticate("alice@example.org", "wrong") is None
    assert server.connections == 1


def test_a_connection_that_is_kept_remembers_no_password(server, make):
    users = make(server.url, DN)
    users.authenticate("alice", "secret")
    assert "secret" not in repr(vars(users._local.session._connection))
    assert "secret" not in str(users._local.session._connection.request)


def test_a_forked_child_does_not_use_the_connection_of_its_parent(server, make, monkeypatch):
    users = make(server.url, DN)
    users.authenticate("alice", "secret")
    before = users._local.session
    with monkeypatch.context() as child:
        child.setattr("geventpop3.auth.ldap.os.getpid", lambda: -1)
        assert users.authenticate("alice", "secret") == "alice"
        assert users._local.session is not before


def test_the_connection_of_a_thread_that_ended_is_closed(server, make):
    users = make(server.url, DN)
    sockets = []

    def log_in():
        assert users.authenticate("alice", "secret") == "alice"
        sockets.append(users._local.session._connection.socket)

    thread = threading.Thread(target=log_in)
    thread.start()
    thread.join()
    # By that thread, of which join may return a moment before.
    end = time.monotonic() + 60
    while sockets[0].fileno() >= 0 and time.monotonic() < end:
        time.sleep(0.001)
    assert sockets[0].fileno() == -1


def test_a_connection_that_the_server_closed_is_opened_anew(server, make):
    users = make(server.url, DN)
    users.authenticate("alice", "secret")
    server.drop()
    assert users.authenticate("alice", "secret") == "alice"
    assert server.connections == 2


def test_a_server_that_closes_after_each_answer_is_an_outage_for_two_answers(server, make):
    server.behave = "closing"
    with pytest.raises(StoreUnavailable):
        make(server.url).authenticate("alice@example.org", "secret")
    assert make(server.url, UserDn("uid={name}," + BASE, None)).authenticate("alice", "secret") == "alice"


def test_a_connection_that_was_idle_for_long_is_not_used_again(server, make, monkeypatch):
    users = make(server.url)
    users.authenticate("alice@example.org", "secret")
    monkeypatch.setattr(ldap, "IDLE_SECONDS", 0.0)
    assert users.authenticate("alice@example.org", "secret") == "alice"
    assert server.connections == 2


def test_the_next_server_answers_for_one_that_is_down_and_is_asked_first_from_then_on(make_server, make, caplog):
    down, up = make_server(), make_server()
    down.behave = "silent"
    users = make([down.url, up.url], DN, seconds=0.1)
    assert users.authenticate("alice", "secret") == "alice"
    users.close()
    assert users.authenticate("alice", "secret") == "alice"
    assert down.connections == 1
    (warning,) = messages(caplog, logging.WARNING)
    assert warning.startswith(f"LDAP: {down.url}: ")
    assert warning.endswith(f"; {up.url} answers")


def test_a_password_that_is_wrong_is_asked_of_one_server_only(make_server, make):
    servers = [make_server(), make_server()]
    assert make([server.url for server in servers], DN).authenticate("alice", "wrong") is None
    assert [server.connections for server in servers] == [1, 0]


# TLS


def test_ldap_goes_on_with_starttls_unless_told_not_to(server, make, trusting):
    users = make(server.url, allow_plaintext=False, context=trusting)
    assert users.authenticate("alice@example.org", "secret") == "alice"
    assert said(server) == ["starttls", "bind", "search", "bind"]


def test_ldaps_is_tls_from_the_first_octet(make_server, make, trusting):
    server = make_server(tls_at_once=True)
    users = make(server.url, allow_plaintext=False, context=trusting)
    assert users.authenticate("alice@example.org", "secret") == "alice"
    assert said(server) == ["bind", "search", "bind"]


@pytest.mark.parametrize("tls_at_once", [True, False])
def test_a_certificate_that_nobody_vouches_for_gets_no_password(make_server, make, tls_at_once):
    server = make_server(tls_at_once=tls_at_once)
    with pytest.raises(StoreUnavailable, match="logins cannot be checked") as caught:
        make(server.url, DN, allow_plaintext=False).authenticate("alice", "secret")
    assert "CERTIFICATE_VERIFY_FAILED" in caught.value.detail
    assert "bind" not in said(server)


@pytest.mark.parametrize("tls_at_once", [True, False])
def test_a_certificate_for_another_host_gets_no_password(make_server, make, trusting, tls_at_once):
    server = make_server("ldap.example.org", tls_at_once=tls_at_once)
    with pytest.raises(StoreUnavailable):
        make(server.url, DN, allow_plaintext=False, context=trusting).authenticate("alice", "secret")
    assert "bind" not in said(server)


def test_a_certificate_is_for_the_host_of_the_url_not_for_its_address(server, make, trusting):
    url = server.url.replace("127.0.0.1", "127.1")
    with pytest.raises(StoreUnavailable) as caught:
        make(url, DN, allow_plaintext=False, context=trusting).authenticate("alice", "secret")
    assert "CERTIFICATE_VERIFY_FAILED" in caught.value.detail


def test_a_server_that_refuses_starttls_gets_no_password(server, make, trusting):
    server.results["starttls"] = 2
    with pytest.raises(StoreUnavailable) as caught:
        make(server.url, DN, allow_plaintext=False, context=trusting).authenticate("alice", "secret")
    assert "startTLS failed - protocolError" in caught.value.detail
    assert said(server) == ["starttls"]


# Escaping


def test_escaped_values_of_dns_are_those_of_the_rfc():
    # RFC 4514 section 2.4 and its examples in section 4.
    for value, escaped in [
        ('James "Jim" Smith, III', 'James \\"Jim\\" Smith\\, III'),
        ("#4869", "\\#4869"),
        (" x ", "\\ x\\ "),
        (" ", "\\ "),
        ("  ", "\\ \\ "),
        ("a\\b", "a\\\\b"),
        ("a+b;c<d>e=f", "a\\+b\\;c\\<d\\>e\\=f"),
        ("Lučić", "Lučić"),
        ("\0", "\\00"),
        ("", ""),
    ]:
        assert escape_dn(value) == escaped


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet=st.sampled_from('ab \\"#+,;<=>\0é'), max_size=8))
def test_an_escaped_value_is_one_value_of_a_dn(value):
    unescaped, at = "", 0
    escaped = escape_dn(value)
    assert not escaped.startswith((" ", "#"))
    while at < len(escaped):
        step = 1
        if escaped[at] == "\\":
            at += 1
            step = 2 if escaped[at : at + 2] == "00" else 1
        else:
            assert escaped[at] not in '"+,;<>=\0'
        unescaped += "\0" if step == 2 else escaped[at]
        at += step
    assert unescaped == value


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8))
@settings(max_examples=50, deadline=None)
def test_an_escaped_assertion_is_letters_digits_and_octets(value):
    escaped = escape_filter(value)
    assert escaped.replace("\\", "").isalnum() or not value
    octets = b"".join(
        bytes.fromhex(piece[:2]) + piece[2:].encode() if number else piece.encode()
        for number, piece in enumerate(escaped.split("\\"))
    )
    assert octets == value.encode()


def test_the_assertions_of_the_rfc_are_escaped():
    # RFC 4515 section 4.
    assert escape_filter("Parens R Us (for all your parenthetical needs)").count("\\28") == 1
    assert escape_filter("*") == "\\2a"
    assert escape_filter("C:\\MyFile") == "C\\3a\\5cMyFile"


# The operator's mistakes


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ldap.example.org",
        "http://ldap.example.org",
        "ldap://",
        "ldap://host/dc=example",
        "ldap://user@host",
        "ldap://host:port",
        "ldap://host?x",
        "ldap://[::1",
    ],
)
def test_a_url_that_is_none_is_refused(make, url):
    with pytest.raises(ConfigError, match="LDAP: "):
        make(url)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("ldap://ldap.example.org", ("ldap", "ldap.example.org", None)),
        ("ldaps://[::1]:1636/", ("ldaps", "::1", 1636)),
        ("ldapi://%2Frun%2Fldapi", ("ldapi", "ldapi://%2Frun%2Fldapi", None)),
    ],
)
def test_a_url_is_scheme_host_and_port(url, server):
    assert ldap._server(url)[1:] == server


def test_no_server_at_all_is_refused(make):
    with pytest.raises(ConfigError, match="at least one server"):
        make([])


@pytest.mark.parametrize(
    ("users", "complaint"),
    [
        (lambda: UserDn("uid=alice," + BASE), r"template of DNs must contain the placeholder \{name\}"),
        (lambda: UserSearch(BASE, "(uid=alice)", SERVICE, "x"), r"the filter must contain the placeholder \{name\}"),
        (
            lambda: UserSearch(BASE, "(uid={name}", SERVICE, "x"),
            r"LDAP: \(uid=name is not a search filter: invalid filter",
        ),
        (lambda: UserSearch(BASE, "(uid={name})", "", "x"), "needs a DN and a password"),
        (lambda: UserSearch(BASE, "(uid={name})", SERVICE, ""), "needs a DN and a password"),
    ],
)
def test_users_who_cannot_be_found_so_are_refused(users, complaint):
    with pytest.raises(ConfigError, match=complaint):
        users()


def test_the_password_of_the_service_account_does_not_show():
    assert "service's own" not in repr(SEARCH)


def test_without_ldap3_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ldap3", None)
    with pytest.raises(ConfigError, match=r"LDAP needs an extra: pip install 'geventpop3\[ldap\]'"):
        LdapAuthenticator("ldap://127.0.0.1", DN)


def test_a_local_socket_needs_no_tls(make):
    users = make("ldapi://%2Fnowhere%2Fldapi", DN, allow_plaintext=False)
    with pytest.raises(StoreUnavailable) as caught:
        users.authenticate("alice", "secret")
    assert "No such file" in caught.value.detail


# What a check finds


def test_a_check_asks_as_a_login_does(server, make):
    make(server.url).check()
    assert [kind for kind, *_ in server.log] == ["bind", "search", "bind"]
    assert server.log[0][1] == SERVICE
    make(server.url, DN).check()
    assert server.log[-1][1].startswith("uid=nobody-")


@pytest.mark.parametrize(
    ("results", "users", "words"),
    [
        ({("bind", SERVICE): 49}, SEARCH, f"the bind of the service account {SERVICE} was refused"),
        ({"search": 32}, SEARCH, f"the search below {BASE} returned the result 32, noSuchObject"),
        ({"bind": 34}, DN, "it reports a malformed bind DN: check the template"),
        ({"bind": 0}, DN, "it accepts a random name with a random password"),
        ({"bind": 51}, DN, "a bind returned the result 51, busy"),
    ],
)
def test_a_check_tells_what_is_wrong(server, make, results, users, words):
    server.results |= results
    if results == {"bind": 0}:
        users = UserDn("uid={name}," + BASE, owner_attribute=None)
    with pytest.raises(ConfigError) as caught:
        make(server.url, users).check()
    assert str(caught.value).startswith(f"LDAP: {server.url}: ")
    assert words in str(caught.value)
    assert "service's own" not in str(caught.value)


def test_a_check_asks_all_servers_and_warns_of_those_that_do_not_answer(make_server, make, caplog):
    one, other = make_server(), make_server()
    one.close()
    make([one.url, other.url]).check()
    (warning,) = messages(caplog, logging.WARNING)
    assert warning.startswith(f"LDAP: {one.url}: ")
    assert warning.endswith("; another server is used")
    other.behave = "silent"
    with pytest.raises(ConfigError) as caught:
        make([one.url, other.url], seconds=0.1).check()
    assert one.url in str(caught.value)
    assert other.url in str(caught.value)


def test_of_several_values_the_owner_is_the_one_that_is_the_name_in_another_spelling(server, make):
    server.entries[f"uid=dora,{BASE}"] = person([b"dora"], [b"d@other.org", b"dora@Example.ORG"])
    users = UserSearch(BASE, "(mail={name})", SERVICE, "service's own", "mail")
    assert make(server.url, users).authenticate("dora@example.org", "secret") == "dora@Example.ORG"
    assert make(server.url, users).authenticate("Dora@example.org", "secret") is None
    lower = UserSearch(BASE, "(mail={name})", SERVICE, "service's own", "mail", username_case="lower")
    assert make(server.url, lower).authenticate("Dora@example.org", "secret") == "dora@Example.ORG"


@pytest.mark.parametrize("quoting", [lambda text: text, repr, lambda text: f"{text.encode()!r}"])
def test_no_password_is_in_what_is_said_of_a_failed_bind(server, make, monkeypatch, quoting):
    def rebind(self, user, password, **options):
        raise RuntimeError(f"cannot bind with {quoting(password.decode())}")

    monkeypatch.setattr("ldap3.Connection.rebind", rebind)
    for users, secret in ((DN, "c4n4ry"), (SEARCH, "service's own")):
        with pytest.raises(StoreUnavailable) as caught:
            make(server.url, users).authenticate("alice", "c4n4ry")
        assert "RuntimeError: cannot bind with " in caught.value.detail
        assert secret not in caught.value.detail
