"""The control of a double without a socket: who may call, every route, every error."""

from __future__ import annotations

import base64
import poplib
import threading
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote

import pytest
from control_calls import HEADERS, TOKEN, Calls

from geventpop3.testing import Double
from geventpop3.testing.double import KINDS
from geventpop3.testing.double.control.api import Api
from geventpop3.testing.double.control.core import Control, check_token
from geventpop3.testing.double.control.exchange import CallFailed, HttpRequest

MESSAGE = b"Subject: one\r\n\r\n.dot\r\n\xff\r\n"


@pytest.fixture
def calls() -> Iterator[Calls]:
    double = Double(tls="off").start()
    yield Calls(double)
    double.stop()


@pytest.fixture
def alice(calls: Calls) -> Calls:
    assert calls("POST", "/maildrops", {"name": "alice"}).status == 201
    return calls


def poll(calls: Calls, *, user: str = "alice") -> None:
    """Retrieve and remove all messages of *user*."""
    box = poplib.POP3(calls.double.host, calls.double.port, timeout=60)
    try:
        box.user(user)
        box.pass_("secret")
        for number in range(1, box.stat()[0] + 1):
            box.retr(number)
            box.dele(number)
        box.quit()
    finally:
        box.close()
    assert calls("POST", "/wait", {"moment": "QUIT", "maildrop": user}).status == 200


# Who may call


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8025", "localhost:8025", "LOCALHOST:8025", "[::1]:8025"], ids=lambda host: host
)
def test_hosts_of_this_machine(calls: Calls, host: str) -> None:
    assert calls.send(HttpRequest("GET", "/check", [("Host", host), HEADERS[1]])).status == 200


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        ["evil.example.org:8025"],
        ["127.0.0.1"],
        ["127.0.0.1:80"],
        ["127.0.0.1:"],
        ["[::1]"],
        ["192.0.2.1:8025"],
        ["127.0.0.1:8025", "127.0.0.1:8025"],
        [""],
        ["127.0.0.1:8025.example.org"],
    ],
)
def test_other_hosts_are_refused(calls: Calls, hosts: list[str]) -> None:
    answer = calls.send(HttpRequest("GET", "/check", [HEADERS[1], *(("Host", host) for host in hosts)]))
    assert answer.status == 421
    assert "control" in answer.content["hint"]


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [("192.0.2.1:8025", True), ("[2001:db8::1]:8025", True), ("double:8025", True), ("evil.example.org:8025", False)],
)
def test_a_control_at_all_addresses_accepts_addresses_and_given_names(host: str, is_ours: bool) -> None:
    with Double(tls="off") as double:
        control = Control(double, TOKEN, ["*", "Double"], 8025, lambda: None)
        response = control.respond(HttpRequest("GET", "/check", [("Host", host), HEADERS[1]]))
    assert response.status == (200 if is_ours else 421)


def test_port_80_may_be_left_out() -> None:
    with Double(tls="off") as double:
        control = Control(double, TOKEN, ["localhost", "[::1]"], 80, lambda: None)
        for host in ("localhost", "[::1]", "localhost:80"):
            assert control.respond(HttpRequest("GET", "/check", [("Host", host), HEADERS[1]])).status == 200


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8025", "null", "https://evil.example.org"])
def test_a_web_page_is_refused_even_with_the_token(calls: Calls, origin: str) -> None:
    answer = calls("POST", "/stop", None, ("Origin", origin))
    assert answer.status == 403
    assert calls.stopped == 0
    assert not any(name.lower().startswith("access-control") for name, _ in answer.response.headers)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        ["Bearer wrong-token-here"],
        [f"Bearer {TOKEN}x"],
        [f"Bearer {TOKEN[:-1]}"],
        [f"Basic {TOKEN}"],
        [TOKEN],
        ["Bearer \xfc\xfc"],
        [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
    ],
)
@pytest.mark.parametrize("target", ["/maildrops", "/openapi.json", "/nothing"])
def test_every_path_needs_the_token(calls: Calls, values: list[str], target: str) -> None:
    def read() -> bytes:
        raise AssertionError("the body was read")

    headers = [HEADERS[0], *(("Authorization", value) for value in values)]
    answer = calls.send(HttpRequest("POST", target, headers, read))
    assert answer.status == 401
    assert answer.response.headers == [("WWW-Authenticate", "Bearer")]
    assert TOKEN not in str(answer.content)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_name_of_the_scheme_has_no_case(calls: Calls, scheme: str) -> None:
    assert calls.send(HttpRequest("GET", "/", [HEADERS[0], ("authorization", f"{scheme} {TOKEN}")])).status == 200


