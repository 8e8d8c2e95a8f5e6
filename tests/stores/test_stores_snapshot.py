"""What ``scan`` returns is checked once where it enters; mistakes are named, never sent."""

from __future__ import annotations

from array import array
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from table import each

from geventpop3.errors import StoreMistake
from geventpop3.stores.memory import MemoryStore
from geventpop3.stores.store import Message, Snapshot, is_unique_id

M = Message
LEGAL = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=70)


class Text(str):
    __slots__ = ()


@each(
    "scanned",
    [
        [],
        (),
        [M("a", 0), M("b", 3)],
        (M("a", 1),),
        deque([M("~" * 70, 1), M("!", 1 << 62)]),
        [M(Text("a"), 1), M("b", 2)],
        Snapshot(["a"], array("Q", [3])),
        Snapshot(["a"], array("l", [3])),
        Snapshot(("a",), [3]),  # type: ignore[arg-type]
    ],
)
def test_messages_in_a_sequence_are_a_snapshot(scanned: Any) -> None:
    snapshot = Snapshot.of(scanned)
    assert list(snapshot) == list(scanned)
    assert snapshot.octets.typecode == "Q"
    assert Snapshot.of(snapshot) is snapshot


@each(
    ("scanned", "why"),
    [
        ((M("a", 1) for _ in "a"), r"scan\(\) returned a generator, not a sequence of messages such as a list"),
        (iter([M("a", 1)]), "scan.. returned a list_iterator"),
        ({"a": 1}.items(), "scan.. returned a dict_items"),
        ({M("a", 1)}, "scan.. returned a set"),
        (None, "scan.. returned a NoneType"),
        ("ab", "scan.. returned a str"),
        (b"ab", "scan.. returned a bytes"),
        ([M("a", 1), ("b", 1)], "message 2 is a tuple, not a Message"),
        (["a"], "message 1 is a str, not a Message"),
        ([M("a", -1)], "message 1 has -1 octets: give an int, 0 or more"),
        ([M("a", 1), M("b", 1.0)], "message 2 has 1.0 octets"),  # type: ignore[arg-type]
        ([M("a", True)], "message 1 has True octets"),
        ([M("a", "12")], "message 1 has '12' octets"),  # type: ignore[arg-type]
        ([M("a", None)], "message 1 has None octets"),  # type: ignore[arg-type]
        ([M("a", 1 << 64)], "message 1 has 18446744073709551616 octets"),
        (
            [M("", 1)],
            "message 1 has the unique-id '' of 0 characters: a unique-id must have 1 to 70 characters from '!' to '~'",
        ),
        ([M("a", 1), M("a b", 1)], "message 2 has the unique-id 'a b'"),
        ([M("x" * 71, 1)], "of 71 characters"),
        ([M("x" * 200, 1)], r"the unique-id 'x{80}' of 200 characters"),
        ([M("a\r\n.\r\n+OK evil", 1)], r"the unique-id 'a\\r\\n\.\\r\\n\+OK evil'"),
        ([M("a\nb", 1)], "the unique-id 'a.nb'"),
        ([M("a\x7f", 1)], "the unique-id"),
        ([M("a\0", 1)], "the unique-id"),
        ([M("\u00e9", 1)], "the unique-id"),
        ([M("\udcff", 1)], "the unique-id"),
        ([M(Text(" "), 1)], "the unique-id ' '"),
        ([M(7, 1)], "message 1 has a unique-id that is a int, not a str"),  # type: ignore[arg-type]
        ([M(b"a", 1)], "message 1 has a unique-id that is a bytes"),  # type: ignore[arg-type]
        ([M(None, 1)], "message 1 has a unique-id that is a NoneType"),  # type: ignore[arg-type]
        ([M("a", 1), M("b", 1), M("a", 2)], "messages 1 and 3 have the same unique-id, 'a'"),
        (Snapshot(["a", "a"], array("Q", [1, 1])), "messages 1 and 2 have the same unique-id"),
        (Snapshot(["a"], array("Q", [1, 1])), "the snapshot has 1 unique-ids and octets of 2 messages"),
        (Snapshot(["a"], array("l", [-1])), "message 1 has -1 octets"),
        (Snapshot(["a"], array("d", [1.5])), "message 1 has 1.5 octets"),  # type: ignore[arg-type]
    ],
)
def test_a_mistake_is_named(scanned: Any, why: str) -> None:
    for _ in range(2):  # it is not forgotten
        with pytest.raises(StoreMistake, match=why):
            Snapshot.of(scanned)
        if not isinstance(scanned, (list, Snapshot)):
            break


@given(st.lists(LEGAL | st.text(max_size=3), max_size=6))
def test_all_at_once_and_one_by_one_agree(unique_ids: list[str]) -> None:
    legal = all(map(is_unique_id, unique_ids)) and len(set(unique_ids)) == len(unique_ids)
    try:
        Snapshot.of([M(unique_id, 1) for unique_id in unique_ids])
    except StoreMistake:
        assert not legal
    else:
        assert legal


def test_a_snapshot_is_checked_once() -> None:
    class Looked(list[str]):
        looks = 0

        def __iter__(self) -> Any:
            self.looks += 1
            return super().__iter__()

    unique_ids = Looked(["a", "b"])
    snapshot = Snapshot(unique_ids, array("Q", [1, 2]))
    assert Snapshot.of(snapshot) is snapshot
    looks = unique_ids.looks
    assert Snapshot.of(snapshot) is snapshot
    assert unique_ids.looks == looks > 0


def test_a_store_that_makes_the_unique_ids_vouches_for_them() -> None:
    maildrop = MemoryStore({"alice": [b"one\n"]}).open("alice")
    scanned = maildrop.scan()
    assert isinstance(scanned, Snapshot)
    assert scanned.checked
    assert maildrop.counted
