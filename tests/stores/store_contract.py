"""What every Store must do, as tests: inherit ``StoreContract`` and say how to make the store and how to deliver."""

from __future__ import annotations

import string
from abc import abstractmethod
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from geventpop3.errors import MaildropLocked, NoSuchMessage, StoreUnavailable
from geventpop3.stores import Chunks, Maildrop, Message, Snapshot, Store
from geventpop3.wire.stuffing import Encoder

MESSAGE = b"Subject: hello\r\n\r\nhello\r\n"

AWKWARD = {
    "an empty message": b"",
    "LF line ends": b"Subject: lf\n\nbody\n",
    "CRLF line ends": b"Subject: crlf\r\n\r\nbody\r\n",
    "mixed line ends": b"Subject: mixed\r\n\nbody\r\nmore\n",
    "no final line end": b"Subject: cut\n\nno end",
    "a final CR": b"Subject: cr\n\nend\r",
    "bare CRs": b"Subject: cr\r\rmore\r\r\n\rbody\r\r",
    "NUL and 8-bit octets": bytes(range(256)) * 3,
    "first octet is a dot": b".Subject: dot\n\n.\n",
    "lines of dots": b"Subject: dots\n\n.\n..\n...\n\r\n.\r\n",
    "only line ends": b"\n\n\r\n\n",
    "a header without a body": b"Subject: head\n",
    "one long line": b"Subject: long\n\n" + b"x" * 100_000 + b"\n",
    "more than one chunk": b"0123456789abcde\n" * 40_000,
}


