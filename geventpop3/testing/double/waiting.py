"""Waits of the test's thread for what happens in the server's thread, without polling.

The test's thread may be a plain one, or one with a gevent hub whose greenlets must go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Protocol

from gevent._hub_local import get_hub_if_exists  # the public get_hub would make one
from gevent.event import Event

from geventpop3.server.native import Signal, allocate_lock


class _Alarm(Protocol):
    def ring(self) -> None:
        """Wake the waiting thread; callable from any thread."""

    def wait(self, seconds: float) -> None:
        """Wait for ``ring``, at most *seconds*."""

    def close(self) -> None:
        """Release what the alarm holds."""


class _NativeAlarm:
    """An alarm for a thread without a hub."""

    def __init__(self) -> None:
        self._signal = Signal()

    def ring(self) -> None:
        self._signal.set()

    def wait(self, seconds: float) -> None:
        self._signal.wait(seconds)

    def close(self) -> None:
        """Release nothing."""


class _HubAlarm:
    """An alarm for a thread with a hub: its other greenlets run during the wait."""

    def __init__(self, hub: Any) -> None:
        self._event = Event()
        self._watcher = hub.loop.async_()
        self._watcher.start(self._event.set)

    def ring(self) -> None:
        self._watcher.send()

    def wait(self, seconds: float) -> None:
        self._event.wait(seconds)

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()


class Guarded:
    """State that the test's threads and the server's thread share: changed under a lock, and waited for."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._alarms: set[_Alarm] = set()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock while the state changes, and wake those who wait. No wait for anything inside."""
        with self._lock:
            yield
            for alarm in self._alarms:
                alarm.ring()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock while the state is read."""
        with self._lock:
            yield

    def wait(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Wait until *happened*, called under the lock, is true; return False if it is not within *seconds*."""
        end = monotonic() + seconds
        while True:
            hub = get_hub_if_exists()
            alarm: _Alarm = _NativeAlarm() if hub is None else _HubAlarm(hub)
            try:
                with self._lock:
                    if happened():
                        return True
                    self._alarms.add(alarm)
                left = end - monotonic()
                if left <= 0:
                    return False
                alarm.wait(left)
            finally:
                with self._lock:
                    self._alarms.discard(alarm)
                alarm.close()
