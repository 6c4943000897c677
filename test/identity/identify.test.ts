import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import type { Clock } from '../../src/core/clock.ts';
import { parseIp } from '../../src/core/ip.ts';
import { createIdSource } from '../../src/core/ulid.ts';
import type { CredentialClaims } from '../../src/identity/credential-claims.ts';
import { credentialKey, credentialKeys } from '../../src/identity/credential-keys.ts';
import { AgentIdentifier } from '../../src/identity/identify.ts';
import {
  type ClientCertificate,
  type Evidence,
  type Identity,
  type IdentityFailure,
  isFailure,
} from '../../src/identity/identity.ts';
import { attenuateCredential, issueCredential } from '../../src/identity/issued-credential.ts';
import { hostPattern } from '../../src/policy/pattern.ts';
import type { Policy } from '../../src/policy/policy.ts';
import { basic, from, policyOf, sha256 } from '../support/identity-policy.ts';

const start = Date.UTC(2026, 10, 22, 12);
const key = credentialKey(Buffer.alloc(32, 1));
const keys = credentialKeys([key], key);

const sketches = {
  demo: { tokens: ['first-token', 'second-token'] },
  bob: { tokens: ['bob-token'] },
  strict: { issued: false, tokens: ['strict-token'] },
  office: { tokens: ['office-token'], sources: ['10.20.0.0/24'] },
  runner: { tokens: ['runner-token'], sources: ['10.30.0.7'], sourcesAlone: true },
};
const policy = policyOf(sketches);

const home = parseIp('192.0.2.1');
const office = parseIp('10.20.0.9');
const runner = parseIp('10.30.0.7');

const id = '01JD8Q6Z0000000000000000AB';

const issue = (agent: string, over: Partial<CredentialClaims> = {}): string =>
  issueCredential(key, {
    id,
    agent,
    issuedAt: start / 1000,
    expiresAt: start / 1000 + 3600,
    task: undefined,
    requestedBy: undefined,
    only: undefined,
    hosts: undefined,
    ...over,
  });

let now = start;
const clock: Clock = { now: () => now, monotonic: () => now };
let identifier: AgentIdentifier;
beforeEach(() => {
  now = start;
  identifier = new AgentIdentifier({ keys, clock });
});

/** `agent kind token`, or `reason agent token`. */
function outcome(result: Identity | IdentityFailure): string {
  return isFailure(result)
    ? `${result.reason} ${result.agent?.id} ${result.token}`
    : `${result.agent.id} ${result.kind} ${result.token}`;
}

const tokenId = (token: string): string => `sha256:${sha256(token).slice(0, 12)}`;

