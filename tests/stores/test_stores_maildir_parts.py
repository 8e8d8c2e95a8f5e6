"""The parts of the maildir store that need no maildir: names, paths, the index file, the journal, the refusals."""

from __future__ import annotations

import os
import struct
import tracemalloc
import unicodedata
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geventpop3.errors import ConfigError, StoreBroken, StoreUnavailable
from geventpop3.stores import Maildrop, Message, Snapshot, Store
from geventpop3.stores.maildir import index, journal
from geventpop3.stores.maildir.index import UNKNOWN, Index, Row, decode
from geventpop3.stores.maildir.listing import Finder, Listing
from geventpop3.stores.maildir.names import (
    base_of,
    delivery_time,
    is_shared,
    path_of,
    shared_unique_id,
    stated_octets,
    unique_id,
)
from geventpop3.stores.maildir.paths import Template
from geventpop3.stores.maildir.removal import Marked

file_names = st.binary(min_size=1, max_size=90).filter(lambda name: not set(name) & {0, 0x2F, 0x3A}).map(os.fsdecode)
legal_names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="/:"), min_size=1)


class TestNames:
    @given(st.lists(st.one_of(file_names, legal_names), unique=True))
    @settings(max_examples=20, deadline=None)
    def test_every_base_has_a_legal_unique_id_of_its_own(self, bases: list[str]) -> None:
        unique_ids = [unique_id(base) for base in bases]
        assert len(set(unique_ids)) == len(bases)
        for each in unique_ids:
            assert 1 <= len(each) <= 70
            assert all(0x21 <= ord(character) <= 0x7E for character in each)

    @pytest.mark.parametrize("base", ["1700000000.M1P1.host", "x" * 70, "!", "~", "1.h,S=5,W=6"])
    def test_a_legal_base_is_its_own_unique_id(self, base: str) -> None:
        assert unique_id(base) == base

    @pytest.mark.parametrize("base", ["", "x" * 71, "a b", "a\x7f", "caf\u00e9", "\udcff"])
    def test_any_other_base_is_hashed(self, base: str) -> None:
        assert unique_id(base).startswith("sha256:")

    @given(st.one_of(file_names, legal_names), st.integers(0, 2**64 - 1))
    @settings(max_examples=20, deadline=None)
    def test_files_that_share_a_base_have_legal_unique_ids_that_no_base_has(self, base: str, inode: int) -> None:
        each = shared_unique_id(base, inode)
        assert is_shared(each)
        assert not is_shared(unique_id(base))
        assert len(each) <= 70
        assert all(0x21 <= ord(character) <= 0x7E for character in each)
        assert each != shared_unique_id(base, inode + 1)
        assert each != shared_unique_id(base + "x", inode)

    @pytest.mark.parametrize(
        ("base", "microseconds"),
        [
            ("1700000000.M123456P789.host", 1_700_000_000_123_456),
            ("1700000000.V801I5fM9.host,S=5", 1_700_000_000_000_009),
            ("1700000000.12345.host", 1_700_000_000_000_000),
            ("1700000000.12345.M7host", 1_700_000_000_000_000),
            ("1700000000.M1234567.host", 1_700_000_000_000_000),
            ("1.eml", 1_000_000),
            ("1700000000", None),
            ("1234567890123.x", None),
            ("\u0661.x", None),
            ("mail.eml", None),
            ("", None),
        ],
    )
    def test_the_delivery_time_is_read_from_the_name(self, base: str, microseconds: int | None) -> None:
        assert delivery_time(base) == microseconds

    @pytest.mark.parametrize(
        ("base", "octets"),
        [
            ("1.h,W=10", 10),
            ("1.h,S=10,W=20", 20),
            ("1.h,W=12,S=10", 12),
            ("1.h,W=21", None),
            ("1.h,W=9", None),
            ("1.h,S=9,W=12", None),
            ("1.h,S=10", None),
            ("1.h,XW=12", None),
            ("1.h", None),
        ],
    )
    def test_a_size_is_read_from_the_name_if_it_can_be_so(self, base: str, octets: int | None) -> None:
        assert stated_octets(base, 10) == octets

    @pytest.mark.parametrize("name", ["1.h", "1.h:2,S", "a b:2,", "a b", ":2,S"])
    def test_the_path_and_the_base_follow_from_unique_id_and_tail(self, name: str) -> None:
        base, colon, info = name.partition(":")
        each = unique_id(base)
        tail = "c" + (colon + info if each == base else name)
        assert path_of(each, tail) == f"cur/{name}"
        assert base_of(each, tail) == base


