"""crypt(3) of libxcrypt, which every Debian has (libcrypt1), called by ctypes without a dependency.

The function is ``crypt_rn``. It takes the size of its buffer and has no state, so any number of threads may call it.
ctypes releases the interpreter's lock during the call, so a login in a native thread blocks no other thread. The
crypt_r package and the module crypt that Python had until 3.12 hash with the lock held. So would SHA-crypt in Python,
which has no primitives for yescrypt.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

from geventpop3.errors import ConfigError

PASSWORD_OCTETS = 511
"""CRYPT_MAX_PASSPHRASE_SIZE of crypt.h less the NUL; a longer password fails at once."""

NAMES = ("libcrypt.so.1", "libcrypt.so.2")
"""Libraries with the functions of glibc's former crypt(3), and without them."""

_CRYPT_DATA_OCTETS = 32768
"""Octets of struct crypt_data; if the struct is larger, ``crypt_rn`` fails with ERANGE."""

_REFUSED = (1, 2)
"""CRYPT_SALT_INVALID and CRYPT_SALT_METHOD_DISABLED."""


def knows(setting: bytes) -> bool:
    """Return whether the method of *setting* exists and its characters are allowed.

    Raises ConfigError without libxcrypt.
    """
    return _library().crypt_checksalt(setting) not in _REFUSED


def crypt(password: bytes, setting: bytes) -> bytes:
    """Return setting and digest as crypt(3) writes them; neither argument may hold a NUL.

    Raises OSError if the system is out of memory or the setting is invalid.
    """
    crypt_data = ctypes.create_string_buffer(_CRYPT_DATA_OCTETS)
    ctypes.set_errno(0)
    hashed: bytes | None = _library().crypt_rn(password, setting, crypt_data, _CRYPT_DATA_OCTETS)
    if hashed is None:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return hashed


@cache
def _library() -> ctypes.CDLL:
    for name in NAMES:
        try:
            library = ctypes.CDLL(name, use_errno=True)
            library.crypt_rn.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
            library.crypt_rn.restype = ctypes.c_char_p
            library.crypt_checksalt.argtypes = (ctypes.c_char_p,)
        except (OSError, AttributeError):
            continue
        return library
    raise ConfigError("this scheme needs crypt(3) of libxcrypt 4.3 or newer, which this system does not have")