@pytest.mark.parametrize("token", ["", "short", "with a blank", "umläutefür", "line\nline-line", "====----"])
def test_a_token_that_no_header_can_have(token: str) -> None:
    with pytest.raises(ValueError, match="a token has"):
        check_token(token)


# Routes


def test_the_double_says_where_it_listens(calls: Calls) -> None:
    answer = calls("GET", "/")
    assert answer.content["port"] == calls.double.port
    assert answer.content["tls_port"] is answer.content["tls_url"] is answer.content["ca"] is None


def test_a_double_with_tls_says_so() -> None:
    with Double() as double:
        calls = Calls(double)
        content = calls("GET", "/").content
        assert content["tls_port"] == double.tls_port
        assert content["ca"] == str(double.ca)
        assert calls("POST", "/maildrops", {"name": "bob"}).content["tls_url"].startswith("pop3s://bob:secret@")


def test_unknown_paths(calls: Calls) -> None:
    answer = calls("GET", "/maildrop")
    assert answer.status == 404
    assert answer.content["hint"].startswith("did you mean /maildrops?")
    for path in ("/", "/x/y/z", "//", "/maildrops/", "/maildrops//messages", "/sessions/1/", "*", "", "/openapi.json/"):
        assert calls("GET", path).status == (200 if path == "/" else 404)


def test_wrong_methods(calls: Calls) -> None:
    answer = calls("PUT", "/maildrops/alice")
    assert answer.status == 405
    assert answer.response.headers == [("Allow", "GET, DELETE")]
    for method in ("HEAD", "OPTIONS", "PATCH", "get", "TRACE"):
        assert calls(method, "/check").status == 405


def test_a_path_that_is_not_utf_8(calls: Calls) -> None:
    assert calls("GET", "/maildrops/%FF").status == 400


def test_an_unknown_query(calls: Calls) -> None:
    assert calls("GET", "/sessions?user=alice").content["hint"] == "its query may have maildrop"
    assert calls("GET", "/check?x").content["hint"] == "it has no query"


def test_a_maildrop_is_added_shown_and_removed(calls: Calls) -> None:
    added = calls("POST", "/maildrops", {"name": "alice", "password": "pass word", "token": "oauth-token"})
    assert added.status == 201
    assert added.content["url"] == f"pop3://alice:pass%20word@127.0.0.1:{calls.double.port}/"
    assert calls("POST", "/maildrops", {"name": "alice", "password": "pass word"}).status == 200
    assert calls("GET", "/maildrops").content["maildrops"] == [added.content]
    assert calls("GET", "/maildrops/alice").content == added.content
    assert calls("DELETE", "/maildrops/alice").content == {"ok": True}
    assert calls("GET", "/maildrops").content["maildrops"] == []
    for method, path in [("GET", ""), ("DELETE", ""), ("GET", "/messages"), ("DELETE", "/messages")]:
        answer = calls(method, f"/maildrops/alice{path}")
        assert (answer.status, answer.content["error"]) == (404, "there is no maildrop 'alice'")
    assert calls("POST", "/maildrops/alice/messages", MESSAGE).status == 404


def test_a_removed_user_cannot_log_in_and_leaves_no_fault(alice: Calls) -> None:
    alice("POST", "/faults", {"on": "RETR", "maildrop": "alice"})
    alice("DELETE", "/maildrops/alice")
    with pytest.raises(poplib.error_proto):
        poll(alice)
    assert alice("GET", "/faults").content["faults"] == []
    assert alice("GET", "/check").content["ok"] is True


