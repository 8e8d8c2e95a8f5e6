"""The servers of docs/scoreboard.md: how each is installed, configured and started, and how mail is delivered.

Each is as its documentation says, with TLS where it has it, and with its delays and limits out of the way: these would
only make the checks slow. All of it happens in the copy of the root folder that scoreboard_root.py makes.
"""

from __future__ import annotations

import imaplib
import os
import pwd
import shutil
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import trustme
from scoreboard_root import run, version

from geventpop3.testing.conformance import CommandDelivery, Delivery, MaildirDelivery, Skipped

USER = "tester"
PASSWORD = "Sesame7open"
HOST = "127.0.0.1"
PORT = 1110
MAILDIR = Path("/srv/mail") / USER


class Recipe(NamedTuple):
    """A server: *start* configures and starts it, and returns the delivery."""

    name: str
    packages: tuple[str, ...]
    start: Callable[[Path], Delivery]
    version: Callable[[], str]
    store: str


def debian(package: str) -> Callable[[], str]:
    return lambda: f"{version(package)} (Debian)"


# What they share


def make_user() -> None:
    """Make the account, with a password for PAM and a home folder."""
    run("useradd", "--create-home", "--shell", "/bin/sh", USER)
    run("chpasswd", given=f"{USER}:{PASSWORD}\n")


def make_maildir(folder: Path = MAILDIR) -> MaildirDelivery:
    """Make a Maildir that the account owns."""
    owner = pwd.getpwnam(USER)
    for part in ("tmp", "new", "cur"):
        (folder / part).mkdir(parents=True)
    for path in (folder, *folder.iterdir()):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    return MaildirDelivery(folder)


def make_certificate(work: Path) -> tuple[Path, Path, Path]:
    """Write a certificate, its key, and both in one file."""
    leaf = trustme.CA().issue_cert(HOST, "localhost")
    certificate, key, both = work / "cert.pem", work / "key.pem", work / "both.pem"
    certificate.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    for path in (certificate, key, both):
        path.chmod(0o600)
    return certificate, key, both


