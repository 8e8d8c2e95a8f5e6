"""What a process holds besides memory, and what it holds more than before."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from weakref import WeakSet

import gevent

from geventpop3.pipeline import events

SECONDS = 20
"""How long what is on its way out gets, such as a thread that has returned and is not reaped yet."""

FILES = Path("/proc/self/fd")
TASKS = Path("/proc/self/task")

_greenlets: WeakSet[gevent.Greenlet] = WeakSet()


class Resources(NamedTuple):
    """Descriptors with what they are open to, greenlets that run, receivers with their event, native threads."""

    files: frozenset[str]
    greenlets: frozenset[int]
    receivers: frozenset[tuple[str, object]]
    threads: int

    def beyond(self, before: Resources) -> list[str]:
        """What is here and was not *before*, in words."""
        return [
            *(f"descriptor {file}" for file in sorted(self.files - before.files)),
            *(repr(one) for one in list(_greenlets) if id(one) in self.greenlets - before.greenlets),
            *(f"a receiver of {name}" for name in sorted(name for name, _ in self.receivers - before.receivers)),
            *([f"{self.threads} threads, {before.threads} before"] if self.threads > before.threads else []),
        ]


def watch() -> None:
    """Begin to know of greenlets, and let the hub make what it makes once, which is nobody's leak."""
    gevent.Greenlet.add_spawn_callback(_greenlets.add)
    gevent.get_hub().threadpool.apply(gevent.get_hub().loop.now)
    gevent.spawn(gevent.sleep, 0).join()


def resources() -> Resources:
    """What there is now."""
    return Resources(
        frozenset(_open_files()),
        frozenset(id(greenlet) for greenlet in list(_greenlets) if not greenlet.ready()),
        # A list, because garbage that is collected meanwhile may be a receiver.
        frozenset((name, key) for name, signal in events.CATALOGUE.items() for key in list(signal.receivers)),
        # The threads of the hub's own pool, which looks up names, stay as long as the hub.
        len(os.listdir(TASKS)) - gevent.get_hub().threadpool.size,
    )


def left_behind(before: Resources, look: Callable[[], Resources] = resources) -> list[str]:
    """What is more than *before* and stays so, in words."""
    left = look().beyond(before)
    if left:
        gc.collect()
        left = look().beyond(before)
    with gevent.Timeout(SECONDS, False):
        while left:
            gevent.sleep(0.002)
            left = look().beyond(before)
    return left


def _open_files() -> Iterator[str]:
    # A number that is used again is another file, so its target belongs to it.
    for fd in os.listdir(FILES):
        try:
            yield f"{fd} {os.readlink(FILES / fd)}"
        except FileNotFoundError:
            continue  # the one that lists the others
