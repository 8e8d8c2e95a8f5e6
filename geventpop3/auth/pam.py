"""Users of the system, as PAM knows them: a login passes the auth and the account stage of a service file.

Linux-PAM is called by ctypes, without a dependency: pamela has no ``pam_start_confdir``. Nor can pamela avoid the delay
after a failure, which would hold a thread for seconds. PAM's modules run in this process. Modules that read /etc/shadow
need root, or have a helper that checks only the password of the user that the process runs as.
"""

from __future__ import annotations

import ctypes
import logging
import os
import secrets
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from geventpop3.auth.authenticator import Authenticator
from geventpop3.auth.credentials import is_name, password_octets, unavailable
from geventpop3.errors import ConfigError, StoreUnavailable

log = logging.getLogger("geventpop3.auth")

LIBRARY = "libpam.so.0"

FOLDERS = ("/etc/pam.d", "/usr/lib/pam.d")
"""Directories of service files; for a service without one PAM would use the file called other."""

SUCCESS = 0
CONVERSATION_ERROR = 19

REFUSALS = frozenset({6, 7, 10, 11, 12, 13, 16, 17, CONVERSATION_ERROR, 27})
"""Results that refuse the user, of /usr/include/security/_pam_types.h: PERM_DENIED, AUTH_ERR, USER_UNKNOWN, MAXTRIES,
NEW_AUTHTOK_REQD, ACCT_EXPIRED, CRED_EXPIRED, CRED_ERR, CONV_ERR (a module's prompt that no POP3 client can answer) and
AUTHTOK_EXPIRED. All others mean that PAM cannot tell."""

AUTHENTICATE_FLAGS = 0x8000 | 0x0001
"""PAM_SILENT and PAM_DISALLOW_NULL_AUTHTOK."""

USER_ITEM = 2
FAIL_DELAY_ITEM = 10

PROMPT_ECHO_OFF = 1
PROMPT_ECHO_ON = 2

MESSAGES = 32
"""PAM_MAX_NUM_MSG."""


class PamAuthenticator(Authenticator):
    """An authenticator that uses the PAM *service*, a file in /etc/pam.d or in *folder*.

    A refused login takes *refusal_seconds* in all, so that its time does not show how far PAM came. PAM checks no
    password of an unknown user. *refusal_seconds* replaces the delay that PAM's modules request (pam_unix: two
    seconds). The owner is the user's name as the modules left it. Raises ConfigError without Linux-PAM 1.4 or the
    service file.
    """

    def __init__(
        self,
        service: str = "geventpop3",
        *,
        folder: str | os.PathLike[str] | None = None,
        refusal_seconds: float = 0.25,
    ) -> None:
        _library()
        folders = FOLDERS if folder is None else (os.fspath(folder),)
        if not any(os.path.isfile(os.path.join(each, service)) for each in folders):
            raise ConfigError(f"PAM: the service has no file {os.path.join(folders[0], service)}")
        self._service = os.fsencode(service)
        self._folder = None if folder is None else os.fsencode(folder)
        self._refusal_seconds = refusal_seconds

    def authenticate(self, name: str, password: str) -> str | None:
        octets = password_octets(password)
        if octets is None or not is_name(name):
            return None
        begin = time.monotonic()
        owner = self._log_in(name.encode("utf-8"), octets)
        if owner is None:
            time.sleep(max(0.0, begin + self._refusal_seconds - time.monotonic()))
        return owner

    def check(self) -> None:
        """Try a login of a name that no user has. Raises ConfigError if PAM cannot tell, or accepts it."""
        try:
            owner = self._log_in(
                f"nobody-{secrets.token_hex(4)}".encode("ascii"), secrets.token_hex(16).encode("ascii")
            )
        except StoreUnavailable as error:
            raise ConfigError(f"{error.detail}") from None
        if owner is not None:
            raise ConfigError(
                f"PAM: the service {os.fsdecode(self._service)} accepts a random name with a random password"
            )

    def _log_in(self, name: bytes, password: bytes) -> str | None:
        library = _library()
        handle = ctypes.c_void_p()
        # PAM calls these until pam_end, so they must live as long.
        conversation = _Conversation(_Converse(_conversation_function(password)), None)
        delay = _Delay(_no_delay)
        code = library.pam_start_confdir(
            self._service, name, ctypes.byref(conversation), self._folder, ctypes.byref(handle)
        )
        if code != SUCCESS:
            raise unavailable(f"PAM: pam_start failed with result {code}")
        try:
            library.pam_set_item(handle, FAIL_DELAY_ITEM, delay)
            flags = AUTHENTICATE_FLAGS
            code = library.pam_authenticate(handle, flags) or library.pam_acct_mgmt(handle, flags)
            if code == SUCCESS:
                return _user(library, handle)
            said = f"PAM: result {code}, {library.pam_strerror(handle, code).decode('utf-8', 'replace')}"
        finally:
            library.pam_end(handle, code)
        if code not in REFUSALS:
            raise unavailable(said)
        log.log(logging.WARNING if code == CONVERSATION_ERROR else logging.DEBUG, "%s", said)
        return None


