"""The C sources under AddressSanitizer and UndefinedBehaviorSanitizer, call for call beside the Python they replace.

``make fuzz-c`` runs it: built with gcc into ``build/sanitised``, then all functions with random arguments. It ends with
1, and says which seed repeats it, if a function in C answers otherwise than Python, keeps memory, raises what nobody
expects, or does what a sanitizer stops. A function that C has and that is not in a table here ends it, too.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
BUILT = ROOT / "build" / "sanitised"
FLAGS = "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
UNDER_WAY = "GEVENTPOP3_SANITISED"

CALLS_KEPT = 2000
OCTETS_KEPT = 4096
"""What so many calls may leave behind: the interpreter's own."""

MEMORY_FAILURES = 12
"""Allocations of one call that fail, one at a time."""

EXPECTED = (TypeError, ValueError, OverflowError)
"""What arguments of the wrong kind raise."""

EDGES = (0, 1, -1, 2**31, -(2**31), 2**63 - 1, 2**63 - 2, -(2**63), -(2**63) + 1)
"""Numbers that still fit into a Py_ssize_t: what is added to them or taken off them does not."""

STRANGE = (None, *EDGES, 2**63, 2**70, -(2**70), 1.5, "", "text", "é", "\ud800", b"", b"octets", bytearray(b"x"),
           memoryview(b"x"), (), ("x",), [], {}, object, True)  # fmt: skip


class Case(NamedTuple):
    """A function in C: what makes arguments for it, and what Python answers to them."""

    arguments: Callable[[random.Random], tuple[Any, ...]]
    in_python: Callable[..., Any]


def join(dice: random.Random, pieces: tuple[bytes, ...], most: int = 24) -> bytes:
    if dice.random() < 0.02:
        most *= 100
    return b"".join(dice.choices(pieces, k=dice.randrange(most)))


def content(dice: random.Random) -> bytes:
    pieces = (b"\n", b"\r", b"\r\n", b".", b"\n.", b"\r\n.\r\n", b"a", b"\0\xff", b"x" * dice.randrange(200))
    return join(dice, pieces if dice.random() < 0.8 else dice.choices(pieces, k=2))


def chunk(dice: random.Random) -> tuple[Any, ...]:
    return content(dice), dice.random() < 0.5, dice.random() < 0.5


def whole(dice: random.Random) -> tuple[Any, ...]:
    return (content(dice),) if dice.random() < 0.3 else (content(dice), content(dice))


LINE = (
    b"NOOP",
    b"RETR",
    b" ",
    b"1",
    b"a",
    b"Z",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\t",
    b"\xff",
    b"/",
    b":",
    b"@",
    b"[",
    b"`",
    b"{",
)


def line(dice: random.Random) -> tuple[Any, ...]:
    octets = join(dice, (*LINE, b"V" * dice.randrange(38, 43)), 8)
    if dice.random() < 0.7:
        octets = dice.choice((b"", b"UIDL\r\n")) + dice.choice((b"RETR ", b"NOOP", b"A1 b")) + octets + b"\r\n"
    start, limit = dice.randrange(len(octets) + 3), dice.randrange(60)
    start = dice.choice((0, 0, 6, start, 2**63 - 1))
    return octets, start, dice.choice((0, 5, 6, 1024, limit, dice.choice(EDGES)))


def status(dice: random.Random) -> tuple[Any, ...]:
    pieces = (
        "1 message",
        " ",
        "[",
        "]",
        "\r",
        "\n",
        "\0",
        "\x1c",
        "\x7f",
        "é",
        "\ud800",
        "漢",
        "~",
        "x" * dice.randrange(520),
    )
    most = 2 if dice.random() < 0.7 else 6
    return (
        dice.random() < 0.5,
        "".join(dice.choices(pieces, k=dice.randrange(most))),
        dice.choice((512, dice.randrange(600), dice.choice(EDGES))),
    )


def tables() -> dict[str, dict[str, Case]]:
    """By module, by function."""
    from geventpop3.wire import fast_path, stuffing

    return {
        "geventpop3.wire._speedups": {
            "encode_chunk": Case(chunk, stuffing.encode_chunk_in_python),
            "stuff_whole": Case(whole, stuffing.stuff_whole_in_python),
            "plain_command": Case(line, fast_path.plain_command_in_python),
            "plain_status_line": Case(status, fast_path.plain_status_line_in_python),
        },
    }


