"""An unknown user and a wrong password take the same time: the distributions of 400 tries are compared, not two times.

The Mann-Whitney test asks whether the times of one kind tend to be the greater ones. With 200 of each it sees a shift
of half of what the times scatter, and where only one kind is hashed (the control below) its p is less than 1e-40. What
two equal distributions give is p below 1e-4 in one of 10,000 runs; three such runs in a row, which it takes to fail,
happen once in 1e12. Processor time is measured, of all threads, so that other programs do not count.
"""

from __future__ import annotations

import base64
import math
import random
import time
from collections.abc import Callable

import pytest

from geventpop3.auth import Authenticator
from geventpop3.auth.passwd import PasswordFile
from geventpop3.auth.schemes import Pbkdf2Secret

pytestmark = pytest.mark.slow

EACH = 200
P = 1e-4
ROUNDS = 3


def p_value(some: list[float], others: list[float]) -> float:
    """Two-sided p of the Mann-Whitney test, normal approximation; ties get their mean rank."""
    times = sorted((value, which) for which, values in enumerate((some, others)) for value in values)
    ranks = 0.0
    at = 0
    while at < len(times):
        end = at
        while end < len(times) and times[end][0] == times[at][0]:
            end += 1
        ranks += (at + 1 + end) / 2 * sum(which == 0 for _, which in times[at:end])
        at = end
    n, m = len(some), len(others)
    u = ranks - n * (n + 1) / 2
    z = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(z) / math.sqrt(2))


def compare(try_to_log_in: Callable[[str], None]) -> float:
    """The p of one run: wrong passwords of alice and of unknown names, in no order, each name of the same length."""
    times: dict[bool, list[float]] = {True: [], False: []}
    order = [True, False] * EACH
    random.Random(1).shuffle(order)
    try_to_log_in("alice")  # warm
    for number, known in enumerate(order):
        name = "alice" if known else f"u{number:04d}"
        before = time.process_time_ns()
        try_to_log_in(name)
        times[known].append(time.process_time_ns() - before)
    return p_value(times[True], times[False])


def plain(name: str) -> str:
    return "AUTH PLAIN " + base64.b64encode(f"\0{name}\0wrong".encode()).decode()


@pytest.fixture
def passwords(tmp_path) -> PasswordFile:
    path = tmp_path / "passwords"
    secret = Pbkdf2Secret(b"salt", b"", 2000)
    path.write_text("alice:{PBKDF2}" + Pbkdf2Secret(b"salt", secret.derive(b"sesame"), 2000).text + "\n")
    return PasswordFile(path)


COMMANDS: dict[str, Callable[[str], list[str]]] = {
    "USER": lambda name: [f"USER {name}", "PASS wrong"],
    "PLAIN": lambda name: [plain(name)],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_user_and_wrong_password_cannot_be_told_apart_by_time(make, passwords, command):
    app = make(authenticator=passwords)

    def try_to_log_in(name: str) -> None:
        assert app.talk(*COMMANDS[command](name))[-1] == "-ERR [AUTH] authentication failed"

    # A difference shows in every run, an accident does not.
    assert any(compare(try_to_log_in) > P for _ in range(ROUNDS))


def test_the_comparison_sees_who_hashes_for_known_users_only(make, passwords):
    class Hasty(Authenticator):
        def authenticate(self, name: str, password: str) -> str | None:
            return passwords.authenticate(name, password) if passwords.knows(name) else None

    app = make(authenticator=Hasty())
    assert compare(lambda name: app.talk(plain(name))) < 1e-40


def test_the_p_value_is_that_of_the_textbooks():
    assert p_value([1, 2, 3], [1, 2, 3]) == 1.0
    # U = 0 of 25: z = -2.611
    assert p_value([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(0.00902, abs=1e-5)
