import { randomBytes } from 'node:crypto';
import { systemClock } from '../src/core/clock.ts';
import { readClientCertificate } from '../src/identity/client-certificate.ts';
import { AgentIdentifier } from '../src/identity/identify.ts';
import { isFailure } from '../src/identity/identity.ts';
import { buildPolicy } from '../src/policy/build.ts';
import type { Axis, Row, Table } from './support/axis.ts';
import { basic, certificate, changed, issue, keys, sha256 } from './support/credentials.ts';
import { collectGarbage, heapMegabytes } from './support/heap.ts';
import { entrySpec, policySpec } from './support/inputs.ts';
import { type MicroFigure, measure } from './support/micro.ts';
import { algorithms, issuer, rule, workloadKeys, workloadToken } from './support/workloads.ts';

const trusted = workloadKeys();
const forgedBlock = Buffer.from('{"e":4000000000}').toString('base64url');
const tokens = ['a', 'b'].map((prefix) => prefix + randomBytes(32).toString('hex'));
const evidence = { source: null, certificate: null, listener: null };
const spiffe = 'spiffe://example.com/agent/bench';
const spec = policySpec([entrySpec('registry.npm.example', 1)], tokens.map(sha256));
const policy = buildPolicy({
  ...spec,
  issuers: [issuer],
  agents: spec.agents.map((agent) => ({
    ...agent,
    credentials: { ...agent.credentials, certificates: [spiffe], workloads: [rule] },
  })),
});

/** Headers are shown in turn; with a cache for one, two that push each other out are always first ones. */
interface Case {
  readonly credential: string;
  readonly headers: readonly string[];
  readonly cacheSize: number;
  readonly good: boolean;
}

/** Who is it: from a Proxy-Authorization value to an agent. */
export const identity: Axis = {
  name: 'identity',
  about: 'a Proxy-Authorization value verified, for the first time and again; memory after 100,000',
  async run({ quick, progress }) {
    const rows = [
      ...cases().map((one) => rowOf(one.credential, measure(identifyInTurn(one), quick))),
      ...byCertificate(quick),
    ];
    progress('identity: distinct credentials');
    return { tables: [costs(rows), memory(quick ? 20_000 : 100_000)] };
  },
};

function cases(): Case[] {
  const small = [issue({ serial: 1 }), issue({ serial: 2 })];
  const large = [1, 2].map((serial) => issue({ serial, task: 'x'.repeat(128), groups: 20 }));
  const [first = '', second = ''] = small;
  return [
    ...twice('static token', tokens),
    ...twice('issued credential', small),
    ...twice(`issued credential, ${large[0]?.length} characters`, large),
    ...[1, 4, 8].flatMap((narrowings) =>
      twice(
        `issued credential, narrowed ${narrowings} times`,
        [1, 2].map((serial) => issue({ serial, narrowings })),
      ),
    ),
    ...algorithms.flatMap((algorithm) =>
      twice(
        `JWT by ${algorithm}`,
        [1, 2].map((serial) => workloadToken(algorithm, serial)),
      ),
    ),
    bad('no scheme that we know', ['Digest username="bench"']),
    bad('wrong static token', [basic('c'.repeat(65))]),
    bad('static token of 8 KiB', [basic('c'.repeat(6100))]),
    bad('issued, forged signature', [
      basic(changed(first, 2, randomBytes(32).toString('base64url'))),
    ]),
    bad('issued, key of nobody', [basic(issue({ serial: 1, foreign: true }))]),
    bad('issued, narrowed 8 times, the last one forged', [
      basic(changed(issue({ serial: 1, narrowings: 8 }), 9, forgedBlock)),
    ]),
    bad('issued, for another agent', [basic(second, 'other')]),
    bad('issued, expired', [basic(issue({ serial: 1, expired: true }))]),
    ...algorithms.map((algorithm) =>
      bad(`JWT by ${algorithm}, changed`, [
        basic(changed(workloadToken(algorithm, 1), 1, claimsOf(workloadToken(algorithm, 2)))),
      ]),
    ),
    bad('JWT of nobody that we know', [basic('e30.e30.e30')]),
  ];
}

/** The first time, and again. */
function twice(what: string, secrets: readonly string[]): Case[] {
  const headers = secrets.map((secret) => basic(secret));
  return [
    { credential: `${what}, first time`, headers, cacheSize: 1, good: true },
    { credential: `${what}, again`, headers, cacheSize: 10_000, good: true },
  ];
}

function bad(what: string, headers: readonly string[]): Case {
  return { credential: `refused: ${what}`, headers, cacheSize: 10_000, good: false };
}

function identifierWith(cacheSize: number): AgentIdentifier {
  return new AgentIdentifier({ keys, clock: systemClock, workloadKeys: trusted, cacheSize });
}

function claimsOf(token: string): string {
  return token.split('.')[1] ?? '';
}

function identifyInTurn({ headers, cacheSize, good }: Case) {
  const identifier = identifierWith(cacheSize);
  return (turn: number): unknown => {
    const result = identifier.identify(policy, headers[turn % headers.length], evidence);
    if (isFailure(result) === good) throw new Error('identified wrongly');
    return result;
  };
}

/** Read once when a connection begins, looked at again for each of its requests. */
function byCertificate(quick: boolean): Row[] {
  const der = certificate(spiffe);
  const read = (): ReturnType<typeof readClientCertificate> =>
    readClientCertificate(der, () => false);
  const shown = { ...evidence, certificate: read() };
  const identifier = identifierWith(10_000);
  const request = (): unknown => {
    const result = identifier.identify(policy, undefined, shown);
    if (isFailure(result)) throw new Error('identified wrongly');
    return result;
  };
  return [
    rowOf('certificate, read when the connection begins', measure(read, quick)),
    rowOf('certificate, each request', measure(request, quick)),
  ];
}

function rowOf(credential: string, { ns, bytes }: MicroFigure): Row {
  return { credential, ns, garbage: bytes };
}

function costs(rows: readonly Row[]): Table {
  return {
    title: 'Identifying the agent, CPU ns',
    columns: [
      { key: 'credential', label: 'credential' },
      { key: 'ns', label: 'identify ns' },
      { key: 'garbage', label: 'garbage B' },
    ],
    rows,
    notes: ['Good ones are remembered, refused ones never: each of those is a first time.'],
  };
}

/** The heap while one identifier is shown credentials that are all different, two of three of them good. */
function memory(count: number): Table {
  const identifier = identifierWith(10_000);
  const rows: Row[] = [];
  let good = 0;
  let spent = 0;
  for (let shown = 0; shown <= count; shown++) {
    if (shown % (count / 5) === 0) {
      collectGarbage();
      rows.push({ shown, good, heap: heapMegabytes(), each: shown === 0 ? null : spent / shown });
    }
    const secret = issue({ serial: shown });
    const header = basic(shown % 3 === 0 ? changed(secret, 2, 'A'.repeat(43)) : secret);
    const before = process.cpuUsage();
    if (!isFailure(identifier.identify(policy, header, evidence))) good++;
    const { user, system } = process.cpuUsage(before);
    spent += user + system;
  }
  return {
    title: 'Distinct credentials, one after the other: heap after a collection',
    columns: [
      { key: 'shown', label: 'shown', digits: 6 },
      { key: 'good', label: 'good', digits: 6 },
      { key: 'heap', label: 'heap MB' },
      { key: 'each', label: 'identify µs each' },
    ],
    rows,
    notes: [
      'One in three is forged. 10,000 good ones are remembered; the others, and all forged ones, must leave nothing.',
    ],
  };
}
