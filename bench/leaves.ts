import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { duplexPair } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { systemClock } from '../src/core/clock.ts';
import { type Authority, createAuthority } from '../src/tls/authority.ts';
import { certificatePem } from '../src/tls/certificate.ts';
import { ServerLeafMint } from '../src/tls/leaf.ts';
import { rotateAuthority } from '../src/tls/rotation.ts';
import { SecureContexts } from '../src/tls/secure-contexts.ts';
import type { Axis, Row, Table } from './support/axis.ts';
import { collectGarbage, heapMegabytes } from './support/heap.ts';
import { measure, type Operation } from './support/micro.ts';

const hour = 3_600_000;
/** So many connections at a time. */
const atOnce = 50;
const waiter = { done: () => undefined, failed: () => undefined };

/** What stands in for a host when TLS is inspected: a certificate of its own, minted once. */
export const leaves: Axis = {
  name: 'leaves',
  about: 'a certificate to stand in for a host, minted, kept; memory after 100,000 names',
  async run({ quick, progress }) {
    const directory = mkdtempSync(path.join(os.tmpdir(), 'sallyport-bench-'));
    try {
      const alone = createAuthority(directory, Date.now());
      const rotated = rotateAuthority(directory, Date.now());
      const rows = [
        minted('one authority', alone, quick),
        minted('in an overlap', rotated, quick),
        await connections('the first connection to a host', alone, 1_000, quick),
        await connections('the next one, the context made again', alone, 1, quick, 2),
        await connections('the next one', alone, 1_000, quick, 2),
      ];
      progress('leaves: distinct names');
      return { tables: [costTable(rows), await memory(alone, quick ? 10_000 : 100_000)] };
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
};

function hostOf(turn: number): string {
  return `host-${turn}.registry.example`;
}

/** Begins TLS as this host towards nobody, and ends it: no handshake. */
function standIn(contexts: SecureContexts, host: string): void {
  const [, side] = duplexPair();
  const secure = contexts.terminate(host, side as Socket, Buffer.alloc(0), waiter);
  if (secure === null) throw new Error(`nothing stands in for ${host}`);
  secure.destroy();
}

function minted(whose: string, authority: Authority, quick: boolean): Row {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const mint = new ServerLeafMint(authority, publicKey);
  const now = Date.now();
  const issue: Operation = (turn) =>
    certificatePem(mint.issue(hostOf(turn), now - hour, now + hour));
  return rowOf(`a certificate minted (${whose})`, measure(issue, quick).ns / 1000);
}

/** @param hosts in turn, so many of them */
async function connections(
  what: string,
  authority: Authority,
  contexts: number,
  quick: boolean,
  hosts = Number.POSITIVE_INFINITY,
): Promise<Row> {
  const store = new SecureContexts({ authority, clock: systemClock, contexts });
  const chunks = quick ? 10 : 60;
  // Compiled first.
  for (let chunk = 0; chunk < chunks / 2; chunk++) await chunkOf(store, chunk, hosts);
  let spent = 0;
  for (let chunk = chunks; chunk < 2 * chunks; chunk++) {
    spent += await chunkOf(store, chunk, hosts);
  }
  return rowOf(what, spent / (chunks * atOnce));
}

/** CPU microseconds of some connections that end before the event loop gets its turn. */
async function chunkOf(store: SecureContexts, chunk: number, hosts: number): Promise<number> {
  const before = process.cpuUsage();
  for (let n = 0; n < atOnce; n++) standIn(store, hostOf((chunk * atOnce + n) % hosts));
  await setImmediate();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

function rowOf(what: string, us: number): Row {
  return { what, us, second: Math.round(1e6 / us) };
}

function costTable(rows: readonly Row[]): Table {
  return {
    title: 'Standing in for a host, CPU µs',
    columns: [
      { key: 'what', label: 'what' },
      { key: 'us', label: 'µs each' },
      { key: 'second', label: 'per second' },
    ],
    rows,
    notes: [
      'Minted: certificate built, signed, written as PEM. Connections: all up to the handshake, which is not made, with a stream in memory for a socket.',
    ],
  };
}

/** The process while one store is asked for names that are all different. */
async function memory(authority: Authority, count: number): Promise<Table> {
  const store = new SecureContexts({ authority, clock: systemClock });
  const rows: Row[] = [];
  let spent = 0;
  for (let shown = 0; shown <= count; shown += atOnce) {
    if (shown % (count / 10) === 0) {
      collectGarbage();
      const rss = process.memoryUsage.rss() / 1e6;
      rows.push({ shown, rss, heap: heapMegabytes(), each: shown === 0 ? null : spent / shown });
    }
    spent += await chunkOf(store, shown / atOnce, Number.POSITIVE_INFINITY);
  }
  return {
    title: 'Distinct names, one after the other: the process after a collection',
    columns: [
      { key: 'shown', label: 'names', digits: 6 },
      { key: 'rss', label: 'resident MB' },
      { key: 'heap', label: 'heap MB' },
      { key: 'each', label: 'CPU µs each' },
    ],
    rows,
    notes: ['10,000 leaves and 1,000 contexts are kept; what is beyond must leave nothing.'],
  };
}
