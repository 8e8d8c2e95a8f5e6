"""Limits on logins: each failed login delays the next; repeated failures ban the address.

A user with the right password is hardly delayed. ``pop3d.plugin_add("limits", LoginLimits())`` adds the plugin. A
ledger keeps what is known of addresses and users: in this process or, with the extra ``redis``, in a Redis server that
processes and machines share.
"""

from geventpop3.plugins.limits.ledger import Entry, Failure, Ledger, MemoryLedger, Reason
from geventpop3.plugins.limits.plugin import LoginLimits
from geventpop3.plugins.limits.redis import RedisLedger
from geventpop3.plugins.limits.rules import Rules, Standing

__all__ = ["LoginLimits", "Rules", "MemoryLedger", "RedisLedger", "Ledger", "Standing", "Failure", "Entry", "Reason"]
