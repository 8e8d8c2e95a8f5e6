"""The files of personalities: all of them load and name their sources, and a mistake in one is explained."""

import re
import runpy
from pathlib import Path

import pytest

from geventpop3.protocol.commands import COMMANDS
from geventpop3.testing import Double
from geventpop3.testing.double.personality import PersonalityError, load_personality, names, parse_personality
from geventpop3.testing.double.wording import NEGATIVE, POSITIVE, outcomes_of

HEAD = 'title = "T"\nabout = "A"\nsources = ["S"]\n'
QUIRK = '[[quirk]]\nname = "oldest-only"\nsource = "S"\n'
NAMES = {
    *("dovecot", "courier", "cyrus", "gmail", "outlook.com", "exchange", "greenmail"),
    *("minimal", "apop-only", "no-uidl", "no-top", "utf8"),
}


def test_the_personalities_that_there_are() -> None:
    assert set(names()) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_loads_and_has_sources(name: str) -> None:
    personality = load_personality(name)
    assert personality.name == name
    assert personality.sources
    named = [*personality.sources, *(quirk.source for quirk in personality.quirks)]
    named += [personality.limits_source] if personality.limits else []
    named += [personality.unique_id_source] if personality.unique_id else []
    for source in named:  # a document, and what it says
        assert re.search(r"\w+\.(com|org|ru|net)\b|RFC \d+|dovecot", source), source
        assert len(source) > 20, source


def test_a_minimal_file_is_this_server() -> None:
    personality = parse_personality(HEAD, "mine")
    assert personality.commands == COMMANDS
    assert personality.words("USER", "ok") is None
    assert personality.naming is None
    assert personality.server_options == {}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("title = ", "mine: no TOML: "),
        ('about = "A"\nsources = []', "mine: title is missing"),
        ('title = 1\nabout = "A"\nsources = []', "mine: title is a text, not 1"),
        ('title = "T"\nabout = " "\nsources = []', "mine: about is a text, not ' '"),
        ('title = "T"\nabout = "A"\nsources = "S"', "mine: sources is a list of texts, not 'S'"),
        ('title = "T"\nabout = "A"', "mine: sources is missing"),
        (HEAD + 'greetings = "+OK"', "mine: unknown key 'greetings': did you mean 'greeting'?"),
        (HEAD + 'xyz = "+OK"', "mine: unknown key 'xyz'; there are title, about, "),
        (HEAD + 'greeting = "hello"', "mine: greeting: it begins with +OK, not 'hello'"),
        (HEAD + 'greeting = "+OKhello"', "mine: greeting: it begins with +OK, not '+OKhello'"),
        (HEAD + 'greeting = "+OK {timestmp}"', "greeting: unknown placeholder {timestmp}: did you mean 'timestamp'?"),
        (HEAD + 'greeting = "+OK {user}"', "greeting: unknown placeholder {user}; there are hostname, peer, "),
        (HEAD + 'greeting = "+OK {}"', "greeting: unknown placeholder {}"),
        (HEAD + 'greeting = "+OK {peer:>9}"', "greeting: the placeholder {peer} has no format"),
        (HEAD + 'greeting = "+OK {peer!r}"', "greeting: the placeholder {peer} has no format"),
        (HEAD + 'greeting = "+OK {peer.x}"', "greeting: unknown placeholder {peer.x}"),
        (HEAD + 'greeting = "+OK {peer"', "greeting: expected '}' before end of string; write {{ for a brace"),
        (HEAD + r'greeting = "+OK a\tb"', r"greeting: '+OK a\tb' cannot be a status line"),
        (HEAD + f'greeting = "+OK {"x" * 600}"', "cannot be a status line"),
        (HEAD + 'unsupported = ["UIDLL"]', "unsupported: 'UIDLL' is no verb that can be missing: did you mean 'UIDL'?"),
        (HEAD + 'unsupported = ["QUIT"]', "unsupported: 'QUIT' is no verb that can be missing"),
        (HEAD + 'utf8-messages = "no"', "utf8-messages: 'no' is not 'as-is', 'refuse' or 'convert'"),
        (HEAD + "capa = 1", "capa: it is a table"),
        (HEAD + '[capa]\nbefore = ["TOP"]', "capa: after is missing"),
        (HEAD + "[capa]\nbefor = []", "capa: unknown key 'befor': did you mean 'before'?"),
        (HEAD + '[capa]\nbefore = ["TOP "]\nafter = []', "capa: 'TOP ' is no line of CAPA"),
        (HEAD + '[capa]\nbefore = [""]\nafter = []', "capa: '' is no line of CAPA"),
        (
            HEAD + 'unsupported = ["AUTH"]\n[capa]\nbefore = ["SASL PLAIN"]\nafter = []',
            "capa: it announces SASL, and AUTH is unsupported",
        ),
        (HEAD + '[replies.USRE]\nok = "+OK"', "replies: unknown key 'USRE': did you mean 'USER'?"),
        (HEAD + '[replies.USER]\nokay = "+OK"', "replies.USER: unknown key 'okay': did you mean 'ok'?"),
        (HEAD + '[replies.USER]\nok = "-ERR"', "replies.USER.ok: it begins with +OK, not '-ERR'"),
        (HEAD + '[replies.USER]\nmissing = "+OK"', "replies.USER.missing: it begins with -ERR, not '+OK'"),
        (HEAD + '[replies.USER]\nok = "+OK {octets}"', "replies.USER.ok: unknown placeholder {octets}"),
        (HEAD + '[replies.USER]\nlist = "+OK"', "replies.USER: unknown key 'list'"),
        (HEAD + '[replies."*"]\nok = "+OK"', "replies.*: unknown key 'ok'"),
        (HEAD + "replies = 1", "replies: it is a table"),
        (
            HEAD + 'unsupported = ["TOP"]\n[replies.TOP]\nok = "+OK"',
            "replies.TOP: TOP is unsupported: its reply is replies.'*'.unknown",
        ),
        (HEAD + "[limits]\ntries = 3", "limits: source is missing"),
        (HEAD + '[limits]\ntries = 0\nsource = "S"', "limits.tries: 0 is no number from 1"),
        (HEAD + '[limits]\ntries = true\nsource = "S"', "limits.tries: True is no number from 1"),
        (HEAD + '[limits]\ntrys = 1\nsource = "S"', "limits: unknown key 'trys': did you mean 'tries'?"),
        (HEAD + '[unique-id]\ntemplate = "{uid}"', "unique-id: source is missing"),
        (HEAD + '[unique-id]\ntemplate = "x"\nsource = "S"', "it makes 'x' and 'x', which are no two unique-ids"),
        (HEAD + '[unique-id]\ntemplate = "{uid:80}"\nsource = "S"', "which are no two unique-ids"),
        (HEAD + '[unique-id]\ntemplate = "{uid:q}"\nsource = "S"', "unique-id.template: Unknown format code"),
        (HEAD + '[unique-id]\ntemplate = "{udi}"\nsource = "S"', "unknown placeholder {udi}: did you mean 'uid'?"),
        (HEAD + "quirk = 1", "quirk: write each as [[quirk]]"),
        (HEAD + "[[quirk]]", "quirk: name is missing"),
        (HEAD + '[[quirk]]\nname = "oldest"\n', "quirk: no quirk is called 'oldest': did you mean 'oldest-only'?"),
        (HEAD + '[[quirk]]\nname = "oldest-only"\n', "quirk 'oldest-only': source is missing"),
        (HEAD + QUIRK + "message = 3", "quirk 'oldest-only': unknown key 'message': did you mean 'messages'?"),
        (HEAD + QUIRK + 'messages = "3"', "quirk 'oldest-only': messages is of the type int, not '3'"),
    ],
)
def test_a_mistake_is_explained(text: str, error: str) -> None:
    with pytest.raises(PersonalityError, match=re.escape(error)) as caught:
        parse_personality(text, "mine", where="mine")
    assert str(caught.value).startswith("mine: ")


