"""Print how large modules and classes are, and which public names several modules define.

python tests/sizes.py [ROOT]    # ROOT: the root of the sources to look at, this one by default
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
SMALL, LARGE = 50, 400
"""A module below the one is hardly a module of its own; a module or class above the other is hard to read."""


def sources(root: Path = HERE) -> dict[str, str]:
    """Return the text of each module below geventpop3/, by its path there."""
    package = root / "geventpop3"
    return {path.relative_to(package).as_posix(): path.read_text("utf-8") for path in sorted(package.rglob("*.py"))}


def modules(of: Mapping[str, str]) -> dict[str, int]:
    """Return the lines of each module; an ``__init__.py`` is none."""
    return {path: len(text.splitlines()) for path, text in of.items() if not path.endswith("__init__.py")}


def large_classes(of: Mapping[str, str]) -> dict[str, int]:
    """Return the lines of each class above ``LARGE``, nested ones too, by ``path:name``."""
    found = {}
    for path, text in of.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LARGE:
                    found[f"{path}:{node.name}"] = lines
    return found


def defined(text: str) -> Iterator[str]:
    """Yield the public classes and functions of a module, also those defined in a branch of it."""
    waiting: list[ast.stmt] = list(ast.parse(text).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if not node.name.startswith("_"):
                yield node.name
        elif isinstance(node, ast.If):
            waiting += [*node.body, *node.orelse]
        elif isinstance(node, ast.Try):
            waiting += [*node.body, *node.orelse, *(each for handler in node.handlers for each in handler.body)]


def shared_names(of: Mapping[str, str]) -> dict[str, set[str]]:
    """Return the modules of each public class or function that several modules define."""
    found: dict[str, set[str]] = {}
    for path, text in of.items():
        for name in defined(text):
            found.setdefault(name, set()).add(path)
    return {name: paths for name, paths in sorted(found.items()) if len(paths) > 1}


def main() -> None:
    of = sources(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
    lines = modules(of)
    small = [path for path, count in lines.items() if count < SMALL]
    large = [path for path, count in lines.items() if count > LARGE]
    print(f"{len(of)} files, {len(lines)} modules without __init__.py")
    print(f"{len(small)} modules under {SMALL} lines: {', '.join(small)}")
    print(f"{len(large)} modules over {LARGE} lines: {', '.join(f'{path} {lines[path]}' for path in large)}")
    print(f"classes over {LARGE} lines: {', '.join(f'{name} {count}' for name, count in large_classes(of).items())}")
    print("public names of several modules:")
    for name, paths in shared_names(of).items():
        print(f"  {name}: {', '.join(sorted(paths))}")


if __name__ == "__main__":
    main()
