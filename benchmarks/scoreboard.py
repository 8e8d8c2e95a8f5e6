"""Run the conformance checks against every POP3 server that can be installed here, and write docs/scoreboard.md.

    make scoreboard                        all servers; as root on Debian, with apt-get
    make scoreboard ARGS='--server popa3d --verbose'

Each server is installed in a copy of the root folder in memory, in namespaces of its own (scoreboard_root.py): the
machine does not change, and none of its ports is used. scoreboard_causes.py has the causes of failures, found by hand.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import scoreboard_root
from scoreboard_page import page
from scoreboard_servers import HOST, PASSWORD, PORT, RECIPES, USER

from geventpop3.testing import conformance

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "build" / "scoreboard"
START_SECONDS = 30.0
SERVER_SECONDS = 1800


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--server", action="append", choices=[each.name for each in RECIPES], help="only this server; may be repeated"
    )
    parser.add_argument("--verbose", action="store_true", help="show the failures, with commands and replies")
    parser.add_argument("--page-only", action="store_true", help="write the page from earlier results")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        return inside(arguments.inside)
    RESULTS.mkdir(parents=True, exist_ok=True)
    if not arguments.page_only:
        if os.geteuid() != 0:
            parser.error("installing servers in a copy of the root folder needs root")
        os.environ["SCOREBOARD_TWISTED"] = str(twisted())
        for recipe in RECIPES:
            if arguments.server and recipe.name not in arguments.server:
                continue
            print(f"{recipe.name}: ", end="", flush=True)
            command = [str(Path(__file__).resolve()), "--inside", recipe.name]
            status = scoreboard_root.enter(Path(command[0]), command[1:])
            found = RESULTS / f"{recipe.name}.json"
            if status or not found.exists():
                print(f"could not be run ({status})")
                continue
            data = json.loads(found.read_text())
            numbers = f"{data['passed']} passed, {data['failed']} failed, {data['skipped']} skipped"
            print(f"{numbers} in {data['seconds']:.0f} s")
            if arguments.verbose:
                print((RESULTS / f"{recipe.name}.txt").read_text())
    (PROJECT / "docs" / "scoreboard.md").write_text(page(RESULTS), "utf-8")
    return 0


def inside(name: str) -> int:
    """Install and start a server, run the checks, write the results; in the namespaces."""
    recipe = next(each for each in RECIPES if each.name == name)
    scratch = RESULTS / "root"
    scratch.mkdir(exist_ok=True)
    scoreboard_root.change_root(scratch, PROJECT)
    if recipe.packages:
        scoreboard_root.install(recipe.packages)
    scoreboard_root.leave_the_network()
    work = Path("/root/scoreboard")
    work.mkdir()
    work.chmod(0o755)
    Path("/root").chmod(0o755)
    delivery = recipe.start(work)
    wait_for_greeting()
    target = conformance.Target(HOST, PORT, USER, PASSWORD, timeout=10)
    report = conformance.run_checks(target, delivery=delivery, may_delete=True)
    data = json.loads(conformance.as_json(report))
    data["server"], data["version"], data["store"] = recipe.name, recipe.version(), recipe.store
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=2) + "\n")
    (RESULTS / f"{name}.txt").write_text(conformance.as_text(report, quiet=True))
    return 0


def wait_for_greeting() -> None:
    """Wait until the server greets. Raises SystemExit with the server's log if it does not."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((HOST, PORT), timeout=5) as connection:
                if connection.recv(1):
                    return
        except OSError:
            time.sleep(0.1)  # the server is another program: only a connection shows that it listens
    log = Path("/root/server.log")
    raise SystemExit(f"the server does not greet: {log.read_text() if log.exists() else ''}")


def twisted() -> Path:
    """Return the interpreter of an environment with Twisted, made if it is missing."""
    python = PROJECT / "build" / "scoreboard-venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "twisted"]
    subprocess.run(pip, check=True)
    return python


if __name__ == "__main__":
    sys.exit(main())
