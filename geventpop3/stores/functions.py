"""A store of two functions, one that returns an owner's messages and one that removes some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from geventpop3.errors import NoSuchMessage, StoreMistake, StoreUnavailable
from geventpop3.stores.contents import Content, content_bytes, message_octets
from geventpop3.stores.locks import OwnerLocks
from geventpop3.stores.store import Maildrop, Message, Store

CACHED = 100_000
"""Maximum sizes that are remembered; beyond it all are counted again."""


class Item(NamedTuple):
    """One message of an owner.

    *unique_id*: 1 to 70 characters from ``!`` to ``~``, permanent and never used for another message. *content*: bytes
    with any line ends, str, an EmailMessage, or a function without arguments that returns one of these; it is called
    when a client retrieves the message. *octets*: the size as ``message_octets`` counts it; if it is None, the content
    is read once and counted.
    """

    unique_id: str
    content: Content | Callable[[], Content]
    octets: int | None = None


Messages = Callable[[str], Iterable[Item]]
"""A function that returns the messages of an owner, oldest first."""

Remove = Callable[[str, list[str]], object]
"""A function that removes messages of an owner, by their unique-ids; on return they are removed for ever."""


class FunctionStore(Store):
    """A store made of functions, which may block: *messages* is called at each login, *remove* at QUIT.

    Without *remove*, DELE is refused. Locks and sizes are kept here.
    """

    def __init__(self, messages: Messages | None = None, remove: Remove | None = None) -> None:
        self.messages = messages
        self.remove = remove
        self._locks = OwnerLocks()
        self._octets: dict[tuple[str, str], int] = {}

    def open(self, owner: str) -> Maildrop:
        """Return the maildrop of *owner*, locked. Raises MaildropLocked."""
        self._locks.acquire(owner)
        return _FunctionMaildrop(self, owner)

    def opens_at_once(self, owner: str) -> bool:  # noqa: ARG002 (true for any owner)
        return True

    def release(self, owner: str) -> None:
        """Release the lock of *owner*."""
        self._locks.release(owner)

    def octets_of(self, owner: str, item: Item) -> int:
        """Return the octets of a message, counted once."""
        if item.octets is not None:
            return item.octets
        key = owner, item.unique_id
        octets = self._octets.get(key)
        if octets is None:
            if len(self._octets) >= CACHED:
                self._octets.clear()
            octets = self._octets[key] = message_octets(item_bytes(item))
        return octets


class _FunctionMaildrop(Maildrop):
    """The messages of one owner during one session."""

    blocking = frozenset({"scan", "retrieve", "remove"})

    def __init__(self, store: FunctionStore, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._items: dict[str, Item] = {}
        self.removes = store.remove is not None

    def scan(self) -> list[Message]:
        if self._store.messages is None:
            raise StoreUnavailable("this service has no messages", detail="no function is decorated @service.messages")
        items = _checked(self._store.messages(self._owner))
        self._items = {item.unique_id: item for item in items}
        return [Message(item.unique_id, self._store.octets_of(self._owner, item)) for item in items]

    def retrieve(self, unique_id: str) -> tuple[bytes]:
        item = self._items.get(unique_id)
        if item is None:
            raise NoSuchMessage
        return (item_bytes(item),)

    def remove(self, unique_ids: Iterable[str]) -> None:
        if self._store.remove is None:
            raise StoreUnavailable("messages cannot be deleted here")
        self._store.remove(self._owner, list(unique_ids))

    def close(self) -> None:
        self._store.release(self._owner)


def item_bytes(item: Item) -> bytes:
    """Return the octets of a message, with any line ends. Raises StoreMistake if its content is no message."""
    content: object = item.content() if callable(item.content) else item.content
    try:
        return content_bytes(content)
    except TypeError as error:
        raise StoreMistake(f"the content of {item.unique_id!r}: {error}") from None


def _checked(items: object) -> list[Item]:
    """Return the messages as a list. Raises StoreMistake if the function did not return messages."""
    if not isinstance(items, Iterable):
        raise StoreMistake(f"the function of @service.messages returned {type(items).__name__}, not a list of Item")
    listed = list(items)
    for number, item in enumerate(listed, 1):
        if not isinstance(item, Item):
            raise StoreMistake(
                f"message {number} is a {type(item).__name__}, not an Item: write Item(unique_id, content)"
            )
    return listed
