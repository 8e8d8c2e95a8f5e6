"""AUTH (RFC 5034) as the service answers it: what is offered to whom, what counts as a try, who is let in as whom."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Callable, Sequence

import pytest
import required

from geventpop3 import err, ok
from geventpop3.auth import Authenticator, ClearSecret, ScramSecret, SecretAuthenticator
from geventpop3.auth.authenticator import FunctionAuthenticator, TokenAuthenticator
from geventpop3.auth.chain import Chain
from geventpop3.auth.mechanisms import MECHANISMS, Challenge, CheckPassword, CheckToken, Mechanism, Request
from geventpop3.auth.mechanisms.dialogue import authorized_identity
from geventpop3.auth.passwd import PasswordFile
from geventpop3.errors import ConfigError, MaildropLocked, StoreUnavailable
from geventpop3.service import MaildropService
from geventpop3.service.policy import PerUser
from geventpop3.service.sasl import ABANDONED
from geventpop3.stores.memory import MemoryStore
from geventpop3.testing.memory_stream import MemoryStream

FAILED = "-ERR [AUTH] authentication failed"
CANCELLED = "-ERR authentication cancelled"
BAD_BASE64 = "-ERR the response is not valid base64"
IN = "+OK 3 messages (71 octets)"
FAR = "192.0.2.1"
BINDING = hashlib.sha256(b"a certificate").digest()


def b64(octets: bytes | str) -> str:
    return base64.b64encode(octets.encode() if isinstance(octets, str) else octets).decode()


def plain(name: str = "alice", password: str = "alice", authorization: str = "") -> str:
    return b64(f"{authorization}\0{name}\0{password}")


Say = str | Callable[[bytes], bytes | str]


class Conversation(MemoryStream):
    """Says line after line, each once what came before is answered; a function is told the challenge, decoded.

    It says no more where a function is due and no challenge came.
    """

    def __init__(self, says: Sequence[Say]) -> None:
        super().__init__(self._lines(says))

    def _lines(self, says):
        for say in says:
            line = bytes(self.output).split(b"\r\n")[-2]
            if callable(say):
                if not line.startswith(b"+ "):
                    return  # refused
                say = say(base64.b64decode(line[2:], validate=True))
                say = b64(say) if isinstance(say, bytes) else say
            yield say.encode() + b"\r\n"


@pytest.fixture
def converse():
    """Plays a client that waits for each reply; what was answered, without the greeting."""

    def play(app, *says: Say, peer: str = "127.0.0.1") -> list[str]:
        stream = Conversation(says)
        app.run(stream, peer)
        return bytes(stream.output).decode().split("\r\n")[1:-1]

    return play


@pytest.fixture
def heard():
    """Follows the outcome of logins: ``authenticated`` and ``authentication_failed`` with their arguments."""

    def follow(app) -> list[tuple[str, ...]]:
        events: list[tuple[str, ...]] = []

        @app.pop3d.on("authenticated", "authentication_failed")
        def note(pop3d, event):
            events.append((event.name, *event.args))

        return events

    return follow


class Clear(SecretAuthenticator):
    """Everybody's password is the name, and is known."""

    NAMES = ("alice", "bob", "carol")

    def authenticate(self, name, password):
        return name if name in self.NAMES and name == password else None

    def secret(self, name):
        return ClearSecret(name.encode()) if name in self.NAMES else None

    def knows(self, name):
        return name in self.NAMES

    def answers_at_once(self):
        return True


class Tokens(TokenAuthenticator):
    """The token of a name is ``token-<name>``; nobody has a password."""

    def authenticate(self, name, password):
        return None

    def checks_passwords(self):
        return False

    def check_token(self, name, token):
        owner = token.removeprefix("token-")
        return owner if owner != token and name in (None, owner) else None

    def answers_at_once(self):
        return True


# What is offered


def sasl_lines(replies: list[str]) -> list[str]:
    return [line for line in replies if line.startswith("SASL")]


def test_the_sasl_line_and_bare_auth_list_the_same_mechanisms(make):
    # Trap 31, draft-myers-sasl-pop3: older clients say AUTH alone, some with a blank behind it.
    app = make(authenticator=Clear())
    names = ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN", "CRAM-MD5"]
    replies = app.talk("CAPA", "AUTH", "AUTH ", "auth\t")
    assert sasl_lines(replies) == [" ".join(["SASL", *names])]
    listing = ["+OK mechanisms follow", *names, "."]
    assert replies[-3 * len(listing) :] == listing * 3


def test_no_mechanism_is_no_sasl_line_and_an_empty_list(make):
    # Trap 21, RFC 2449 section 6.3: the line says that AUTH is there and takes an initial response.
    for app, peer in ((make(mechanisms={}), "127.0.0.1"), (make(), FAR)):
        replies = app.talk("CAPA", "AUTH", peer=peer)
        assert sasl_lines(replies) == []
        assert replies[-2:] == ["+OK mechanisms follow", "."]


def test_after_login_the_sasl_line_stays(make):
    # RFC 2449 section 6.3: it is announced in both states.
    app = make(authenticator=Clear())
    assert sasl_lines(app.talk("CAPA")) == sasl_lines(app.login("CAPA"))


def test_far_away_only_what_hides_the_password_is_offered(make):
    # Trap 30, RFC 8314 section 3.1.
    app = make(authenticator=Clear())
    assert sasl_lines(app.talk("CAPA", peer=FAR)) == ["SASL SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5"]
    assert sasl_lines(make(allow_plaintext=True).talk("CAPA", peer=FAR)) == ["SASL PLAIN LOGIN"]
    assert sasl_lines(make(authenticator=Tokens()).talk("CAPA", peer=FAR)) == []


@pytest.mark.parametrize("command", ["AUTH PLAIN", f"AUTH PLAIN {plain()}", "AUTH LOGIN", "AUTH login ="])
def test_a_clear_text_mechanism_far_away_is_refused_before_the_password_is_sent(app, heard, command):
    events = heard(app)
    refused = "-ERR [AUTH] a clear-text login is not allowed on this connection"
    # However often, because nothing was tried.
    assert app.talk(*[command] * 5, "QUIT", peer=FAR) == [*[refused] * 5, "+OK goodbye"]
    assert events == []


def test_tokens_alone_offer_no_passwords(make):
    app = make(authenticator=Tokens())
    replies = app.talk("CAPA", "USER alice", f"AUTH PLAIN {plain()}")
    assert sasl_lines(replies) == ["SASL OAUTHBEARER XOAUTH2"]
    assert "USER" not in replies
    assert replies[-2:] == ["-ERR nobody has a password here, use AUTH", "-ERR no such authentication mechanism"]