class StoreContract:
    """Inherited by the test class of a store (``class TestMyStore(StoreContract)``)."""

    durable = True
    """False for a store whose messages do not outlive it."""

    @abstractmethod
    def make_store(self) -> Store:
        """The store under test; a second call is a restart of the program: the same mail, nothing else kept."""

    @abstractmethod
    def deliver(self, store: Store, owner: str, content: bytes) -> None:
        """Adds a message, newer than those before, to the maildrop of *owner*, which exists from then on."""

    @pytest.fixture
    def store(self) -> Store:
        store = self.make_store()
        for number in range(1, 4):
            self.deliver(store, "alice", b"Subject: %d\r\n\r\nbody %d\r\n" % (number, number))
        self.deliver(store, "bob", MESSAGE)
        return store

    @pytest.fixture
    def restarted(self, store: Store) -> Store:
        if not self.durable:
            pytest.skip("its messages do not outlive it")
        return self.make_store()

    # -- scan -------------------------------------------------------------------------------------------------------

    def test_messages_are_listed_oldest_first_with_their_octets(self, store: Store) -> None:
        assert contents(store, "alice") == [b"Subject: %d\r\n\r\nbody %d\r\n" % (n, n) for n in (1, 2, 3)]
        assert [message.octets for message in scan(store, "alice")] == [22, 22, 22]

    def test_a_snapshot_is_a_sequence_of_messages(self, store: Store) -> None:
        messages = scan(store, "alice")
        assert len(messages) == 3
        assert all(isinstance(message, Message) for message in messages)
        assert list(messages[1:]) == list(messages)[1:]
        assert len(Snapshot.of(messages)) == 3

    def test_unique_ids_are_legal_and_unique(self, store: Store) -> None:
        unique_ids = [message.unique_id for message in scan(store, "alice")]
        assert len(set(unique_ids)) == 3
        for unique_id in unique_ids:
            assert 1 <= len(unique_id) <= 70
            assert set(unique_id) <= set(string.printable[:94])

    def test_unique_ids_are_the_same_in_the_next_session(self, store: Store) -> None:
        assert list(scan(store, "alice")) == list(scan(store, "alice"))

    def test_unique_ids_are_the_same_after_a_restart(self, store: Store, restarted: Store) -> None:
        before = list(scan(store, "alice"))
        assert list(scan(restarted, "alice")) == before

    def test_a_unique_id_is_never_used_again(self, store: Store) -> None:
        used = {message.unique_id for message in scan(store, "alice")}
        remove_all(store, "alice")
        for number in range(1, 4):
            self.deliver(store, "alice", b"Subject: %d\r\n\r\nbody %d\r\n" % (number, number))
        assert used.isdisjoint(message.unique_id for message in scan(store, "alice"))

    def test_equal_messages_are_two_messages(self, store: Store) -> None:
        self.deliver(store, "bob", MESSAGE)
        assert len({message.unique_id for message in scan(store, "bob")}) == 2

    def test_owners_do_not_see_each_other(self, store: Store) -> None:
        assert contents(store, "bob") == [MESSAGE]

    def test_an_empty_maildrop_has_no_messages(self, store: Store) -> None:
        remove_all(store, "bob")
        assert list(scan(store, "bob")) == []

    # -- retrieve ---------------------------------------------------------------------------------------------------

    def test_octets_are_those_that_retr_sends_and_content_is_kept(self, store: Store) -> None:
        for content in AWKWARD.values():
            self.deliver(store, "carol", content)
        maildrop = store.open("carol")
        try:
            for what, message in zip(AWKWARD, maildrop.scan(), strict=True):
                chunks = list(maildrop.retrieve(message.unique_id))
                assert b"".join(chunks) == AWKWARD[what], what
                encoder = Encoder()
                for chunk in chunks:
                    encoder.encode(chunk)
                encoder.finish()
                assert message.octets == encoder.octets, what
        finally:
            maildrop.close()

    def test_a_message_may_be_read_again_and_two_at_a_time(self, store: Store) -> None:
        maildrop = store.open("alice")
        try:
            first, second, _ = maildrop.scan()
            one, two = maildrop.retrieve(first.unique_id), maildrop.retrieve(second.unique_id)
            assert b"".join(two) != b"".join(one) == b"".join(maildrop.retrieve(first.unique_id))
        finally:
            maildrop.close()

    def test_chunks_that_are_ready_are_those_that_iterating_gives(self, store: Store) -> None:
        self.deliver(store, "carol", AWKWARD["more than one chunk"])
        maildrop = store.open("carol")
        try:
            (message,) = maildrop.scan()
            chunks = maildrop.retrieve(message.unique_id)
            if not isinstance(chunks, Chunks):
                pytest.skip("reads without Chunks")
            read = []
            while (chunk := chunks.ready()) != b"":
                read.append(next(chunks) if chunk is None else chunk)
            assert b"".join(read) == AWKWARD["more than one chunk"]
            assert list(chunks) == []
            chunks.close()
            chunks.close()
        finally:
            maildrop.close()

    def test_a_message_that_is_not_in_the_maildrop_is_refused(self, store: Store) -> None:
        maildrop = store.open("alice")
        try:
            maildrop.scan()
            with pytest.raises(NoSuchMessage):
                maildrop.retrieve("no-such-message")
            with pytest.raises(NoSuchMessage):
                maildrop.remove(["no-such-message"])
        finally:
            maildrop.close()
        assert len(scan(store, "alice")) == 3

    def test_a_message_that_was_removed_is_refused_as_temporary(self, store: Store) -> None:
        maildrop = store.open("alice")
        try:
            first, _, _ = maildrop.scan()
            maildrop.remove([first.unique_id])
            with pytest.raises(StoreUnavailable):
                maildrop.retrieve(first.unique_id)
        finally:
            maildrop.close()

    # -- remove -----------------------------------------------------------------------------------------------------

    def test_removed_messages_are_gone_and_only_they(self, store: Store) -> None:
        maildrop = store.open("alice")
        first, second, third = maildrop.scan()
        maildrop.remove([first.unique_id, third.unique_id])
        maildrop.close()
        assert list(scan(store, "alice")) == [second]

    def test_removed_messages_stay_gone_after_a_restart(self, store: Store, restarted: Store) -> None:
        remove_all(store, "alice")
        assert list(scan(restarted, "alice")) == []

    def test_removing_nothing_removes_nothing(self, store: Store) -> None:
        maildrop = store.open("alice")
        maildrop.scan()
        maildrop.remove([])
        maildrop.close()
        assert len(scan(store, "alice")) == 3

    def test_removing_takes_any_iterable_and_each_message_once(self, store: Store) -> None:
        maildrop = store.open("alice")
        first, _, _ = maildrop.scan()
        maildrop.remove(iter([first.unique_id, first.unique_id]))
        maildrop.close()
        assert len(scan(store, "alice")) == 2

    def test_a_session_that_ends_without_update_removes_nothing(self, store: Store) -> None:
        maildrop = store.open("alice")
        for message in maildrop.scan():
            b"".join(maildrop.retrieve(message.unique_id))
        maildrop.close()
        assert len(scan(store, "alice")) == 3

    def test_what_arrives_during_a_session_is_in_the_next_one(self, store: Store) -> None:
        maildrop = store.open("alice")
        before = list(maildrop.scan())
        self.deliver(store, "alice", MESSAGE)
        assert list(maildrop.scan()) == before
        maildrop.remove(message.unique_id for message in before)
        maildrop.close()
        assert contents(store, "alice") == [MESSAGE]

    # -- the exclusive-access lock ----------------------------------------------------------------------------------

    def test_a_second_session_is_refused_until_the_first_is_closed(self, store: Store) -> None:
        maildrop = store.open("alice")
        with pytest.raises(MaildropLocked):
            store.open("alice")
        store.open("bob").close()
        maildrop.close()
        store.open("alice").close()

    def test_of_thirty_sessions_at_once_one_gets_in(self, store: Store) -> None:
        def attempt(_: int) -> Maildrop | None:
            try:
                return store.open("alice")
            except MaildropLocked:
                return None

        with ThreadPoolExecutor(8) as threads:
            (winner,) = [maildrop for maildrop in threads.map(attempt, range(30)) if maildrop is not None]
        winner.close()
        store.open("alice").close()

    def test_a_refused_session_does_not_disturb_the_one_that_has_the_lock(self, store: Store) -> None:
        maildrop = store.open("alice")
        for _ in range(3):
            with pytest.raises(MaildropLocked):
                store.open("alice")
        assert len(maildrop.scan()) == 3
        maildrop.close()

    def test_opens_at_once_never_raises(self, store: Store) -> None:
        for owner in ("alice", "nobody", "../alice", "", "\0"):
            assert store.opens_at_once(owner) in (True, False)

    def test_only_methods_are_said_to_wait(self, store: Store) -> None:
        maildrop = store.open("alice")
        maildrop.scan()
        assert maildrop.blocking <= Maildrop.blocking
        maildrop.close()


def scan(store: Store, owner: str) -> list[Message]:
    """The messages of *owner*, in a session of their own."""
    maildrop = store.open(owner)
    try:
        return list(maildrop.scan())
    finally:
        maildrop.close()


def contents(store: Store, owner: str) -> list[bytes]:
    """What all messages of *owner* hold, in a session of their own."""
    maildrop = store.open(owner)
    try:
        return [b"".join(maildrop.retrieve(message.unique_id)) for message in maildrop.scan()]
    finally:
        maildrop.close()


def remove(store: Store, owner: str, unique_ids: Iterable[str]) -> None:
    """UPDATE in a session of its own."""
    maildrop = store.open(owner)
    try:
        maildrop.scan()
        maildrop.remove(unique_ids)
    finally:
        maildrop.close()


def remove_all(store: Store, owner: str) -> None:
    """Empties a maildrop."""
    remove(store, owner, [message.unique_id for message in scan(store, owner)])
