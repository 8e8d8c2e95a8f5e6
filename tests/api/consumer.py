"""An application that uses the public API with types, for mypy --strict; nothing here is run.

``assert_type`` fixes what a type checker infers. A ``type: ignore`` marks a mistake that it must find: mypy reports one
that is not needed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, assert_type

from geventpop3 import (
    EAT_ALL,
    EAT_CLIENT,
    EAT_NONE,
    EAT_PLUGIN,
    Client,
    ClientInterface,
    Event,
    PipelineError,
    Plugin,
    POP3Server,
    Refusal,
    Reply,
    __version__,
    err,
    events,
    handles,
    multiline,
    ok,
)
from geventpop3.auth import Authenticator, ClearSecret, Secret, SecretAuthenticator
from geventpop3.auth.passwd import PasswordFile
from geventpop3.pipeline.plugin import Eat
from geventpop3.plugins import AccessLog
from geventpop3.plugins.limits import LoginLimits
from geventpop3.server.tls import Certificates
from geventpop3.service import MaildropService
from geventpop3.stores import Maildrop, Message, Store
from geventpop3.stores.maildir import MaildirStore
from geventpop3.stores.memory import MemoryStore
from geventpop3.testing import play, play_over_socket, serve

# Replies

assert_type(ok(), Reply)
assert_type(err("no", code="AUTH"), Reply)
answer = multiline("the note", b"Subject: a note\r\n")
assert_type(answer.positive, bool)
assert_type(answer.text, str)
assert_type(answer.code, str | None)
assert_type(answer.body, Iterable[bytes] | None)
version: str = __version__

# A server

pop3d = POP3Server(
    address="127.0.0.1",
    port=0,
    hostname="pop.example.org",
    alias="main",
    options={"trace": True},
    tls=Certificates([("pop.pem", "pop.key")]),
    tls_listen=[("127.0.0.1", 0)],
    max_sessions=10,
)
POP3Server(max_session=10)  # type: ignore[call-arg]
POP3Server(port="pop3")  # type: ignore[arg-type]
assert_type(pop3d.server_id, int)
assert_type(pop3d.getsockname(), tuple[str, int] | str)
assert_type(POP3Server.find("main"), POP3Server | None)
assert_type(pop3d.drain(1.0), bool)
assert_type(pop3d.wanted("cmd_stat"), bool)
assert_type(pop3d.clients, Mapping[int, Client])
assert_type(pop3d.send_to_client(1, "+OK"), bool)
assert_type(pop3d.disconnect(1, now=True), bool)
assert_type(pop3d.in_thread(divmod, 7, 2), tuple[int, int])
assert_type(pop3d.send_event("my_event", 1), Event)

# Listeners


@pop3d.on("cmd_stat", priority=-1)
def stat(server: POP3Server, event: Event) -> Reply:
    assert_type(event.name, str)
    assert_type(event.argument, str)
    assert_type(event.raw, bytes)
    assert_type(event.reply, Reply | None)
    event.args.append("extra")
    event.reply = "+OK 0 0"
    event.reply = 1  # type: ignore[assignment]
    return ok(f"{len(event.args)} {server.server_id}")


@pop3d.on("session_finished")
def finished(server: POP3Server, event: Event) -> None:
    summary = event.session_summary
    assert_type(summary, events.SessionSummary)
    assert_type(summary.owner, str | None)
    assert_type(summary.retrieved, int)
    assert_type(summary.reason, str)
    summary.retreived  # type: ignore[attr-defined]  # noqa: B018


@pop3d.on("command_finished")
def counted(server: POP3Server, event: Event) -> None:
    summary = event.command_summary
    assert_type(summary, events.CommandSummary)
    assert_type(summary.positive, bool | None)
    assert_type(summary.seconds, float)
    summary.argumnet  # type: ignore[attr-defined]  # noqa: B018


assert_type(stat(pop3d, Event("cmd_stat")), Reply)  # the decorator keeps the type


@pop3d.on("cmd_noop")  # type: ignore[type-var]
def wrong_answer(server: POP3Server, event: Event) -> int:
    return 1


@pop3d.on("cmd_noop")  # type: ignore[type-var]
def too_few(event: Event) -> None: ...


def connected(sender: POP3Server, event: Event) -> None:
    print(event.name)


assert_type(events.session_finished.connect(connected, sender=pop3d)(pop3d, Event("x")), None)

# Clients


def of_a_client(client: ClientInterface) -> None:
    assert_type(client.id, int)
    assert_type(client.peer, tuple[str, int])
    assert_type(client.local, tuple[str, int])
    assert_type(client.data, dict[str, Any])
    assert_type(client.secure, bool)
    assert_type(client.owner, str | None)
    assert_type(client.summary, events.SessionSummary)
    assert_type(client.challenge(b"Username:"), bytes | None)
    client.send(ok("news"))
    client.flush()
    client.disconnect()
    client.disconnect(now=True)


def of_a_real_client(client: Client) -> None:
    of_a_client(client)


# Plugins


class Greylist(Plugin):
    priority = -10

    @handles("cmd_user", "cmd_auth")
    def refuse(self, server: POP3Server, event: Event) -> Eat:
        event.reply = err("later", code="LOGIN-DELAY")
        return EAT_ALL

    @handles("all")
    def watch(self, server: POP3Server, event: Event) -> Eat | None:
        return EAT_NONE if event.args else None

    def plugin_register(self, pop3d: POP3Server) -> bool:
        return True


@pop3d.plugin("cmd_retr", priority=5)
def first(server: POP3Server, event: Event) -> Eat:
    if not event.args:
        raise Refusal("which?", "SYS/PERM")
    return EAT_CLIENT if event.args[0] == "1" else EAT_PLUGIN


@pop3d.plugin("cmd_retr")  # type: ignore[type-var]
def no_code(server: POP3Server, event: Event) -> Reply:
    return ok()


assert_type(pop3d.plugin_add("greylist", Greylist()), int)
pop3d.plugin_add("greylist", stat)  # type: ignore[arg-type]
pop3d.plugin_add("limits", LoginLimits())
pop3d.register(AccessLog())
assert_type(pop3d.plugin_order(), list[Plugin])
assert_type(pop3d.plugin_list(), dict[str, Plugin])
assert_type(pop3d.plugin_get("greylist"), Plugin)
assert_type(pop3d.plugin_del("greylist"), Plugin)
assert_type(pop3d.pipeline.bump_up("greylist"), int)
assert_type(pop3d.pipeline.replace("greylist", "other", Greylist()), tuple[Plugin, str])

# Stores, authenticators, the service


class Empty(Maildrop):
    def scan(self) -> Sequence[Message]:
        return [Message("a", 1)]

    def retrieve(self, unique_id: str) -> Iterable[bytes]:
        return (b"x",)

    def remove(self, unique_ids: Iterable[str]) -> None: ...

    def close(self) -> None: ...


class Empties(Store):
    def open(self, owner: str) -> Maildrop:
        return Empty()


class Incomplete(Store): ...


Incomplete()  # type: ignore[abstract]


class OneUser(SecretAuthenticator):
    def authenticate(self, name: str, password: str) -> str | None:
        return name if password == "sesame" else None

    def secret(self, name: str) -> Secret | None:
        return ClearSecret(b"sesame")


class Anybody(Authenticator):
    def authenticate(self, name: str, password: str) -> str | None:
        return name


pop3d.register(MaildropService(MaildirStore("/srv/mail/{user}"), PasswordFile("/etc/pop3.passwd")))
pop3d.register(MaildropService(Empties(), OneUser()), priority=10)
MaildropService(PasswordFile("users"))  # type: ignore[arg-type]
service = MaildropService(MemoryStore({"alice": [b"Subject: one\n\n1\n"]}))


@service.authenticator
def check(name: str, password: str) -> str | bool | None:
    return password == "sesame"


@service.authenticator  # type: ignore[type-var]
def not_a_check(name: str) -> bool:
    return True


assert_type(MemoryStore().messages("alice"), list[bytes])

# The test kit

play(pop3d, "S: +OK ...")
with serve(lambda: POP3Server(port=0)) as address:
    assert_type(address.host, str)
    play_over_socket(address, "S: +OK ...")

try:
    pop3d.pipeline.get("nobody")
except PipelineError as mistake:
    print(mistake)