SCRAM = ScramSecret.of(b"x", iterations=1).field
HASHED = "{SSHA}SXi0Zot6yvySYONp7pTmmPYioqBgCws2"


@pytest.mark.parametrize(
    ("fields", "names", "apop"),
    [
        (["{PLAIN}x", "{PLAIN}y"], "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN CRAM-MD5", True),
        ([SCRAM, "{PLAIN}y"], "SCRAM-SHA-256 PLAIN LOGIN", False),
        ([SCRAM], "SCRAM-SHA-256 PLAIN LOGIN", False),
        ([SCRAM, HASHED], "PLAIN LOGIN", False),
        (["{PLAIN}x", HASHED], "PLAIN LOGIN", False),
        ([HASHED], "PLAIN LOGIN", False),
        ([], "PLAIN LOGIN", False),
    ],
)
def test_what_not_every_user_can_use_is_not_offered(make, tmp_path, fields, names, apop):
    # Clients choose the strongest mechanism of the list, and try no other.
    path = tmp_path / "passwords"
    path.write_text("".join(f"user{n}:{field}\n" for n, field in enumerate(fields)))
    app = make(authenticator=PasswordFile(path))
    assert sasl_lines(app.talk("CAPA")) == [f"SASL {names}"]
    stream = MemoryStream([])
    app.run(stream)
    assert (b"<" in stream.output) is apop


def test_a_third_partys_mechanism_is_one_more_row(make):
    def run(context):
        name = (yield from Challenge(b"who?")).decode()
        return (yield from authorized_identity(name, (yield from CheckPassword(name, name)), None))

    app = make(mechanisms={"X-ECHO": Mechanism(run), **MECHANISMS})
    assert sasl_lines(app.talk("CAPA")) == ["SASL X-ECHO PLAIN LOGIN"]
    assert app.talk("AUTH X-ECHO", b64("alice")) == [f"+ {b64('who?')}", IN]


def test_a_mechanism_that_asks_for_what_nobody_can_answer_is_an_accident(make, caplog):
    class Riddle(Request[str]):
        pass

    def run(context):
        yield Riddle()

    app = make(mechanisms={"X-RIDDLE": Mechanism(run)})
    (reply,) = app.talk("AUTH X-RIDDLE")
    assert reply.startswith("-ERR [SYS/TEMP] internal error")
    assert "HandedOverError: a mechanism asked for Riddle, which nobody can answer" in caplog.text


# The command


@pytest.mark.parametrize("name", ["KERBEROS_V4", "*", "=", "PLAI", "SCRAM-SHA-256", "X" * 500])
def test_an_unknown_mechanism_is_no_try(app, name):
    assert app.talk(*[f"AUTH {name}"] * 4, "QUIT") == [*["-ERR no such authentication mechanism"] * 4, "+OK goodbye"]


def test_no_other_letter_is_taken_for_an_ascii_one(make):
    app = make(authenticator=Clear())
    assert app.talk("AUTH \u017fCRAM-SHA-256", "AUTH scram-sha-256", "*") == [
        "-ERR no such authentication mechanism",
        "+ ",
        CANCELLED,
    ]


def test_a_challenge_is_a_plus_a_space_and_base64(app):
    # Trap 32, RFC 5034 section 4: the space is there even when nothing follows.
    stream = MemoryStream([b"AUTH PLAIN\r\n", plain().encode() + b"\r\nQUIT\r\n"])
    app.run(stream)
    assert bytes(stream.output).split(b"\r\n", 1)[1] == b"+ \r\n+OK 3 messages (71 octets)\r\n+OK goodbye\r\n"


def test_an_initial_response_is_absent_empty_or_data(app):
    # Trap 33: "=" is an empty response, which PLAIN cannot do with; absent is an empty challenge.
    assert app.talk(f"AUTH PLAIN {plain()}") == [IN]
    assert app.talk("AUTH PLAIN", plain()) == ["+ ", IN]
    assert app.talk("AUTH PLAIN =", "QUIT") == [
        "-ERR malformed message of PLAIN, which has three fields",
        "+OK goodbye",
    ]
    assert app.talk("AUTH PLAIN", "=", "QUIT")[1:] == [BAD_BASE64, "+OK goodbye"]
    assert app.talk("AUTH PLAIN", "", "QUIT")[1].startswith("-ERR malformed")
    assert app.talk(f"AUTH LOGIN {b64('alice')}", b64("alice")) == [f"+ {b64('Password:')}", IN]


def test_a_mechanism_that_begins_with_the_server_takes_no_initial_response(make):
    # RFC 5034 section 4: "the server MUST reject the AUTH command with an -ERR reply".
    app = make(authenticator=Clear())
    for initial in ("=", b64("alice")):
        assert app.talk(f"AUTH CRAM-MD5 {initial}") == ["-ERR this mechanism takes no initial response"]


def test_an_argument_too_many_is_refused_and_not_echoed(app):
    (reply,) = app.talk(f"AUTH PLAIN {plain()} sesame")
    assert reply.startswith("-ERR ")
    assert "sesame" not in reply


def test_a_star_cancels_and_is_no_try(app, heard):
    # Trap 34, RFC 5034 section 4.
    events = heard(app)
    replies = app.talk(*["AUTH PLAIN", "*"] * 4, "AUTH LOGIN", b64("alice"), "*", f"AUTH PLAIN {plain()}")
    assert replies == [*["+ ", CANCELLED] * 4, f"+ {b64('Username:')}", f"+ {b64('Password:')}", CANCELLED, IN]
    assert events == [("authenticated", "alice", "PLAIN", "alice")]


@pytest.mark.parametrize(
    "response",
    ["A", "AA", "AA=", "AA==A", "=AAA", "AA==AA==", "A*==", "AAA A", " AAAA", "AAAA ", "A-_A", "\0", "ä", "**"],
)
def test_bad_base64_is_refused_and_is_no_try(app, heard, response):
    # Trap 34: strict, so that no two readers read two things.
    events = heard(app)
    replies = app.talk(*["AUTH PLAIN", response] * 4, "QUIT")
    assert replies == [*["+ ", BAD_BASE64] * 4, "+OK goodbye"]
    assert events == []


