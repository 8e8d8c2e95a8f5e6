"""The demo's folder: made once, kept afterwards, filled again when it is empty."""

import email.policy
import itertools
import os

import pytest

from geventpop3.auth.passwd import PasswordFile, set_password
from geventpop3.cli import demo
from geventpop3.errors import ConfigError


def messages(folder):
    return sorted((folder / "maildir" / "alice" / "new").iterdir())


def test_folder_gets_a_maildrop_and_a_user(tmp_path):
    made = demo.make_demo(tmp_path / "a" / "b")
    assert made.messages == 8
    assert made.password == "wonderland"
    assert made.template == f"{tmp_path}/a/b/maildir/{{user}}"
    assert PasswordFile(made.passwords).authenticate("alice", "wonderland") == "alice"
    assert b"Subject: Welcome to Wonderland" in messages(tmp_path / "a" / "b")[0].read_bytes()
    assert len(messages(tmp_path / "a" / "b")) == 8
    assert os.listdir(tmp_path / "a" / "b" / "maildir" / "alice" / "tmp") == []


def test_second_run_changes_nothing(tmp_path):
    demo.make_demo(tmp_path)
    before = {path: path.read_bytes() for path in messages(tmp_path)}
    again = demo.make_demo(tmp_path, 100)
    assert again.messages == 8
    assert {path: path.read_bytes() for path in messages(tmp_path)} == before


def test_messages_in_cur_count_too(tmp_path):
    demo.make_demo(tmp_path, 1)
    (path,) = messages(tmp_path)
    path.rename(tmp_path / "maildir" / "alice" / "cur" / f"{path.name}:2,S")
    assert demo.make_demo(tmp_path, 5).messages == 1


def test_empty_maildrop_is_filled_again(tmp_path):
    demo.make_demo(tmp_path, 2)
    for path in messages(tmp_path):
        path.unlink()
    assert demo.make_demo(tmp_path, 3).messages == 3
    assert len(messages(tmp_path)) == 3


def test_password_that_somebody_gave_her_is_kept_and_not_told(tmp_path):
    demo.make_demo(tmp_path)
    set_password(tmp_path / "passwords", "alice", "{PLAIN}mine")
    again = demo.make_demo(tmp_path)
    assert again.password is None
    said = demo.instructions(again, ("127.0.0.1", 1110))
    assert "curl -u alice:PASSWORD 'pop3://127.0.0.1:1110/'" in said
    assert "mine" not in said.replace(again.passwords, "")


def test_folder_that_cannot_be_is_a_config_error_of_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        demo.make_demo(tmp_path / "file")
    assert str(caught.value) == f"{tmp_path}/file/maildir/alice/tmp: Not a directory"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (("127.0.0.1", 4711), "pop3://127.0.0.1:4711/"),
        (("0.0.0.0", 4711), "pop3://127.0.0.1:4711/"),
        (("::", 4711), "pop3://[::1]:4711/"),
        (("192.0.2.1", 4711), "pop3://192.0.2.1:4711/"),
    ],
)
def test_instructions_say_where_to_connect(address, url):
    said = demo.instructions(demo.Demo("t", "p", "wonderland", 1), address)
    assert said.startswith(f"Serving 1 message of alice (password wonderland) at {url}\n")
    assert f"curl -u alice:wonderland '{url}1'" in said


def test_instructions_for_a_unix_socket_say_its_path():
    said = demo.instructions(demo.Demo("t", "p", "wonderland", 8), "/run/pop3.sock")
    assert said == "Serving 8 messages of alice (password wonderland) at unix:/run/pop3.sock\nCtrl-C stops it."


def test_messages_are_of_many_kinds():
    first = list(itertools.islice(demo.mail(), 9))
    parsed = [email.message_from_bytes(octets, policy=email.policy.default) for octets in first]
    assert not any(message.defects for message in parsed)
    assert all(message["From"] and message["Subject"] and message["Date"] for message in parsed)
    assert len({message["Message-ID"] for message in parsed}) == 9
    assert first[0].isascii()  # so that any terminal shows the first one
    assert parsed[1]["Subject"] == "Grüße aus Köln ☕"
    assert [part.get_filename() for part in parsed[2].iter_attachments()] == ["pixel.png", "größe.csv"]
    assert b"\n.\n" in first[3]
    assert first[4].endswith("茶".encode())
    assert first[4].count(b"\r\n") == first[4].count(b"\n")
    assert parsed[5].get_content() == "Die Hutmacherin trägt Größe 56.\n"
    assert first[6].endswith(b">\n")
    assert len(first[7]) > 50_000
    assert parsed[8]["Subject"] == "Message 9"
