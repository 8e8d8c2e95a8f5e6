"""Settings become a server: each part is made, or told what is wrong with its setting in one line."""

from geventpop3.assembly.authenticators import make_authenticator
from geventpop3.assembly.logins import check_known, check_maildir
from geventpop3.assembly.maildirs import hidden_maildirs
from geventpop3.assembly.processes import check_alone, check_processes, serve_with_workers
from geventpop3.assembly.server import listening, make_server, nowhere

__all__ = [
    "make_authenticator",
    "make_server",
    "listening",
    "nowhere",
    "check_alone",
    "check_processes",
    "check_known",
    "check_maildir",
    "hidden_maildirs",
    "serve_with_workers",
]