@pytest.mark.parametrize("initial", ["A", "AA=", "AA==AA==", "*", "A*==", "==", "ä"])
def test_a_bad_initial_response_is_refused_and_no_challenge_sent(app, initial):
    assert app.talk(f"AUTH PLAIN {initial}", "QUIT") == [
        "-ERR the initial response is not valid base64",
        "+OK goodbye",
    ]


def test_a_response_may_be_sixteen_kibibytes_long_with_or_without_auth_before_it(make):
    # Trap 19 and 34: a long token belongs into a line of its own (RFC 5034 section 4), but mpop sends it with AUTH.
    app = make(authenticator=Tokens())
    token = "token-alice" + "x" * 12000
    app.service.site.back_end.authenticator.check_token = lambda name, given: "alice" if given == token else None
    message = b64(f"user=alice\1auth=Bearer {token}\1\1")
    assert 16000 < len(message) < 16360
    assert app.talk("AUTH XOAUTH2", message) == ["+ ", IN]
    assert app.talk(f"auth XOAUTH2 {message}") == [IN]
    assert app.talk(f"AUTH XOAUTH2 {message}{'A' * 400}", "QUIT") == ["-ERR line too long", "+OK goodbye"]
    assert app.talk("AUTH XOAUTH2", message + "A" * 400, "QUIT") == ["+ ", BAD_BASE64, "+OK goodbye"]


def test_a_response_without_end_ends_the_session(app):
    replies = app.talk("AUTH PLAIN", "A" * 200_000, "QUIT")
    assert replies == ["+ ", BAD_BASE64]


def test_after_login_auth_is_refused(app):
    # Trap 34, RFC 5034 section 4.
    refused = "-ERR not allowed in the TRANSACTION state"
    replies = app.talk(f"AUTH PLAIN {plain()}", f"AUTH PLAIN {plain()}", "AUTH PLAIN", "AUTH", "STAT")
    assert replies == [IN, refused, refused, refused, "+OK 3 71"]


def test_responses_may_be_pipelined(app):
    assert app.talk("AUTH LOGIN", b64("alice"), b64("alice"), "STAT", "QUIT")[2:] == [IN, "+OK 3 71", "+OK goodbye"]


def test_auth_forgets_the_name_that_user_gave(app):
    for between in ("AUTH", "AUTH FOO", f"AUTH PLAIN {plain('alice', 'wrong')}"):
        assert app.talk("USER alice", between, "PASS alice")[-1] == "-ERR say USER first"


@pytest.mark.parametrize("left", [[], ["AUTH PLAIN"], ["AUTH LOGIN", b64("alice")], ["AUTH PLAIN", "AGFsa"]])
def test_who_leaves_in_the_middle_is_no_accident(app, left, heard, caplog):
    caplog.set_level(logging.INFO)
    events = heard(app)
    app.run(MemoryStream(["\r\n".join(left).encode()]))
    assert events == []
    assert caplog.records == []


class Reset(MemoryStream):
    """A peer that resets the connection instead of saying more."""

    def recv(self, size: int) -> bytes:
        data = super().recv(size)
        if not data:
            raise ConnectionResetError(104, "Connection reset by peer")
        return data


def test_who_resets_in_the_middle_is_no_accident_either(make, heard, caplog):
    app = make(authenticator=Tokens())
    events = heard(app)
    app.run(Reset([b"AUTH XOAUTH2\r\n"]))
    assert events == []
    # After the bad news the try counts: who wants to guess tokens unseen must not get around it.
    app.run(Reset([b"AUTH XOAUTH2 " + xoauth2("alice", "wrong").encode() + b"\r\n"]))
    assert events == [("authentication_failed", "alice", "XOAUTH2")]
    assert caplog.records == []


# Tries


def test_tries_of_all_commands_count_together(app, heard):
    events = heard(app)
    wrong = f"AUTH PLAIN {plain('alice', 'wrong')}"
    replies = app.talk("USER alice", "PASS wrong", wrong, "AUTH LOGIN", b64("bob"), b64("wrong"), "NOOP")
    assert replies[1:3] == [FAILED, FAILED]
    assert replies[-1] == FAILED
    assert events == [
        ("authentication_failed", "alice", "USER"),
        ("authentication_failed", "alice", "PLAIN"),
        ("authentication_failed", "bob", "LOGIN"),
    ]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("\0\0alice", "the name is empty"),
        ("\0alice\0", "the password is empty"),
        ("\0alice\0ali\rce", "the password holds NUL, CR or LF"),
        ("\0ali\nce\0alice", "the name holds NUL, CR or LF"),
        (b"\0\xff\0alice", "the name is not UTF-8"),
        ("\0" + "x" * 321 + "\0alice", "the name is longer than 320 octets"),
    ],
)
def test_what_cannot_be_a_name_or_a_password_fails_before_anybody_is_asked(make, heard, message, words):
    # Trap 36, RFC 4616 section 2.
    class Deaf(Authenticator):
        def authenticate(self, name, password):
            raise AssertionError("was asked")

    app = make(authenticator=Deaf())
    events = heard(app)
    assert app.talk(f"AUTH PLAIN {b64(message)}") == [f"-ERR [AUTH] {words}"]
    assert events == [("authentication_failed", "", "PLAIN")]


def test_a_back_end_that_is_down_is_no_wrong_password(make, heard):
    # RFC 3206 section 4: else the client asks its user for a new password.
    class Down(Authenticator):
        def authenticate(self, name, password):
            raise StoreUnavailable("logins cannot be checked now, try again later")

        def answers_at_once(self):
            return True

    app = make(authenticator=Down())
    events = heard(app)
    replies = app.talk(*[f"AUTH PLAIN {plain()}"] * 4, "QUIT")
    assert replies == [*["-ERR [SYS/TEMP] logins cannot be checked now, try again later"] * 4, "+OK goodbye"]
    assert events == []


def test_a_maildrop_in_use_is_told_after_the_right_password_only(make, heard):
    class Busy(MemoryStore):
        def open(self, owner):
            raise MaildropLocked

    app = make(Busy({}))
    events = heard(app)
    assert app.talk(f"AUTH PLAIN {plain('alice', 'wrong')}", f"AUTH PLAIN {plain()}") == [
        FAILED,
        "-ERR [IN-USE] the maildrop is in use by another session",
    ]
    assert events == [("authentication_failed", "alice", "PLAIN")]


