"""Every command answered by hand, without a store. Try it: curl -u alice:sesame pop3://127.0.0.1:1110/1"""

from geventpop3 import POP3Server, err, multiline, ok
from geventpop3.auth import ClearSecret

USERS = {"alice": ClearSecret(b"sesame")}
NOBODY = ClearSecret(b"").decoy()  # an unknown name gets the same reply as a wrong password
MAIL = {"alice": {"a1": b"Subject: hello\r\n\r\nHello, Alice.\r\n", "a2": b"Subject: lunch\r\n\r\n.. at noon?\r\n"}}
COMMANDS = ("user", "pass", "stat", "list", "uidl", "retr", "dele", "noop", "rset", "quit")
pop3d = POP3Server(port=1110, hostname="pop.example.org")
pop3d.on("connection", "disconnected")(lambda pop3d, event: print(event.name, *event.client.peer))


@pop3d.on(*(f"cmd_{command}" for command in COMMANDS))
def answer(pop3d, event):
    data = event.client.data
    mail = data.get("mail", {})  # messages that are not marked as deleted: message-number to (unique-id, message)
    match event.name, event.args:
        case "cmd_user", [name]:
            data["name"] = name
            return ok("send PASS")
        case "cmd_pass", [password]:
            name = data.pop("name", "")
            if not USERS.get(name, NOBODY).matches(password.encode("utf-8", "surrogateescape")):
                event.client.disconnect()
                return err("authentication failed", "AUTH")
            data["all"] = {str(number): item for number, item in enumerate(MAIL[name].items(), 1)}
            data["mail"] = data["all"].copy()
            event.client.owner = name
            return ok("maildrop ready")
        case "cmd_stat", []:
            return ok(f"{len(mail)} {sum(len(message) for _, message in mail.values())}")
        case "cmd_list", []:
            return multiline("listing follows", (f"{n} {len(message)}\n".encode() for n, (_, message) in mail.items()))
        case "cmd_list", [n] if n in mail:
            return ok(f"{n} {len(mail[n][1])}")
        case "cmd_uidl", []:
            return multiline("listing follows", (f"{n} {uid}\n".encode() for n, (uid, _) in mail.items()))
        case "cmd_uidl", [n] if n in mail:
            return ok(f"{n} {mail[n][0]}")
        case "cmd_retr", [n] if n in mail:
            return multiline("message follows", mail[n][1])
        case "cmd_dele", [n] if n in mail:
            del mail[n]
            return ok("marked as deleted")
        case "cmd_noop", []:
            return ok()
        case "cmd_rset", []:
            data["mail"] = data["all"].copy()
            return ok()
        case "cmd_quit", []:
            for n in data.get("all", {}).keys() - mail.keys():
                MAIL[event.client.owner].pop(data["all"][n][0], None)
            return ok("goodbye")
    return err("no such message, or an invalid argument")


if __name__ == "__main__":
    pop3d.serve_forever()