def test_an_unknown_name_is_explained_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"there is no personality 'dovcot': did you mean 'dovecot'\?"):
        Double(personality="dovcot")
    with pytest.raises(
        ValueError, match=r"there is no personality 'qmail-x': did you mean 'gmail'|there are apop-only"
    ):
        Double(personality="qmail-x")
    with pytest.raises(ValueError, match=r"for a file, give Path\('my.toml'\)"):
        Double(personality="my.toml")
    with pytest.raises(TypeError, match="a personality is a name such as 'dovecot'"):
        Double(personality=7)


def test_the_error_of_a_file_has_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("title = 1", "utf-8")
    with pytest.raises(PersonalityError, match=re.escape(f"{path}: ")):
        load_personality(path)
    with pytest.raises(FileNotFoundError):
        load_personality(tmp_path / "none.toml")


def test_outcomes_are_named_once() -> None:
    assert not NEGATIVE.keys() & POSITIVE.keys()
    used = {outcome for verb in (*COMMANDS, "*") for outcome in outcomes_of(verb)}
    assert used == {*NEGATIVE, *POSITIVE}


PAGE = Path(__file__).parents[2] / "docs" / "personalities.md"


def test_the_page_is_current() -> None:
    made = runpy.run_path(str(PAGE.with_suffix(".py")))["page"]()
    assert PAGE.read_text("utf-8") == made, "run: python docs/personalities.py"


def test_the_file_that_the_page_shows_loads() -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    personality = parse_personality(shown, "mine")
    assert personality.words("RETR", "ok") == "+OK {octets} octets follow"
    assert personality.service_options["max_tries"] == 3
    assert personality.naming is not None
    assert personality.naming(7) == "1700000000.7"


def test_every_name_on_the_page_is_linked() -> None:
    text = PAGE.read_text("utf-8")
    headings = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^## (.+)$", text, re.M)
    }
    links = re.findall(r"\]\(#(.+?)\)", text)
    assert len(links) == len(names())
    assert set(links) <= headings
