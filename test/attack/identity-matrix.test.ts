/**
 * Every kind of proof, in every state, by every way in: who is proven is served and named in the log;
 * who is not gets the one 407, nothing is looked up or dialled for it, and the log has the true cause.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { entryPoints } from '../support/identity-entries.ts';
import {
  basic,
  changed,
  IdentityStage,
  narrowed,
  type Row,
  token,
  withClaim,
} from '../support/identity-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { proxyAuthorization as as } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

let stage: IdentityStage;
before(async () => {
  stage = await IdentityStage.start();
});
after(async () => await stage[Symbol.asyncDispose]());

const minutesAgo = (minutes: number) => Date.now() - 60_000 * minutes;
const issue = (args: readonly string[], now?: number) => stage.issue(args, now);

const bad = { reason: 'bad_credentials' };
const ulid = /^[0-9A-HJKMNP-TV-Z]{26}$/;
const digest = /^sha256:[0-9a-f]{12}$/;

const issuedRows: readonly Row[] = [
  {
    what: 'issued, Basic: good',
    fields: async () => as(await issue(['alice', '--task', 'T-1']), 'alice'),
    agent: 'alice',
    token: ulid,
    line: { task: 'T-1' },
  },
  {
    what: 'issued, Bearer: good',
    fields: async () => as(await issue(['alice', '--requested-by', 'ann'])),
    agent: 'alice',
    token: ulid,
    line: { requested_by: 'ann' },
  },
  {
    what: 'issued: narrowed to what is asked for',
    fields: async () => as(await issue(['alice', '--only', 'both']), 'alice'),
    agent: 'alice',
    token: ulid,
  },
  {
    what: 'issued: expired',
    fields: async () => as(await issue(['alice', '--ttl', '1m'], minutesAgo(2)), 'alice'),
    reason: 'credential_expired',
    agent: 'alice',
    token: ulid,
  },
  {
    what: 'issued, Bearer: expired',
    fields: async () => as(await issue(['alice', '--ttl', '1m'], minutesAgo(2))),
    reason: 'credential_expired',
    agent: 'alice',
    token: ulid,
  },
  {
    what: 'issued: not yet',
    fields: async () => as(await issue(['alice'], minutesAgo(-10)), 'alice'),
    ...bad,
    agent: 'alice',
  },
  {
    what: 'issued: signed by a foreign key',
    fields: async () => as(await stage.issueElsewhere(['alice']), 'alice'),
    ...bad,
    agent: 'alice',
  },
  {
    what: 'issued: signed by a foreign key under the id of ours',
    fields: async () => {
      const [mine, other] = [await issue(['alice']), await stage.issueElsewhere(['bob'])];
      return as(
        changed(mine, (parts) => (parts[2] = other.split('.')[2] ?? '')),
        'alice',
      );
    },
    ...bad,
    agent: 'alice',
  },
  {
    what: 'issued: the signature of another one of ours',
    fields: async () => {
      const [mine, other] = [await issue(['alice']), await issue(['bob'])];
      return as(
        changed(mine, (parts) => (parts[2] = other.split('.')[2] ?? '')),
        'alice',
      );
    },
    ...bad,
    agent: 'alice',
  },
  {
    what: 'issued: no signature',
    fields: async () =>
      as(
        changed(await issue(['alice']), (parts) => parts.pop()),
        'alice',
      ),
    ...bad,
    agent: 'alice',
  },
  {
    what: 'issued: an empty signature',
    fields: async () =>
      as(
        changed(await issue(['alice']), (parts) => (parts[2] = '')),
        'alice',
      ),
    ...bad,
    agent: 'alice',
  },
  {
    what: 'issued: another agent written into it',
    fields: async () => as(withClaim(await issue(['bob']), 'a', 'alice'), 'alice'),
    ...bad,
    agent: 'alice',
  },
  {
    what: 'issued: a later end written into it',
    fields: async () =>
      as(
        withClaim(await issue(['alice', '--ttl', '1m'], minutesAgo(2)), 'e', 4_000_000_000),
        'alice',
      ),
    ...bad,
    agent: 'alice',
  },
  {
    what: 'issued: of another agent',
    fields: async () => as(await issue(['bob']), 'alice'),
    ...bad,
    agent: 'alice',
    token: ulid,
  },
  {
    what: 'issued: of an agent under a name of nobody',
    fields: async () => as(await issue(['bob']), 'mallory'),
    ...bad,
    token: ulid,
  },
  {
    what: 'issued: for an agent that takes none',
    fields: async () => as(await stage.issueForFixed(), 'fixed'),
    ...bad,
    agent: 'fixed',
    token: ulid,
  },
  {
    what: 'issued: its second spelling in Base64',
    fields: async () =>
      as(
        changed(await issue(['alice']), (parts) => (parts[2] = respelt(parts[2] ?? ''))),
        'alice',
      ),
    ...bad,
    agent: 'alice',
  },
  {
    what: 'issued: in the wrong case',
    fields: async () => as((await issue(['alice'])).replace('sp1.', 'SP1.'), 'alice'),
    ...bad,
    agent: 'alice',
  },
  {
    what: 'issued: of a version that there is not',
    fields: async () => as((await issue(['alice'])).replace('sp1.', 'sp2.'), 'alice'),
    ...bad,
    agent: 'alice',
  },
];

/** Base64url with one of the bits set that a strict reader must find zero. */
function respelt(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const last = alphabet.indexOf(text.at(-1) ?? '');
  return text.slice(0, -1) + (alphabet[last + 1] ?? '');
}

