"""crypt(3) of libxcrypt, which every Debian has (libcrypt1), called by ctypes without a dependency.

It is ``crypt_rn``, which has no state of its own, so any number of threads may call it, and which is told how much
room it has. ctypes lets go of the interpreter's lock meanwhile, so a login in a thread holds nobody up; the crypt_r
package, and the module crypt that Python had until 3.12, hash with the lock held, and so would SHA-crypt in Python,
which has nothing to make yescrypt of.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

from geventpop3.errors import ConfigError

PASSWORD_OCTETS = 511
"""CRYPT_MAX_PASSPHRASE_SIZE of crypt.h less the NUL; for more it fails at once."""

NAMES = ("libcrypt.so.1", "libcrypt.so.2")
"""With the functions of glibc's own crypt(3) of old, and without."""

_ROOM = 32768
"""Octets of struct crypt_data; where it is larger, ``crypt_rn`` fails with ERANGE."""

_REFUSED = (1, 2)
"""CRYPT_SALT_INVALID and CRYPT_SALT_METHOD_DISABLED."""


def knows(setting: bytes) -> bool:
    """Whether the method of *setting* is there and its characters are allowed. Raises ConfigError without libxcrypt."""
    return _library().crypt_checksalt(setting) not in _REFUSED


def crypt(password: bytes, setting: bytes) -> bytes:
    """Setting and digest as crypt(3) writes them; neither argument holds a NUL.

    Raises OSError if the system is out of memory, or for a setting that is none.
    """
    room = ctypes.create_string_buffer(_ROOM)
    ctypes.set_errno(0)
    hashed: bytes | None = _library().crypt_rn(password, setting, room, _ROOM)
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
