"""Dovecot as the oracle: both sides read what the other wrote."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import required

from geventpop3.auth.passwd import PasswordFile, set_password
from geventpop3.auth.schemes import NAMES, hash_password, parse_secret

pytestmark = pytest.mark.client

RIGHT, WRONG = "pässword", "password"
SSHA_OF_X = "{SSHA.HEX}2915515b6a8d569e70a5bc8b2a66f3f04ed6504d1ffca04e"


@pytest.fixture
def doveadm():
    return required.program("doveadm")


def needs_extra(name):
    module = {"ARGON2ID": "argon2", "BLF-CRYPT": "bcrypt"}.get(name)
    if module is not None:
        required.module(module)


@pytest.mark.parametrize("name", NAMES)
def test_dovecot_verifies_what_is_hashed_here(name, doveadm):
    needs_extra(name)
    field = hash_password(RIGHT.encode(), name)
    for password, is_right in ((RIGHT, True), (WRONG, False)):
        # It exits with 0 either way, and says "(verified)" or complains.
        verdict = subprocess.run([doveadm, "pw", "-t", field, "-p", password], capture_output=True, text=True)
        assert ("(verified)" in verdict.stdout) == is_right, verdict.stderr


@pytest.mark.parametrize(
    "name",
    [
        *["PLAIN", "CLEAR", "CLEARTEXT", "PBKDF2", "ARGON2ID", "SCRAM-SHA-1", "SCRAM-SHA-256"],
        *["CRYPT", "BLF-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "MD5-CRYPT"],
        *["SHA", "SHA1", "SHA256", "SHA512", "SSHA", "SSHA256", "SSHA512"],
        *["SHA.HEX", "SHA1.B64", "SHA256.BASE64", "SHA512.HEX", "SSHA.HEX", "SSHA256.B64", "SSHA512.BASE64"],
    ],
)
def test_what_dovecot_hashes_is_verified_here(name, doveadm):
    needs_extra(name)
    made = subprocess.run([doveadm, "pw", "-s", name, "-p", RIGHT], capture_output=True, text=True, check=True)
    secret = parse_secret(made.stdout.strip())
    assert secret.matches(RIGHT.encode())
    assert not secret.matches(WRONG.encode())


CONFIGURATION = """
protocols =
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = no
auth_mechanisms = plain
auth_username_format = %u
auth_username_chars =
auth_failure_delay = 0
disable_plaintext_auth = no
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
passdb {{
  driver = passwd-file
  args = {folder}/passwords
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}}
"""


@pytest.fixture
def folder():
    """A folder of a short name, for sockets, that Dovecot's own users may enter."""
    with tempfile.TemporaryDirectory(prefix="pop3-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def dovecot_auth(doveadm, folder):
    """A function that asks a Dovecot of its own whether a name and a password are right by folder/passwords."""
    program = required.program("dovecot")
    if os.geteuid() != 0:
        pytest.skip("only root can start a dovecot")
    configuration = folder / "dovecot.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder))
    server = subprocess.Popen([program, "-F", "-c", str(configuration)], stderr=subprocess.PIPE)

    def ask(name, password):
        command = [doveadm, "-c", str(configuration), "auth", "test", name, password]
        return subprocess.run(command, capture_output=True).returncode == 0

    try:
        give_up = time.monotonic() + 20
        while not (folder / "run" / "auth-client").exists():
            if server.poll() is not None or time.monotonic() > give_up:
                required.missing("a dovecot that starts with such a configuration")
            time.sleep(0.02)
        yield ask
    finally:
        server.terminate()
        server.communicate()


def test_one_file_means_the_same_to_dovecot_and_to_us(dovecot_auth, folder):
    path = folder / "passwords"
    path.write_text("# users\n\nalice:{plain}x y \nbob:{MD5-CRYPT}junk:1000:1000::/home/bob::userdb_quota=1\ncarol:x\n")
    path.chmod(0o644)
    set_password(path, "bob", hash_password(b"secret", "PBKDF2"))
    set_password(path, "dave", hash_password(RIGHT.encode(), "SCRYPT"))
    set_password(path, "erin", hash_password(RIGHT.encode(), "YESCRYPT"))
    set_password(path, "frank", hash_password(RIGHT.encode(), "SCRAM-SHA-256"))
    set_password(path, "grace", SSHA_OF_X)
    set_password(path, "jürgen@example.org", hash_password(RIGHT.encode(), "PBKDF2"))
    ours = PasswordFile(path)
    right = [("alice", "x y "), ("bob", "secret"), ("grace", "x")]
    right += [(name, RIGHT) for name in ("dave", "erin", "frank", "jürgen@example.org")]
    wrong = [("alice", "x y"), ("bob", "junk"), ("carol", "y"), ("nobody", "x"), ("Alice", "x y "), ("grace", "y")]
    wrong += [(name, WRONG) for name in ("dave", "erin", "frank")]
    for name, password in right:
        assert dovecot_auth(name, password), name
        assert ours.authenticate(name, password) == name
    for name, password in wrong:
        assert not dovecot_auth(name, password), name
        assert ours.authenticate(name, password) is None