describe('who it is', () => {
  const stranger = credentialKey(Buffer.alloc(32, 9));
  const forged = issueCredential(stranger, {
    id,
    agent: 'demo',
    issuedAt: start / 1000,
    expiresAt: start / 1000 + 3600,
    task: undefined,
    requestedBy: undefined,
    only: undefined,
    hosts: undefined,
  });
  const expired = issue('demo', { issuedAt: start / 1000 - 7200, expiresAt: start / 1000 - 3600 });
  const cases: readonly [string, string | undefined, ReturnType<typeof parseIp>, string][] = [
    ['an issued credential', basic('demo', issue('demo')), home, `demo issued ${id}`],
    ['an issued credential as Bearer', `Bearer ${issue('demo')}`, home, `demo issued ${id}`],
    ['a static token', basic('demo', 'first-token'), home, `demo static ${tokenId('first-token')}`],
    [
      'the other static token',
      basic('demo', 'second-token'),
      home,
      `demo static ${tokenId('second-token')}`,
    ],
    ['a static token as Bearer', 'Bearer bob-token', home, `bob static ${tokenId('bob-token')}`],
    ['a source alone', undefined, runner, 'runner source undefined'],
    [
      'a token of a source agent',
      basic('runner', 'runner-token'),
      runner,
      `runner static ${tokenId('runner-token')}`,
    ],
    [
      'a token within its sources',
      basic('office', 'office-token'),
      office,
      `office static ${tokenId('office-token')}`,
    ],

    ['nothing', undefined, home, 'no_credentials undefined undefined'],
    ['nothing from narrowing sources', undefined, office, 'no_credentials undefined undefined'],
    ['nothing from nowhere', undefined, null, 'no_credentials undefined undefined'],
    ['an empty field', '', home, 'bad_credentials undefined undefined'],
    ['an empty field from a source agent', '', runner, 'bad_credentials undefined undefined'],
    [
      'a bad token from a source agent',
      basic('runner', 'x'),
      runner,
      'bad_credentials runner undefined',
    ],
    ['another scheme', 'Digest x', home, 'bad_credentials undefined undefined'],
    ['a wrong token', basic('demo', 'first-toke'), home, 'bad_credentials demo undefined'],
    [
      'the token of another agent',
      basic('demo', 'bob-token'),
      home,
      'bad_credentials demo undefined',
    ],
    [
      'the digest instead of the token',
      basic('demo', sha256('first-token')),
      home,
      'bad_credentials demo undefined',
    ],
    [
      'an unknown agent',
      basic('nobody', 'first-token'),
      home,
      'bad_credentials undefined undefined',
    ],
    [
      'an agent in upper case',
      basic('DEMO', 'first-token'),
      home,
      'bad_credentials undefined undefined',
    ],
    ['__proto__', basic('__proto__', 'first-token'), home, 'bad_credentials undefined undefined'],
    ['an unknown Bearer', 'Bearer no-token', home, 'bad_credentials undefined undefined'],
    [
      'the credential of another agent',
      basic('bob', issue('demo')),
      home,
      `bad_credentials bob ${id}`,
    ],
    [
      'a credential and an unknown agent',
      basic('nobody', issue('demo')),
      home,
      `bad_credentials undefined ${id}`,
    ],
    [
      'a credential of an agent that is gone',
      `Bearer ${issue('gone')}`,
      home,
      `bad_credentials undefined ${id}`,
    ],
    [
      'a credential where none are issued',
      basic('strict', issue('strict')),
      home,
      `bad_credentials strict ${id}`,
    ],
    ['the same as Bearer', `Bearer ${issue('strict')}`, home, `bad_credentials strict ${id}`],
    ['a forged credential', basic('demo', forged), home, 'bad_credentials demo undefined'],
    [
      'a damaged credential',
      basic('demo', issue('demo').slice(0, -2)),
      home,
      'bad_credentials demo undefined',
    ],
    ['an expired credential', basic('demo', expired), home, `credential_expired demo ${id}`],
    [
      'an expired credential of another agent',
      basic('bob', expired),
      home,
      `bad_credentials bob ${id}`,
    ],
    [
      'a token outside its sources',
      basic('office', 'office-token'),
      home,
      `source_not_allowed office ${tokenId('office-token')}`,
    ],
    [
      'a credential outside its sources',
      basic('office', issue('office')),
      home,
      `source_not_allowed office ${id}`,
    ],
    [
      'a credential from nowhere',
      basic('office', issue('office')),
      null,
      `source_not_allowed office ${id}`,
    ],
    [
      'a source agent elsewhere',
      basic('runner', 'runner-token'),
      home,
      `source_not_allowed runner ${tokenId('runner-token')}`,
    ],
  ];
  for (const [what, header, source, expected] of cases) {
    test(what, () => {
      assert.equal(outcome(identifier.identify(policy, header, from(source))), expected);
      assert.equal(
        outcome(identifier.identify(policy, header, from(source))),
        expected,
        'second time',
      );
    });
  }

  test('carries what the credential says', () => {
    const header = basic(
      'demo',
      issue('demo', { task: 'T-1', requestedBy: 'ann', only: ['docs'] }),
    );
    const identity = identifier.identify(policy, header, from(home));
    assert.ok(!isFailure(identity));
    assert.equal(identity.expiresAt, start + 3_600_000);
    assert.equal(identity.task, 'T-1');
    assert.equal(identity.requestedBy, 'ann');
    assert.deepEqual(identity.scope, [{ groups: ['docs'], hosts: [] }]);
    assert.equal(identity.key, key.id);
  });

  test('is as old as its id says, if that is the second that it claims', () => {
    const issuedAt = (ulid: string): number | undefined => {
      const identity = identifier.identify(
        policy,
        basic('demo', issue('demo', { id: ulid })),
        from(home),
      );
      assert.ok(!isFailure(identity));
      return identity.issuedAt;
    };
    const make = createIdSource(new Uint8Array(12));
    assert.equal(issuedAt(make(start + 789)), start + 789);
    assert.equal(issuedAt(make(start + 1999)), start + 1999);
    assert.equal(issuedAt(make(start + 2000)), start);
    assert.equal(issuedAt(id), start);
  });

  describe('narrowed to hosts', () => {
    const steps: readonly (readonly [string, string | null])[] = [
      ['*.example.com', '*.example.com'],
      ['10.0.0.0/8', '10.0.0.0/8'],
      ['2001:db8::1', '2001:db8::1'],
      ['*', '*'],
      ['foo*.com', null],
      ['a.com:443', null],
      ['10.0.0.1/8', null],
      ['a.com.', null],
    ];
    for (const [host, expected] of steps) {
      test(`${host}: ${expected ?? 'refused'}`, () => {
        const credential = issue('demo', { hosts: [host], only: ['docs'] });
        const seen = new AgentIdentifier({ keys, clock, patternOf: hostPattern });
        const identity = seen.identify(policy, basic('demo', credential), from(home));
        if (isFailure(identity)) {
          assert.equal(expected, null);
          assert.equal(outcome(identity), `bad_credentials demo ${id}`);
        } else {
          assert.deepEqual(
            identity.scope?.map(({ groups, hosts }) => [groups, hosts.map(({ text }) => text)]),
            [[['docs'], [expected]]],
          );
        }
      });
    }

    test('by its holder: each step is a part of its scope, but one that only shortens it', () => {
      const seen = new AgentIdentifier({ keys, clock, patternOf: hostPattern });
      const end = start / 1000 + 60;
      const credential = [
        { expiresAt: end, only: undefined, hosts: undefined },
        { expiresAt: undefined, only: ['docs'], hosts: undefined },
        { expiresAt: undefined, only: undefined, hosts: ['a.com'] },
      ].reduce(attenuateCredential, issue('demo'));
      const identity = seen.identify(policy, basic('demo', credential), from(home));
      assert.ok(!isFailure(identity));
      assert.equal(identity.token, id);
      assert.equal(identity.expiresAt, end * 1000);
      assert.deepEqual(
        identity.scope?.map(({ groups, hosts }) => [groups, hosts.map(({ text }) => text)]),
        [
          [['docs'], []],
          [[], ['a.com']],
        ],
      );
    });

    test('is refused where nobody reads host patterns', () => {
      const credential = issue('demo', { hosts: ['a.com'] });
      const result = identifier.identify(policy, basic('demo', credential), from(home));
      assert.equal(outcome(result), `bad_credentials demo ${id}`);
    });
  });

  describe('after its key', () => {
    const other = credentialKey(Buffer.alloc(32, 2));
    const proven = (): Identity => {
      const identity = identifier.identify(policy, basic('demo', issue('demo')), from(home));
      assert.ok(!isFailure(identity));
      return identity;
    };

    test('is gone: nothing is remembered, and what lives is revoked', () => {
      const identity = proven();
      identifier.useKeys(credentialKeys([other, key], other));
      assert.equal(identifier.recheck(policy, identity, from(home)), null);
      assert.equal(outcome(proven()), outcome(identity));
      identifier.useKeys(credentialKeys([other], other));
      assert.equal(identifier.recheck(policy, identity, from(home)), 'credential_revoked');
      const again = identifier.identify(policy, basic('demo', issue('demo')), from(home));
      assert.equal(outcome(again), 'bad_credentials demo undefined');
    });

    test('has got an end: it ends then', () => {
      const identity = proven();
      const ending = credentialKey(Buffer.alloc(32, 1), start + 1000);
      identifier.useKeys(credentialKeys([ending], ending));
      assert.equal(proven().expiresAt, start + 1000);
      assert.equal(identifier.recheck(policy, identity, from(home)), null);
      now = start + 1000;
      assert.equal(identifier.recheck(policy, identity, from(home)), 'credential_expired');
      const again = identifier.identify(policy, basic('demo', issue('demo')), from(home));
      assert.equal(outcome(again), `credential_expired demo ${id}`);
    });

    test('does not matter to other proofs', () => {
      const identity = identifier.identify(policy, basic('demo', 'first-token'), from(home));
      assert.ok(!isFailure(identity));
      identifier.useKeys(credentialKeys([other], other));
      assert.equal(identifier.recheck(policy, identity, from(home)), null);
    });
  });

  test('without keys takes static tokens only', () => {
    identifier = new AgentIdentifier({ keys: null, clock });
    assert.equal(
      outcome(identifier.identify(policy, basic('demo', issue('demo')), from(home))),
      'bad_credentials demo undefined',
    );
    assert.equal(
      outcome(identifier.identify(policy, basic('demo', 'first-token'), from(home))),
      `demo static ${tokenId('first-token')}`,
    );
  });
});