def test_no_secret_is_in_a_log_or_an_event(make, caplog):
    caplog.set_level(logging.DEBUG)
    app = make(authenticator=Clear())
    app.pop3d.trace = True
    summaries = []
    app.pop3d.on("command_finished")(lambda pop3d, event: summaries.append(repr(event.args)))
    wrong = plain("alice", "hunter2")
    app.talk(f"AUTH PLAIN {wrong}", "AUTH PLAIN", wrong, "AUTH LOGIN", b64("alice"), b64("hunter2"))
    said = caplog.text + "".join(summaries)
    assert "AUTH" in said
    assert not any(secret in said for secret in ("hunter2", wrong, b64("hunter2")))


# Dialogues that come to nothing


def scram_first(name: str) -> str:
    return b64(f"n,,n={name},r=clientnonce")


SPOILERS = [("*", CANCELLED), ("A", BAD_BASE64), (b64("nonsense"), "-ERR malformed message of SCRAM")]


@pytest.mark.parametrize(("spoiler", "reply"), SPOILERS)
@pytest.mark.parametrize("with_initial", [True, False])
@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_who_gives_up_once_a_secret_was_looked_up_has_tried(make, heard, name, with_initial, spoiler, reply):
    # Else the salt and the time of an answer are to be had as often as one likes.
    app = make(authenticator=Clear())
    events = heard(app)
    first = scram_first(name)
    begin = [f"AUTH SCRAM-SHA-256 {first}"] if with_initial else ["AUTH SCRAM-SHA-256", first]
    replies = app.talk(*[*begin, spoiler] * 5, "NOOP")
    assert [line for line in replies if line.startswith("-ERR")] == [reply] * 3
    assert events == [("authentication_failed", name, "SCRAM-SHA-256")] * 3


@pytest.mark.parametrize("stream", [MemoryStream, "reset"])
@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_who_vanishes_once_a_secret_was_looked_up_has_tried(make, heard, caplog, name, stream):
    app = make(authenticator=Clear())
    events = heard(app)
    kind = Reset if stream == "reset" else stream
    app.run(kind([f"AUTH SCRAM-SHA-1 {scram_first(name)}\r\n".encode()]))
    assert events == [("authentication_failed", name, "SCRAM-SHA-1")]
    assert caplog.records == []


def test_a_mechanism_that_goes_on_after_a_wrong_password_does_not_hide_the_try(make, heard):
    def run(context):
        name = (yield from Challenge(b"who?")).decode()
        owner = yield from CheckPassword(name, "alice")
        code = yield from Challenge(b"and the code?")
        return (yield from authorized_identity(name, owner if code == b"1" else None, None))

    app = make(mechanisms={"X-TWO": Mechanism(run)})
    events = heard(app)
    for name in ("alice", "bob"):
        assert app.talk("AUTH X-TWO", b64(name), "*")[-1] == CANCELLED
    assert events == [("authentication_failed", "bob", "X-TWO")]


def test_a_token_that_was_wrong_is_a_try_whatever_the_mechanism_says_next(make, heard):
    def run(context):
        yield from CheckToken(None, "wrong")
        yield from Challenge(b"and now?")

    app = make(authenticator=Tokens(), mechanisms={"X-TOKEN": Mechanism(run)})
    events = heard(app)
    assert app.talk("AUTH X-TOKEN", "*")[-1] == CANCELLED
    assert events == [("authentication_failed", "", "X-TOKEN")]


def test_a_back_end_that_fails_after_a_look_up_makes_it_no_try(make, heard):
    app = make(authenticator=Clear())
    events = heard(app)

    def compute(function):
        raise StoreUnavailable("later")

    app.service.site.back_end.compute = compute
    assert app.talk(*[f"AUTH SCRAM-SHA-256 {scram_first('alice')}"] * 4, "QUIT")[-1] == "+OK goodbye"
    assert events == []


@pytest.mark.parametrize(
    ("lines", "peer"),
    [
        (["AUTH PLAIN", "*"], "127.0.0.1"),
        (["AUTH PLAIN", "A"], "127.0.0.1"),
        (["AUTH PLAIN ="], "127.0.0.1"),
        (["AUTH LOGIN", b64("alice"), "*"], "127.0.0.1"),
        (["AUTH CRAM-MD5", "*"], "127.0.0.1"),
        (["AUTH CRAM-MD5 ="], "127.0.0.1"),
        (["AUTH SCRAM-SHA-256", b64("nonsense")], "127.0.0.1"),
        (["AUTH X-NONE"], "127.0.0.1"),
        (["AUTH PLAIN"], FAR),
    ],
)
def test_no_connection_begins_dialogues_without_end(make, heard, lines, peer):
    app = make(authenticator=Clear())
    events = heard(app)
    replies = app.talk(*lines * (ABANDONED - 1), "CAPA", "QUIT", peer=peer)
    assert replies[-1] == "+OK goodbye"
    replies = app.talk(*lines * ABANDONED, "CAPA", "QUIT", peer=peer)
    assert replies[-1].startswith("-ERR")
    assert len([line for line in replies if line.startswith("-ERR")]) == ABANDONED
    assert events == []


# What is told before anything is checked


def test_before_anything_is_checked_the_name_is_told_and_never_the_secret(make, converse):
    app = make(authenticator=Clear())
    told = []
    app.pop3d.on("credentials")(lambda pop3d, event: told.append((*event.args, event.raw)))
    app.talk(f"AUTH PLAIN {plain('alice', 'wrong')}", "AUTH LOGIN", b64("bob"), b64("wrong"))
    converse(app, "AUTH CRAM-MD5", cram("nobody", "wrong"))
    converse(app, f"AUTH SCRAM-SHA-256 {scram_first('carol')}", "*")
    assert told == [
        ("alice", "PLAIN", b""),
        ("bob", "LOGIN", b""),
        ("nobody", "CRAM-MD5", b""),
        ("carol", "SCRAM-SHA-256", b""),
    ]
    told.clear()
    app = make(authenticator=Tokens())
    app.pop3d.on("credentials")(lambda pop3d, event: told.append(tuple(event.args)))
    nameless = b64("n,,\1auth=Bearer x\1\1")
    app.talk(f"AUTH XOAUTH2 {xoauth2('alice', 'x')}", "AQ==", f"AUTH OAUTHBEARER {nameless}", "AQ==")
    assert told == [("alice", "XOAUTH2"), ("", "OAUTHBEARER")]


