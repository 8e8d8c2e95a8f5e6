"""The Store interface and its drivers, which hold the mail. They use no sockets of ours, no pipeline and no gevent.

A driver is imported by its own name (``geventpop3.stores.maildir``); importing this package imports none of them.
"""

from geventpop3.stores.contents import message_octets
from geventpop3.stores.functions import Item
from geventpop3.stores.locks import OwnerLocks
from geventpop3.stores.store import Chunks, Maildrop, Message, Snapshot, Store

__all__ = ["Chunks", "Item", "Maildrop", "Message", "OwnerLocks", "Snapshot", "Store", "message_octets"]
