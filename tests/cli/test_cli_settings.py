"""Settings: where they come from, which source wins, and what is said of those that are wrong."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from geventpop3.cli.settings import Settings, load_settings
from geventpop3.cli.settings import settings as every_setting
from geventpop3.cli.values import did_you_mean
from geventpop3.errors import ConfigError

NEEDED = {"maildir": "/srv/mail/{user}", "passwords": "/etc/pop3.passwd"}


@pytest.fixture
def file(tmp_path):
    """A function that writes the configuration file and returns its path."""

    def write(text):
        path = tmp_path / "geventpop3.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_default_holds_if_nothing_is_given():
    settings = load_settings(NEEDED, {})
    assert settings.listen == ("127.0.0.1:1110",)
    assert settings.hostname is None
    assert settings.allow_plaintext is False
    assert (settings.autologout, settings.login_deadline) == (600, 60)
    assert (settings.max_sessions, settings.max_sessions_per_address) == (10_000, None)
    assert (settings.lock, settings.trace, settings.log_level) == ("exclusive", False, "info")
    assert set(settings.origins) == {"maildir", "passwords"}


def test_flag_goes_before_environment_before_file_before_default(file):
    path = file("max-sessions = 3\nmax-sessions-per-address = 3\nlock = 'none'\n")
    environment = {"GEVENTPOP3_MAX_SESSIONS": "2", "GEVENTPOP3_MAX_SESSIONS_PER_ADDRESS": "2"}
    settings = load_settings({**NEEDED, "max_sessions": "1"}, environment, path)
    assert settings.max_sessions == 1
    assert settings.max_sessions_per_address == 2
    assert settings.lock == "none"
    assert settings.log_level == "info"
    assert settings.origins["max_sessions"] == "--max-sessions"
    assert settings.origins["max_sessions_per_address"] == "GEVENTPOP3_MAX_SESSIONS_PER_ADDRESS"
    assert settings.origins["lock"] == path


def test_switch_can_be_turned_off_again_by_a_flag():
    environment = {"GEVENTPOP3_TRACE": "yes"}
    assert load_settings(NEEDED, environment).trace is True
    assert load_settings({**NEEDED, "trace": False}, environment).trace is False


def test_every_setting_can_come_from_the_file(file):
    path = file(
        'listen = ["127.0.0.1:110", "[::1]:110"]\nmaildir = "/m/{user}"\npasswords = "/p"\n'
        "hostname = 'pop.example.org'\nallow-plaintext = true\nautologout = 900.5\nlogin_deadline = 30\n"
        "max-sessions = 5\n"
        'max_sessions_per_address = 2\nlock = "none"\ntrace = true\nlog-level = "debug"\n'
        'tls-listen = "127.0.0.1:995"\ntls-cert = ["/c1", "/c2"]\ntls-key = ["/k1", "/k2"]\ntls-client-ca = "/ca"\n'
        'proxy = ["192.0.2.0/24", "2001:db8::/32"]\nauth = ["plain", "SCRAM-SHA-256"]\n'
        "durable = false\ncreate-maildirs = true\nexpire = 30\nlogin-delay = 60\nutf8-messages = 'convert'\n"
        "language = 'de'\nusername-case = 'lower'\nmax-tries = 2\nauth-threads = 4\nstore-threads = 5\n"
        "store-threads-for = 'always'\n"
        "waiting-threads = 6\nfake-salt-key-file = '/k'\n"
        "workers = 2\nuser = 'vmail'\ngroup = 'mail'\npid-file = '/run/pop3.pid'\ngraceful-timeout = 60\n"
        "[limits]\nban-after = 5\n[[authenticator]]\nkind = 'pam'\n[[authenticator]]\nkind = 'sql'\n"
    )
    settings = load_settings({}, {}, path)
    names = {field.name for field, _ in every_setting()}
    assert set(settings.origins) == names
    assert settings == Settings(
        listen=("127.0.0.1:110", "[::1]:110"),
        maildir="/m/{user}",
        passwords="/p",
        hostname="pop.example.org",
        allow_plaintext=True,
        autologout=900.5,
        login_deadline=30,
        max_sessions=5,
        max_sessions_per_address=2,
        lock="none",
        trace=True,
        log_level="debug",
        tls_listen=("127.0.0.1:995",),
        tls_cert=("/c1", "/c2"),
        tls_key=("/k1", "/k2"),
        tls_client_ca="/ca",
        proxy=("192.0.2.0/24", "2001:db8::/32"),
        auth=("PLAIN", "SCRAM-SHA-256"),
        durable=False,
        create_maildirs=True,
        expire=30,
        login_delay=60,
        utf8_messages="convert",
        language="de",
        username_case="lower",
        max_tries=2,
        auth_threads=4,
        store_threads=5,
        store_threads_for="always",
        waiting_threads=6,
        fake_salt_key_file="/k",
        workers=2,
        user="vmail",
        group="mail",
        pid_file="/run/pop3.pid",
        graceful_timeout=60,
        limits={"ban-after": 5},
        authenticator=({"kind": "pam"}, {"kind": "sql"}),
        origins=dict.fromkeys(names, path),
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('proxy = "192.0.2.1/24"', "proxy: 192.0.2.1/24 has host bits set"),
        ('auth = ["PLAIN", "BOGUS"]', "auth: the string 'BOGUS' is not one of EXTERNAL,"),
        ("tls-cert = 3", "tls-cert: 3 is not a string or a list of strings"),
        ('tls-key = [""]', "tls-key: the string '' is empty"),
    ],
)
def test_what_cannot_be_a_list_of_its_kind_is_refused(file, line, complaint):
    path = file(f'maildir = "/m/{{user}}"\npasswords = "/p"\n{line}\n')
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        load_settings({}, {}, path)


def test_every_setting_can_come_from_the_environment():
    settings = load_settings(
        {},
        {
            "GEVENTPOP3_LISTEN": "127.0.0.1:110, [::1]:110 unix:/run/pop3",
            "GEVENTPOP3_MAILDIR": "/m/{user}",
            "GEVENTPOP3_PASSWORDS": "/p",
            "GEVENTPOP3_HOSTNAME": "pop.example.org",
            "GEVENTPOP3_ALLOW_PLAINTEXT": "On",
            "GEVENTPOP3_AUTOLOGOUT": "900.5",
            "GEVENTPOP3_LOGIN_DEADLINE": "30",
            "GEVENTPOP3_MAX_SESSIONS": "5",
            "GEVENTPOP3_MAX_SESSIONS_PER_ADDRESS": "2",
            "GEVENTPOP3_LOCK": "none",
            "GEVENTPOP3_TRACE": "0",
            "GEVENTPOP3_LOG_LEVEL": "error",
            "GEVENTPOP3_PORT": "tcp://10.0.0.1:110",  # as Kubernetes sets for a service of that name
        },
    )
    assert settings.listen == ("127.0.0.1:110", "[::1]:110", "unix:/run/pop3")
    assert settings.autologout == 900.5
    assert settings.max_sessions == 5
    assert settings.allow_plaintext is True
    assert settings.trace is False


def test_variable_that_is_empty_is_as_none():
    assert load_settings(NEEDED, {"GEVENTPOP3_LOCK": "", "GEVENTPOP3_LISTEN": ""}).listen == ("127.0.0.1:1110",)


def test_one_listener_in_the_file_needs_no_list(file):
    assert load_settings(NEEDED, {}, file('listen = "127.0.0.1:0"')).listen == ("127.0.0.1:0",)


@pytest.mark.parametrize(("missing", "words"), [("maildir", "--maildir, GEVENTPOP3_MAILDIR"), ("passwords", "must be")])
def test_setting_without_a_default_must_be_given(missing, words):
    given_ones = {name: value for name, value in NEEDED.items() if name != missing}
    with pytest.raises(ConfigError) as caught:
        load_settings(given_ones, {})
    assert str(caught.value).startswith(f"{missing}: must be given")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("listen", "110", "'110': an address is HOST:PORT"),
        ("listen", " , ", "is not HOST:PORT"),
        ("hostname", "pop example", "'pop example' is not a host name"),
        ("allow_plaintext", "maybe", "'maybe' is neither true nor false"),
        ("autologout", "10m", "'10m' is not a number of seconds"),
        ("autologout", "0", "0 is not a number of seconds, at least 1"),
        ("autologout", "-600", "at least 1"),
        ("autologout", "inf", "is not a number of seconds"),
        ("autologout", "1e3", "is not a number of seconds"),
        ("login_deadline", "nan", "is not a number of seconds"),
        ("max_sessions", "0", "0 is not a whole number, at least 1"),
        ("max_sessions", "1.5", "1.5 is not a whole number"),
        ("max_sessions", "9" * 5000, "is not a whole number"),
        ("max_sessions_per_address", "\u0661", "is not a whole number"),
        ("lock", "both", "'both' is not one of exclusive, none"),
        ("log_level", "INFO", "not one of debug, info, warning, error"),
        ("maildir", "a\0b", "contains NUL"),
        ("expire", "forever", """'forever' is neither a whole number of days nor "never\""""),
        ("expire", "-1", "-1 is neither a whole number of days"),
        ("login_delay", "1.5", "1.5 is not a whole number, 0 or more"),
        ("utf8_messages", "drop", "'drop' is not one of as-is, refuse, convert"),
        ("language", "fr", "'fr' is not one of i-default, en, de"),
        ("max_tries", "0", "0 is not a whole number, at least 1"),
        ("waiting_threads", "0", "0 is not a whole number, at least 1"),
    ],
)
def test_text_that_is_wrong_is_named_with_its_setting_and_origin(name, text, words):
    key = name.replace("_", "-")
    for flags, environment, origin in (
        ({name: text}, {}, f"--{key}"),
        ({}, {f"GEVENTPOP3_{name.upper()}": text}, f"GEVENTPOP3_{name.upper()}"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_settings({**{k: v for k, v in NEEDED.items() if k != name}, **flags}, environment)
        assert str(caught.value).startswith(f"{key}: ")
        assert words in str(caught.value)
        assert str(caught.value).endswith(f" (from {origin})")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("listen = 110", "listen: 110 is not HOST:PORT"),
        ("listen = []", "listen: the list [] is not HOST:PORT"),
        ('listen = ["127.0.0.1:110", 5]', "is not HOST:PORT or a list"),
        ('listen = ["127.0.0.1:110", "x"]', "listen: 'x': an address is"),
        ("maildir = 1", "maildir: 1 is not a string"),
        ('maildir = ""', "maildir: the string '' is empty"),
        (
            'max-sessions = "2000"',
            "the string '2000' is not a whole number, at least 1: write it without quotes (from ",
        ),
        ('login-delay = "1"', "the string '1' is not a whole number, 0 or more: write it without quotes (from "),
        ('expire = "30"', 'days nor "never": write it without quotes (from '),
        ('autologout = "ten"', "the string 'ten' is not a number of seconds, at least 1 (from "),
        ('trace = "true"', "trace: the string 'true' is neither true nor false: write it without quotes"),
        ("hostname = 12", "hostname: 12 is not a host name"),
        ("user = 12", "user: 12 is not a string: write it in quotes (from "),
        ("user = true", "user: true is not a string (from "),
        ('lock = "exclusiv"', "is not one of exclusive, none: did you mean exclusive? (from "),
        ('auth = "scram-sha256"', "did you mean SCRAM-SHA-256? (from "),
        ("proxy = '192.0.2.1/24'", "has host bits set: a network is written as 192.0.2.0/24"),
        ("listen = ':110'", "listen: ':110': the host is missing: 127.0.0.1:110 is this machine alone"),
        ("limits = 'x'", "limits: is not a table, but a string (from "),
        (
            'autologout = "600"',
            "autologout: the string '600' is not a number of seconds, at least 1: write it without quotes",
        ),
        ("autologout = true", "autologout: true is not a number of seconds"),
        ("autologout = inf", "autologout: inf is not"),
        ("login-deadline = nan", "login-deadline: nan is not"),
        ("max-sessions = true", "max-sessions: true is not a whole number"),
        ("max-sessions = 1979-05-27", "max-sessions: 1979-05-27 is not a whole number"),
        ("trace = 1", "trace: 1 is neither true nor false"),
        ("lock = []", "lock: the list [] is not one of"),
        ("[lock]\nx = 1", "lock: a table is not one of"),
        ("max_session = 1", "'max_session': unknown key: did you mean max-sessions?"),
        ('"q\\nz" = 1', r"'q\nz': unknown key (from "),
        ("config = 'x'", "'config': unknown key"),
        ("origins = {}", "'origins': unknown key"),
        ("max-sessions = 1\nmax_sessions = 2", "max-sessions: is given twice"),
        ("limits = true", "limits: is not a table"),
        (
            "[authenticator]\nkind = 'pam'",
            "authenticator: is one table, not a list of tables: begin it with [[authenticator]]",
        ),
        ("listen = ['127.0.0.1:1', '0.0.0.0:1']", "listen: 0.0.0.0:1 is part of 127.0.0.1:1, or the other way round"),
        ("listen = ['unix:/s', 'unix:/s']", "listen: unix:/s is listened at twice"),
        ("authenticator = ['pam']", "authenticator: is not a list of tables"),
        ("authenticator = []", "authenticator: is not a list of tables"),
        ("[[authenticators]]\nkind = 'pam'", "'authenticators': unknown key: did you mean authenticator?"),
    ],
)
def test_value_or_key_of_the_file_that_is_wrong_is_named_with_the_file(file, text, words):
    path = file(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(NEEDED if "maildir" not in text else {"passwords": "/p"}, {}, path)
    assert words in str(caught.value)
    assert str(caught.value).endswith(f" (from {path})")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "not TOML: "),
        ("a = 1\na = 2", "Cannot overwrite a value (at end of document); write each key once in its table"),
        ("[limits]\n[limits]", "write each key once in its table"),
        (
            "maildir = /srv/mail",
            "(at line 1, column 11); write strings in quotes; numbers, true and false without quotes",
        ),
        ("max-sessions = " + "9" * 5000, "not TOML: Exceeds the limit"),
        (b"# \xff", "not UTF-8"),
    ],
)
def test_file_that_is_not_toml_is_a_config_error(file, text, words):
    path = file(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(NEEDED, {}, path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "header"),
    [("maildir", "[limits]"), ("maildir", "[[authenticator]]"), ("passwords", "[limits]")],
)
def test_a_key_that_is_needed_and_stands_below_a_table_is_found_there(file, name, header):
    above = "".join(f"{each} = '{value}'\n" for each, value in NEEDED.items() if each != name)
    path = file(f"{above}{header}\n{name} = '/x/{{user}}'\n")
    with pytest.raises(ConfigError) as caught:
        load_settings({}, {}, path)
    assert str(caught.value) == f"{name}: is part of the table {header} in {path}: move it above the first table"