def build() -> None:
    """All extension modules of setup.py, sanitised. Raises CalledProcessError."""
    subprocess.run(
        [
            sys.executable,
            "setup.py",
            "-q",
            "build_ext",
            "--force",
            "--build-lib",
            BUILT,
            "--build-temp",
            BUILT / "objects",
        ],
        cwd=ROOT,
        env=os.environ | {"CFLAGS": FLAGS, "LDFLAGS": "-fsanitize=address,undefined"},
        check=True,
    )


def run_sanitised() -> int:
    """The same program again with the sanitizer's allocator, for Python's objects too."""
    library = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    environment = {
        UNDER_WAY: "1",
        "LD_PRELOAD": library.stdout.strip(),
        "PYTHONMALLOC": "malloc",  # or else the end of a bytes object is the middle of an arena
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",  # the interpreter leaks; leaks of ours are looked for below
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run([sys.executable, *sys.argv], env=os.environ | environment, check=False).returncode


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Differs(Exception):
    """C and Python do not agree."""


def call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """What comes of it; an error is a result too."""
    try:
        return function(*arguments)
    except EXPECTED as error:
        return type(error)


def compare(function: Callable[..., Any], case: Case, dice: random.Random, ends: float) -> int:
    """Same answers to random arguments, and no harm from arguments that are none; returns how many were tried."""
    tried = 0
    while time.monotonic() < ends:
        for _ in range(100):
            arguments = case.arguments(dice)
            answer, expected = call(function, arguments), case.in_python(*arguments)
            if answer != expected or type(answer) is not type(expected):
                raise Differs(f"{arguments!r}: {answer!r}, not {expected!r}")
            call(function, tuple(dice.choice((given, dice.choice(STRANGE))) for given in arguments))
            call(function, tuple(dice.choices(STRANGE, k=dice.randrange(5))))
        tried += 100
    return tried


def keeps_nothing(function: Callable[..., Any], case: Case, dice: random.Random) -> None:
    """Nothing is left of many calls, with good arguments and with bad."""
    calls = [case.arguments(dice) for _ in range(20)]
    calls += [tuple(dice.choice((given, None, 2**70)) for given in arguments) for arguments in calls]

    def many(times: int) -> None:
        for _ in range(times):
            for arguments in calls:
                call(function, arguments)

    many(2)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    many(CALLS_KEPT // len(calls))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if after - before > OCTETS_KEPT:
        raise Differs(f"{CALLS_KEPT} calls keep {after - before} octets")


def survives_without_memory(function: Callable[..., Any], case: Case, dice: random.Random) -> None:
    """Each allocation in turn fails: that is a MemoryError, or nobody needed it."""
    try:
        from _testcapi import remove_mem_hooks, set_nomemory
    except ImportError:
        return  # not in every build of Python
    for failing in range(MEMORY_FAILURES):
        for _ in range(5):
            arguments = case.arguments(dice)
            set_nomemory(failing, failing + 1)
            try:
                function(*arguments)
            except MemoryError:
                continue
            finally:
                remove_mem_hooks()


def fuzz(seed: int, seconds: float) -> int:
    """Everything in the tables; returns an exit code."""
    known = tables()
    found = {
        ".".join(path.relative_to(BUILT).parts).split(".cpython")[0]: path for path in BUILT.rglob("*.cpython*.so")
    }
    if found.keys() != known.keys():
        print(f"built: {sorted(found)}, in the tables: {sorted(known)}", file=sys.stderr)
        return 1
    for name, cases in known.items():
        module = load(name, found[name])
        functions = {name for name in dir(module) if not name.startswith("__")}
        if functions != cases.keys():
            print(f"{name} has {sorted(functions)}, the table {sorted(cases)}", file=sys.stderr)
            return 1
        for function, case in cases.items():
            dice = random.Random(f"{seed} {name} {function}")
            try:
                tried = compare(getattr(module, function), case, dice, time.monotonic() + seconds)
                keeps_nothing(getattr(module, function), case, dice)
                survives_without_memory(getattr(module, function), case, dice)
            except Differs as differs:
                print(f"{name}.{function} with --seed {seed}: {differs}", file=sys.stderr)
                return 1
            print(f"{name}.{function}: {tried} calls as in Python")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each function")
    options = parser.parse_args()
    if os.environ.get(UNDER_WAY):
        return fuzz(options.seed, options.seconds)
    build()
    return run_sanitised()


if __name__ == "__main__":
    sys.exit(main())
