"""The memory store: the contract, and what it adds for programs that use it."""

from __future__ import annotations

import pytest
from store_contract import StoreContract, contents, scan

from geventpop3.errors import MaildropLocked
from geventpop3.stores.memory import MemoryStore
from geventpop3.stores.store import Store


class TestMemoryStore(StoreContract):
    durable = False

    def make_store(self) -> Store:
        return MemoryStore()

    def deliver(self, store: Store, owner: str, content: bytes) -> None:
        assert isinstance(store, MemoryStore)
        store.deliver(owner, content)


def test_it_is_made_of_messages_by_owner() -> None:
    store = MemoryStore({"alice": [b"one\n", b"two\n"], "bob": []})
    assert contents(store, "alice") == store.messages("alice") == [b"one\n", b"two\n"]
    assert scan(store, "bob") == []


def test_an_owner_nobody_delivered_to_has_an_empty_maildrop() -> None:
    store = MemoryStore()
    assert scan(store, "alice") == []
    assert store.messages("alice") == []


def test_a_restarted_program_serves_the_same_unique_ids_for_the_same_messages_only() -> None:
    before = scan(MemoryStore({"alice": [b"one\n", b"two\n"]}), "alice")
    after = scan(MemoryStore({"alice": [b"one\n", b"other\n"]}), "alice")
    assert before[0] == after[0]
    assert before[1].unique_id != after[1].unique_id


def test_nothing_waits_so_no_thread_is_needed() -> None:
    store = MemoryStore({"alice": [b"one\n"]})
    assert store.opens_at_once("alice")
    maildrop = store.open("alice")
    assert maildrop.blocking == frozenset()
    maildrop.close()


def test_deliver_returns_the_unique_id() -> None:
    store = MemoryStore()
    unique_id = store.deliver("alice", b"one\n")
    assert [message.unique_id for message in scan(store, "alice")] == [unique_id]


def test_a_large_message_comes_in_slices() -> None:
    store = MemoryStore({"alice": [b"x" * 1_000_000]})
    maildrop = store.open("alice")
    (message,) = maildrop.scan()
    assert max(map(len, maildrop.retrieve(message.unique_id))) <= 256 * 1024
    maildrop.close()


def test_spellings_that_are_one_owner_share_a_maildrop() -> None:
    store = MemoryStore({"alice@X.org": [b"one\n"], "zoe\u0308": [b"two\n"]})
    store.deliver("alice@x.ORG", b"three\n")
    assert store.messages("alice@x.org") == [b"one\n", b"three\n"]
    assert store.messages("zo\u00eb") == [b"two\n"]
    assert store.messages("Alice@x.org") == []
    maildrop = store.open("alice@x.org")
    with pytest.raises(MaildropLocked):
        store.open("alice@X.org")
    maildrop.close()
    store.open("alice@X.org").close()
    store.open("alice@x.org").close()