def test_who_is_told_may_refuse_and_then_nothing_is_checked(make, heard):
    class Deaf(Authenticator):
        def authenticate(self, name, password):
            raise AssertionError("was asked")

    app = make(authenticator=Deaf())
    events = heard(app)
    app.pop3d.on("credentials")(lambda pop3d, event: err("not today", "SYS/TEMP"))
    replies = app.talk(*[f"AUTH PLAIN {plain()}"] * 4, "QUIT")
    assert replies == [*["-ERR [SYS/TEMP] not today"] * 4, "+OK goodbye"]
    assert events == []


def test_a_positive_answer_to_it_lets_nobody_in(make):
    app = make()
    app.pop3d.on("credentials")(lambda pop3d, event: ok("fine"))
    assert app.talk(f"AUTH PLAIN {plain('alice', 'wrong')}") == [FAILED]


def test_a_challenge_is_told_before_anything_of_it_goes_out(make):
    app = make()
    stream = MemoryStream([b"AUTH LOGIN\r\n", b64("alice").encode() + b"\r\n", b64("alice").encode() + b"\r\n"])
    seen = []
    app.pop3d.on("challenge")(
        lambda pop3d, event: seen.append((event.client.id, bytes(stream.output).count(b"\r\n+ ")))
    )
    app.run(stream)
    assert [count for _, count in seen] == [0, 1]


# Identities


def test_acting_for_another_needs_the_sites_permission(make, heard):
    # Trap 36, RFC 4616 section 2: the authorization identity may differ only where a policy says so.
    mail = {"alice": [b"a\n"], "bob": [b"a\n", b"b\n"]}
    command = f"AUTH PLAIN {plain('alice', 'alice', 'bob')}"
    app = make(MemoryStore(mail))
    events = heard(app)
    assert app.talk(command) == ["-ERR [AUTH] these credentials do not open the maildrop of another user"]
    assert events == [("authentication_failed", "alice", "PLAIN")]
    assert app.talk(f"AUTH PLAIN {plain('alice', 'alice', 'alice')}")[0].startswith("+OK 1 ")

    app = make(MemoryStore(mail), may_act_as=lambda who, whom: (who, whom) == ("alice", "bob"))
    events = heard(app)
    assert app.talk(command)[0].startswith("+OK 2 ")
    assert events == [("authenticated", "bob", "PLAIN", "alice")]
    # The policy does not stand in for the password, nor the other way round.
    assert app.talk(f"AUTH PLAIN {plain('alice', 'wrong', 'bob')}") == [FAILED]
    assert app.talk(f"AUTH PLAIN {plain('bob', 'bob', 'alice')}")[0].startswith("-ERR [AUTH] these credentials")


def test_acting_for_nobody_fails(make):
    app = make(authenticator=Clear(), may_act_as=lambda who, whom: True)
    assert app.talk(f"AUTH PLAIN {plain('alice', 'alice', 'mallory')}")[0].startswith("-ERR [AUTH] ")


# CRAM-MD5


def cram(name: str, secret: str) -> Say:
    return lambda challenge: f"{name} {hmac.new(secret.encode(), challenge, 'md5').hexdigest()}".encode()


def test_cram_md5_lets_in_who_shares_the_secret(make, converse, heard):
    app = make(authenticator=Clear())
    events = heard(app)
    assert converse(app, "AUTH CRAM-MD5", cram("alice", "alice"), "STAT")[1:] == [IN, "+OK 3 71"]
    for name, secret in (("alice", "wrong"), ("mallory", "mallory")):
        assert converse(app, "AUTH CRAM-MD5", cram(name, secret))[1:] == [FAILED]
    assert events == [
        ("authenticated", "alice", "CRAM-MD5", "alice"),
        ("authentication_failed", "alice", "CRAM-MD5"),
        ("authentication_failed", "mallory", "CRAM-MD5"),
    ]


def test_cram_md5_challenges_are_msg_ids_of_this_server_and_never_the_same(make, converse):
    app = make(authenticator=Clear())
    challenges = [converse(app, "AUTH CRAM-MD5", "*")[0] for _ in range(3)]
    assert len(set(challenges)) == 3
    assert base64.b64decode(challenges[0][2:]).endswith(b"@pop.example.org>")


# SCRAM


def scramp_client(mechanism: str, name: str, password: str, binding: bytes | None = None) -> list[Say]:
    scramp = required.module("scramp")
    channel = None if binding is None else ("tls-server-end-point", binding)
    client = scramp.ScramClient([mechanism], name, password, channel_binding=channel)

    def final(server_first: bytes) -> bytes:
        client.set_server_first(server_first.decode())
        return client.get_client_final().encode()

    def end(server_final: bytes) -> str:
        client.set_server_final(server_final.decode())  # raises if the server does not have the keys
        return ""

    return [client.get_client_first().encode(), final, end]


class Keys(SecretAuthenticator):
    """Alice has SCRAM keys."""

    def __init__(self, hash_name: str) -> None:
        self.key = ScramSecret.of(b"p\xc3\xa4ss", hash_name)

    def authenticate(self, name, password):
        return name if name == "alice" and self.key.matches(password.encode()) else None

    def secret(self, name):
        return self.key if name == "alice" else None

    def has_clear_secrets(self):
        return False

    def scram_iterations(self, hash_name):
        return (self.key.iterations,) if hash_name == self.key.hash_name else ()

    def has_scram_keys_alone(self):
        return True


@pytest.mark.parametrize("with_initial", [True, False])
@pytest.mark.parametrize("plus", [True, False])
@pytest.mark.parametrize("hash_name", ["SHA-1", "SHA-256"])
def test_an_independent_client_logs_in_with_scram(make, converse, heard, hash_name, plus, with_initial):
    # Trap 37, RFC 5034 section 4: the server's proof goes into a challenge of its own, the answer to it is empty.
    mechanism = f"SCRAM-{hash_name}{'-PLUS' if plus else ''}"
    binding = BINDING if plus else None
    app = make(authenticator=Keys(hash_name))
    app.pop3d.tls_facts = lambda client: (None, binding)
    events = heard(app)

    def log_in(name: str, password: str) -> list[str]:
        first, *rest = scramp_client(mechanism, name, password, binding)
        begin = [f"AUTH {mechanism} {b64(first)}"] if with_initial else [f"AUTH {mechanism}", b64(first)]
        return converse(app, *begin, *rest, "STAT")

    said = log_in("alice", "päss")
    assert said[-2:] == [IN, "+OK 3 71"]
    assert said[-3].startswith("+ ")
    assert len(said) == 5 - with_initial
    events.clear()
    for name in ("alice", "mallory"):
        assert log_in(name, "wrong")[-1] == FAILED
    assert events == [("authentication_failed", name, mechanism) for name in ("alice", "mallory")]


