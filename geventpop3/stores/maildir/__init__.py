"""Maildrops in Maildir format: each message is a file, and any other program may deliver it.

    maildir/
      new/ cur/ tmp/       as in every Maildir; sub-folders (``.Sent``) are ignored
      geventpop3.index     sizes and order of the messages; may be deleted at any time
      geventpop3.update    the journal of an UPDATE in progress; normally absent

The exclusive-access lock is a kernel lock on the directory itself. It needs no cleanup and ends with its holder.
"""

from geventpop3.stores.maildir.store import MaildirStore

__all__ = ["MaildirStore"]
