"""A server on twisted.mail: its protocol and its Maildir, with an account. Run by Twisted's own interpreter."""

# mypy: ignore-errors
import os
import sys
from hashlib import md5

from twisted.cred import checkers, portal
from twisted.internet import protocol, reactor
from twisted.mail import maildir, pop3
from zope.interface import implementer


class Mailbox(maildir.MaildirMailbox):
    """Twisted's Maildir with three methods mended: on Python 3 they mix str and bytes."""

    def getMessage(self, i):  # noqa: N802  # Twisted's name
        """Open the file for octets; the original opens it for text, and the protocol wants octets."""
        return open(self.list[i], "rb")

    def getUidl(self, i):  # noqa: N802
        """Return octets; the original returns str."""
        return md5(os.path.basename(self.list[i]), usedforsecurity=False).hexdigest().encode()

    def deleteMessage(self, i):  # noqa: N802
        """Do what the original does, with folders that are octets as the path is."""
        trash = os.path.join(self.path, b".Trash", b"cur", os.path.basename(self.list[i]))
        os.rename(self.list[i], trash)
        self.deleted[self.list[i]] = trash
        self.list[i] = 0


@implementer(portal.IRealm)
class Realm:
    """The one account's mailbox."""

    def __init__(self, folder):
        self.folder = folder

    def requestAvatar(self, _avatar, _mind, *_interfaces):  # noqa: N802
        return pop3.IMailbox, Mailbox(os.fsencode(self.folder)), lambda: None


def main(folder, port, user, password):
    checker = checkers.InMemoryUsernamePasswordDatabaseDontUse()
    checker.addUser(user.encode(), password.encode())
    factory = protocol.ServerFactory()
    factory.portal = portal.Portal(Realm(folder), [checker])

    def build(_address):
        made = pop3.POP3()
        made.factory, made.portal = factory, factory.portal
        return made

    factory.buildProtocol = build
    reactor.listenTCP(int(port), factory, interface="127.0.0.1")
    reactor.run()


main(*sys.argv[1:])
