"""The test double: a POP3 server for the tests of POP3 clients, with faults on demand."""

from geventpop3.testing.double.double import Double, DoubleFailed, DoubleMaildrop
from geventpop3.testing.double.faults import KINDS, Fault
from geventpop3.testing.double.mixin import DoubleMixin
from geventpop3.testing.double.records import CommandRecord, SessionRecord

__all__ = [
    "KINDS",
    "CommandRecord",
    "Double",
    "DoubleFailed",
    "DoubleMaildrop",
    "DoubleMixin",
    "Fault",
    "SessionRecord",
]
