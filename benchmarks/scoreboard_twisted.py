"""A server on twisted.mail: the protocol and the Maildir that it has, with an account. Run by Twisted's interpreter."""

import os
import sys

from twisted.cred import checkers, portal
from twisted.internet import protocol, reactor
from twisted.mail import maildir, pop3
from zope.interface import implementer


@implementer(portal.IRealm)
class Realm:
    """The one account's mailbox."""

    def __init__(self, folder):
        self.folder = folder

    def requestAvatar(self, _avatar, _mind, *_interfaces):  # noqa: N802  # Twisted's name
        return pop3.IMailbox, maildir.MaildirMailbox(os.fsencode(self.folder)), lambda: None


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
