"""A plugin that refuses some names at USER, APOP and AUTH, before the application checks their passwords.

python examples/plugin_bouncer.py mallory trudy          # and then, in another terminal:
curl -u mallory:sesame pop3://127.0.0.1:1110/
"""

import sys

from geventpop3 import EAT_ALL, EAT_NONE, Plugin, POP3Server, err, handles
from geventpop3.auth import Authenticator, ClearSecret
from geventpop3.service import MaildropService
from geventpop3.stores.memory import MemoryStore


class Bouncer(Plugin):
    """A plugin that refuses the names on a list and closes the session; the list may change while the server runs.

    It compares names as the client sent them. The name is empty if only an OAuth token identifies the user.
    """

    priority = -10  # before other plugins

    def __init__(self, names):
        self.names = set(names)
        self.turned_away = 0

    @handles("cmd_user", "cmd_apop", "credentials")  # the last one is for AUTH: the mechanism has received the name
    def look(self, pop3d, event):
        # Later plugins and listeners receive the arguments as this plugin leaves them.
        if "".join(event.args[:1]) not in self.names:
            return EAT_NONE
        self.turned_away += 1
        event.reply = err("not tonight", code="AUTH")
        event.client.disconnect()  # after the reply is sent
        return EAT_ALL


class Friends(Authenticator):
    """Accept every user who knows the password."""

    def authenticate(self, name, password):
        return name if ClearSecret(b"sesame").matches(password.encode("utf-8", "surrogateescape")) else None


def make_server(names, port=1110):
    pop3d = POP3Server(port=port, hostname="pop.example.org")
    pop3d.register(MaildropService(MemoryStore(), Friends()))
    pop3d.plugin_add("bouncer", Bouncer(names))
    return pop3d


if __name__ == "__main__":
    make_server(sys.argv[1:]).serve_forever()