def test_addresses_that_can_be_bound_side_by_side_are_taken():
    listen = ["127.0.0.1:0", "127.0.0.1:0", "0.0.0.0:110", "[::]:110", "localhost:1110", "127.0.0.1:1110", "unix:/s"]
    tls_listen = ["127.0.0.1:0", "0.0.0.0:995", "unix:/t"]
    assert load_settings({**NEEDED, "listen": listen, "tls_listen": tls_listen}, {}).tls_listen == tuple(tls_listen)


def test_a_byte_order_mark_and_the_line_ends_of_windows_are_no_mistakes(file):
    path = file(b'\xef\xbb\xbfmax-sessions = 3\r\nhostname = "pop"\r\n')
    settings = load_settings(NEEDED, {}, path)
    assert (settings.max_sessions, settings.hostname) == (3, "pop")
    with pytest.raises(ConfigError, match="not TOML"):
        load_settings(NEEDED, {}, file(b"max-sessions = 3\n\xef\xbb\xbfhostname = 'pop'\n"))


def test_file_that_is_missing_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="No such file or directory"):
        load_settings(NEEDED, {}, str(tmp_path / "missing"))


def test_what_fails_later_is_blamed_on_the_setting_and_its_origin():
    settings = load_settings(NEEDED, {})
    with pytest.raises(ConfigError) as caught, settings.errors_of("passwords"):
        raise ConfigError("/etc/pop3.passwd: line 1")
    assert str(caught.value) == "passwords: /etc/pop3.passwd: line 1 (from --passwords)"
    with pytest.raises(ConfigError) as caught, settings.errors_of("listen"):
        raise PermissionError(13, "Permission denied", "127.0.0.1:110")
    assert str(caught.value) == "listen: 127.0.0.1:110: Permission denied (from the default)"
    with pytest.raises(ConfigError) as caught, settings.errors_of("listen"):
        raise OSError("odd")
    assert str(caught.value) == "listen: odd (from the default)"


