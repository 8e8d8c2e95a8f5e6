"""Maildrops in Maildir format, each message a file of its own, delivered by any other program.

    maildir/
      new/ cur/ tmp/       as every Maildir; sub-folders (``.Sent``) are not looked at
      geventpop3.index     sizes and order of the messages; may be deleted at any time
      geventpop3.update    the journal of an UPDATE in progress; normally absent

The exclusive-access lock is a kernel lock on the directory itself: nothing to clean up, free when its holder dies.
"""

from geventpop3.stores.maildir.store import MaildirStore

__all__ = ["MaildirStore"]