def test_another_password_is_a_conflict(alice: Calls) -> None:
    answer = alice("POST", "/maildrops", {"name": "alice", "password": "other"})
    assert answer.status == 409
    assert answer.content["hint"] == "DELETE /maildrops/alice first"


@pytest.mark.parametrize("name", ["a/b", "a b", "über", "ü", "100%", "a?b", "a#b", ".."])
def test_any_name_in_a_path(calls: Calls, name: str) -> None:
    assert calls("POST", "/maildrops", {"name": name}).status == 201
    path = f"/maildrops/{quote(name, safe='')}"
    assert calls("POST", f"{path}/messages", MESSAGE).status == 201
    assert calls("GET", path).content["messages"] == 1
    assert calls("GET", f"/sessions?maildrop={quote(name)}").content == {"sessions": []}


@pytest.mark.parametrize("body", [{"name": "a\nb"}, {"name": "\ud800"}, {"name": "a", "password": "\udc80"}])
def test_a_name_that_no_client_can_send(calls: Calls, body: object) -> None:
    assert calls("POST", "/maildrops", body).status == 400
    assert calls("GET", "/maildrops").content["maildrops"] == []


def test_messages_as_octets_text_and_base64(alice: Calls) -> None:
    first = alice("POST", "/maildrops/alice/messages", MESSAGE)
    assert first.status == 201
    two = [{"text": "Subject: zwei\n\nfür\n"}, {"base64": base64.b64encode(MESSAGE).decode()}]
    more = alice("POST", "/maildrops/alice/messages", {"messages": two})
    assert len(more.content["unique_ids"]) == 2
    listed = alice("GET", "/maildrops/alice/messages").content["messages"]
    assert [each["unique_id"] for each in listed] == first.content["unique_ids"] + more.content["unique_ids"]
    assert [base64.b64decode(each["base64"]) for each in listed] == [
        MESSAGE,
        "Subject: zwei\n\nfür\n".encode(),
        MESSAGE,
    ]
    assert listed[0]["octets"] == len(MESSAGE)
    shown = alice("GET", f"/maildrops/alice/messages/{listed[0]['unique_id']}")
    assert (shown.response.content_type, shown.content) == ("message/rfc822", MESSAGE)
    assert alice("DELETE", "/maildrops/alice/messages").content == {"ok": True}
    assert alice("GET", "/maildrops/alice/messages").content == {"messages": []}
    assert alice("GET", f"/maildrops/alice/messages/{listed[0]['unique_id']}").status == 404


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "the body has no 'messages'"),
        ({"messages": []}, "the body has 0 items"),
        ({"messages": {}}, "'messages' is object, not array"),
        ({"messages": ["x"]}, "'messages'[0] is string, not object"),
        ({"messages": [{}]}, "'messages'[0] has 0 of"),
        ({"messages": [{"text": "x", "base64": "eA=="}]}, "'messages'[0] has 2 of"),
        ({"messages": [{"text": "good"}, {"base64": "%%%"}]}, "'messages'[1] is not base64"),
        ({"messages": [{"base64": "é"}]}, "'messages'[0] is not base64"),
    ],
)
def test_wrong_messages(alice: Calls, body: object, error: str) -> None:
    answer = alice("POST", "/maildrops/alice/messages", body)
    assert answer.status == 400
    assert error.replace("the body has 0", "'messages' has 0") in answer.content["error"]
    assert alice("GET", "/maildrops/alice").content["messages"] == 0


def test_an_empty_message(alice: Calls) -> None:
    assert alice("POST", "/maildrops/alice/messages", b"").content["error"] == "the message is empty"


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_other_content_types(calls: Calls, kind: str | None) -> None:
    headers = [*HEADERS, *([] if kind is None else [("Content-Type", kind)])]
    answer = calls.send(HttpRequest("POST", "/maildrops", headers, lambda: b"name=alice"))
    assert answer.status == 415
    assert "application/json" in answer.content["hint"]


