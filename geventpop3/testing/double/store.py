"""The maildrops and the users of a double: in memory, changed by the test while sessions run."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from geventpop3.auth.authenticator import SecretAuthenticator, TokenAuthenticator
from geventpop3.auth.secret import ClearSecret
from geventpop3.errors import StoreUnavailable
from geventpop3.stores.memory import MemoryStore
from geventpop3.stores.store import Maildrop, Snapshot, Store
from geventpop3.testing.double.waiting import Guarded


class WatchedStore(Store):
    """A memory store whose open maildrops can be looked at; it changes under the lock of *state*.

    *naming* makes the unique-id of the message with a serial number; None for those of a memory store.
    """

    def __init__(self, state: Guarded, naming: Callable[[int], str] | None = None) -> None:
        self.state = state
        self.view: Callable[[WatchedMaildrop, Snapshot], Snapshot] | None = None
        """A function that makes what a session sees of a maildrop; None if it sees all."""
        self._memory = MemoryStore(username_case="keep") if naming is None else _NamedStore(naming)
        self._open: dict[str, WatchedMaildrop] = {}

    def deliver(self, owner: str, content: bytes) -> str:
        """Add a message and return its unique-id; an open session does not see it."""
        return self._memory.deliver(owner, content)

    def messages(self, owner: str) -> list[bytes]:
        """Return the contents of the messages in a maildrop, oldest first."""
        return self._memory.messages(owner)

    def by_unique_id(self, owner: str) -> dict[str, bytes]:
        """Return the contents of the messages in a maildrop by their unique-ids, oldest first."""
        return self._memory.by_unique_id(owner)

    def clear(self, owner: str) -> None:
        """Remove all messages of a maildrop."""
        self._memory.clear(owner)

    def opened(self, owner: str) -> WatchedMaildrop | None:
        """Return the maildrop of *owner* if a session has it open."""
        return self._open.get(owner)

    def open(self, owner: str) -> WatchedMaildrop:
        """Return the maildrop of *owner*, locked. Raises MaildropLocked."""
        with self.state.changing():
            maildrop = self._open[owner] = WatchedMaildrop(self, owner, self._memory.open(owner))
            return maildrop

    def opens_at_once(self, owner: str) -> bool:
        return self._memory.opens_at_once(owner)

    def closed(self, owner: str) -> None:
        """Forget an open maildrop."""
        self._open.pop(owner, None)


class _NamedStore(MemoryStore):
    """A memory store with unique-ids of another form."""

    def __init__(self, naming: Callable[[int], str]) -> None:
        super().__init__(username_case="keep")
        self._naming = naming

    def unique_id(self, serial: int, content: bytes) -> str:  # noqa: ARG002  # the form has no part of the content
        return self._naming(serial)


class WatchedMaildrop(Maildrop):
    """An open maildrop that notes what is removed."""

    blocking = frozenset()
    counted = True

    def __init__(self, store: WatchedStore, owner: str, maildrop: Maildrop) -> None:
        self._store = store
        self.owner = owner
        self._maildrop = maildrop
        self.unique_ids: list[str] = []
        """Unique-ids of the session's messages, in order of message-number."""
        self.removed: list[str] = []
        self.removes_half = False
        """True if UPDATE is to fail after the first half of the messages."""

    def scan(self) -> Snapshot:
        snapshot = Snapshot.of(self._maildrop.scan())
        if self._store.view is not None:
            snapshot = self._store.view(self, snapshot)
        self.unique_ids = list(snapshot.unique_ids)
        return snapshot

    def retrieve(self, unique_id: str) -> Iterable[bytes]:
        return self._maildrop.retrieve(unique_id)

    def remove(self, unique_ids: Iterable[str]) -> None:
        wanted = list(unique_ids)
        if self.removes_half:
            wanted = wanted[: len(wanted) // 2]
        with self._store.state.changing():
            self._maildrop.remove(wanted)
            self.removed += wanted
        if self.removes_half:
            raise StoreUnavailable("some messages could not be removed")

    def close(self) -> None:
        with self._store.state.changing():
            self._maildrop.close()
            self._store.closed(self.owner)


class DoubleUsers(SecretAuthenticator, TokenAuthenticator):
    """The users of a double, by name, with passwords in clear text and OAuth tokens: every mechanism can work.

    *tokens* says whether any user has a token.
    """

    def __init__(self) -> None:
        self.passwords: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        """Names by token."""

    def authenticate(self, name: str, password: str) -> str | None:
        return name if name in self.passwords and self.passwords[name] == password else None

    def secret(self, name: str) -> ClearSecret | None:
        password = self.passwords.get(name)
        return None if password is None else ClearSecret(password.encode("utf-8", "surrogateescape"))

    def check_token(self, name: str | None, token: str) -> str | None:
        owner = self.tokens.get(token)
        return owner if name in (None, owner) else None

    def checks_tokens(self) -> bool:
        return bool(self.tokens)

    def knows(self, name: str) -> bool:
        return name in self.passwords

    def answers_at_once(self) -> bool:
        return True
