"""The import order of docs/architecture.md, checked on every import: also in functions and under TYPE_CHECKING."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import pytest
import sizes

PACKAGE = Path(__file__).parent.parent / "geventpop3"
ROOT = "__init__"  # geventpop3/__init__.py: the public names, on top of what they are taken from

# A module imports lower layers and its own package.
LAYERS = {
    "errors": 0,
    "forks": 0,
    "hosts": 0,
    "version": 0,
    "owners": 1,
    "wire": 1,
    "protocol": 2,
    "auth": 2,
    "stores": 2,
    "pipeline": 3,
    "server": 4,
    "service": 4,
    ROOT: 4,
    "plugins": 5,
    "testing": 5,
    "workers": 5,
    "cli": 6,
    "__main__": 7,
}
# Public names that several modules define with one meaning.
ONE_MEANING = {
    "Watch": "pipeline/ has the interface, server/ implements it",
    "add_parser": "each subcommand of cli/ is a module with these two functions",
    "command": "each subcommand of cli/ is a module with these two functions",
    "serve": "both are public: testing/ serves an application in a thread, workers/ in processes",
}
# Lower, and yet out of sight: the pipeline knows Reply, not POP3, and nothing of maildrops.
UNSEEN = {"pipeline": {"protocol", "auth", "stores"}}
CORE = {name for name, layer in LAYERS.items() if layer <= 3}
# Sockets are the server's. The test kit is a client: it plays dialogues over a plain socket from the test's own thread,
# and makes its conformance checks over TLS too. Its double makes certificates, and contexts that trust them.
SOCKETS = {"socket", "ssl", "gevent.socket", "gevent.server", "gevent.ssl", "gevent.baseserver"}
# What is assembled may trust an authority of its own: a context, and no connection.
SOCKETS_OF = {"server": SOCKETS, "testing": {"socket", "ssl"}, "cli": {"ssl"}}
LOOPS = {"gevent", "select", "selectors", "asyncio"}
# The control of a test double is HTTP, served by the standard library beside the hub that serves POP3.
HTTP = {"http.server", "socketserver"}
SOCKETS |= HTTP
SOCKETS_OF["testing"] |= HTTP


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Dotted names that *tree*, a module of *package*, imports; for ``from x import y`` both x and x.y."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*parents, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)
            # `from geventpop3 import wire` asks for the package, not for the public names.
            if not (module == "geventpop3" and all(alias.name in LAYERS for alias in node.names)):
                yield module
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def package_of(path: PurePosixPath) -> str:
    return path.parts[0].removesuffix(".py")


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def breaches(path: PurePosixPath, source: str) -> list[str]:
    """What *source*, which is or would be geventpop3/*path*, imports although it may not; one line each."""
    own = package_of(path)
    if own not in LAYERS:
        return [f"{path} has no layer"]
    package = ".".join(["geventpop3", *path.parts[:-1]])
    found = []
    for name in sorted(set(imported(ast.parse(source), package))):
        parts = name.split(".")
        if parts[0] == "geventpop3":
            target = parts[1] if len(parts) > 1 and parts[1] in LAYERS else ROOT
            below = LAYERS[target] < LAYERS[own] + (own == ROOT)
            if target != own and (not below or target in UNSEEN.get(own, ())):
                found.append(f"{path} (layer {LAYERS[own]}) imports {name} (layer {LAYERS[target]})")
            elif target == own and len(path.parts) > 2 and is_sibling_folder(path, parts):
                found.append(f"{path} imports {name}, a folder beside its own")
        elif within(name, SOCKETS) and not within(name, SOCKETS_OF.get(own, set())):
            found.append(f"{path} imports {name}: sockets are for server/")
        elif within(name, LOOPS) and own in CORE:
            found.append(f"{path} imports {name}: layers 0 to 3 are pure")
        elif within(name, {"pytest", "_pytest"}) and own != "testing":
            found.append(f"{path} imports {name}: only testing/ knows pytest")
    return found


def is_sibling_folder(path: PurePosixPath, parts: list[str]) -> bool:
    """Drivers are folders in a package, as stores/maildir/: they are on one layer and do not see each other."""
    return len(parts) > 2 and parts[2] != path.parts[1] and (PACKAGE / parts[1] / parts[2]).is_dir()


MODULES = sorted(PurePosixPath(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


def test_no_module_imports_upward_or_sideways_or_reaches_for_sockets() -> None:
    assert len(MODULES) > 20
    found = [line for path in MODULES for line in breaches(path, (PACKAGE / path).read_text("utf-8"))]
    assert found == []


def module_name(path: PurePosixPath) -> str:
    return ".".join([*path.parts[:-1], path.stem] if path.stem != "__init__" else path.parts[:-1])


def circles(sources: Mapping[PurePosixPath, str]) -> dict[str, set[str]]:
    """Return the modules that import themselves through others of their package, and which of these each imports."""
    modules = {module_name(path) for path in sources}
    arrows: dict[str, set[str]] = {}
    for path, source in sources.items():
        package = ".".join(["geventpop3", *path.parts[:-1]])
        names = {name.removeprefix("geventpop3.") for name in imported(ast.parse(source), package)}
        mine = module_name(path)
        # `from geventpop3.stores import store` is an import of the module, not of the names of its package.
        for_modules = {name.rpartition(".")[0] for name in names if name in modules}
        for_names = {name.rpartition(".")[0] for name in names if name not in modules}
        found = {name for name in names & modules if name in for_names or name not in for_modules}
        arrows[mine] = {name for name in found if name.partition(".")[0] == package_of(path)} - {mine}
    reached = {module: reachable(module, arrows) for module in arrows}
    within_circles = {
        module: {target for target in targets if module in reached.get(target, ())}
        for module, targets in arrows.items()
    }
    return {module: targets for module, targets in within_circles.items() if targets}


def reachable(module: str, arrows: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [module]
    while waiting:
        more = arrows.get(waiting.pop(), set()) - found
        found |= more
        waiting += more
    return found


def test_no_modules_of_a_package_import_each_other() -> None:
    assert circles({path: (PACKAGE / path).read_text("utf-8") for path in MODULES}) == {}


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"wire/a.py": "from geventpop3.wire import b", "wire/b.py": "from geventpop3.wire.a import x"}, ["a", "b"]),
        ({"wire/a.py": "if TYPE_CHECKING:\n    from .b import x", "wire/b.py": "from .a import x"}, ["a", "b"]),
        (
            {
                "wire/a.py": "from .b import x",
                "wire/b.py": "def f():\n    from .c import x",
                "wire/c.py": "from . import a",
            },
            ["a", "b", "c"],
        ),
        ({"wire/a.py": "from .b import x", "wire/b.py": "from .c import x", "wire/c.py": "import enum"}, []),
        ({"wire/__init__.py": "from .a import x", "wire/a.py": "from geventpop3.wire import b", "wire/b.py": ""}, []),
    ],
)
def test_a_planted_circle_is_found(sources: dict[str, str], expected: list[str]) -> None:
    found = circles({PurePosixPath(path): source for path, source in sources.items()})
    assert set(found) == {f"wire.{name}" for name in expected}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("wire/lines.py", "from geventpop3.protocol import commands"),
        ("wire/lines.py", "import geventpop3.server.stream"),
        ("wire/lines.py", "from geventpop3 import server"),
        ("wire/lines.py", "from geventpop3 import Reply"),
        ("wire/lines.py", "from .. import pipeline"),
        ("wire/lines.py", "from ..pipeline.events import Event"),
        ("wire/lines.py", "def later():\n    from geventpop3.cli.main import main"),
        ("wire/lines.py", "if TYPE_CHECKING:\n    from geventpop3.pipeline import events"),
        ("wire/lines.py", "importlib.import_module('geventpop3.server')"),
        ("wire/lines.py", "import gevent"),
        ("wire/lines.py", "from gevent import sleep"),
        ("wire/lines.py", "import asyncio.events"),
        ("errors.py", "from geventpop3.wire.replies import Reply"),
        ("errors.py", "from geventpop3.version import __version__"),
        ("auth/passwd.py", "from geventpop3.stores.store import Store"),
        ("auth/passwd.py", "import ssl"),
        ("stores/memory.py", "import select"),
        ("stores/mbox/driver.py", "from geventpop3.stores.maildir import MaildirStore"),
        ("pipeline/events.py", "from geventpop3.protocol.commands import COMMANDS"),
        ("service/service.py", "from geventpop3.server.client import Client"),
        ("service/service.py", "from geventpop3 import POP3Server"),
        ("service/threads.py", "from gevent import socket"),
        ("server/server.py", "from geventpop3.service import MaildropService"),
        ("plugins/limits/plugin.py", "from gevent.ssl import SSLContext"),
        ("plugins/limits/plugin.py", "import pytest"),
        ("plugins/limits/plugin.py", "from geventpop3.testing import scripts"),
        ("__init__.py", "from geventpop3.cli.main import main"),
        ("testing/plugin.py", "from gevent import socket"),
        ("cli/double.py", "from http.server import HTTPServer"),
        ("novelty/module.py", "import os"),
    ],
)
def test_a_planted_breach_is_found(path: str, source: str) -> None:
    assert len(breaches(PurePosixPath(path), source)) >= 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("wire/lines.py", "from . import replies\nfrom geventpop3.errors import Refusal\nimport enum"),
        ("stores/maildir/index.py", "from ..store import Message\nfrom . import journal"),
        ("server/listener.py", "import socket\nfrom gevent.server import StreamServer"),
        ("service/threads.py", "from gevent.threadpool import ThreadPool"),
        ("plugins/limits/plugin.py", "from geventpop3 import Plugin, handles"),
        ("testing/plugin.py", "import pytest"),
        ("__init__.py", "from geventpop3.server.server import POP3Server"),
        ("cli/build.py", "from geventpop3.service import MaildropService"),
    ],
)
def test_an_import_from_below_is_allowed(path: str, source: str) -> None:
    assert breaches(PurePosixPath(path), source) == []


def test_no_class_is_too_long() -> None:
    found = sizes.large_classes(sizes.sources())
    assert found == {}


def test_no_public_name_has_two_meanings() -> None:
    found = sizes.shared_names(sizes.sources())
    assert {name: paths for name, paths in found.items() if name not in ONE_MEANING} == {}
    assert ONE_MEANING.keys() == found.keys(), "an entry that is not needed any more"


def test_a_planted_long_class_and_a_planted_second_meaning_are_found() -> None:
    body = "    x = 1\n" * sizes.LARGE
    planted = {
        "a.py": f"class Long:\n{body}\nclass Short:\n{body.removesuffix('    x = 1' + chr(10))}",
        "b.py": "try:\n    def twice(): ...\nexcept ImportError:\n    pass\ndef _twice(): ...\nclass Once: ...\n",
        "c/d.py": "if True:\n    def twice(): ...\ndef _twice(): ...\n",
    }
    assert sizes.large_classes(planted) == {"a.py:Long": sizes.LARGE + 1}
    assert sizes.shared_names(planted) == {"twice": {"b.py", "c/d.py"}}


def test_the_package_itself_is_names_only() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    docstring, *rest = tree.body
    assert isinstance(docstring, ast.Expr)
    assert {type(node) for node in rest} <= {ast.ImportFrom, ast.Assign}


PROBE = """
import json, sys
import geventpop3
from gevent import monkey
print(json.dumps({"modules": sorted(sys.modules), "patched": sorted(monkey.saved)}))
"""


def test_importing_the_package_imports_no_back_end_and_patches_nothing() -> None:
    told = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, check=True, timeout=60)
    seen = json.loads(told.stdout)
    assert seen["patched"] == []
    modules = set(seen["modules"])
    interface = {f"geventpop3.stores.{name}" for name in ("contents", "functions", "locks", "store")}
    drivers = {name for name in modules if name.startswith("geventpop3.stores.")} - interface
    assert drivers == set()
    interface = {"geventpop3.auth.authenticator", "geventpop3.auth.secret"}
    assert {name for name in modules if name.startswith("geventpop3.auth.")} - interface == set()
    assert modules.isdisjoint({"pytest", "argon2", "geventpop3.testing", "geventpop3.service", "geventpop3.cli"})