describe('what is remembered', () => {
  test('ends with its credential', () => {
    const header = basic('demo', issue('demo'));
    assert.equal(outcome(identifier.identify(policy, header, from(home))), `demo issued ${id}`);
    now = start + 3_600_000 - 1;
    assert.equal(outcome(identifier.identify(policy, header, from(home))), `demo issued ${id}`);
    now += 1;
    assert.equal(
      outcome(identifier.identify(policy, header, from(home))),
      `credential_expired demo ${id}`,
    );
    assert.equal(
      outcome(identifier.identify(policy, header, from(home))),
      `credential_expired demo ${id}`,
    );
  });

  test('ends with its policy', () => {
    const header = basic('demo', 'first-token');
    assert.equal(
      outcome(identifier.identify(policy, header, from(home))),
      `demo static ${tokenId('first-token')}`,
    );
    const without = policyOf({ ...sketches, demo: { tokens: ['second-token'] } });
    assert.equal(
      outcome(identifier.identify(without, header, from(home))),
      'bad_credentials demo undefined',
    );
    assert.equal(
      outcome(identifier.identify(policy, header, from(home))),
      `demo static ${tokenId('first-token')}`,
    );
  });

  test('names the agent of the policy that is asked', () => {
    const header = basic('demo', 'first-token');
    identifier.identify(policy, header, from(home));
    const reloaded = policyOf(sketches);
    const identity = identifier.identify(reloaded, header, from(home));
    assert.ok(!isFailure(identity));
    assert.equal(identity.agent, reloaded.agents.get('demo'));
  });

  test('does not cover the source', () => {
    const header = basic('office', 'office-token');
    const token = tokenId('office-token');
    assert.equal(
      outcome(identifier.identify(policy, header, from(office))),
      `office static ${token}`,
    );
    assert.equal(
      outcome(identifier.identify(policy, header, from(home))),
      `source_not_allowed office ${token}`,
    );
    assert.equal(
      outcome(identifier.identify(policy, header, from(office))),
      `office static ${token}`,
    );
  });

  test('is bounded, and who falls out is verified again', () => {
    identifier = new AgentIdentifier({ keys, clock, cacheSize: 2 });
    const headers = [
      basic('demo', 'first-token'),
      basic('demo', 'second-token'),
      'Bearer bob-token',
      basic('demo', issue('demo')),
    ];
    const expected = ['demo static', 'demo static', 'bob static', 'demo issued'];
    for (let round = 0; round < 3; round++) {
      for (const [index, header] of headers.entries()) {
        const result = outcome(identifier.identify(policy, header, from(home)));
        assert.ok(result.startsWith(expected[index] as string), result);
      }
    }
  });

  test('is never mixed up: whoever comes in whatever order stays who they are', () => {
    const good = new Map([
      [basic('demo', 'first-token'), 'demo'],
      [basic('demo', issue('demo')), 'demo'],
      [`Bearer ${issue('bob')}`, 'bob'],
      ['Bearer bob-token', 'bob'],
      [basic('strict', 'strict-token'), 'strict'],
      [basic('bob', 'first-token'), undefined],
      [basic('strict', issue('strict')), undefined],
      ['Bearer demo', undefined],
    ]);
    const header = fc.constantFrom(...good.keys());
    fc.assert(
      fc.property(fc.array(header, { maxLength: 50 }), (headers) => {
        for (const one of headers) {
          const result = identifier.identify(policy, one, from(home));
          assert.equal(isFailure(result) ? undefined : result.agent.id, good.get(one));
        }
      }),
    );
  });

  test('no header is an identity that is not known, and none makes it throw', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.constantFrom('', 'Basic ', 'Bearer ', 'Bearer sp1.'),
        (text, scheme) => {
          assert.ok(isFailure(identifier.identify(policy, scheme + text, from(home))));
        },
      ),
    );
  });
});