def test_every_field_but_the_origins_is_a_setting():
    names = [field.name for field, _ in every_setting()]
    assert [field.name for field in dataclasses.fields(Settings)] == [*names, "origins"]


def test_a_table_has_neither_a_flag_nor_a_variable():
    assert load_settings({**NEEDED, "limits": "x"}, {}).limits is None
    with pytest.raises(
        ConfigError,
        match=r"^GEVENTPOP3_AUTHENTICATOR: a table cannot be given in a variable: write it in the configuration file$",
    ):
        load_settings(NEEDED, {"GEVENTPOP3_AUTHENTICATOR": "x"})


def test_a_variable_that_is_misspelt_is_told_with_the_nearest():
    with pytest.raises(ConfigError) as caught:
        load_settings(NEEDED, {"GEVENTPOP3_ALLOW_PLAINTXT": "yes"})
    assert str(caught.value) == (
        "'GEVENTPOP3_ALLOW_PLAINTXT': unknown environment variable: did you mean GEVENTPOP3_ALLOW_PLAINTEXT?"
    )
    with pytest.raises(ConfigError, match=r"'GEVENTPOP3_PIGEON': unknown environment variable$"):
        load_settings(NEEDED, {"GEVENTPOP3_PIGEON": "x"})


@pytest.mark.parametrize(
    "name",
    [
        "GEVENTPOP3_CONFIG",
        *("GEVENTPOP3_SERVICE_HOST", "GEVENTPOP3_SERVICE_PORT", "GEVENTPOP3_SERVICE_PORT_POP3S"),
        *("GEVENTPOP3_PORT", "GEVENTPOP3_PORT_110_TCP", "GEVENTPOP3_PORT_110_TCP_ADDR"),
        *("GEVENTPOP", "POP3_LISTEN"),
    ],
)
def test_a_variable_that_kubernetes_sets_or_that_is_nobodys_is_left_alone(name):
    assert load_settings(NEEDED, {name: "tcp://10.0.0.1:110"}).listen == ("127.0.0.1:1110",)


