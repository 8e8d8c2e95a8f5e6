"""A program of its own on ``geventpop3.workers.serve``; its one argument is a JSON object of keywords."""

from __future__ import annotations

import json
import logging
import sys
from functools import partial

import workers_server

from geventpop3.errors import ConfigError
from geventpop3.workers import bind, inherits, serve


def renew() -> partial[workers_server.POP3Server]:
    """What is configured now: for all workers that come from now on, whatever the file says by then."""
    found = workers_server.generation()
    if found == "broken":
        raise ConfigError("this cannot work")
    if found == "unbootable":
        return partial(fail, found)
    return partial(workers_server.make, found)


def fail(found: str) -> workers_server.POP3Server:
    raise ConfigError(f"{found}: this worker cannot begin")


def main() -> None:
    setup = json.loads(sys.argv[1])
    listen = setup.pop("listen")
    logging.basicConfig(level=logging.INFO, format="[%(process)d] %(levelname)s %(name)s: %(message)s")
    try:
        serve(renew(), [] if inherits() else bind(listen), reload=renew, **setup)
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