describe('does it still stand', () => {
  const identityOf = (header: string | undefined, source: ReturnType<typeof parseIp>): Identity => {
    const identity = identifier.identify(policy, header, from(source));
    assert.ok(!isFailure(identity), outcome(identity));
    return identity;
  };
  const { demo: _, ...withoutDemo } = sketches;
  const changed = (over: Parameters<typeof policyOf>[0]): Policy =>
    policyOf({ ...sketches, ...over });
  const cases: readonly [
    string,
    string | undefined,
    ReturnType<typeof parseIp>,
    Policy,
    string | null,
  ][] = [
    ['nothing changed', basic('demo', issue('demo')), home, policyOf(sketches), null],
    [
      'a static token that stays',
      basic('demo', 'first-token'),
      home,
      changed({ demo: { tokens: ['first-token'] } }),
      null,
    ],
    ['a source that stays', undefined, runner, policyOf(sketches), null],
    [
      'the agent is gone',
      basic('demo', issue('demo')),
      home,
      policyOf(withoutDemo),
      'policy_changed',
    ],
    [
      'the static token is gone',
      basic('demo', 'first-token'),
      home,
      changed({ demo: { tokens: ['second-token'] } }),
      'policy_changed',
    ],
    [
      'issued credentials are not taken any more',
      basic('demo', issue('demo')),
      home,
      changed({ demo: { issued: false } }),
      'policy_changed',
    ],
    [
      'the sources have narrowed',
      basic('demo', issue('demo')),
      home,
      changed({ demo: { sources: ['10.0.0.0/8'] } }),
      'source_not_allowed',
    ],
    [
      'a source is not enough any more',
      undefined,
      runner,
      changed({ runner: { sources: ['10.30.0.7'] } }),
      'policy_changed',
    ],
    [
      'the source names another agent',
      undefined,
      runner,
      changed({ runner: {}, bob: { sources: ['10.30.0.7'], sourcesAlone: true } }),
      'policy_changed',
    ],
  ];
  for (const [what, header, source, next, expected] of cases) {
    test(what, () => {
      assert.equal(identifier.recheck(next, identityOf(header, source), from(source)), expected);
    });
  }

  test('its credential has expired', () => {
    const identity = identityOf(basic('demo', issue('demo')), home);
    now = start + 3_600_000;
    assert.equal(identifier.recheck(policy, identity, from(home)), 'credential_expired');
  });
});

