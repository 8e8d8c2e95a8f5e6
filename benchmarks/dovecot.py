"""Dovecot as a peer, in its two documented modes; only limits differ from its defaults."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from string import Template

COMMON = Template("""\
protocols = pop3
listen = 127.0.0.1
base_dir = $base
state_dir = $base/state
log_path = $base.log
info_log_path = /dev/null
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
default_login_user = dovenull
default_internal_user = dovecot
first_valid_uid = 1
mail_uid = $uid
mail_gid = $gid
mail_location = maildir:$maildirs/%u:INDEX=$base-index/%u:CONTROL=$base-index/%u
mailbox_list_index = no
protocol pop3 {
  mail_max_userip_connections = 0
}
passdb {
  driver = passwd-file
  args = username_format=%u $passwords
}
userdb {
  driver = static
  args = uid=$uid gid=$gid home=$base-index/%u
}
service anvil {
  client_limit = 20000
  # The penalty would delay every login from this one address after a mistake.
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service auth {
  client_limit = 20000
}
service stats {
  client_limit = 20000
}
""")

LOGIN = """\
service pop3-login {
  inet_listener pop3 {
    port = $port
  }
  inet_listener pop3s {
    port = 0
  }
"""

MODES = {
    # A process for each connection, before and after the login.
    "high-security": Template(
        LOGIN
        + """\
  process_limit = 2000
}
service pop3 {
  process_limit = 12000
}
"""
    ),
    # Processes serve many connections, one after the other or at once.
    "high-performance": Template(
        LOGIN
        + """\
  service_count = 0
  process_min_avail = 2
  client_limit = 12000
  vsz_limit = 1G
}
service pop3 {
  service_count = 0
  process_limit = 12000
  process_min_avail = 2
}
"""
    ),
}


def missing(maildirs: Path) -> str | None:
    """Return the reason why Dovecot cannot run here, in one line, or None."""
    if shutil.which("dovecot") is None:
        return "not installed (apt-get install dovecot-pop3d)"
    if os.geteuid() != 0:
        return "must be started as root, because it changes to the mail's owner"
    closed = [str(folder) for folder in maildirs.resolve().parents if not folder.stat().st_mode & 0o001]
    if closed:
        return f"its mail user has no access to {closed[0]}: give --data a folder that it can enter"
    return None


def configure(mode: str, port: int, base: Path, maildirs: Path, passwords: Path, mail_user: tuple[int, int]) -> Path:
    """Write the configuration of *mode* and make its folders, all beginning with the path *base*."""
    uid, gid = mail_user
    index = Path(f"{base}-index")
    for folder in (base / "state", index):
        folder.mkdir(parents=True)
    os.chown(index, uid, gid)
    config = Path(f"{base}.conf")
    values = {"base": base, "port": port, "uid": uid, "gid": gid, "maildirs": maildirs, "passwords": passwords}
    config.write_text(COMMON.substitute(values) + MODES[mode].substitute(values))
    return config
