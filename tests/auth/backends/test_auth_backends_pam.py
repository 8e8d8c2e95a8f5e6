"""PAM itself, with service files of the test's own: no root, nothing in /etc."""

import ctypes
import logging
import stat
import time
import types

import pytest
import required

from geventpop3.auth import pam
from geventpop3.auth.pam import PamAuthenticator
from geventpop3.errors import ConfigError, StoreUnavailable


def has_pam():
    try:
        pam._library()
    except ConfigError:
        return False
    return True


@pytest.fixture(scope="module", autouse=True)
def needs_pam():
    if not has_pam():
        required.missing("Linux-PAM (Debian: libpam0g, libpam-modules)")


PERMIT = "account required pam_permit.so"


@pytest.fixture
def make(tmp_path):
    """Makes authenticators of a service that has these lines."""

    def make(*lines, refusal_seconds=0.0):
        (tmp_path / "pop3").write_text("".join(f"{line}\n" for line in lines))
        return PamAuthenticator("pop3", folder=tmp_path, refusal_seconds=refusal_seconds)

    return make


@pytest.fixture
def checked(make, tmp_path):
    """An authenticator whose one user is alice with the password "secrét  "."""
    script = tmp_path / "check"
    # What pam_exec writes ends with a NUL.
    script.write_text('#!/bin/sh\n[ "$PAM_USER:$(tr -d "\\000"; echo .)" = "alice:secrét  ." ]\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return make(
        f"auth [success=1 default=ignore] pam_exec.so quiet expose_authtok {script}",
        "auth requisite pam_deny.so",
        "auth required pam_permit.so",
        PERMIT,
    )


def test_the_password_reaches_the_modules_as_it_is(checked):
    assert checked.authenticate("alice", "secrét  ") == "alice"


@pytest.mark.parametrize(("name", "password"), [("alice", "secrét "), ("alice", "secret"), ("bob", "secrét  ")])
def test_any_other_name_or_password_is_refused(checked, name, password):
    assert checked.authenticate(name, password) is None


@pytest.mark.parametrize(
    ("name", "password"),
    [("alice", ""), ("", "x"), ("alice", "x\0y"), ("alice\0", "x"), ("\udcff", "x"), ("a\nb", "x")],
)
def test_what_no_user_can_have_reaches_no_module(make, name, password):
    assert make("auth required pam_permit.so", PERMIT).authenticate(name, password) is None


def test_an_account_that_has_no_right_is_refused_although_the_password_is_right(make):
    assert make("auth required pam_permit.so", "account required pam_deny.so").authenticate("alice", "x") is None


@pytest.mark.parametrize(
    ("stage", "result"),
    [
        ("auth", "perm_denied"),
        ("auth", "auth_err"),
        ("auth", "user_unknown"),
        ("auth", "maxtries"),
        ("acct", "new_authtok_reqd"),
        ("acct", "acct_expired"),
        ("acct", "authtok_expired"),
    ],
)
def test_a_result_that_refuses_the_user_is_a_wrong_password(make, stage, result):
    users = make(f"auth required pam_debug.so {stage}={result}", f"account required pam_debug.so {stage}={result}")
    assert users.authenticate("alice", "x") is None


@pytest.mark.parametrize(
    ("stage", "result", "code"),
    [("auth", "authinfo_unavail", 9), ("auth", "system_err", 4), ("acct", "service_err", 3)],
)
def test_any_other_result_is_an_outage(make, stage, result, code):
    users = make(f"auth required pam_debug.so {stage}={result}", f"account required pam_debug.so {stage}={result}")
    with pytest.raises(StoreUnavailable) as caught:
        users.authenticate("alice", "x")
    assert caught.value.code == "SYS/TEMP"
    assert caught.value.detail.startswith(f"PAM: result {code}, ")


def test_a_module_that_is_not_there_is_an_outage(make):
    users = make("auth required pam_nowhere.so", PERMIT)
    with pytest.raises(StoreUnavailable):
        users.authenticate("alice", "x")


def test_a_service_file_that_went_away_is_an_outage(make, tmp_path):
    users = make("auth required pam_permit.so", PERMIT)
    (tmp_path / "pop3").unlink()
    with pytest.raises(StoreUnavailable) as caught:
        users.authenticate("alice", "x")
    assert caught.value.detail == "PAM: pam_start failed with result 26"


def test_the_owner_is_the_user_that_the_modules_made_of_the_name(make):
    assert make("auth required pam_ftp.so", PERMIT).authenticate("anonymous", "guest@example.org") == "ftp"


