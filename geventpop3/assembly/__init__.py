"""Settings become a server: each part is made, or told what is wrong with its setting in one line."""

from geventpop3.assembly.logins import check_maildir
from geventpop3.assembly.processes import check_alone, check_processes, serve_with_workers
from geventpop3.assembly.server import listening, make_server, nowhere

__all__ = [
    "make_server",
    "listening",
    "nowhere",
    "check_alone",
    "check_processes",
    "check_maildir",
    "serve_with_workers",
]
