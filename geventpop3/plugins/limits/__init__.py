"""Limits on logins: who guesses passwords waits ever longer and then stays outside; who knows one hardly notices.

``pop3d.plugin_add("limits", LoginLimits())``. What is known of addresses and users is kept by a ledger, in this process
or, with the extra ``redis``, in a Redis server that processes and machines share.
"""

from geventpop3.plugins.limits.ledger import Entry, Failure, Ledger, MemoryLedger, Reason
from geventpop3.plugins.limits.plugin import LoginLimits
from geventpop3.plugins.limits.redis import RedisLedger
from geventpop3.plugins.limits.rules import Rules, Standing

__all__ = ["LoginLimits", "Rules", "MemoryLedger", "RedisLedger", "Ledger", "Standing", "Failure", "Entry", "Reason"]
