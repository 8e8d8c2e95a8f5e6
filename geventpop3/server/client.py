"""A connected client: what applications do with it, and what the server does to it while its session runs.

The session itself is ``geventpop3.server.session``. Only the session's greenlet reads or closes; other greenlets set an
attribute and wake it.
"""

from __future__ import annotations

import itertools
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import gevent

from geventpop3.errors import PipelineError, Refusal
from geventpop3.pipeline.events import Event, SessionSummary, discard
from geventpop3.pipeline.interfaces import name_of_session
from geventpop3.protocol.commands import State
from geventpop3.protocol.connection import Connection, Response, Want
from geventpop3.server.environment import Environment
from geventpop3.server.output import NO_TRACE, Output, Trace
from geventpop3.server.stream import Stream
from geventpop3.server.trace import LoggingTrace
from geventpop3.wire.replies import Reply
from geventpop3.wire.stuffing import stuff

_ids = itertools.count(1)


class Client:
    """A connected client.

    Application code uses what ``ClientInterface`` has; the rest belongs to the server.
    """

    __slots__ = (
        "__weakref__",
        "_active_at",
        "_announced",
        "_answering",
        "_data",
        "_disowned",
        "_farewell",
        "_line_octets",
        "_notices",
        "_started_at",
        "connection",
        "environment",
        "greenlet",
        "id",
        "implicit_tls",
        "local",
        "output",
        "owner",
        "peer",
        "proxied",
        "proxied_tls",
        "summary",
        "trace",
        "translate",
        "waiting",
        "writing",
    )

    def __init__(
        self,
        environment: Environment,
        stream: Stream,
        peer: tuple[str, int],
        local: tuple[str, int],
        *,
        implicit_tls: bool = False,
    ) -> None:
        settings = environment.settings
        limits = settings.limits
        self.id: int = next(_ids)
        self.peer = peer
        self.local = local
        self.owner: str | None = None
        self.translate: Callable[[str], str] | None = None
        self.summary = SessionSummary(address=peer[0], port=peer[1])
        self.greenlet: gevent.Greenlet | None = None
        """The greenlet that runs the session."""
        self.environment = environment
        self.output = Output(stream)
        self.connection = Connection(
            environment.commands,
            strict=settings.strict,
            line_limit=limits.line_limit,
            bad_before_login=limits.bad_before_login,
            bad_after_login=limits.bad_after_login,
        )
        self.trace: Trace = LoggingTrace(name_of_session(self)) if settings.trace else NO_TRACE
        self.implicit_tls = implicit_tls
        """True on a port where TLS comes before the greeting."""
        self.proxied = False
        self.proxied_tls = False
        """True if the client used TLS to a trusted proxy."""
        self.waiting = False
        """True while the session waits for input: it can be woken, and no output is in transit."""
        self.writing = False
        """True while a body in several pieces is sent."""
        self._data: dict[str, Any] | None = None
        self._announced = False
        """True from the event ``connection`` on: ``disconnected`` must follow."""
        self._disowned = False
        """True in a forked child."""
        self._answering: Event | None = None
        """The event that is being handled."""
        self._farewell: Reply | None = None
        """The reply that ends the session, once somebody has ended it."""
        self._notices: deque[Reply] | None = None
        """The notices that are still to be sent."""
        self._line_octets = 0
        """Octets of the command's lines so far, if ``command_finished`` reports them."""
        self._started_at = self._active_at = monotonic()

    def __repr__(self) -> str:
        return f"<Client {self.id} {self.peer[0]}:{self.peer[1]} {self.state.name}>"

    # Used by applications (``ClientInterface``)

    @property
    def data(self) -> dict[str, Any]:
        """A dictionary for the application's own data about this session."""
        if self._data is None:
            self._data = {}
        return self._data

    @property
    def sock(self) -> Any:
        """The gevent socket; None for a session without one. Reading or writing it directly is at your own risk.

        It does not include TLS: with TLS, the octets on it are TLS records.
        """
        return self.output.stream.sock

    @property
    def state(self) -> State:
        """The session's state: AUTHORIZATION, TRANSACTION or UPDATE (RFC 1939 sections 4 to 6)."""
        return self.connection.state

    @property
    def secure(self) -> bool:
        """True if the connection cannot be read on its way: TLS to the server or a trusted proxy, or a unix socket."""
        return self.output.stream.secure or self.proxied_tls or self.peer[0].startswith("unix:")

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS connection to this server (``version()``, ``cipher()``, ``getpeercert()``, ...), None without TLS."""
        return self.output.stream.tls

    def send(self, reply: Reply | str | bytes) -> None:
        """Answer this client's event that is being handled; in any other greenlet, send *reply* as a notice.

        A notice is sent between two replies, at once if the client is idle, and does not change the state. Raises
        ValueError if a str or bytes does not begin with ``+OK`` or ``-ERR``, PipelineError if the event is answered.
        """
        if not isinstance(reply, Reply):
            reply = Reply.parse(reply)
        event = self._answering
        if event is not None and gevent.getcurrent() is self.greenlet:
            if event.reply is not None:
                raise PipelineError(f"{event.name} has been answered already: a command has one reply")
            event.reply = reply
            return
        if self._notices is None:
            self._notices = deque()
        self._notices.append(reply)
        if not self._is_idle:
            return  # something else runs, perhaps a handshake: the notice is sent after it
        try:
            self.output.interject(self._due_notices(lambda: self._is_idle))
        except OSError:
            return  # the peer has gone: the session's own greenlet will detect it
        if self.connection.closing:
            self.output.stream.wake()

    @property
    def _is_idle(self) -> bool:
        """True if the session waits for the client's next command and nothing else runs."""
        return self.waiting and self._answering is None and not self.connection.upgrading and self._announced

    def _due_notices(self, are_due: Callable[[], bool] = lambda: True) -> Iterator[bytes]:
        """Yield the octets of each waiting notice; a notice is rendered only when it is due."""
        while self._notices and are_due():
            notice = self._notices.popleft()
            if notice.body is not None and not notice.positive:
                discard(notice)
                notice = notice._replace(body=None)
            body = b"" if notice.body is None else b"".join(stuff(notice.body))
            self.trace.reply(notice)
            if notice.body is not None:
                self.trace.chunk(body)
                self.trace.end_body()
            yield self.connection.send(notice) + body

    def challenge(self, data: bytes) -> bytes | None:
        """Send ``+ `` and *data* in base64 and return the decoded response (RFC 5034 section 4).

        Returns None if the client cancelled with ``*`` or has gone. Raises Refusal if the response is not base64.
        """
        if self.environment.wanted("challenge"):
            self.environment.send_event("challenge", client=self)
        self.trace.challenge(data)
        self.output.put(self.connection.challenge(data))
        while True:
            got = self.connection.next_event()
            if got is Want.DATA:
                try:
                    self.receive()
                except OSError:
                    return None  # not an error of the application: writing the reply will end the session
            elif isinstance(got, Response):
                self._line_octets += self.connection.line_octets
                self.trace.response(self.connection.line_octets)
                if got.malformed:
                    raise Refusal("the response is not valid base64")
                return got.data
            else:
                return None

    def disconnect(self, *, now: bool = False) -> None:
        """Close the connection after the next reply, or at once and without a reply if *now* is true."""
        if now:
            self.abort("disconnected by the application")
        else:
            self.connection.disconnect()

    def has_gone(self) -> bool:
        """Return whether the client has ended its input and all of it was read, so that work for it is useless.

        It is not detected if the client has sent further commands, or has ended TLS with a close_notify.
        """
        return not self.connection.has_data and self.output.stream.has_ended()

    def flush(self) -> None:
        """Write the replies collected so far and wait until they are written. Raises OSError."""
        self.output.flush()

    # Used by the server

    def finish(self, farewell: Reply, reason: str) -> None:
        """Send *farewell* and close: at once if the session is idle, after the running reply otherwise."""
        if self._farewell is None:
            self._farewell = farewell
            self.summary.reason = reason
            if self.waiting:
                self.output.stream.wake()

    def abort(self, reason: str) -> None:
        """Drop the peer; without a reset if the session waits for input, because then no output is in transit."""
        self.summary.reason = reason
        if self.waiting:
            self.output.stream.wake()
        else:
            self.output.stream.abort()

    def close_without_loop(self, reason: str) -> None:
        """End the session from another thread, after the thread that ran it has ended."""
        self.summary.reason = reason
        if self._announced:
            self.environment.send_event("disconnected", client=self)
        self.output.stream.close_without_loop()

    def disown(self) -> None:
        """Close a forked child's copy of the connection, unnoticed by the peer (see ``geventpop3.forks``)."""
        self._disowned = True
        self.connection.closing = True
        self.output.stream.disown()

    def check_deadlines(self, now: float) -> None:
        """End the session if a deadline has passed: without a reply, and without UPDATE (RFC 1939 section 3)."""
        limits = self.environment.settings.limits
        if self.output.is_stuck(now, limits):
            self.abort("write deadline")
            return
        if self.connection.state is State.AUTHORIZATION:
            if self._answering is not None and not self.waiting:
                return  # the server's own time, for a hash or a scan, does not count against the client
            if limits.login_deadline is not None and now - self._started_at > limits.login_deadline:
                self.abort("login deadline")
                return
        if self.waiting and limits.autologout is not None and now - self._active_at > limits.autologout:
            self.abort("autologout")

    @property
    def updating(self) -> bool:
        """True while QUIT is being answered, which must not be interrupted."""
        return self._answering is not None and self._answering.name == "cmd_quit"

    def receive(self) -> None:
        """Write the collected output, then wait for input. Raises OSError. The session implements it."""
        raise NotImplementedError