describe('what a connection shows by itself', () => {
  const spiffe = 'spiffe://example.com/agent/demo';
  const named = policyOf({
    demo: { tokens: ['first-token'], certificates: [spiffe, 'CN=demo'] },
    bob: { tokens: ['bob-token'], certificates: ['CN=bob'] },
  });
  const certificate = (over: Partial<ClientCertificate> = {}): ClientCertificate => ({
    serial: '0a1b',
    spiffe,
    subject: null,
    issuedAt: start - 1000,
    expiresAt: start + 60_000,
    isListed: () => false,
    ...over,
  });
  const demo = certificate();
  const bob = certificate({ spiffe: null, subject: 'CN=bob' });
  const at = (agent: string) => ({ agent, token: `listener:${agent}` });
  const cases: readonly [string, string | undefined, Partial<Evidence>, string][] = [
    ['a certificate by SPIFFE id', undefined, { certificate: demo }, 'demo certificate cert:0a1b'],
    ['a certificate by subject', undefined, { certificate: bob }, 'bob certificate cert:0a1b'],
    [
      'a certificate by both',
      undefined,
      { certificate: certificate({ subject: 'CN=demo' }) },
      'demo certificate cert:0a1b',
    ],
    [
      'a certificate of two agents',
      undefined,
      { certificate: certificate({ subject: 'CN=bob' }) },
      'bad_credentials undefined cert:0a1b',
    ],
    [
      'a certificate of nobody',
      undefined,
      { certificate: certificate({ spiffe: 'spiffe://example.com/agent/eve' }) },
      'bad_credentials undefined cert:0a1b',
    ],
    [
      'a certificate of nobody whose subject is somebody',
      undefined,
      { certificate: certificate({ spiffe: 'spiffe://example.com/agent/eve', subject: 'CN=bob' }) },
      'bad_credentials undefined cert:0a1b',
    ],
    [
      'a certificate whose subject nobody lists',
      undefined,
      { certificate: certificate({ subject: 'CN=eve' }) },
      'demo certificate cert:0a1b',
    ],
    [
      'a certificate of nobody beside a good token',
      'Bearer first-token',
      { certificate: certificate({ spiffe: null }) },
      'bad_credentials undefined cert:0a1b',
    ],
    [
      'a certificate that has ended',
      undefined,
      { certificate: certificate({ expiresAt: start }) },
      'credential_expired demo cert:0a1b',
    ],
    [
      'a certificate on the list',
      undefined,
      { certificate: certificate({ isListed: () => true }) },
      'credential_revoked demo cert:0a1b',
    ],
    [
      'a token and a certificate of one agent',
      'Bearer first-token',
      { certificate: demo },
      `demo static ${tokenId('first-token')}`,
    ],
    [
      'a token and a certificate that disagree',
      'Bearer first-token',
      { certificate: bob },
      `bad_credentials demo ${tokenId('first-token')}`,
    ],
    [
      'a bad token beside a good certificate',
      'Bearer no-token',
      { certificate: demo },
      'bad_credentials undefined undefined',
    ],
    ['a listener', undefined, { listener: at('demo') }, 'demo listener listener:demo'],
    [
      'a listener of an agent that is not there',
      undefined,
      { listener: at('eve') },
      'bad_credentials undefined listener:eve',
    ],
    [
      'a token at the listener of another agent',
      'Bearer bob-token',
      { listener: at('demo') },
      `bad_credentials bob ${tokenId('bob-token')}`,
    ],
    [
      'a token at its own listener',
      'Bearer bob-token',
      { listener: at('bob') },
      `bob static ${tokenId('bob-token')}`,
    ],
    [
      'a certificate at the listener of another agent',
      undefined,
      { certificate: bob, listener: at('demo') },
      'bad_credentials bob cert:0a1b',
    ],
  ];
  for (const [what, header, shown, expected] of cases) {
    test(what, () => {
      assert.equal(outcome(identifier.identify(named, header, from(home, shown))), expected);
    });
  }

  test('ends with the earlier of credential and certificate', () => {
    const shown = from(home, { certificate: demo });
    const identity = identifier.identify(named, basic('demo', issue('demo')), shown);
    assert.ok(!isFailure(identity));
    assert.equal(identity.expiresAt, demo.expiresAt);
    assert.equal(identifier.recheck(named, identity, shown), null);
    now = demo.expiresAt;
    assert.equal(identifier.recheck(named, identity, shown), 'credential_expired');
  });

  test('is looked at again', () => {
    let listed = false;
    const shown = from(home, { certificate: certificate({ isListed: () => listed }) });
    const identity = identifier.identify(named, undefined, shown);
    assert.ok(!isFailure(identity));
    assert.equal(identifier.recheck(named, identity, shown), null);
    const without = policyOf({ demo: { tokens: ['first-token'] } });
    assert.equal(identifier.recheck(without, identity, shown), 'policy_changed');
    listed = true;
    assert.equal(identifier.recheck(named, identity, shown), 'credential_revoked');
  });
});
