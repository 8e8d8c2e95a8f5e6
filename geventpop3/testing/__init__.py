"""What tests of POP3 applications need: dialogues to play, a server beside the test, awkward messages.

Nothing here imports pytest but ``geventpop3.testing.plugin``, which pytest finds by itself.
"""

from geventpop3.testing.errors import HandlerFailed
from geventpop3.testing.play import Application, Mismatch, play, play_over_socket
from geventpop3.testing.script import WAYS, Dialogue, How, ScriptError, load, parse
from geventpop3.testing.server import Address, ServerThread, serve

__all__ = [
    "WAYS",
    "Address",
    "Application",
    "Dialogue",
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
