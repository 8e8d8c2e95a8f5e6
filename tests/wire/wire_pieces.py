"""Messages of all that is awkward, and the pieces that octets may come in."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

MESSAGES = st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b".", b"..", b"a", b"\0\xff", b"\n.", b"\r\n.\r\n"])).map(
    b"".join
)
CUTS = st.lists(st.integers(0, 10_000), max_size=8)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def octet_by_octet(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]
