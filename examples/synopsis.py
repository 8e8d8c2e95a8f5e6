"""A POP3 server that answers every command by hand. Try it: curl -u alice:sesame pop3://127.0.0.1:1110/1"""

from geventpop3 import POP3Server, Refusal, multiline, ok
from geventpop3.auth import ClearSecret
from geventpop3.wire.arguments import line_count, message_number
from geventpop3.wire.stuffing import count_octets, top

USERS = {"alice": ClearSecret(b"sesame")}
NOBODY = ClearSecret(b"").decoy()  # an unknown name is answered like a wrong password
MAIL = {"alice": {"a1": b"Subject: hello\n\nHello, Alice.\n", "a2": b"Subject: lunch\n\nAt noon?\n.. Bob\n"}}


def make_server(port=1110):
    pop3d = POP3Server(port=port, hostname="pop.example.org")

    def chosen(event):
        """The message-number in the command, and what stands behind it."""
        number = message_number("".join(event.args[:1]))
        if number not in event.client.data["mail"]:
            raise Refusal("no such message")
        return number, *event.client.data["mail"][number]

    @pop3d.on("connection", "disconnected")
    def log(pop3d, event):
        print(event.name, *event.client.peer)

    @pop3d.on("cmd_user")
    def user(pop3d, event):
        event.client.data["name"] = event.argument
        return ok("send PASS")

    @pop3d.on("cmd_pass")
    def password(pop3d, event):
        name = event.client.data.pop("name", "")
        if not USERS.get(name, NOBODY).matches(event.argument.encode("utf-8", "surrogateescape")):
            event.client.disconnect()
            raise Refusal("authentication failed", "AUTH")
        event.client.owner = name
        event.client.data.update(mail=dict(enumerate(MAIL[name].items(), 1)), marked={})
        return ok("maildrop ready")

    @pop3d.on("cmd_stat")
    def stat(pop3d, event):
        sizes = [count_octets([content]) for _, content in event.client.data["mail"].values()]
        return ok(f"{len(sizes)} {sum(sizes)}")

    @pop3d.on("cmd_list", "cmd_uidl")
    def list_(pop3d, event):
        wanted = [chosen(event)] if event.args else [(n, *message) for n, message in event.client.data["mail"].items()]
        lines = [f"{n} {uid if event.name == 'cmd_uidl' else count_octets([content])}" for n, uid, content in wanted]
        return ok(lines[0]) if event.args else multiline("listing follows", "\n".join(lines).encode())

    @pop3d.on("cmd_retr")
    def retr(pop3d, event):
        return multiline("message follows", chosen(event)[2])

    @pop3d.on("cmd_top")
    def top_(pop3d, event):
        return multiline("top follows", top([chosen(event)[2]], line_count("".join(event.args[1:]))))

    @pop3d.on("cmd_dele")
    def dele(pop3d, event):
        number, *message = chosen(event)
        event.client.data["marked"][number] = event.client.data["mail"].pop(number)
        return ok("marked as deleted")
