// A small POP3 client for the example: enough to be tested. It deletes a message only after it has read it whole.
import net from "node:net";

export async function poll({ host, port, user, password, seen = new Set(), timeout = 5000 }) {
  const lines = await connect(host, port, timeout);
  const messages = [];
  try {
    await lines.reply();
    await lines.command(`USER ${user}`);
    await lines.command(`PASS ${password}`);
    await lines.command("UIDL");
    const listing = (await lines.body()).map((line) => line.toString("latin1").split(" "));
    for (const [number, uniqueId] of listing) {
      if (!seen.has(uniqueId)) {
        await lines.command(`RETR ${number}`);
        messages.push(Buffer.concat((await lines.body()).flatMap((line) => [line, Buffer.from("\r\n")])));
        seen.add(uniqueId);
      }
      await lines.command(`DELE ${number}`);
    }
    await lines.command("QUIT");
    return messages;
  } finally {
    lines.close();
  }
}

async function connect(host, port, timeout) {
  const socket = net.connect({ host, port });
  socket.setTimeout(timeout, () => socket.destroy(new Error("the server is silent")));
  const chunks = socket[Symbol.asyncIterator]();
  let buffer = Buffer.alloc(0);

  async function line() {
    let end;
    while ((end = buffer.indexOf("\r\n")) < 0) {
      const { value, done } = await chunks.next();
      if (done) throw new Error("the server closed the connection");
      buffer = Buffer.concat([buffer, value]);
    }
    const found = buffer.subarray(0, end);
    buffer = buffer.subarray(end + 2);
    return found;
  }

  async function reply() {
    const status = (await line()).toString("latin1");
    if (!status.startsWith("+OK")) throw new Error(status);
    return status;
  }

  return {
    reply,
    async command(text) {
      socket.write(`${text}\r\n`);
      return reply();
    },
    async body() {
      const found = [];
      for (;;) {
        const next = await line();
        if (next.equals(Buffer.from("."))) return found;
        found.push(next[0] === 0x2e ? next.subarray(1) : next);
      }
    },
    close: () => socket.destroy(),
  };
}
