"""Control of a double over HTTP and JSON, for tests in any language: ``geventpop3 double`` serves it.

``core`` turns a request into a response without a socket; ``server`` serves it. ``openapi.json`` describes all routes,
and is what the bodies of requests are checked against.
"""

from geventpop3.testing.double.control.api import place_of
from geventpop3.testing.double.control.core import Control
from geventpop3.testing.double.control.server import ControlServer

__all__ = ["Control", "ControlServer", "place_of"]
