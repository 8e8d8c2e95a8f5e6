"""The double for tests written with ``unittest``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from geventpop3.testing.double.double import Double


class DoubleMixin:
    """A mixin of a ``unittest.TestCase``: ``self.pop3_double`` is a double of each test.

        class PollerTest(DoubleMixin, unittest.TestCase):
            double_options = {"tls": "required"}

    A test fails if a fault it asked for never happened, or if the server logged an error.
    """

    double_options: ClassVar[Mapping[str, Any]] = {}
    """Keywords of ``Double``."""

    pop3_double: Double

    def setUp(self) -> None:
        """Start the double; it is stopped and checked after ``tearDown``."""
        super().setUp()  # type: ignore[misc]  # of the TestCase
        self.pop3_double = self.enterContext(Double(**self.double_options))  # type: ignore[attr-defined]
