// The test double, started as a program and driven over HTTP. Only what Node brings along.
import { spawn } from "node:child_process";
import http from "node:http";
import readline from "node:readline";

export async function startDouble(command = process.env.GEVENTPOP3 ?? "geventpop3") {
  const [program, ...words] = command.split(" ");
  // Its standard input is a pipe: the system closes it when this process ends, however it ends.
  const child = spawn(program, [...words, "double", "--until-stdin-closes"], { stdio: ["pipe", "pipe", "inherit"] });
  const ready = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`geventpop3 double ended with status ${code}`)));
    readline.createInterface({ input: child.stdout }).once("line", (line) => resolve(JSON.parse(line)));
  });

  function call(method, path, body, type = "application/json") {
    const octets = body === undefined ? Buffer.alloc(0) : Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
    const headers = { Authorization: `Bearer ${ready.token}`, "Content-Type": type, "Content-Length": octets.length };
    return new Promise((resolve, reject) => {
      const request = http.request(ready.control + path, { method, headers }, (response) => {
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          const isJson = response.headers["content-type"] === "application/json";
          const content = isJson ? JSON.parse(text) : text;
          if (response.statusCode < 300) return resolve(content);
          reject(new Error(`${method} ${path}: ${content.error} (${content.hint})\n${content.transcript ?? ""}`));
        });
      });
      request.on("error", reject);
      request.end(octets);
    });
  }

  return {
    ...ready,
    call,
    maildrop: (name, password = "secret") => call("POST", "/maildrops", { name, password }),
    deliver: (name, octets) => call("POST", `/maildrops/${encodeURIComponent(name)}/messages`, octets, "message/rfc822"),
    fail: (fault) => call("POST", "/faults", fault),
    wait: (what) => call("POST", "/wait", what),
    async sessions() {
      return (await call("GET", "/sessions")).sessions;
    },
    async check() {
      const { ok, failures, transcript } = await call("POST", "/reset");
      if (!ok) throw new Error([...failures, transcript].join("\n"));
    },
    async stop() {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.stdin.end();
      return ended;
    },
  };
}
