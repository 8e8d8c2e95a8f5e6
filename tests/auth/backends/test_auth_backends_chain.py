"""A chain: who is asked, in which order, and that a failure tells nothing of who knew the user."""

import pytest

from geventpop3.auth.authenticator import (
    CALLING_THREAD,
    Authenticator,
    FunctionAuthenticator,
    SecretAuthenticator,
    TokenAuthenticator,
)
from geventpop3.auth.chain import Chain
from geventpop3.auth.secret import ClearSecret, ScramSecret
from geventpop3.errors import ConfigError, StoreUnavailable


class Passwords(SecretAuthenticator):
    """Users in memory who may be told apart from others, and a record of what was asked."""

    def __init__(self, users, *, tells=True, at_once=True, clear=True, iterations=()):
        self.users = users
        self.tells = tells
        self.at_once = at_once
        self.clear = clear
        self.iterations = iterations
        self.is_down = False
        self.asked = []
        self.looked_up = 0

    def authenticate(self, name, password):
        self.asked.append((name, password))
        self.check()
        return f"<{name}>" if self.users.get(name) == password else None

    def knows(self, name):
        self.looked_up += 1
        self.check()
        return name in self.users if self.tells else None

    def owner(self, name):
        self.check()
        return f"<{name}>" if name in self.users else None

    def secret(self, name):
        self.asked.append(name)
        self.check()
        password = self.users.get(name)
        return None if password is None or not self.clear else ClearSecret(password.encode())

    def has_clear_secrets(self):
        return self.clear

    def scram_iterations(self, hash_name):
        return self.iterations if hash_name == "SHA-256" else ()

    def has_scram_keys_alone(self):
        return not self.clear

    def answers_at_once(self):
        return self.at_once

    def check(self):
        if self.is_down:
            raise StoreUnavailable


class Tokens(TokenAuthenticator):
    def __init__(self, tokens):
        self.tokens = tokens

    def authenticate(self, name, password):
        return None

    def checks_passwords(self):
        return False

    def check_token(self, name, token):
        return self.tokens.get(token) if name in (None, self.tokens.get(token)) else None


@pytest.fixture
def first():
    return Passwords({"alice": "secret", "both": "one"})


@pytest.fixture
def second():
    return Passwords({"bob": "secret", "both": "two"})


def test_each_user_is_found_where_they_are(first, second):
    chain = Chain([first, second])
    assert chain.authenticate("alice", "secret") == "<alice>"
    assert chain.authenticate("bob", "secret") == "<bob>"


def test_a_back_end_that_does_not_know_the_user_gets_no_password_before_another_lets_in(first, second):
    Chain([first, second]).authenticate("bob", "secret")
    assert first.asked == []


def test_a_password_that_is_wrong_where_the_user_is_known_is_not_tried_elsewhere(first, second):
    chain = Chain([first, second])
    assert chain.authenticate("both", "two") is None
    assert chain.authenticate("both", "one") == "<both>"
    assert ("both", "two") not in second.asked


def test_a_back_end_that_cannot_tell_hands_on_whom_it_refuses(first, second):
    first.tells = False
    chain = Chain([first, second])
    assert chain.authenticate("both", "two") == "<both>"
    assert first.asked == [("both", "two")]


@pytest.mark.parametrize("name", ["alice", "bob", "both", "nobody"])
@pytest.mark.parametrize("tells", [(True, True), (True, False), (False, True), (False, False)])
def test_a_failure_asks_each_back_end_once_whoever_knows_the_user(first, second, name, tells):
    first.tells, second.tells = tells
    assert Chain([first, second]).authenticate(name, "wrong") is None
    assert (len(first.asked), len(second.asked)) == (1, 1)
    assert (first.looked_up, second.looked_up) == (1, 1)


def test_who_has_no_say_sees_neither_the_name_nor_the_password(first, second):
    Chain([first, second]).authenticate("alice", "secret1")
    ((name, password),) = second.asked
    assert name != "alice"
    assert password != "secret1"


def test_who_comes_first_works_while_the_next_is_down(first, second):
    second.is_down = True
    chain = Chain([first, second])
    assert chain.authenticate("alice", "secret") == "<alice>"
    assert chain.secret("alice") is not None
    assert chain.owner("alice") == "<alice>"
    assert chain.knows("alice") is True


@pytest.mark.parametrize("name", ["alice", "bob", "nobody"])
def test_a_failure_while_one_is_down_is_unavailable_for_every_name(first, second, name):
    second.is_down = True
    with pytest.raises(StoreUnavailable):
        Chain([first, second]).authenticate(name, "wrong")


@pytest.mark.parametrize("ask", ["knows", "owner", "secret"])
def test_nobody_behind_one_that_is_down_is_looked_up(first, second, ask):
    first.is_down = True
    with pytest.raises(StoreUnavailable):
        getattr(Chain([first, second]), ask)("bob")


def test_knowing_is_any_members_yes_or_else_a_doubt(first, second):
    chain = Chain([first, second])
    assert chain.knows("bob") is True
    assert chain.knows("nobody") is False
    first.tells = False
    assert chain.knows("bob") is True
    assert chain.knows("nobody") is None


def test_the_owner_comes_from_who_knows_the_name_before_who_cannot_tell(first, second):
    sure_of_all = FunctionAuthenticator(lambda name, password: None)
    assert Chain([sure_of_all, second]).owner("bob") == "<bob>"
    assert Chain([second, sure_of_all]).owner("carol") == "carol"
    assert Chain([first, second]).owner("carol") is None
    first.tells = False
    assert Chain([first, second]).owner("carol") is None