def test_scram_with_clear_secrets_is_computed_for_unknown_names_too(make, converse):
    app = make(authenticator=Clear())
    computed = []
    compute = app.service.site.back_end.compute
    app.service.site.back_end.compute = lambda function: computed.append(function) or compute(function)
    first, final, end = scramp_client("SCRAM-SHA-256", "alice", "alice")
    assert converse(app, f"AUTH SCRAM-SHA-256 {b64(first)}", final, end)[-1] == IN
    first, final, _ = scramp_client("SCRAM-SHA-256", "mallory", "mallory")
    assert converse(app, f"AUTH SCRAM-SHA-256 {b64(first)}", final)[-1] == FAILED
    assert len(computed) == 2


def test_where_only_some_secrets_are_clear_every_name_costs_a_derivation(make, converse, tmp_path):
    path = tmp_path / "passwords"
    path.write_text(f"alice:{ScramSecret.of(b'alice').field}\nbob:{{PLAIN}}bob\n")
    app = make(authenticator=PasswordFile(path))
    computed = []
    compute = app.service.site.back_end.compute
    app.service.site.back_end.compute = lambda function: computed.append(function) or compute(function)
    for number, name in enumerate(["alice", "bob", "mallory"], 1):
        first, final, _ = scramp_client("SCRAM-SHA-256", name, "wrong")
        assert converse(app, f"AUTH SCRAM-SHA-256 {b64(first)}", final)[-1] == FAILED
        assert len(computed) == number


def test_scram_without_an_answer_to_the_servers_proof_is_no_login(make, converse, heard):
    app = make(authenticator=Clear())
    events = heard(app)
    first, final, _ = scramp_client("SCRAM-SHA-256", "alice", "alice")
    assert converse(app, f"AUTH SCRAM-SHA-256 {b64(first)}", final, "*", "STAT")[-2:] == [
        CANCELLED,
        "-ERR not allowed in the AUTHORIZATION state",
    ]
    assert events == []


# Tokens


def xoauth2(name: str, token: str) -> str:
    return b64(f"user={name}\1auth=Bearer {token}\1\1")


def bearer(name: str, token: str) -> str:
    return b64(f"n,a={name},\1host=pop.example.org\1port=995\1auth=Bearer {token}\1\1")


@pytest.mark.parametrize(("mechanism", "message"), [("XOAUTH2", xoauth2), ("OAUTHBEARER", bearer)])
def test_a_token_lets_in(make, mechanism, message, heard):
    app = make(authenticator=Tokens())
    events = heard(app)
    assert app.talk(f"AUTH {mechanism} {message('alice', 'token-alice')}") == [IN]
    assert app.talk(f"AUTH {mechanism}", message("alice", "token-alice")) == ["+ ", IN]
    assert events == [("authenticated", "alice", mechanism, "alice")] * 2


@pytest.mark.parametrize("last", ["AQ==", "", "*", "not base64"])
@pytest.mark.parametrize(("mechanism", "message"), [("XOAUTH2", xoauth2), ("OAUTHBEARER", bearer)])
def test_a_bad_token_is_told_in_a_challenge_and_then_refused(make, mechanism, message, last, heard):
    # Trap 35, RFC 7628 section 3.2.2 and 3.2.3; whatever the client answers, the try counts.
    app = make(authenticator=Tokens())
    events = heard(app)
    replies = app.talk(f"AUTH {mechanism} {message('alice', 'token-bob')}", last, "QUIT")
    assert base64.b64decode(replies[0].removeprefix("+ ")).startswith(b'{"status": ')
    assert replies[1:] == [FAILED, "+OK goodbye"]
    assert events == [("authentication_failed", "alice", mechanism)]


def test_who_checks_no_tokens_finds_no_owner_of_one(app):
    assert app.service.site.back_end.check_token("alice", "token-alice") is None


# Certificates


def certified(app, name: str | None) -> None:
    app.pop3d.tls_facts = lambda client: (name, None)


def test_a_clients_certificate_lets_in(make, heard):
    app = make(authenticator=Clear())
    assert "EXTERNAL" not in sasl_lines(app.talk("CAPA"))[0]
    assert app.talk("AUTH EXTERNAL =") == ["-ERR no such authentication mechanism"]
    certified(app, "alice")
    events = heard(app)
    assert sasl_lines(app.talk("CAPA", peer=FAR)) == ["SASL EXTERNAL SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5"]
    for command in (["AUTH EXTERNAL ="], ["AUTH EXTERNAL", ""], [f"AUTH EXTERNAL {b64('alice')}"]):
        assert app.talk(*command, peer=FAR)[-1] == IN
    assert events == [("authenticated", "alice", "EXTERNAL", "alice")] * 3


def test_a_certificate_is_told_of_once_and_may_be_refused(make, heard):
    app = make(authenticator=Clear(), may_act_as=lambda who, whom: True)
    certified(app, "alice")
    told = []
    app.pop3d.on("credentials")(lambda pop3d, event: told.append(tuple(event.args)))
    assert app.talk(f"AUTH EXTERNAL {b64('bob')}")[-1].startswith("+OK")
    assert told == [("alice", "EXTERNAL")]
    events = heard(app)
    app.pop3d.on("credentials")(lambda pop3d, event: err("not today", "SYS/TEMP"))
    assert app.talk("AUTH EXTERNAL =") == ["-ERR [SYS/TEMP] not today"]
    assert events == []


def test_a_certificate_of_a_stranger_or_for_another_is_refused(make, heard):
    app = make(authenticator=Clear())
    events = heard(app)
    certified(app, "mallory")
    assert app.talk("AUTH EXTERNAL =") == [FAILED]
    certified(app, "alice")
    assert app.talk(f"AUTH EXTERNAL {b64('bob')}")[0].startswith("-ERR [AUTH] these credentials do not open")
    assert events == [
        ("authentication_failed", "mallory", "EXTERNAL"),
        ("authentication_failed", "alice", "EXTERNAL"),
    ]


# A function as the authenticator


def without_authenticator(make):
    app = make()
    app.pop3d.unregister(app.service)
    app.service = MaildropService(app.store)
    app.pop3d.register(app.service)
    return app


