"""The memory store: the contract, and what it adds for programs that use it."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

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


def test_messages_are_octets_text_or_made_by_the_email_package() -> None:
    email = EmailMessage()
    email["Subject"] = "one"
    email.set_content("first\n")
    store = MemoryStore(
        {"alice": [email, "Subject: two\n\ngr\u00fcn\udcff\n", bytearray(b"three\n"), memoryview(b"four")]}
    )
    one, *others = store.messages("alice")
    assert message_from_bytes(one, policy=policy.default).get_content() == "first\n"
    assert others == [b"Subject: two\n\ngr\xc3\xbcn\xff\n", b"three\n", b"four"]
    assert [len(content) for content in contents(store, "alice")] == [len(one), *map(len, others)]


@pytest.mark.parametrize("wrong", [7, None, ["one\n"], object()])
def test_what_is_no_message_is_refused_where_it_is_given(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"a message must be bytes, str or an EmailMessage, not {type(wrong).__name__}"):
        MemoryStore({"alice": [wrong]})


@pytest.mark.parametrize("one", [b"one\n", "one\n", EmailMessage()])
def test_one_message_in_place_of_a_list_is_refused(one: Any) -> None:
    with pytest.raises(TypeError, match=r"the messages of 'alice' must be a list, not a \w+: write \[message\]"):
        MemoryStore({"alice": one})


@pytest.mark.parametrize("messages", [[b"a\n"], b"a\n", "alice"])
def test_messages_that_are_no_dict_are_refused(messages):
    with pytest.raises(
        TypeError, match=f"messages must be a dict of lists by owner, not {type(messages).__name__}: write"
    ):
        MemoryStore(messages)
