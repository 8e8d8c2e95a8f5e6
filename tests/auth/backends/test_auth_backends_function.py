"""A function as a back end, and what is nobody's name or password."""

import pytest

from geventpop3.auth.authenticator import FunctionAuthenticator
from geventpop3.auth.credentials import is_name, password_octets, unavailable
from geventpop3.errors import StoreUnavailable


def test_the_function_gets_what_the_client_sent():
    seen = []
    FunctionAuthenticator(lambda name, password: seen.append((name, password))).authenticate("alice", " \udcff ")
    assert seen == [("alice", " \udcff ")]


@pytest.mark.parametrize(
    ("answer", "owner"), [("alice@example.org", "alice@example.org"), (True, "alice"), (False, None), (None, None)]
)
def test_an_answer_is_an_owner_or_yes_or_no(answer, owner):
    assert FunctionAuthenticator(lambda name, password: answer).authenticate("alice", "secret") == owner


@pytest.mark.parametrize(
    ("answer", "what"),
    [("", "an empty string"), (1, "a int"), (b"alice", "a bytes"), ([], "a list"), (0, "a int")],
)
def test_any_other_answer_is_an_accident_and_not_a_login(answer, what):
    with pytest.raises(TypeError, match=f"returned {what}:"):
        FunctionAuthenticator(lambda name, password: answer).authenticate("alice", "secret")


@pytest.mark.parametrize("error", [ZeroDivisionError, StoreUnavailable])
def test_what_the_function_raises_is_raised(error):
    def function(name, password):
        raise error

    with pytest.raises(error):
        FunctionAuthenticator(function).authenticate("alice", "secret")


def test_a_function_is_called_in_a_thread_unless_it_promises_not_to_wait():
    assert not FunctionAuthenticator(lambda name, password: None).answers_at_once()
    assert FunctionAuthenticator(lambda name, password: None, at_once=True).answers_at_once()


@pytest.mark.parametrize("name", ["alice", "a b", "Ålice@example.org", "*", "x" * 320])
def test_a_name_is_printable(name):
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "a\0", "a\r\nb", "\udcff", "x" * 321, "é" * 161, "a\u200bb", "a\u00a0b"])
def test_what_nobody_is_called_is_no_name(name):
    assert not is_name(name)


def test_a_password_is_octets():
    assert password_octets("sécret") == "sécret".encode()
    assert password_octets("\udcff ") == b"\xff "
    assert password_octets("x" * 1024) == b"x" * 1024


@pytest.mark.parametrize("password", ["", "x" * 1025, "secret\0", "\ud800"])
def test_what_no_user_can_have_is_no_password(password):
    assert password_octets(password) is None


def test_the_detail_of_an_outage_is_one_line_for_the_log():
    error = unavailable("no\nsuch  host\r\n")
    assert (error.code, error.detail) == ("SYS/TEMP", "no such host")
    assert "host" not in error.text