def test_a_content_type_may_have_parameters(calls: Calls) -> None:
    headers = [*HEADERS, ("content-type", "Application/JSON; charset=utf-8")]
    assert calls.send(HttpRequest("POST", "/maildrops", headers, lambda: b'{"name": "a"}')).status == 201


@pytest.mark.parametrize("octets", [b"", b"{", b"\xff", b"[" * 100_000, b'{"name": NaN}', b'"alice"', b"null", b"[]"])
def test_what_is_no_json_object(calls: Calls, octets: bytes) -> None:
    headers = [*HEADERS, ("Content-Type", "application/json")]
    answer = calls.send(HttpRequest("POST", "/maildrops", headers, lambda: octets))
    assert answer.status == 400
    assert answer.content["hint"]


def test_an_error_while_the_body_is_read(calls: Calls) -> None:
    def read() -> bytes:
        raise CallFailed(413, "too long", "send less")

    headers = [*HEADERS, ("Content-Type", "application/json")]
    answer = calls.send(HttpRequest("POST", "/maildrops", headers, read))
    assert (answer.status, answer.content) == (413, {"error": "too long", "hint": "send less"})


# Faults


def test_a_fault_is_asked_for_counted_and_taken_back(alice: Calls) -> None:
    asked = {"on": "retr", "how": "error", "maildrop": "alice", "code": "SYS/TEMP", "text": "later", "times": None}
    added = alice("POST", "/faults", asked)
    assert added.status == 201
    assert added.content == {
        **asked,
        "number": 1,
        "on": "RETR",
        "nth": 1,
        "optional": False,
        "happened": 0,
        "seed": 0,
    }
    alice("POST", "/maildrops/alice/messages", MESSAGE)
    with pytest.raises(poplib.error_proto, match=r"-ERR \[SYS/TEMP\] later"):
        poll(alice)
    assert alice("GET", "/faults/1").content["happened"] == 1
    assert alice("GET", "/faults").content["faults"] == [{**added.content, "happened": 1}]
    assert alice("DELETE", "/faults/1").content == {"ok": True}
    assert alice("GET", "/faults").content == {"faults": []}
    assert alice("DELETE", "/faults/1").status == 404
    poll(alice)


def test_a_fault_in_all_sessions_and_the_same_twice(calls: Calls) -> None:
    for number in (1, 2):
        added = calls("POST", "/faults", {"on": "greeting", "how": "close", "nth": 3}).content
        assert (added["number"], added["maildrop"], added["nth"]) == (number, None, 3)
    calls("DELETE", "/faults/2")
    assert [each["number"] for each in calls("GET", "/faults").content["faults"]] == [1]
    assert calls("POST", "/faults", {"on": "greeting"}).content["number"] == 3


@pytest.mark.parametrize(
    "path", ["/faults/0", "/faults/1", "/faults/x", "/faults/-1", "/faults/%D9%A1", f"/faults/{'9' * 5000}"]
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_no_such_fault(calls: Calls, method: str, path: str) -> None:
    answer = calls(method, path)
    assert (answer.status, answer.content["hint"]) == (404, "GET /faults lists them")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"on": "RETRR"}, "there is no command or moment 'RETRR': did you mean 'RETR'?"),
        ({"on": "RETR", "how": "resett"}, "no fault is called 'resett': did you mean 'reset'?"),
        ({"on": "NOOP", "how": "truncate"}, "'truncate' cannot happen at NOOP, only at CAPA, LIST, RETR, TOP, UIDL"),
        ({"on": "RETR", "how": "silence", "octets": 3}, "'silence' has no option octets; its options: none"),
        ({"on": "RETR", "nth": 0}, "'nth' is 0, less than 1"),
        ({"on": "RETR", "nth": "1"}, "'nth' is string, not integer"),
        ({"on": "RETR", "times": True}, "'times' is boolean, not integer or null"),
        ({"on": "RETR", "how": "close", "after_octets": 1.5}, "'after_octets' is number, not integer"),
        ({"on": "RETR", "how": "stall", "seconds": -1}, "'seconds' is -1, less than 0"),
        ({"on": "RETR", "probability": 0}, "probability is more than 0 and at most 1, not 0"),
        ({"on": "tls", "how": "close"}, "this double has no TLS: a fault on 'tls' could never happen"),
        ({"on": "greeting", "how": "close", "maildrop": "alice"}, "before the user is known, no maildrop can"),
        ({"how": "reset"}, "the body has no 'on'"),
        ({"on": 3}, "'on' is integer, not string"),
    ],
)
def test_wrong_faults(alice: Calls, body: object, error: str) -> None:
    answer = alice("POST", "/faults", body)
    assert answer.status == 400
    assert error in answer.content["error"]
    assert answer.content["hint"].startswith("GET /")
    assert alice("GET", "/faults").content["faults"] == []