def test_a_function_is_an_authenticator(make):
    app = without_authenticator(make)
    asked = []

    @app.service.authenticator
    def check(name: str, password: str) -> str | bool | None:
        asked.append((name, password))
        return "alice" if password == "sesame" else None

    assert check("x", "y") is None
    assert app.talk("USER al", "PASS sesame")[1] == IN
    assert app.talk(f"AUTH PLAIN {plain('al', 'wrong')}") == [FAILED]
    assert asked == [("x", "y"), ("al", "sesame"), ("al", "wrong")]


def test_a_service_has_one_authenticator(app):
    with pytest.raises(ConfigError, match="already"):
        app.service.authenticator(lambda name, password: True)


def test_a_service_without_an_authenticator_says_so_at_its_first_use(make, caplog):
    app = without_authenticator(make)
    with pytest.raises(ConfigError, match=r"@service\.authenticator"):
        app.service.site.back_end.authenticate("alice", "alice")
    stream = MemoryStream([b"CAPA\r\n"])
    app.run(stream)
    assert bytes(stream.output).startswith(b"-ERR [SYS/TEMP] internal error, reference ")
    assert "ConfigError: MaildropService has no authenticator" in caplog.text


# One form of each name and of each owner

SPELT = "zo\u00eb@example.org"
"""The one form of the name that the clients below spell in another way."""

SENT = "zo\u00eb@EXAMPLE.org"
DECOMPOSED = "zoe\u0308@Example.ORG"


class Opened(MemoryStore):
    """Notes the owners whose maildrops are opened."""

    def __init__(self):
        super().__init__({SPELT: [b"one\n"]})
        self.owners: list[str] = []

    def open(self, owner):
        self.owners.append(owner)
        return super().open(owner)


class Everything(SecretAuthenticator, TokenAuthenticator):
    """Knows one user, by the one form of the name, and tells the owner in another spelling."""

    def __init__(self):
        self.names: list[str | None] = []

    def _owner(self, name):
        self.names.append(name)
        return DECOMPOSED if name in (SPELT, None) else None

    def authenticate(self, name, password):
        return self._owner(name) if password == "secret" else None

    def owner(self, name):
        return self._owner(name)

    def secret(self, name):
        return ClearSecret(b"secret") if self._owner(name) else None

    def check_token(self, name, token):
        return self._owner(name) if token == "token" else None

    def answers_at_once(self):
        return True


def apop(greeting: bytes) -> str:
    timestamp = greeting[greeting.index(b"<") : greeting.index(b">") + 1]
    return hashlib.md5(timestamp + b"secret", usedforsecurity=False).hexdigest()


def scram_steps() -> list[Say]:
    first, *rest = scramp_client("SCRAM-SHA-256", SENT, "secret")
    return [f"AUTH SCRAM-SHA-256 {b64(first)}", *rest]


WAYS: dict[str, Callable[[], list[Say]]] = {
    "USER": lambda: [f"USER {SENT}", "PASS secret"],
    "PLAIN": lambda: [f"AUTH PLAIN {plain(SENT, 'secret')}"],
    "PLAIN for oneself": lambda: [f"AUTH PLAIN {plain(SENT, 'secret', DECOMPOSED)}"],
    "LOGIN": lambda: ["AUTH LOGIN", b64(SENT), b64("secret")],
    "CRAM-MD5": lambda: ["AUTH CRAM-MD5", cram(SENT, "secret")],
    "SCRAM-SHA-256": scram_steps,
    "XOAUTH2": lambda: [f"AUTH XOAUTH2 {xoauth2(DECOMPOSED, 'token')}"],
    "OAUTHBEARER": lambda: [f"AUTH OAUTHBEARER {bearer(SENT, 'token')}"],
    "OAUTHBEARER without a name": lambda: [
        f"AUTH OAUTHBEARER {b64(chr(1).join(['n,,', 'auth=Bearer token', '', '']))}"
    ],
    "EXTERNAL": lambda: ["AUTH EXTERNAL ="],
    "EXTERNAL for oneself": lambda: [f"AUTH EXTERNAL {b64(SENT)}"],
}


@pytest.mark.parametrize("way", WAYS)
def test_all_ways_in_lead_to_one_form_of_name_and_owner(make, converse, heard, way):
    back_end, store = Everything(), Opened()
    app = make(store, back_end)
    certified(app, DECOMPOSED)
    events = heard(app)
    assert converse(app, *WAYS[way]())[-1] == "+OK 1 message (5 octets)"
    assert events == [("authenticated", SPELT, way.partition(" ")[0], SPELT)]
    assert store.owners == [SPELT]
    assert set(back_end.names) <= {SPELT, None}


def test_apop_leads_to_the_same(make, heard):
    app = make(Opened(), Everything())
    events = heard(app)
    stream = MemoryStream([])
    octets = stream.output

    def line():
        yield f"APOP {SENT} {apop(bytes(octets))}\r\n".encode()

    stream = Later(line, octets)
    app.run(stream)
    assert events == [("authenticated", SPELT, "APOP", SPELT)]


class Later(MemoryStream):
    """Asks what the client says once the greeting is out."""

    def __init__(self, lines, output) -> None:
        super().__init__(lines())
        self.output = output


@pytest.mark.parametrize("way", ["USER", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "EXTERNAL"])
def test_failures_are_told_with_the_one_form(make, converse, heard, way):
    class Nobody(Everything):
        def _owner(self, name):
            return None

    app = make(Opened(), Nobody())
    certified(app, DECOMPOSED)
    events = heard(app)
    converse(app, *WAYS[way]())
    assert events == [("authentication_failed", SPELT, way)]


def test_all_spellings_of_a_name_that_nobody_has_show_one_salt(make, converse):
    # Else two salts would tell that the name is nobody's, because a stored one is the same for all spellings.
    def salt(app, name):
        message = f"n,,n={name},r=nonce"
        (challenge, _) = converse(app, f"AUTH SCRAM-SHA-256 {b64(message)}", "*")
        return base64.b64decode(challenge[2:]).split(b",")[1]

    for authenticator in (Clear(), Keys("SHA-256")):
        app = make(authenticator=authenticator)
        assert salt(app, "bob@X.org") == salt(app, "bob@x.ORG") != salt(app, "Bob@x.org")
        keep = make(authenticator=authenticator, username_case="keep")
        assert salt(keep, "bob@X.org") != salt(keep, "bob@x.org")