class TestPaths:
    @pytest.mark.parametrize(
        ("template", "owner", "path"),
        [
            ("/srv/mail/{user}", "alice", "/srv/mail/alice"),
            ("/srv/mail/{user}", "alice@example.org", "/srv/mail/alice@example.org"),
            ("/srv/{domain}/{local}/Maildir", "alice@example.org", "/srv/example.org/alice/Maildir"),
            ("/srv/{domain}/{local}", "a@b@example.org", "/srv/example.org/a@b"),
            ("/srv/{local}", "alice", "/srv/alice"),
            ("/srv/{{x}}/u-{user}.d", "alice", "/srv/{x}/u-alice.d"),
            ("/srv/{user}", "%2e%2e", "/srv/%2e%2e"),
            ("/srv/{user}", "~root", "/srv/~root"),
            ("/srv/{user}", "-rf", "/srv/-rf"),
            ("/srv/{user}", "{domain}", "/srv/{domain}"),
            ("/srv/{user}", "two words", "/srv/two words"),
            ("/srv/{user}", "CON", "/srv/CON"),
            ("/srv/{user}", "jose\u0301", "/srv/jos\u00e9"),
            ("/srv/{user}", "\u0645\u062d\u0645\u062f", "/srv/\u0645\u062d\u0645\u062f"),
            ("/srv/{user}", "x" * 255, "/srv/" + "x" * 255),
            ("/srv/{user}", "\u00e9" * 127, "/srv/" + "\u00e9" * 127),
        ],
    )
    def test_an_owner_has_the_path_that_the_template_says(self, template: str, owner: str, path: str) -> None:
        assert Template(template).path(owner) == path

    @pytest.mark.parametrize(
        "owner",
        [
            *("", ".", "..", "/", "../x", "a/b", "/etc", ".hidden", "a\0b", "a\nb", "\x7f", "\x85", "\udcff"),
            *("\u2028", "x" * 256, "\u00e9" * 128, "x" * 70_000, "\uff0e\uff0e/x"),
        ],
    )
    def test_a_name_that_cannot_be_one_directory_has_no_maildrop(self, owner: str) -> None:
        with pytest.raises(StoreBroken) as refused:
            Template("/srv/mail/{user}").path(owner)
        assert refused.value.code == "SYS/PERM"
        assert refused.value.text == "no maildrop can have this name"
        assert len(str(refused.value.detail)) < 3000

    @pytest.mark.parametrize("owner", ["alice", "@example.org", "alice@", "..@example.org", "alice@..", "a@b/c"])
    def test_each_part_that_the_template_uses_is_checked(self, owner: str) -> None:
        with pytest.raises(StoreBroken):
            Template("/srv/{domain}/{local}").path(owner)

    @given(st.text())
    @settings(max_examples=50, deadline=None)
    def test_no_name_leaves_the_root(self, owner: str) -> None:
        try:
            path = Template("/srv/mail/{user}").path(owner)
        except StoreBroken:
            return
        assert os.path.dirname(os.path.normpath(path)) == "/srv/mail"
        assert os.path.basename(path) == unicodedata.normalize("NFC", owner)
        path.encode("utf-8")

    @pytest.mark.parametrize(
        "template",
        [
            *("", "/srv/mail", "/srv/{}", "/srv/{0}", "/srv/{users}", "/srv/{user!r}", "/srv/{user:>9}"),
            *("/srv/{user", "/srv/user}", "/srv/{user[0]}", "/srv/{user.x}", "/srv/{user}/..", "/srv/{user}\0"),
        ],
    )
    def test_a_template_that_cannot_work_is_a_mistake_of_the_operator(self, template: str) -> None:
        with pytest.raises(ConfigError) as mistaken:
            Template(template)
        assert "\n" not in str(mistaken.value)
        assert repr(template) in str(mistaken.value)

    @pytest.mark.parametrize(
        ("template", "fixed", "steps"),
        [
            ("/{user}", "/", ["/a@b"]),
            ("/srv/mail/{user}", "/srv/mail", ["/srv/mail/a@b"]),
            ("/srv//mail/./x/../u-{user}/", "/srv/mail", ["/srv/mail/u-a@b"]),
            ("/srv/{{x}}/{domain}/{local}", "/srv/{x}", ["/srv/{x}/b", "a"]),
            ("/srv/{{{user}}}/Maildir", "/srv", ["/srv/{a@b}", "Maildir"]),
            ("/home/{domain}/{local}/Maildir/.", "/home", ["/home/b", "a", "Maildir"]),
            ("/home/{domain}/../x/{local}", "/home/x", ["/home/x/a"]),
        ],
    )
    def test_what_is_before_the_first_placeholder_is_the_fixed_part(
        self, template: str, fixed: str, steps: list[str]
    ) -> None:
        made = Template(template)
        assert made.fixed == fixed
        assert made.steps(made.path("a@b")) == steps

    def test_a_relative_template_is_relative_to_where_the_program_was_started(self) -> None:
        assert Template("mail/{user}").path("alice") == os.path.join(os.getcwd(), "mail/alice")