class _Message(ctypes.Structure):
    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


class _Response(ctypes.Structure):
    _fields_ = (("text", ctypes.c_void_p), ("unused", ctypes.c_int))


_Converse = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(_Message)),
    ctypes.POINTER(ctypes.POINTER(_Response)),
    ctypes.c_void_p,
)

_Delay = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


class _Conversation(ctypes.Structure):
    _fields_ = (("converse", _Converse), ("data", ctypes.c_void_p))


def _no_delay(_code: int, _microseconds: int, _data: object) -> None:
    """Do nothing; PAM calls this instead of sleeping."""


def _conversation_function(password: bytes) -> Callable[[int, Any, Any, object], int]:
    """Return a PAM conversation function: it answers hidden prompts with the password, and messages with nothing."""

    def converse(count: int, messages: Any, responses: Any, _data: object) -> int:
        if not 0 < count <= MESSAGES or any(messages[i].contents.style == PROMPT_ECHO_ON for i in range(count)):
            return CONVERSATION_ERROR
        # The module frees this with free(3).
        size = ctypes.sizeof(_Response)
        answers = ctypes.cast(_libc().calloc(count, size), ctypes.POINTER(_Response))
        for i in range(count):
            if messages[i].contents.style == PROMPT_ECHO_OFF:
                answers[i].text = _libc().strdup(password)
        responses[0] = answers
        return SUCCESS

    return converse


def _user(library: ctypes.CDLL, handle: ctypes.c_void_p) -> str | None:
    """Return PAM_USER, which a module may have changed."""
    item = ctypes.c_void_p()
    code = library.pam_get_item(handle, USER_ITEM, ctypes.byref(item))
    user = ctypes.cast(item, ctypes.c_char_p).value if code == SUCCESS else None
    name = (user or b"").decode("utf-8", "replace")
    if not is_name(name):
        raise unavailable("PAM: it returned no usable user name")
    return name


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.calloc.argtypes = (ctypes.c_size_t, ctypes.c_size_t)
    libc.calloc.restype = ctypes.c_void_p
    libc.strdup.argtypes = (ctypes.c_char_p,)
    libc.strdup.restype = ctypes.c_void_p
    return libc


@cache
def _library(name: str = LIBRARY) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(name)
        library.pam_start_confdir.argtypes = (
            ctypes.c_char_p,
            ctypes.c_char_p,
            ctypes.POINTER(_Conversation),
            ctypes.c_char_p,
            ctypes.POINTER(ctypes.c_void_p),
        )
        library.pam_set_item.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
        library.pam_get_item.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p))
        library.pam_strerror.argtypes = (ctypes.c_void_p, ctypes.c_int)
        library.pam_strerror.restype = ctypes.c_char_p
        for step in (library.pam_authenticate, library.pam_acct_mgmt, library.pam_end):
            step.argtypes = (ctypes.c_void_p, ctypes.c_int)
    except (OSError, AttributeError):
        raise ConfigError(f"PAM needs {name} of Linux-PAM 1.4 or newer, on Debian the package libpam0g") from None
    return library