const staticRows: readonly Row[] = [
  {
    what: 'static, Basic: good',
    fields: as(token('alice'), 'alice'),
    agent: 'alice',
    token: digest,
  },
  { what: 'static, Bearer: good', fields: as(token('alice')), agent: 'alice', token: digest },
  {
    what: 'static: with colons',
    fields: basic(`odd0:${token('colon:and:more')}`),
    agent: 'odd0',
    token: digest,
  },
  {
    what: 'static: what needs + and / in Base64',
    fields: basic(`odd1:${token('plus>>>???')}`),
    agent: 'odd1',
    token: digest,
  },
  { what: 'static, Bearer: padded', fields: as(token('padded==')), agent: 'odd2', token: digest },
  {
    what: 'static: from the right address',
    fields: as(token('inside'), 'inside'),
    source: '127.9.0.1',
    agent: 'inside',
    token: digest,
  },
  {
    what: 'static: from a wrong address',
    fields: as(token('inside'), 'inside'),
    reason: 'source_not_allowed',
    agent: 'inside',
    token: digest,
  },
  { what: 'static: wrong', fields: as('no-token-of-anybody', 'alice'), ...bad, agent: 'alice' },
  { what: 'static, Bearer: wrong', fields: as('no-token-of-anybody'), ...bad },
  { what: 'static: of another agent', fields: as(token('bob'), 'alice'), ...bad, agent: 'alice' },
  { what: 'static: of an agent that is none', fields: as(token('alice'), 'mallory'), ...bad },
  {
    what: 'static: the colon one place on',
    fields: basic(`odd0:colon:${token('colon:and:more').slice(6)}`),
    ...bad,
    agent: 'odd0',
  },
  { what: 'static: one pad less', fields: as(token('padded=')), ...bad },
  { what: 'static: no pad', fields: as(token('padded')), ...bad },
  {
    what: 'static: in URL-safe Base64',
    fields: basic(`odd1:${token('plus>>>???')}`)
      .replaceAll('+', '-')
      .replaceAll('/', '_'),
    ...bad,
  },
];

const soon = Math.floor(Date.now() / 1000) + 600;
const passed = soon - 1200;
const group = { o: ['both'] };
const narrow = async (...blocks: readonly (object | string)[]) =>
  as(narrowed(await issue(['alice']), ...blocks), 'alice');
const goodOne = { agent: 'alice', token: ulid };
const badOne = { ...bad, agent: 'alice' };

