"""Where is the mail: the Store interface and its drivers. No sockets of ours, no pipeline, no gevent.

A driver is imported by its own name (``geventpop3.stores.maildir``); importing this package imports none.
"""

from geventpop3.stores.store import Chunks, Maildrop, Message, Snapshot, Store

__all__ = ["Chunks", "Maildrop", "Message", "Snapshot", "Store"]
