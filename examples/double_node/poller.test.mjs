// Tests of a POP3 client in Node against the double of geventpop3. To run them: node --test examples/double_node/poller.test.mjs
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { startDouble } from "./double.mjs";
import { poll } from "./pop3.mjs";

const MESSAGE = Buffer.from("Subject: one\r\n\r\n.a line with a dot\r\n" + "1\r\n".repeat(100));

let double;
let alice;
before(async () => {
  double = await startDouble();
});
after(() => double?.stop());
beforeEach(async () => {
  await double.maildrop("alice");
  alice = { host: double.host, port: double.port, user: "alice", password: "secret", seen: new Set() };
});
afterEach(() => double.check()); // fails on faults that never happened, and forgets this test

test("fetches a message and removes it", async () => {
  const { unique_ids } = await double.deliver("alice", MESSAGE);
  const messages = await poll(alice);
  assert.deepEqual(messages, [MESSAGE]);
  await double.wait({ maildrop: "alice", sessions: 1, messages: 0 });
  const [session] = await double.sessions();
  assert.deepEqual(session.removed, unique_ids);
  assert.deepEqual(session.commands.map((command) => command.verb), ["USER", "PASS", "UIDL", "RETR", "DELE", "QUIT"]);
  assert.equal(session.ended, "quit");
});

test("loses nothing when the line drops in the middle of a message", async () => {
  await double.deliver("alice", MESSAGE);
  await double.fail({ maildrop: "alice", on: "RETR", how: "reset", after_octets: 100 });
  await assert.rejects(poll(alice), /ECONNRESET|closed the connection/); // a stream's iterator may end without the error
  await double.wait({ sessions: 1 });
  const [first] = await double.sessions();
  assert.deepEqual([first.retrieved, first.removed], [[], []]);
  assert.deepEqual(await poll(alice), [MESSAGE]);
});

test("fetches nothing twice when QUIT fails half-way", async () => {
  await double.deliver("alice", MESSAGE);
  await double.deliver("alice", MESSAGE);
  await double.fail({ maildrop: "alice", on: "QUIT", how: "half-update" });
  await assert.rejects(poll(alice), /-ERR \[SYS\/TEMP\]/);
  await double.wait({ sessions: 1, maildrop: "alice", messages: 1 });
  assert.deepEqual(await poll(alice), []);
  await double.wait({ sessions: 2, maildrop: "alice", messages: 0 });
});

test("does not hang when the server is silent", async () => {
  await double.deliver("alice", MESSAGE);
  await double.fail({ on: "UIDL", how: "stall" });
  await assert.rejects(poll({ ...alice, timeout: 200 }), /the server is silent/);
});

test("a mistake in a test is explained", async () => {
  await assert.rejects(double.fail({ on: "RETRR" }), /did you mean 'RETR'\?/);
  await assert.rejects(double.fail({ on: "RETR", how: "rest" }), /did you mean 'reset'\?/);
  await assert.rejects(double.wait({ sessions: 1, timeout: 0 }), /waited 0 s in vain for: 1 sessions ended, not 0/);
});