def test_the_secret_is_that_of_the_first_who_knows_the_user_and_all_are_asked(first, second):
    chain = Chain([first, second])
    secret = chain.secret("both")
    assert isinstance(secret, ClearSecret)
    assert secret.matches(b"one")
    assert (first.asked, second.asked) == (["both"], ["both"])
    assert chain.secret("nobody") is None


def test_who_knows_the_user_and_has_no_secret_decides_too(first, second):
    first.clear = False
    assert Chain([first, second]).secret("both") is None


def test_who_cannot_tell_and_has_no_secret_leaves_it_to_the_next(second):
    assert Chain([Tokens({}), second]).secret("both") is not None


def test_tokens_are_tried_with_each_who_takes_tokens(first):
    chain = Chain([first, Tokens({"t1": "alice"}), Tokens({"t2": "bob"})])
    assert chain.check_token(None, "t1") == "alice"
    assert chain.check_token("bob", "t2") == "bob"
    assert chain.check_token("alice", "t2") is None


def test_a_chain_offers_what_all_of_its_users_can_use(first):
    secretless = FunctionAuthenticator(lambda name, password: None)
    hashed = Passwords({}, clear=False)
    keys = Passwords({}, clear=False, iterations=(4096, 10000))
    more = Passwords({}, clear=False, iterations=(4096,))
    tokens = Tokens({})
    for members, clear, counts in [
        ([first], True, ()),
        ([first, tokens], True, ()),
        ([first, secretless], False, ()),
        ([keys], False, (4096, 10000)),
        ([more, keys, first, tokens], False, (4096, 10000)),
        ([more, secretless], False, ()),
        ([keys, hashed], False, ()),
        ([tokens], False, ()),
    ]:
        chain = Chain(members)
        assert (chain.has_clear_secrets(), chain.scram_iterations("SHA-256")) == (clear, counts)
        assert chain.scram_iterations("SHA-1") == ()
    assert Chain([keys, tokens]).has_scram_keys_alone()
    assert not Chain([keys, first]).has_scram_keys_alone()


def test_a_chain_takes_passwords_and_tokens_if_some_member_does(first):
    tokens = Tokens({})
    for members, passwords, checks in [([first], True, False), ([first, tokens], True, True), ([tokens], False, True)]:
        chain = Chain(members)
        assert (chain.checks_passwords(), chain.checks_tokens()) == (passwords, checks)


def test_a_chain_answers_at_once_only_if_all_do(first, second):
    assert Chain([first, second]).answers_at_once()
    second.at_once = False
    assert not Chain([first, second]).answers_at_once()


def test_chains_nest(first, second):
    chain = Chain([Chain([first]), Chain([second])])
    assert chain.authenticate("bob", "secret") == "<bob>"
    assert chain.authenticate("both", "two") is None


def test_a_chain_may_do_all_in_the_calling_thread(first, second):
    chain = Chain([first, second]).in_threads(CALLING_THREAD)
    assert chain.answers_at_once()
    assert chain.authenticate("bob", "secret") == "<bob>"


def test_a_chain_of_none_is_refused():
    with pytest.raises(ConfigError, match="needs at least one back end"):
        Chain([])


def test_the_defaults_of_an_authenticator_promise_nothing():
    class Least(Authenticator):
        def authenticate(self, name, password):
            return None

    class Sure(Least):
        def knows(self, name):
            return name == "alice"

    class Keys(Least, SecretAuthenticator, TokenAuthenticator):
        def secret(self, name):
            return ScramSecret.of(b"secret", iterations=1)

        def check_token(self, name, token):
            return None

    least, sure, keys = Least(), Sure(), Keys()
    assert (least.knows("alice"), least.owner("alice"), least.answers_at_once()) == (None, "alice", False)
    least.check()  # nothing
    assert (sure.owner("alice"), sure.owner("bob")) == ("alice", None)
    assert keys.checks_passwords()
    assert keys.checks_tokens()
    assert keys.has_clear_secrets()
    assert keys.scram_iterations("SHA-256") == ()
    assert not keys.has_scram_keys_alone()


# A look-up that is made for its time alone


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("geventpop3.auth.chain.monotonic", lambda: now[0])
    return now


def test_a_back_end_that_is_down_is_not_asked_again_and_again_for_the_time_it_takes(first, second, clock):
    chain = Chain([first, second])
    second.is_down = True
    for seconds, asked in [(0, 1), (0.9, 2), (0.2, 2), (58, 2), (0.9, 3), (0.5, 4), (0.5, 4)]:
        clock[0] += seconds
        assert chain.secret("alice").matches(b"secret")
        assert second.looked_up == asked
    # The chain asks it again at once for a user whom no other back end knows, and after a while for others.
    second.is_down = False
    assert chain.secret("bob").matches(b"secret")
    clock[0] += 60
    for _ in range(2):
        asked = second.looked_up
        assert chain.secret("alice").matches(b"secret")
        assert second.looked_up == asked + 1


def test_who_asks_while_another_waits_for_a_cover_goes_on(first, second, clock):
    chain = Chain([first, second])
    answers = []

    def slow(name):
        clock[0] += 1.5
        answers.append(chain.secret("alice"))

    second.knows = slow
    assert chain.secret("alice").matches(b"secret")
    assert len(answers) == 1
    assert chain.secret("alice").matches(b"secret")
    assert len(answers) == 2


def test_checking_a_chain_checks_each(first, second, monkeypatch):
    checked = []
    for member in (first, second):
        member.check = lambda member=member: checked.append(member)
    Chain([first, second]).check()
    assert checked == [first, second]
