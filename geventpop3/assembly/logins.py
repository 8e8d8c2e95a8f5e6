"""A look at what the first login of a user will need, without a login."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from geventpop3.assembly.advice import who
from geventpop3.assembly.server import make_store
from geventpop3.assembly.trial import within_seconds
from geventpop3.auth.authenticator import Authenticator
from geventpop3.auth.passwd import PasswordFile
from geventpop3.config import Settings
from geventpop3.errors import ConfigError, Refusal


def check_maildir(settings: Settings, owner: str) -> str:
    """Return a line about the maildir of *owner*, looked at as the user that the workers become; changes nothing.

    Raises ConfigError that says all that would fail.
    """
    store = make_store(settings)
    with settings.blamed("maildir"), _as_worker(settings):
        found = store.examine(owner)
        if found.complaints:
            raise ConfigError(f"the Maildir of {owner}, for {who()}: {'; '.join(found.complaints)}")
        missing = "; the first login makes what is missing" if found.missing else ""
        return f"the Maildir of {owner}, for {who()}: {found.path}{missing}"


def check_known(authenticator: Authenticator, name: str, *, offline: bool = False) -> None:
    """Raise ConfigError if no back end knows the user *name*, as far as they can tell.

    If *offline* is true, a password file is asked and nothing else.
    """
    if offline and not isinstance(authenticator, PasswordFile):
        return
    try:
        known = within_seconds("", lambda: authenticator.knows(name))
    except Refusal as refusal:
        raise ConfigError(f"nobody can tell whether there is a user {name!r}: {refusal}") from None
    if known is False:
        raise ConfigError(f"no login: there is no user {name!r} in the password file or any other back end")


@contextmanager
def _as_worker(settings: Settings) -> Iterator[None]:
    """Within it the process has the rights of a worker, if it may take them: root's workers may be another user."""
    if settings.workers is None or os.geteuid() != 0 or (settings.user is None and settings.group is None):
        yield
        return
    from geventpop3 import workers

    wanted = workers.identity(settings.user, settings.group)
    group, groups = os.getegid(), os.getgroups()
    gid = wanted.get("group", group)
    try:
        if settings.user is None:
            os.setgroups([gid])
        else:
            os.initgroups(settings.user, gid)
        os.setegid(gid)
        os.seteuid(wanted.get("user", 0))
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
