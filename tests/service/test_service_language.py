"""LANG (RFC 6856 section 3), and whether every text of ours has its translation."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

import geventpop3
from geventpop3 import errors, ok
from geventpop3.errors import Refusal, RemovalIncomplete, StoreUnavailable
from geventpop3.service.language import LANGUAGES, Language, match
from geventpop3.service.language_de import TEXTS
from geventpop3.stores.maildir import maildrop
from geventpop3.testing.memory_stream import MemoryStream
from geventpop3.wire.arguments import expect
from geventpop3.wire.replies import Reply

GERMAN = LANGUAGES["de"]


def talk(app, *lines: str) -> list[str]:
    return [line.encode("latin-1").decode("utf-8") for line in app.talk(*lines)]


# The command


def test_lang_alone_lists_the_languages(app):
    listing = ["+OK languages follow", "i-default Default language (English)", "en English", "de Deutsch", "."]
    assert talk(app, "LANG") == listing
    assert app.login("LANG") == listing


def test_lang_changes_the_language_from_its_own_reply_on_and_in_both_states(app):
    assert talk(
        app, "LANG de", "USER alice", "PASS wrong", "USER alice", "PASS alice", "NOOP 1", "LANG en", "QUIT"
    ) == [
        "+OK de Sprache gewechselt",
        "+OK weiter mit PASS",
        "-ERR [AUTH] Anmeldung fehlgeschlagen",
        "+OK weiter mit PASS",
        "+OK 3 Nachrichten (71 Oktette)",
        "-ERR hier ist kein Argument erlaubt",
        "+OK en language changed",
        "+OK goodbye",
    ]


def test_a_language_there_is_not_leaves_the_one_that_is(app):
    assert talk(app, "LANG sv", "LANG de", "LANG sv", "LANG \u00e9", "LANG de en", "LANG i-default", "XYZZY") == [
        "-ERR no such language here, LANG lists those that are",
        "+OK de Sprache gewechselt",
        "-ERR diese Sprache gibt es hier nicht, LANG nennt die es gibt",
        "-ERR diese Sprache gibt es hier nicht, LANG nennt die es gibt",
        "-ERR nur ein Argument ist erlaubt",
        "+OK i-default language changed",
        "-ERR unknown command",
    ]


def test_lang_star_is_the_sites_choice(make):
    assert talk(make(), "LANG de", "LANG *")[1] == "+OK i-default language changed"
    assert talk(make(language="de-CH"), "LANG *", "QUIT") == ["+OK de Sprache gewechselt", "+OK auf Wiedersehen"]


def test_what_clients_parse_stays_as_it_is(app):
    replies = talk(app, "LANG de", "USER alice", "PASS alice", "STAT", "LIST 2", "UIDL 1", "LIST", "RETR 1", "TOP 1 0")
    assert replies[3:5] == ["+OK 3 71", "+OK 2 45"]
    assert replies[5] == app.login("UIDL 1")[0]
    assert replies[6:11] == ["+OK 3 Nachrichten (71 Oktette)", "1 23", "2 45", "3 3", "."]
    assert replies[11:16] == ["+OK 23 Oktette", "Subject: one", "", "first", "."]
    assert replies[16] == "+OK der Anfang der Nachricht folgt"


def test_pass_comes_right_after_user_and_not_after_lang(app):
    assert app.talk("USER alice", "LANG en", "PASS alice")[2] == "-ERR say USER first"


def test_what_the_protocol_refuses_is_translated(app):
    assert talk(app, "LANG de", "STAT", "XYZZY", "", "x" * 2000)[1:] == [
        "-ERR im Zustand AUTHORIZATION nicht erlaubt",
        "-ERR unbekannter Befehl",
        "-ERR kein Befehl",
        "-ERR die Zeile ist zu lang, zu viele fehlerhafte Befehle",
    ]


def test_texts_of_an_application_stay_and_plugins_see_english(app):
    seen = []
    app.pop3d.on("cmd_noop")(lambda pop3d, event: ok("the application's own"))

    @app.pop3d.on("cmd_rset")
    def refuse(pop3d, event):
        raise Refusal("the application's no", "X-CODE")

    @app.pop3d.on("cmd_stat")
    def fail(pop3d, event):
        raise RuntimeError

    @app.pop3d.plugin("response")
    def look(pop3d, event):
        seen.append(event.reply.text)

    replies = talk(app, "LANG de", "USER alice", "PASS alice", "NOOP", "RSET", "DELE 1", "STAT")
    assert replies[3:6] == [
        "+OK the application's own",
        "-ERR [X-CODE] the application's no",
        "+OK Nachricht 1 ist zum Löschen markiert",
    ]
    assert replies[6].startswith("-ERR [SYS/TEMP] interner Fehler, Kennzeichen ")
    assert "message 1 marked as deleted" in seen


def test_a_language_of_the_applications_own(app):
    app.service.languages["sv"] = Language(
        "sv", "Svenska", {"goodbye": "hej då", "{} language changed": "{} språk valt"}
    )
    assert talk(app, "LANG sv", "NOOP", "QUIT") == [
        "+OK sv språk valt",
        "-ERR not allowed in the AUTHORIZATION state",
        "+OK hej då",
    ]


def test_the_farewell_of_a_server_that_stops_is_translated(app):
    stream = MemoryStream([b"LANG de\r\n", b"NOOP\r\n"])

    @app.pop3d.on("command_finished")
    def stop(pop3d, event):
        event.client.finish(Reply(False, "the server is shutting down, try again later", "SYS/TEMP"), "shutdown")

    app.run(stream)
    last = bytes(stream.output).decode().split("\r\n")[-2]
    assert last == "-ERR [SYS/TEMP] der Server wird beendet, bitte später erneut versuchen"


# Which language it is: RFC 4647


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("de", "de-CH"),
        ("DE-ch", "de-CH"),
        ("de-CH-1996", "de-CH"),
        ("de-AT", None),
        ("en-GB", "en"),
        ("en-x-cockney", "en"),
        ("x-en", None),
        ("i-default", "i-default"),
        ("i", "i-default"),
        ("i-klingon", None),
        ("MUL", None),
        ("d", None),
        ("", None),
        ("-", None),
        ("en-", "en"),
        ("\u00e9", None),
        ("*-CH", None),
    ],
)
def test_a_range_finds_what_is_more_special_or_more_general(wanted, found):
    languages = {tag: Language(tag, "") for tag in ("i-default", "en", "de-CH", "de-DE")}
    assert match(wanted, languages) is languages.get(found)


# Whether the table is complete

PACKAGE = Path(geventpop3.__file__).parent
NOT_SAID_TO_CLIENTS = {"testing", "cli.py", "config.py", "demo.py"}
SAID = {"ok", "err", "multiline", "Refusal"} | {
    name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Refusal)
}
# What stands where a text has a value: two numbers of one digit, so that both nouns of a plural are needed.
VALUES = ("1", "message", "messages", "name", "password", "unknown command")


def texts(tree: ast.AST) -> Iterator[str]:
    """Templates of the texts that a module says: arguments of what makes replies and refusals, and default texts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in SAID and node.args:
                yield from templates(node.args[0])
            elif name == "_replace":
                yield from (t for keyword in node.keywords if keyword.arg == "text" for t in templates(keyword.value))
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "default_text":
            yield from templates(node.value)