def test_a_transaction_that_shows_no_user_is_an_outage():
    with pytest.raises(StoreUnavailable) as caught:
        pam._user(pam._library(), ctypes.c_void_p())
    assert caught.value.detail == "PAM: it returned no usable user name"


def test_the_delay_that_modules_ask_for_is_not_slept_in_a_thread(make):
    users = make("auth optional pam_faildelay.so delay=60000000", "auth required pam_deny.so", PERMIT)
    begin = time.monotonic()
    assert users.authenticate("alice", "x") is None
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize(("took", "slept"), [(0.1, [0.4]), (0.9, [0.0])])
def test_a_refusal_takes_its_time_and_a_login_none(make, monkeypatch, took, slept):
    clock = iter([10.0, 10.0 + took])
    naps = []
    monkeypatch.setattr(pam, "time", types.SimpleNamespace(monotonic=lambda: next(clock), sleep=naps.append))
    assert make("auth required pam_deny.so", PERMIT, refusal_seconds=0.5).authenticate("alice", "x") is None
    assert naps == [pytest.approx(nap) for nap in slept]
    clock = iter([10.0])
    assert make("auth required pam_permit.so", PERMIT, refusal_seconds=0.5).authenticate("alice", "x") == "alice"
    assert len(naps) == 1


def test_the_systems_own_users_are_not_opened_by_a_wrong_password(make):
    users = make("auth required pam_unix.so", PERMIT)
    assert users.authenticate("root", "surely not this") is None
    assert users.authenticate("nobody-at-all", "x") is None


# What modules say and ask


def converse(*styles, count=None):
    """The result and the answers, for messages of these styles."""
    messages = [pam._Message(style, b"?") for style in styles]
    pointers = (ctypes.POINTER(pam._Message) * len(messages))(*map(ctypes.pointer, messages))
    answers = (ctypes.POINTER(pam._Response) * 1)()
    code = pam._conversation_function(b"secret")(len(messages) if count is None else count, pointers, answers, None)
    if code != 0:
        return code, None
    libc = ctypes.CDLL(None)
    libc.free.argtypes = (ctypes.c_void_p,)
    texts = []
    for i in range(len(messages)):
        text = answers[0][i].text
        texts.append(None if text is None else ctypes.cast(text, ctypes.c_char_p).value)
        libc.free(text)
    libc.free(answers[0])
    return code, texts


def test_the_password_answers_what_is_typed_unseen_and_nothing_else():
    unseen, error, info = 1, 3, 4
    assert converse(info, unseen, error, unseen) == (0, [None, b"secret", None, b"secret"])


@pytest.mark.parametrize("styles", [(2,), (1, 2)])
def test_a_question_that_no_client_can_answer_ends_the_conversation(styles):
    assert converse(*styles) == (19, None)


@pytest.mark.parametrize("count", [0, -1, 33])
def test_a_conversation_of_too_many_messages_or_none_ends(count):
    assert converse(1, count=count) == (19, None)


def test_a_conversation_that_failed_is_logged_for_the_operator(make, caplog):
    assert make("auth required pam_debug.so auth=conv_err", PERMIT).authenticate("alice", "x") is None
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "PAM: result 19, Conversation error"
    ]


# The operator's mistakes


def test_a_service_without_a_file_is_refused_instead_of_the_one_called_other(tmp_path):
    with pytest.raises(ConfigError, match=r"PAM: the service has no file /etc/pam\.d/geventpop3-nowhere"):
        PamAuthenticator("geventpop3-nowhere")
    with pytest.raises(ConfigError, match=f"PAM: the service has no file {tmp_path}/geventpop3"):
        PamAuthenticator(folder=tmp_path)


@pytest.mark.parametrize("library", ["libnowhere.so.0", "libc.so.6"])
def test_without_linux_pam_the_error_names_what_is_missing(library):
    with pytest.raises(ConfigError, match=f"PAM needs {library} of Linux-PAM 1.4 or newer, .* libpam0g"):
        pam._library(library)


def test_a_check_is_a_login_of_nobody(make):
    make("auth required pam_deny.so", PERMIT).check()
    with pytest.raises(ConfigError, match="PAM: the service pop3 accepts a random name with a random password"):
        make("auth required pam_permit.so", PERMIT).check()
    with pytest.raises(ConfigError, match="PAM: result "):
        make("auth required pam_no_such_module.so", PERMIT).check()