@pytest.mark.parametrize(("delay", "code"), [(60, "LOGIN-DELAY"), (0, "IN-USE")])
def test_two_spellings_of_an_owner_have_one_lock_and_one_delay(make, delay, code):
    owners = iter([DECOMPOSED, SPELT, SENT])
    app = make(Opened(), FunctionAuthenticator(lambda name, password: next(owners), at_once=True), login_delay=delay)
    replies: list[list[str]] = []

    @app.pop3d.on("cmd_stat")
    def beside(pop3d, event):
        replies.append(app.talk("USER x", "PASS x"))

    assert app.talk("USER x", "PASS x", "STAT")[1] == "+OK 1 message (5 octets)"
    assert replies[0][1].startswith(f"-ERR [{code}]")
    app.service.site.login_delay.forget(SPELT)
    assert app.talk("USER x", "PASS x")[1] == "+OK 1 message (5 octets)"


def test_what_differs_by_user_is_asked_about_the_one_form(make):
    asked: list[str] = []

    def of(owner):
        asked.append(owner)
        return 5

    app = make(Opened(), Everything(), expire=PerUser(3, of), login_delay=PerUser(60, of))
    assert "EXPIRE 5" in app.talk(f"USER {SENT}", "PASS secret", "CAPA")
    assert set(asked) == {SPELT}


@pytest.mark.parametrize(
    ("case", "spellings", "others"),
    [
        ("domain", ["bob@x.org", "bob@X.ORG"], ["Bob@x.org"]),
        ("lower", ["bob@x.org", "bob@X.ORG", "Bob@x.org"], []),
        ("keep", ["bob@x.org"], ["bob@X.org", "Bob@x.org"]),
    ],
)
def test_the_setting_says_which_spellings_are_one_name(make, case, spellings, others):
    store = MemoryStore({"bob@x.org": [b"one\n"]}, username_case=case)
    app = make(store, username_case=case)
    for name in spellings + others:
        back_end = FunctionAuthenticator(lambda name, password: True, at_once=True)
        app = make(store, back_end, username_case=case)
        count = int(name in spellings)
        assert app.talk(f"USER {name}", "PASS x")[1].startswith(f"+OK {count} message")
        assert len(store.messages(name)) == count


def test_acting_for_another_spelling_of_oneself_needs_no_permission_and_policies_get_the_one_form(make):
    asked: list[tuple[str, str]] = []

    def policy(one, other):
        asked.append((one, other))
        return False

    app = make(Opened(), Everything(), may_act_as=policy)
    assert app.talk(f"AUTH PLAIN {plain(SENT, 'secret', DECOMPOSED)}")[0].startswith("+OK")
    assert app.talk(f"AUTH PLAIN {plain(SENT, 'secret', 'Bob@X.org')}")[0].startswith("-ERR")
    assert asked == [(SPELT, "Bob@x.org")]


@pytest.mark.parametrize("owner", ["a\nb", "\udcff", "\u2028"])
def test_an_owner_without_a_form_is_refused_after_the_right_password(make, heard, caplog, owner):
    store = Opened()
    app = make(store, FunctionAuthenticator(lambda name, password: owner, at_once=True))
    events = heard(app)
    assert app.talk("USER x", "PASS x")[1] == "-ERR [SYS/PERM] no maildrop can have this name"
    assert (store.owners, events) == ([], [])
    assert "owner " in caplog.text


def test_an_owner_that_is_no_text_is_an_accident_that_says_so(make, caplog):
    class Wrong(Authenticator):
        def authenticate(self, name, password):
            return True

    app = make(authenticator=Wrong())
    assert app.talk("USER x", "PASS x")[1].startswith("-ERR [SYS/TEMP] internal error")
    assert "HandedOverError: an authenticator returned a bool: return the owner as a str, or None" in caplog.text


def test_a_case_that_there_is_not_is_refused(make):
    with pytest.raises(ConfigError, match="username_case is one of domain, lower, keep"):
        make(username_case="upper")


# What is logged when a back end fails

CANARY = "c4n4ry-p4ssw0rd"


def quoting(name, password):
    raise ValueError(f"bad password {password}")


def down(name, password):
    raise StoreUnavailable(detail="the directory is down")


class Quoting(SecretAuthenticator):
    """Quotes what it gets, whatever it is asked."""

    def authenticate(self, name, password):
        return quoting(name, password)

    def secret(self, name):
        raise KeyError(CANARY)


@pytest.mark.parametrize(
    ("authenticator", "words"),
    [
        (FunctionAuthenticator(quoting), "ValueError"),
        (
            FunctionAuthenticator(lambda name, password: [password]),
            "HandedOverError: an authenticator's function returned a list",
        ),
        (
            FunctionAuthenticator(lambda name, password: ""),
            "HandedOverError: an authenticator's function returned an empty string",
        ),
        (FunctionAuthenticator(down), "the directory is down"),
        (Chain([FunctionAuthenticator(quoting)]), "ValueError"),
        (Quoting(), "Error"),
    ],
)
@pytest.mark.parametrize(
    "lines",
    [
        ["USER alice", f"PASS {CANARY}"],
        [f"AUTH PLAIN {plain('alice', CANARY)}"],
        ["AUTH PLAIN", plain("alice", CANARY)],
        ["AUTH LOGIN", b64("alice"), b64(CANARY)],
    ],
)
def test_our_texts_are_logged_and_no_password_is(make, caplog, authenticator, words, lines):
    caplog.set_level(logging.DEBUG)
    app = make(authenticator=authenticator)
    assert app.talk(*lines)[-1].startswith("-ERR [SYS/TEMP]")
    assert words in caplog.text
    for record in caplog.records:
        assert CANARY not in record.getMessage() + repr(vars(record))
        assert b64(CANARY) not in record.getMessage()


def test_apop_and_scram_log_no_more_of_a_back_end_than_its_mistake(make, caplog):
    app = make(authenticator=Quoting())
    timestamped = MemoryStream([f"APOP alice {'0' * 32}\r\n".encode()])
    app.run(timestamped)
    app.talk(f"AUTH SCRAM-SHA-256 {b64('n,,n=alice,r=nonce')}")
    assert caplog.text.count("KeyError") >= 2
    assert CANARY not in caplog.text


def test_a_service_without_an_authenticator_says_what_to_do_at_pass_too(make, caplog):
    app = without_authenticator(make)
    app.pop3d.on("cmd_user")(lambda pop3d, event: "+OK")
    app.service._session = lambda client, session=app.service._session: named(session(client))
    app.talk("USER alice", f"PASS {CANARY}")
    assert "ConfigError: MaildropService has no authenticator: pass one" in caplog.text
    assert CANARY not in caplog.text


def named(session):
    session.name, session.named_at = "alice", session.client.summary.commands - 1
    return session
