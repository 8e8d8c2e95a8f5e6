"""The server that the fault tests start, starve and kill: the public parts put together, nothing of its own.

As ``geventpop3 serve``, with settings that it does not have; its one argument is a JSON object, see ``faults_serve``.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys

import gevent

from geventpop3 import POP3Server
from geventpop3.auth.passwd import PasswordFile
from geventpop3.plugins.access_log import AccessLog
from geventpop3.service import MaildropService
from geventpop3.stores.maildir import MaildirStore, journal


def main() -> None:
    setup = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    if setup["without_journal"]:
        # The planted fault: UPDATE becomes a bare loop of unlinks, which a crash may cut anywhere.
        journal.write = lambda *_args, **_options: None
    root = setup["root"]
    pop3d = POP3Server(port=0, **setup["limits"])
    pop3d.register(MaildropService(MaildirStore(f"{root}/{{user}}"), PasswordFile(f"{root}/passwords")))
    pop3d.register(AccessLog())
    gevent.signal_handler(signal.SIGTERM, gevent.spawn, pop3d.shutdown)
    pop3d.start()
    if setup["uid"] is not None:
        os.setgroups([])
        os.setresgid(setup["uid"], setup["uid"], setup["uid"])
        os.setresuid(setup["uid"], setup["uid"], setup["uid"])
    pop3d.serve_forever()


if __name__ == "__main__":
    main()
