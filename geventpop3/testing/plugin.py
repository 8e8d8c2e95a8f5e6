"""The fixtures that pytest finds by itself where geventpop3 is installed; all begin with ``pop3_``.

This is the only module that imports pytest. It patches nothing and imports the test kit only when a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from geventpop3.testing import Address, Application, Dialogue


@pytest.fixture
def pop3_script() -> Callable[[Application, str | Path | Dialogue], None]:
    """``pop3_script(app, script)`` plays a dialogue without a socket, in every way it can be played.

    *app* is a POP3Server, or a function that makes one if a session leaves traces: then each way has a fresh one.
    *script* is the dialogue as text, a Path or parsed; see ``geventpop3.testing.script`` for the notation.
    """
    from geventpop3.testing.play import play
    from geventpop3.testing.script import Dialogue, load, parse

    def play_every_way(app: Application, script: str | Path | Dialogue) -> None:
        if not isinstance(script, Dialogue):
            script = load(script) if isinstance(script, Path) else parse(script)
        for how in script.ways:
            play(app, script, how)

    return play_every_way


@pytest.fixture
def pop3_server() -> Callable[..., AbstractContextManager[Address]]:
    """``with pop3_server(app) as address:`` serves on a free port, from a native thread with a hub of its own.

    Clients that block, such as poplib, work in the test itself. See ``geventpop3.testing.serve``.
    """
    from geventpop3.testing.server import serve

    return serve
