"""A sentence about many things is one test over a table: as exact as a test for each row, and much cheaper."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def each(names: str | tuple[str, ...], rows: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call the test once with each row, its values under *names*; a failure says which row it was.

    Used as ``pytest.mark.parametrize`` is, but the fixtures of the test are shared by its rows: what a row changes,
    the test has to make for itself.
    """
    table = list(rows)
    if not table:
        raise ValueError("an empty table tests nothing")

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def every_row(*args: Any, **fixtures: Any) -> None:
            for number, row in enumerate(table):
                values = {names: row} if isinstance(names, str) else dict(zip(names, row, strict=True))
                try:
                    test(*args, **fixtures, **values)
                except BaseException as failure:  # pytest.fail is no Exception
                    failure.add_note(f"in row {number} of the table: {repr(row)[:400]}")
                    raise

        signature = inspect.signature(test)
        told = {names} if isinstance(names, str) else set(names)
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in told]
        every_row.__signature__ = signature.replace(parameters=fixtures)
        return every_row

    return decorate
