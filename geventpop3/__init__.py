"""A framework for authoring POP3 servers on gevent and blinker, and a complete POP3 server built on it.

This module only exports names: its import imports no store, no authenticator and no test kit, and patches nothing.
"""

from geventpop3.errors import PipelineError, Refusal
from geventpop3.pipeline import events
from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.pipeline.plugin import EAT_ALL, EAT_CLIENT, EAT_NONE, EAT_PLUGIN, Plugin, handles
from geventpop3.server.client import Client
from geventpop3.server.server import POP3Server
from geventpop3.version import __version__
from geventpop3.wire.replies import Reply, err, multiline, ok

__all__ = [
    "POP3Server",
    "Client",
    "ClientInterface",
    "Event",
    "Plugin",
    "handles",
    "Reply",
    "ok",
    "err",
    "multiline",
    "Refusal",
    "PipelineError",
    "EAT_NONE",
    "EAT_CLIENT",
    "EAT_PLUGIN",
    "EAT_ALL",
    "events",
    "__version__",
]