@pytest.mark.parametrize(
    ("name", "known", "words"),
    [
        ("lisen", ["listen", "lock"], ": did you mean listen?"),
        ("--port", ["--proxy", "--passwords"], ""),
        ("x", [], ""),
    ],
)
def test_only_what_resembles_a_name_is_taken_for_it(name, known, words):
    assert did_you_mean(name, known, "--") == words.replace("listen", "--listen")


def test_tables_do_not_show_what_they_hold(file):
    settings = load_settings(
        NEEDED, {}, file("[limits]\nredis = 'redis://:canary@x'\n[[authenticator]]\npassword = 'canary'\n")
    )
    assert "canary" in settings.limits["redis"]
    assert "canary" not in repr(settings)


def test_authenticators_are_enough_without_a_password_file(file):
    settings = load_settings({"maildir": "/m/{user}"}, {}, file("[[authenticator]]\nkind = 'pam'\n"))
    assert settings.passwords is None


@pytest.mark.parametrize(("given_days", "days"), [("never", "never"), ("0", 0), ("30", 30)])
def test_mail_is_kept_so_many_days_or_for_ever(given_days, days):
    assert load_settings({**NEEDED, "expire": given_days}, {}).expire == days


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.sampled_from([field.name for field, _ in every_setting()]), st.text())
def test_any_text_is_a_value_or_a_config_error(name, text):
    flags = {**NEEDED, name: text}
    try:
        settings = load_settings(flags, {})
    except ConfigError as error:
        words = str(error)
    else:
        words = repr(settings)
    assert words
    assert "\n" not in words