const narrowedRows: readonly Row[] = [
  {
    what: 'narrowed by the command: good',
    fields: async () =>
      as(await stage.attenuate(await issue(['alice']), ['--ttl', '5m', '--only', 'both']), 'alice'),
    ...goodOne,
  },
  { what: 'narrowed to a group: good', fields: () => narrow(group), ...goodOne },
  {
    what: 'narrowed to hosts: good',
    fields: () => narrow({ h: ['tcp.test', 'plain.test'] }),
    ...goodOne,
  },
  {
    what: 'narrowed, Bearer: good',
    fields: async () => as(narrowed(await issue(['alice']), group)),
    ...goodOne,
  },
  {
    what: 'narrowed 8 times: good',
    fields: () => narrow(...Array.from({ length: 8 }, (_, n) => ({ e: soon + n }))),
    ...goodOne,
  },
  {
    what: 'narrowed 9 times',
    fields: () => narrow(...Array.from({ length: 9 }, (_, n) => ({ e: soon + n }))),
    ...badOne,
  },
  {
    what: 'narrowed to an end that has passed',
    fields: () => narrow({ e: passed }),
    reason: 'credential_expired',
    ...goodOne,
  },
  {
    what: 'narrowed to an end that has passed, then to a later one',
    fields: () => narrow({ e: passed }, { e: soon }),
    reason: 'credential_expired',
    ...goodOne,
  },
  {
    what: 'expired, then given a later end',
    fields: async () =>
      as(narrowed(await issue(['alice', '--ttl', '1m'], minutesAgo(2)), { e: soon }), 'alice'),
    reason: 'credential_expired',
    ...goodOne,
  },
  {
    what: 'a narrowing taken out',
    fields: async () =>
      as(
        changed(narrowed(await issue(['alice']), group), (parts) => parts.splice(2, 1)),
        'alice',
      ),
    ...badOne,
  },
  {
    what: 'the first of two narrowings taken out',
    fields: async () =>
      as(
        changed(narrowed(await issue(['alice']), { e: passed }, group), (parts) =>
          parts.splice(2, 1),
        ),
        'alice',
      ),
    ...badOne,
  },
  {
    what: 'two narrowings in the other order',
    fields: async () =>
      as(
        changed(narrowed(await issue(['alice']), group, { e: soon }), (parts) =>
          parts.splice(2, 2, parts[3] ?? '', parts[2] ?? ''),
        ),
        'alice',
      ),
    ...badOne,
  },
  {
    what: 'a narrowing changed',
    fields: async () =>
      as(
        changed(narrowed(await issue(['alice']), { e: passed }), (parts) => {
          parts[2] = Buffer.from(JSON.stringify({ e: soon })).toString('base64url');
        }),
        'alice',
      ),
    ...badOne,
  },
  {
    what: 'a narrowing that nobody signed',
    fields: async () =>
      as(
        changed(await issue(['alice']), (parts) =>
          parts.splice(2, 0, Buffer.from(JSON.stringify(group)).toString('base64url')),
        ),
        'alice',
      ),
    ...badOne,
  },
  {
    what: 'a narrowing onto the credential of another agent',
    fields: async () => as(narrowed(await issue(['bob']), group), 'alice'),
    ...bad,
    agent: 'alice',
    token: ulid,
  },
  { what: 'a narrowing to nothing', fields: () => narrow({}), ...badOne },
  { what: 'a narrowing to no group', fields: () => narrow({ o: [] }), ...badOne },
  { what: 'a narrowing that names an agent', fields: () => narrow({ a: 'bob' }), ...badOne },
  {
    what: 'a narrowing with a member that is not known',
    fields: () => narrow({ ...group, x: 1 }),
    ...badOne,
  },
  { what: 'a narrowing in another order', fields: () => narrow({ ...group, e: soon }), ...badOne },
  {
    what: 'a narrowing with white space',
    fields: () => narrow(JSON.stringify(group, null, 1)),
    ...badOne,
  },
  {
    what: 'a narrowing with a group twice',
    fields: () => narrow({ o: ['both', 'both'] }),
    ...badOne,
  },
  {
    what: 'a narrowing with a member twice',
    fields: () => narrow('{"e":1,"e":4000000000}'),
    ...badOne,
  },
  { what: 'a narrowing that is a list', fields: () => narrow('["both"]'), ...badOne },
  { what: 'a narrowing that is no JSON', fields: () => narrow('both'), ...badOne },
  { what: 'a narrowing that is empty', fields: () => narrow(''), ...badOne },
  { what: 'a narrowing with an end as text', fields: () => narrow({ e: `${soon}` }), ...badOne },
  { what: 'a narrowing that is none, to any host', fields: () => narrow({ h: ['*'] }), ...goodOne },
  {
    what: 'a narrowing to a host that is none',
    fields: () => narrow({ h: ['..'] }),
    ...badOne,
    token: ulid,
  },
  {
    what: 'a narrowing to a host with a port',
    fields: () => narrow({ h: ['tcp.test:22'] }),
    ...badOne,
    token: ulid,
  },
];

for (const [title, rows] of [
  ['issued credentials', issuedRows],
  ['static tokens', staticRows],
  ['narrowed credentials', narrowedRows],
] as const) {
  describe(title, () => {
    for (const row of rows) test(row.what, () => stage.checkRow(row));
  });
}

describe('what a credential was narrowed away from is refused at every way in', () => {
  const elsewhere: readonly (readonly [string, () => Promise<string>])[] = [
    ['issued', async () => as(await issue(['alice', '--only', 'other']), 'alice')],
    ['narrowed by its holder', () => narrow({ o: ['other'] })],
    ['narrowed to hosts', () => narrow({ h: ['other.test'] })],
    ['narrowed to two things at once', () => narrow(group, { o: ['other'] })],
  ];
  for (const [what, fields] of elsewhere) {
    test(what, async () => {
      const proof = await fields();
      for (const point of entryPoints.filter(({ opens }) => opens)) {
        const { outside } = stage;
        const client = await stage.connect();
        await point.send(client, proof);
        const text = (await client.readToClose()).toString('latin1');
        assert.match(
          text,
          /^HTTP\/1\.1 403 .*\r\nSallyport-Reason: host_not_allowed\r\n/s,
          point.name,
        );
        assert.equal(stage.outside, outside, point.name);
        client.close();
      }
    });
  }
});

test('no secret is in any log, metric or list', () => stage.checkSecrets());

test('the log is whole', async () => {
  await stage.proxy.stop();
});
