// A minimal poller on node-pop3: fetch what has an unknown unique-id, store it, then delete it; QUIT.
//     node node_poller.mjs MODULE HOST PORT TLS CA USER PASSWORD FOLDER SEEN SECONDS
// MODULE is the file of the library. A message that an earlier run stored is deleted without being fetched again.
import { appendFileSync, existsSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [module, host, port, tls, ca, user, password, folder, seen, seconds] = process.argv.slice(2);
const { default: Pop3Command } = await import(pathToFileURL(module));

// RETR() of the library decodes octets as UTF-8, so the poller reads the library's stream.
async function octets(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

// The library leaves byte-stuffing as it is, and removes the last line end.
function unstuffed(body) {
  return Buffer.from(body.toString('latin1').replace(/^\.\./gm, '.') + '\r\n', 'latin1');
}

function store(content) {
  const partial = path.join(folder, '..', 'partial');
  writeFileSync(partial, content);
  renameSync(partial, path.join(folder, String(readdirSync(folder).length)));
}

async function poll() {
  const known = new Set(existsSync(seen) ? readFileSync(seen, 'utf8').split('\n') : []);
  const pop = new Pop3Command({
    host, port: Number(port), user, password, timeout: Number(seconds) * 1000,
    tls: tls === 'yes', tlsOptions: tls === 'yes' ? { ca: readFileSync(ca) } : {},
  });
  for (const [number, uniqueId] of await pop.UIDL()) {
    if (!known.has(uniqueId)) {
      const [, stream] = await pop.command('RETR', number);
      store(unstuffed(await octets(stream)));
      appendFileSync(seen, `${uniqueId}\n`);
    }
    await pop.DELE(number);
  }
  await pop.QUIT();
}

try {
  await poll();
} catch (error) {
  console.error(`${error.name}: ${error.message}`);
  process.exit(1); // the library leaves its socket open
}