def start(*command: str, **variables: str) -> None:
    """Start a server in the foreground; the kernel ends it with the namespace."""
    with Path("/root/server.log").open("ab") as log:
        subprocess.Popen(command, env={**os.environ, **variables}, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def behind_inetd(*command: str) -> None:
    """Accept connections, and start *command* for each with the socket as its input and output."""
    listener = socket.create_server((HOST, PORT), backlog=50)

    def serve() -> None:
        while True:
            connection = listener.accept()[0]
            subprocess.Popen(command, stdin=connection.fileno(), stdout=connection.fileno(), stderr=subprocess.DEVNULL)
            connection.close()

    threading.Thread(target=serve, daemon=True).start()


def plain_pam(service: str) -> None:
    """Let PAM ask for the Unix password alone, without a delay after a wrong one."""
    Path("/etc/pam.d", service).write_text("auth required pam_unix.so nodelay\naccount required pam_unix.so\n")


# The servers


def dovecot(work: Path) -> Delivery:
    make_user()
    delivery = make_maildir()
    certificate, key, _ = make_certificate(work)
    (work / "passwords").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    owner = pwd.getpwnam(USER)
    config = work / "dovecot.conf"
    config.write_text(f"""\
protocols = pop3
listen = {HOST}
base_dir = /run/dovecot-scoreboard
log_path = /root/dovecot.log
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain cram-md5 apop
auth_failure_delay = 0
first_valid_uid = 1
mail_location = maildir:{MAILDIR}
passdb {{
  driver = passwd-file
  args = {work}/passwords
}}
userdb {{
  driver = static
  args = uid={owner.pw_uid} gid={owner.pw_gid} home=/home/{USER}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {PORT}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
""")
    for path in (work, work / "passwords"):
        path.chmod(0o755)
    start("dovecot", "-F", "-c", str(config))
    return delivery


def courier(work: Path) -> Delivery:
    make_user()
    delivery = make_maildir(Path("/home", USER, "Maildir"))
    owner = pwd.getpwnam(USER)
    authdaemon = Path("/etc/courier/authdaemonrc")
    authdaemon.write_text(
        "".join(
            'authmodulelist="authuserdb"\n' if line.startswith("authmodulelist=") else line
            for line in authdaemon.read_text().splitlines(keepends=True)
        )
    )
    home = f"/home/{USER}"
    run("userdb", USER, "set", f"uid={owner.pw_uid}", f"gid={owner.pw_gid}", f"home={home}", f"mail={home}/Maildir")
    hashed = subprocess.run(
        ["userdbpw", "-md5"], input=f"{PASSWORD}\n{PASSWORD}\n", capture_output=True, text=True, check=True
    )
    run("userdb", USER, "set", f"systempw={hashed.stdout.strip()}")
    run("makeuserdb")
    both = make_certificate(work)[2]
    shutil.copy(both, "/etc/courier/pop3d.pem")
    shutil.chown("/etc/courier/pop3d.pem", "courier", "courier")
    Path("/etc/courier/pop3d.pem").chmod(0o600)
    settings = {"ADDRESS": HOST, "PORT": str(PORT), "MAXPERIP": "100", "POP3AUTH": "PLAIN", "POP3_TLS": "1"}
    for name in ("pop3d", "pop3d-ssl"):
        path = Path("/etc/courier", name)
        with path.open("a") as file:
            file.writelines(f'\n{key}="{value}"' for key, value in settings.items() if name == "pop3d" or "TLS" in key)
            file.write("\n")
    for folder in ("/run/courier/authdaemon", "/run/courier"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        shutil.chown(folder, "courier", "courier")
    run("/usr/sbin/authdaemond", "start")
    run("/usr/sbin/pop3d", "start")
    return delivery


MBOX_DELIVERY = """\
import os, sys
lines = sys.stdin.buffer.read().split(b"\\n")
if not lines[-1]:
    lines.pop()
quoted = [b">" + line if line.startswith(b"From ") else line for line in lines]
with open(f"/var/mail/{os.environ['POP3_USER']}", "ab") as mailbox:
    mailbox.write(b"From x@example.org Mon Jan  5 09:30:00 2026\\n" + b"\\n".join(quoted) + b"\\n\\n")
"""


def mbox_delivery() -> CommandDelivery:
    """Append to the account's mbox below /var/mail."""
    program = Path("/root/deliver.py")
    program.write_text(MBOX_DELIVERY)
    mailbox = Path("/var/mail", USER)
    mailbox.touch()
    shutil.chown(mailbox, USER, "mail")
    mailbox.chmod(0o660)
    return CommandDelivery(f"{sys.executable} -S {program}", USER)


def popa3d(_work: Path) -> Delivery:
    make_user()
    plain_pam("popa3d")
    delivery = mbox_delivery()
    behind_inetd("/usr/sbin/popa3d")
    return delivery


def solid(_work: Path) -> Delivery:
    make_user()
    plain_pam("solid-pop3d")
    plain_pam("spop3d")
    delivery = make_maildir(Path("/home", USER, "Maildir"))
    Path("/etc/spop3d.conf").write_text("""\
<Global>
    MailDropName Maildir
    MailDropType maildir
    WrongCommandsLimit 0
</Global>
""")
    behind_inetd("/usr/sbin/solid-pop3d")
    return delivery


def mailutils(work: Path) -> Delivery:
    make_user()
    for service in ("gnu-pop3d", "pop3d", "mailutils"):
        plain_pam(service)
    delivery = make_maildir(Path("/srv/mail", USER))
    certificate, key, _ = make_certificate(work)
    Path("/run/lock").mkdir(exist_ok=True)
    Path("/var/lock/subsys/mail").mkdir(parents=True, exist_ok=True)
    Path("/var/lock/subsys/mail").chmod(0o1777)
    config = work / "pop3d.conf"
    config.write_text(f"""\
mode daemon;
foreground yes;
max-children 100;
pidfile /run/pop3d-scoreboard.pid;
auth {{
  authentication pam:system;
  authorization system;
}}
pam {{
  service pop3d;
}}
mailbox {{
  mailbox-pattern "maildir:/srv/mail/${{user}}";
}}
tls {{
  ssl-certificate-file {certificate};
  ssl-key-file {key};
}}
server {HOST}:{PORT} {{
  tls-mode ondemand;
}}
""")
    start("/usr/sbin/pop3d", f"--config-file={config}", "--foreground")
    return delivery


def twisted(_work: Path) -> Delivery:
    make_user()
    delivery = make_maildir()
    make_maildir(MAILDIR / ".Trash")  # where DELE puts messages; Twisted makes it with a Maildir of its own
    start(os.environ["SCOREBOARD_TWISTED"], str(Path(__file__).with_name("scoreboard_twisted.py")), str(MAILDIR),
          str(PORT), USER, PASSWORD)  # fmt: skip
    return delivery


def twisted_version() -> str:
    command = [os.environ["SCOREBOARD_TWISTED"], "-c", "import twisted; print(twisted.__version__)"]
    return f"{subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()} (PyPI)"


def own(work: Path) -> Delivery:
    make_user()
    delivery = make_maildir()
    certificate, key, _ = make_certificate(work)
    passwords = work / "passwords"
    passwords.write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    start(
        sys.executable, "-m", "geventpop3", "serve", "--maildir", "/srv/mail/{user}", "--passwords", str(passwords),
        "--listen", f"{HOST}:{PORT}", "--tls-cert", str(certificate), "--tls-key", str(key),
    )  # fmt: skip
    return delivery


def own_version() -> str:
    from geventpop3.version import __version__

    return __version__


LMTP_PORT, IMAP_PORT = 1124, 1143


class LmtpDelivery:
    """Delivery by LMTP, which adds header fields."""

    exact = False

    def deliver(self, content: bytes) -> None:
        """Deliver a message. Raises Skipped if the server refuses it."""
        try:
            with smtplib.LMTP(HOST, LMTP_PORT) as client:
                client.sendmail("x@example.org", [USER], content.replace(b"\n", b"\r\n"))
        except smtplib.SMTPException as error:
            raise Skipped(f"the delivery refuses this message: {error}") from None

    def take_back(self) -> None:
        """Leave it."""

    def empty(self) -> bool:
        """Remove all messages by IMAP."""
        with imaplib.IMAP4(HOST, IMAP_PORT) as client:
            client.login(USER, PASSWORD)
            if int(client.select()[1][0] or b"0"):
                client.store("1:*", "+FLAGS", r"(\Deleted)")
            client.expunge()
        return True


def cyrus(work: Path) -> Delivery:
    certificate, key, _ = make_certificate(work)
    for path in (certificate, key):
        shutil.chown(path, "cyrus", "mail")
    config, services = work / "imapd.conf", work / "cyrus.conf"
    config.write_text(f"""\
configdirectory: /var/lib/cyrus
partition-default: /var/spool/cyrus/mail
servername: localhost
admins: cyrus
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_mech_list: PLAIN CRAM-MD5
popminpoll: 0
failedloginpause: 0
expunge_mode: immediate
delete_mode: immediate
munge8bit: no
tls_server_cert: {certificate}
tls_server_key: {key}
""")
    services.write_text(f"""\
START {{
  recover cmd="/usr/sbin/cyrus ctl_cyrusdb -C {config} -r"
}}
SERVICES {{
  imap cmd="imapd -C {config}" listen="{HOST}:{IMAP_PORT}"
  pop3 cmd="pop3d -C {config}" listen="{HOST}:{PORT}"
  lmtp cmd="lmtpd -C {config} -a" listen="{HOST}:{LMTP_PORT}"
}}
EVENTS {{
}}
""")
    for name in (USER, "cyrus"):
        run("saslpasswd2", "-p", "-c", "-u", "localhost", name, given=PASSWORD)
    shutil.chown("/etc/sasldb2", "cyrus", "sasl")
    Path("/run/cyrus/socket").mkdir(parents=True, exist_ok=True)
    for folder in ("/run/cyrus", "/run/cyrus/socket"):
        shutil.chown(folder, "cyrus", "mail")
    start("/usr/sbin/cyrmaster", "-C", str(config), "-M", str(services))
    deadline = time.monotonic() + 30
    while True:
        try:
            with imaplib.IMAP4(HOST, IMAP_PORT) as client:
                client.login("cyrus", PASSWORD)
                client.create(f"user.{USER}")
                return LmtpDelivery()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)  # the server is another program: only a connection shows that it listens


RECIPES = (
    Recipe("geventpop3", (), own, own_version, "Maildir"),
    Recipe("dovecot-pop3d", ("dovecot-core", "dovecot-pop3d"), dovecot, debian("dovecot-pop3d"), "Maildir"),
    Recipe("courier-pop", ("courier-pop", "courier-authlib-userdb"), courier, debian("courier-pop"), "Maildir"),
    Recipe("popa3d", ("popa3d",), popa3d, debian("popa3d"), "mbox"),
    Recipe("mailutils-pop3d", ("mailutils-pop3d",), mailutils, debian("mailutils-pop3d"), "Maildir"),
    Recipe("twisted.mail", (), twisted, twisted_version, "its Maildir, with three methods mended"),
    Recipe("solid-pop3d", ("solid-pop3d",), solid, debian("solid-pop3d"), "Maildir"),
    Recipe(
        "cyrus-pop3d", ("cyrus-pop3d", "cyrus-imapd", "sasl2-bin"), cyrus, debian("cyrus-pop3d"), "its own, by LMTP"
    ),
)
