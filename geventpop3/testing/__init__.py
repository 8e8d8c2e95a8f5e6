"""Test tools for POP3 applications: dialogues to play, a server beside the test, awkward messages.

Only ``geventpop3.testing.plugin``, which pytest finds by itself, imports pytest.
"""

from geventpop3.testing.double import Double, DoubleFailed, DoubleMaildrop, DoubleMixin, Fault, SessionRecord
from geventpop3.testing.errors import HandlerFailed
from geventpop3.testing.play import Application, Mismatch, play, play_over_socket
from geventpop3.testing.script import WAYS, Dialogue, How, ScriptError, load, parse
from geventpop3.testing.server import Address, ServerThread, serve

__all__ = [
    "WAYS",
    "Address",
    "Application",
    "Dialogue",
    "Double",
    "DoubleFailed",
    "DoubleMaildrop",
    "DoubleMixin",
    "Fault",
    "SessionRecord",
    "HandlerFailed",
    "How",
    "Mismatch",
    "ScriptError",
    "ServerThread",
    "load",
    "parse",
    "play",
    "play_over_socket",
    "serve",
]