def templates(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from (*templates(node.body), *templates(node.orelse))


def test_every_text_of_ours_is_in_the_table():
    missing = []
    found = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] in NOT_SAID_TO_CLIENTS:
            continue
        for template in texts(ast.parse(path.read_text("utf-8"))):
            if not template.replace("{}", "").strip():
                continue  # values alone: what clients parse
            found += 1
            filled = [template.format(*values) for values in product(VALUES, repeat=template.count("{}"))]
            if all(GERMAN.translate(text) == text for text in filled):
                missing.append(f"{path.relative_to(PACKAGE)}: {template}")
    assert found > 80
    assert missing == [], "write these into geventpop3/service/language_de.py"


def test_texts_that_are_put_together_elsewhere_are_in_the_table():
    said = [RemovalIncomplete(1).text, RemovalIncomplete(2).text, StoreUnavailable().text]
    said += [
        maildrop.NOTHING_REMOVED,
        maildrop.REMOVAL_INCOMPLETE,
        maildrop.REMOVAL_UNCERTAIN,
        maildrop.EARLIER_REMOVAL_PENDING,
    ]
    for arguments, low, high in [("", 1, 1), ("", 2, 2), ("a", 0, 0), ("ab", 0, 1), ("abc", 0, 2)]:
        with pytest.raises(Refusal) as refusal:
            expect(list(arguments), low, high)
        said.append(refusal.value.text)
    assert [text for text in said if GERMAN.translate(text) == text] == []


def test_a_translation_has_as_many_values_as_the_text_and_is_one_line():
    for english, german in TEXTS.items():
        assert english.count("{}") == german.count("{}"), english
        assert german.isprintable()
        assert len(german.encode()) < 300
        assert not german.startswith("[")


def test_a_translation_is_not_translated_again():
    for german in TEXTS.values():
        assert GERMAN.translate(german) == german