def test_a_fault_in_no_maildrop(calls: Calls) -> None:
    assert calls("POST", "/faults", {"on": "RETR", "maildrop": "nobody"}).status == 404


def test_kinds(calls: Calls) -> None:
    kinds = {each["how"]: each for each in calls("GET", "/kinds").content["kinds"]}
    assert kinds.keys() == KINDS.keys()
    assert kinds["reset"]["options"] == ["after_octets"]
    assert "RETR" in kinds["reset"]["on"]
    for how, kind in kinds.items():
        added = calls("POST", "/faults", {"on": kind["on"][0], "how": how})
        assert added.status == 201, added.content


# Sessions


def test_sessions_and_transcripts(alice: Calls) -> None:
    alice("POST", "/maildrops", {"name": "bob"})
    (unique_id,) = alice("POST", "/maildrops/alice/messages", MESSAGE).content["unique_ids"]
    poll(alice)
    poll(alice, user="bob")
    assert alice("POST", "/wait", {"sessions": 2}).status == 200
    session = alice("GET", "/sessions/1").content
    assert alice("GET", "/sessions").content["sessions"][0] == session
    assert [each["number"] for each in alice("GET", "/sessions?maildrop=bob").content["sessions"]] == [2]
    assert session["retrieved"] == session["removed"] == [unique_id]
    assert (session["user"], session["mechanism"], session["secure"], session["ended"]) == (
        "alice",
        "USER",
        False,
        "quit",
    )
    assert session["commands"][1]["argument"] == "****"
    transcript = alice("GET", "/sessions/1/transcript")
    assert transcript.response.content_type.startswith("text/plain")
    assert b"C: RETR 1\n" in transcript.content
    both = alice("GET", "/transcript").content
    assert both.startswith(b"session 1: alice\n")
    assert b"\nsession 2: bob\n" in both
    assert b"alice" not in alice("GET", "/transcript?maildrop=bob").content
    assert b"secret" not in both


@pytest.mark.parametrize("number", ["0", "1", "x", "-1"])
def test_no_such_session(calls: Calls, number: str) -> None:
    for path in (f"/sessions/{number}", f"/sessions/{number}/transcript"):
        answer = calls("GET", path)
        assert answer.status == 404
        assert "POST /wait" in answer.content["hint"]


@pytest.mark.parametrize("path", ["/sessions", "/transcript"])
def test_the_sessions_of_nobody(calls: Calls, path: str) -> None:
    assert calls("GET", f"{path}?maildrop=nobody").status == 404


def test_no_session_has_no_transcript(calls: Calls) -> None:
    assert calls("GET", "/transcript").content == b""


# Waiting


def test_a_wait_ends_when_it_happens_and_other_calls_go_on(alice: Calls) -> None:
    alice("POST", "/maildrops/alice/messages", MESSAGE)
    answers = []
    wanted = {"maildrop": "alice", "moment": "retr", "count": 1, "sessions": 1, "messages": 0, "timeout": 60}
    waiting = threading.Thread(target=lambda: answers.append(alice("POST", "/wait", wanted)))
    waiting.start()
    poll(alice)
    waiting.join()
    assert [(each.status, each.content) for each in answers] == [(200, {"ok": True})]


