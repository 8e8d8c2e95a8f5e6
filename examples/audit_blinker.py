"""An audit trail by plain blinker receivers, which are connected to a server's events without its help.

python examples/audit_blinker.py          # and then, in another terminal:
curl -u alice:sesame pop3://127.0.0.1:1110/1
"""

import logging

from geventpop3 import POP3Server, events
from geventpop3.auth import Authenticator, ClearSecret
from geventpop3.service import MaildropService
from geventpop3.stores.memory import MemoryStore

log = logging.getLogger("audit")


def logged_in(pop3d, event):
    owner, mechanism, _name = event.args
    log.info("client %d: %r logged in by %s from %s", event.client.id, owner, mechanism, event.client.peer[0])


def refused(pop3d, event):
    name, mechanism = event.args  # %r escapes line ends in the name, which the client sent
    log.warning("client %d: %r was refused by %s from %s", event.client.id, name, mechanism, event.client.peer[0])


def commanded(pop3d, event):
    command = event.command_summary
    answer = {True: "+OK", False: "-ERR", None: "silence"}[command.positive]
    log.info("client %d: %r %s", event.client.id, f"{command.verb} {command.argument}".strip(), answer)


def ended(pop3d, event):
    session = event.session_summary
    log.info("client %d: %d read, %d removed, %s", event.client.id, session.retrieved, session.removed, session.reason)


def watch(pop3d):
    """Connect to the events of *pop3d*; without ``sender`` the events of every server in this process would arrive.

    blinker keeps weak references: connect functions of a module, not lambdas, which would be deleted.
    """
    events.authenticated.connect(logged_in, sender=pop3d)
    events.authentication_failed.connect(refused, sender=pop3d)
    events.command_finished.connect(commanded, sender=pop3d)
    events.session_finished.connect(ended, sender=pop3d)


class OneUser(Authenticator):
    def authenticate(self, name, password):
        matches = ClearSecret(b"sesame").matches(password.encode("utf-8", "surrogateescape"))
        return name if matches and name == "alice" else None


def make_server(port=1110):
    pop3d = POP3Server(port=port, hostname="pop.example.org")
    pop3d.register(MaildropService(MemoryStore({"alice": [b"Subject: hello\n\nHello, Alice.\n"]}), OneUser()))
    watch(pop3d)
    return pop3d


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    make_server().serve_forever()