rows_of_maildirs = st.dictionaries(
    st.one_of(file_names, legal_names).map(lambda base: (unique_id(base), base)),
    st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**40 - 1), st.integers(0, 2**64 - 1)),
    max_size=8,
)


class TestTheIndexFile:
    def index(self, fingerprint: tuple[int, int, int, int] | None = (1, 2, 3, 4)) -> Index:
        rows = [Row(1, "1.h", 10, 9, 7), Row(2, "2.h", 20, 18, 8)]
        return Index.empty().updated({"1.h": "n", "2.h": "c:2,S"}, rows, fingerprint)

    def same(self, one: Index, other: Index | None) -> bool:
        return other is not None and all(
            (
                one.fingerprint == other.fingerprint,
                list(one.snapshot) == list(other.snapshot),
                one.times == other.times,
                one.sizes == other.sizes,
                one.inodes == other.inodes,
                list(one.tails) == list(other.tails),
            )
        )

    @given(rows_of_maildirs, st.none() | st.tuples(*[st.integers(0, 2**64 - 1)] * 4))
    @settings(max_examples=20, deadline=None)
    def test_what_was_written_is_read(
        self, messages: dict[tuple[str, str], tuple[int, int, int]], stamp: tuple[int, int, int, int] | None
    ) -> None:
        tails = {each: "c" + ("" if each == base else base) for each, base in messages}
        rows = [Row(time, each, size + size // 2, size, inode) for (each, _), (time, size, inode) in messages.items()]
        written = Index.empty().updated(tails, rows, stamp)
        assert list(written.snapshot) == [Message(row.unique_id, row.octets) for row in sorted(rows)]
        assert self.same(written, decode(written.encode()))

    def test_a_cut_or_lengthened_file_is_no_index(self) -> None:
        content = self.index().encode()
        assert decode(content) is not None
        assert decode(content + b"x") is None
        assert not any(decode(content[:length]) for length in range(len(content)))

    def test_a_file_with_one_flipped_octet_is_no_index(self) -> None:
        content = self.index().encode()
        for at in range(len(content)):
            assert decode(content[:at] + bytes([content[at] ^ 0x20]) + content[at + 1 :]) is None

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            *((b"1.h/2.h", forged) for forged in (b"1.hx2.h", b"a/b/c.h", b"1.h/2 h", b"1.h/2\nh", b"1.h/2\xe9h")),
            *((b"n/c:2,S", forged) for forged in (b"nxc:2,S", b"n/c/../", b"n/c\0\0\0\0", b"n/c:2,")),
        ],
    )
    def test_a_file_that_somebody_forged_is_no_index(self, old: bytes, new: bytes) -> None:
        content = self.index().encode()
        title = content.index(b"\n") + 1
        body = content[title + 4 :].replace(old, new)
        assert body != content[title + 4 :]
        assert decode(content[:title] + struct.pack("=L", zlib.crc32(body)) + body) is None

    def forged(self, index: Index) -> Index | None:
        """The index as somebody wrote it who can compute a checksum."""
        return decode(index.encode())

    @pytest.mark.parametrize(
        ("size", "octets"), [(10, 9), (10, 23), (0, 3), (2**40, 2**40), (2**63, 2**63), (5, UNKNOWN), (UNKNOWN - 1, 5)]
    )
    def test_a_size_that_cannot_be_makes_a_file_no_index(self, size: int, octets: int) -> None:
        assert self.forged(Index.empty().updated({"1.h": "n"}, [Row(1, "1.h", octets, size)], None)) is None

    @pytest.mark.parametrize("unique_ids", [["x" * 71], ["1.h", ""], ["", "1.h"]])
    def test_a_unique_id_that_cannot_be_makes_a_file_no_index(self, unique_ids: list[str]) -> None:
        rows = [Row(1, each, 10, 9) for each in unique_ids]
        assert self.forged(Index.empty().updated(dict.fromkeys(unique_ids, "n"), rows, None)) is None

    @pytest.mark.parametrize("at_once", [1, 7, 1 << 16])
    def test_long_strings_are_split_in_parts(self, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
        monkeypatch.setattr(index, "_SPLIT_AT_ONCE", at_once)
        rows = [Row(number, f"{number}.h", 10, 9) for number in range(30)]
        tails = {row.unique_id: "" if row.time == 29 else "c:2," + "S" * row.time for row in rows}
        written = Index.empty().updated(tails, rows, (1, 2, 3, 4))
        assert self.same(written, decode(written.encode()))

    def test_one_of_the_version_before_lacks_inodes_alone(self) -> None:
        content = self.index().encode()
        title = content.index(b"\n") + 1
        columns = title + 4 + 64
        body = content[title + 4 : columns + 3 * 16] + content[columns + 4 * 16 :]
        old = decode(content[:title].replace(b"2", b"1") + struct.pack("=L", zlib.crc32(body)) + body)
        assert old is not None
        assert list(old.inodes) == [0, 0]
        old.inodes = self.index().inodes
        assert self.same(self.index(), old)

    def test_a_message_of_unknown_size_is_measured_again_and_its_index_never_fresh(self) -> None:
        doubtful = self.index().without_sizes([0])
        assert doubtful.fingerprint is None
        assert doubtful.unmeasured({"1.h": "n", "2.h": "n", "3.h": "n"}) == {"1.h": "n", "3.h": "n"}
        one = array("Q", [1])
        assert Index((1, 2, 3, 4), one, array("Q", [UNKNOWN]), one, doubtful.snapshot, b"").fingerprint is None
        again = doubtful.updated({"1.h": "c", "2.h": "c"}, [Row(1, "1.h", 11, 10)], (1, 2, 3, 4))
        assert list(again.snapshot) == [Message("1.h", 11), Message("2.h", 20)]


class TestTheJournalFile:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Iterator[int]:
        self.path = tmp_path / journal.FILE
        root = os.open(tmp_path, os.O_RDONLY)
        yield root
        os.close(root)

    def read(self, root: int, content: bytes, *unique_ids: str) -> dict[str, Marked] | None:
        self.path.write_bytes(content)
        return journal.read_journal(Finder(Listing(dict.fromkeys(unique_ids, "n"), None)), root)

    @given(st.dictionaries(legal_names.map(lambda name: name[:70]), st.tuples(*[st.integers(0, 2**64 - 1)] * 2)))
    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_what_was_written_is_read(self, root: int, messages: dict[str, tuple[int, int]]) -> None:
        marked = {each: Marked(f"new/{each}", *identity) for each, identity in messages.items()}
        assert self.read(root, journal.encode(marked), *messages) == marked

    def test_one_that_the_version_before_wrote_is_read(self, root: int) -> None:
        body = b"1.h\n2.h\n"
        content = b"geventpop3 update 1 %08x\n" % zlib.crc32(body) + body
        assert self.read(root, content, "1.h") == {"1.h": Marked("new/1.h")}

    def test_a_file_with_one_flipped_octet_or_cut_is_damaged(self, root: int) -> None:
        content = journal.encode({"1.h": Marked("", 7, 8), "2.h": Marked("", 9, 10)})
        for at in range(len(content)):
            assert self.read(root, content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :], "1.h") is None
            assert self.read(root, content[:at], "1.h") is None

    @pytest.mark.parametrize("pieces", [1 << 6, 1 << 13])
    def test_no_more_of_it_is_kept_than_the_maildir_holds(
        self, root: int, monkeypatch: pytest.MonkeyPatch, pieces: int
    ) -> None:
        monkeypatch.setattr(journal, "PIECE_OCTETS", pieces)
        content = journal.encode({f"{number}.h": Marked("", number, 1) for number in range(5000)})
        assert self.read(root, content, "7.h", "x.h") == {"7.h": Marked("new/7.h", 7, 1)}

    @pytest.mark.parametrize("named", ["a", "1700000000.M1P1.host", "inode7:abc"])
    def test_reading_it_takes_memory_for_a_piece_and_not_for_all(self, root: int, named: str) -> None:
        line = f"{named} 1 2\n".encode()
        body = line * (4_000_000 // len(line) // 10)
        self.path.write_bytes(b"geventpop3 update 2 %08x\n" % zlib.crc32(body) + body)
        finder = Finder(Listing({"a": "n"}, None))
        tracemalloc.start()
        try:
            assert journal.read_journal(finder, root) is not None
            assert tracemalloc.get_traced_memory()[1] < len(body) // 4
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize(
        "line",
        [
            *(b"", b" ", b"1.h ", b"1.h 1", b"1.h 1 2 3", b"1.h 1 x", b"1.h  1 2", b"x" * 71, b"\xff", b"1.h\r"),
            *(b"1.h 1 " + b"2" * 21, b"x" * 100_000),
        ],
    )
    def test_a_line_that_is_none_is_damage(self, root: int, line: bytes) -> None:
        body = b"1.h 1 2\n" + line + b"\n"
        assert self.read(root, b"geventpop3 update 2 %08x\n" % zlib.crc32(body) + body, "1.h") is None

    def test_one_of_more_lines_than_any_has_is_read_no_further(
        self, root: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = journal.encode({f"{number}.h": Marked("") for number in range(5000)})
        assert self.read(root, content, "7.h") is not None
        monkeypatch.setattr(journal, "MAX_MESSAGES", 4999)
        assert self.read(root, content, "7.h") is None


class TestTheInterface:
    def test_a_store_that_does_not_say_so_may_wait_in_open(self) -> None:
        class Slow(Store):
            def open(self, owner: str) -> Maildrop:
                raise StoreUnavailable

        assert not Slow().opens_at_once("alice")

    def test_a_snapshot_is_a_sequence(self) -> None:
        snapshot = Snapshot.of([Message("a", 1), Message("b", 2), Message("c", 3)])
        assert Snapshot.of(snapshot) is snapshot
        assert len(snapshot) == 3
        assert snapshot[0] == ("a", 1)
        assert list(snapshot[1:]) == [("b", 2), ("c", 3)]
        assert list(reversed(snapshot)) == [("c", 3), ("b", 2), ("a", 1)]
        with pytest.raises(IndexError):
            snapshot[3]

    def test_the_name_of_the_index_file_is_known_to_operators(self) -> None:
        assert (index.FILE, journal.FILE) == ("geventpop3.index", "geventpop3.update")