def test_a_wait_in_vain_shows_the_transcript(alice: Calls) -> None:
    poll(alice)
    answer = alice("POST", "/wait", {"moment": "RETR", "timeout": 0})
    assert answer.status == 409
    assert answer.content["error"] == "waited 0 s in vain for: RETR 1 times, not 0"
    assert "C: USER alice" in answer.content["transcript"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "wait_for waits for a command"),
        ({"moment": "RTER"}, "did you mean 'RETR'?"),
        ({"moment": "greeting"}, "wait_for cannot wait for 'greeting'"),
        ({"messages": 0}, "'messages' counts those of one maildrop"),
        ({"sessions": 1, "timeout": 61}, "'timeout' is 61, more than 60"),
        ({"sessions": 1, "timeout": -1}, "'timeout' is -1, less than 0"),
        ({"sessions": "1"}, "'sessions' is string, not integer"),
        ({"moment": "RETR", "count": 0}, "'count' is 0, less than 1"),
    ],
)
def test_wrong_waits(calls: Calls, body: object, error: str) -> None:
    answer = calls("POST", "/wait", body)
    assert answer.status == 400
    assert error in answer.content["error"]


def test_a_wait_in_no_maildrop(calls: Calls) -> None:
    assert calls("POST", "/wait", {"maildrop": "nobody", "sessions": 1}).status == 404


# The end


def test_check_and_reset_report_what_never_happened(alice: Calls) -> None:
    alice("POST", "/faults", {"on": "TOP", "how": "close", "maildrop": "alice"})
    alice("POST", "/faults", {"on": "TOP", "how": "close", "optional": True})
    report = {"ok": False, "failures": ["never happened: close on TOP (nth=1): TOP occurred 0 times"], "transcript": ""}
    assert alice("GET", "/check").content == report
    assert alice("POST", "/reset").content == report
    assert alice("GET", "/check").content == {"ok": True, "failures": [], "transcript": ""}
    assert alice("GET", "/faults").content["faults"] == alice("GET", "/maildrops").content["maildrops"] == []
    assert alice("POST", "/reset").content["ok"] is True


def test_reset_ends_sessions_and_forgets_them(alice: Calls) -> None:
    box = poplib.POP3(alice.double.host, alice.double.port, timeout=60)
    try:
        box.user("alice")
        assert alice("POST", "/reset").content["ok"] is True
        with suppress(ConnectionResetError):
            assert box.file.read() == b""
    finally:
        box.close()
    assert alice("GET", "/sessions").content == {"sessions": []}
    assert alice("GET", "/transcript").content == b""


def test_errors_of_the_double_are_reported(alice: Calls) -> None:
    alice.double.errors.append("Traceback: a mistake")
    assert alice("GET", "/check").content["failures"] == ["Traceback: a mistake"]
    assert alice("POST", "/reset").content["failures"] == ["Traceback: a mistake"]
    assert alice("GET", "/check").content["ok"] is True


def test_stop_reports_first_and_stops_after_the_answer(alice: Calls) -> None:
    alice("POST", "/faults", {"on": "TOP"})
    answer = alice("POST", "/stop")
    assert answer.content["failures"] == ["never happened: error on TOP (nth=1): TOP occurred 0 times"]
    assert alice.stopped == 0
    assert answer.response.then is not None
    answer.response.then()
    assert alice.stopped == 1


def test_a_mistake_of_the_control_is_no_traceback_for_the_caller(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_api: Api) -> dict[str, object]:
        raise LookupError("an inner secret")

    monkeypatch.setattr(Api, "_known_faults", broken)
    answer = calls("GET", "/faults")
    assert answer.status == 500
    assert "secret" not in str(answer.content)
    assert "an inner secret" in capsys.readouterr().err


def test_a_call_that_the_end_breaks_off_is_no_mistake(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_api: Api) -> dict[str, object]:
        calls.control.end()
        raise RuntimeError("the double is not started")

    monkeypatch.setattr(Api, "_known_faults", broken)
    assert calls("GET", "/faults").status == 503
    assert capsys.readouterr().err == ""
