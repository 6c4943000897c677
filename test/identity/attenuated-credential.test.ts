import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { CredentialClaims, Narrowing } from '../../src/identity/credential-claims.ts';
import { credentialKey, credentialKeys } from '../../src/identity/credential-keys.ts';
import {
  attenuateCredential,
  CredentialRequestError,
  issueCredential,
  readCredential,
  verifyCredential,
} from '../../src/identity/issued-credential.ts';
import { assertEveryCharacterCounts } from '../support/altered.ts';

const key = credentialKey(Buffer.alloc(32, 1));
const keys = credentialKeys([key], key);
const now = Date.UTC(2026, 10, 22, 12) / 1000;
const claims: CredentialClaims = {
  id: '01JD8Q6Z0000000000000000AB',
  agent: 'demo',
  issuedAt: now,
  expiresAt: now + 3600,
  task: 'OPS-1421',
  requestedBy: undefined,
  only: undefined,
  hosts: undefined,
};
const root = issueCredential(key, claims);
const only = (...groups: string[]): Narrowing => narrowing({ only: groups });

function narrowing(fields: Partial<Narrowing>): Narrowing {
  return { expiresAt: undefined, only: undefined, hosts: undefined, ...fields };
}

const verify = (credential: string): ReturnType<typeof verifyCredential> =>
  verifyCredential(keys, credential, now * 1000);

/** The parent with any text appended as a block, signed as a holder would. */
function append(credential: string, text: string): string {
  const parts = credential.split('.');
  const signature = Buffer.from(parts.pop() ?? '', 'base64url');
  const block = Buffer.from(text).toString('base64url');
  return [...parts, block, createHmac('sha256', signature).update(block).digest('base64url')].join(
    '.',
  );
}

describe('a narrowed credential', () => {
  test('says all that was taken away, in order, and ends at the earliest end', () => {
    const steps = [
      narrowing({ expiresAt: now + 600, only: ['docs'] }),
      narrowing({ expiresAt: now + 900, hosts: ['*.example.com', '10.0.0.0/8'] }),
    ];
    const credential = steps.reduce(attenuateCredential, root);
    assert.deepEqual(verify(credential), {
      claims,
      narrowings: steps,
      key: key.id,
      expiresAt: (now + 600) * 1000,
      expired: false,
    });
    const { expired: _, ...read } = verify(credential) ?? {};
    assert.deepEqual(readCredential(credential), read);
    assert.match(credential, /^[A-Za-z0-9._-]+$/u);
  });

  test('that has ended is expired, also if it ended before it was issued', () => {
    for (const expiresAt of [now, 0]) {
      const credential = attenuateCredential(root, narrowing({ expiresAt }));
      assert.equal(verify(credential)?.expired, true);
    }
  });

  test('that names a later end does not live longer', () => {
    const credential = attenuateCredential(root, narrowing({ expiresAt: now + 1e6 }));
    assert.equal(verify(credential)?.expiresAt, (now + 3600) * 1000);
  });

  test('is what a holder without our code would make', () => {
    assert.equal(append(root, '{"o":["docs"]}'), attenuateCredential(root, only('docs')));
  });
});

const arbitraryNarrowing = fc
  .record(
    {
      expiresAt: fc.option(fc.integer({ min: now, max: now + 9999 }), { nil: undefined }),
      only: fc.option(fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1 }), {
        nil: undefined,
      }),
      hosts: fc.option(fc.uniqueArray(fc.constantFrom('a.com', '*.b.com'), { minLength: 1 }), {
        nil: undefined,
      }),
    },
    { noNullPrototype: true },
  )
  .filter((fields) => Object.values(fields).some((value) => value !== undefined));

const chain = fc.array(arbitraryNarrowing, { minLength: 1, maxLength: 5 });

describe('nobody takes a narrowing away', () => {
  test('by leaving out, repeating, or moving parts, or with a signature of before', () => {
    let tried = 0;
    fc.assert(
      fc.property(chain, fc.infiniteStream(fc.nat()), (steps, random) => {
        const pick = (below: number): number => (random.next().value ?? 0) % below;
        const credentials = [root];
        for (const step of steps) {
          credentials.push(attenuateCredential(credentials.at(-1) ?? '', step));
        }
        const child = credentials.at(-1) ?? '';
        assert.deepEqual(verify(child)?.narrowings, steps);
        const parts = child.split('.');
        const blocks = parts.slice(2, -1);
        const earlier = (credentials[pick(credentials.length - 1)] ?? '').split('.').at(-1) ?? '';
        const shuffled = blocks.toSorted(() => pick(3) - 1);
        const at = pick(blocks.length);
        const attempts = [
          [...parts.slice(0, 2), ...blocks.toSpliced(at, 1), parts.at(-1)],
          [...parts.slice(0, 2), ...blocks, earlier],
          [...parts.slice(0, 2), ...shuffled, parts.at(-1)],
          [...parts.slice(0, 2), ...blocks, blocks[at], parts.at(-1)],
          [...parts.slice(0, 2), parts.at(-1)],
          [...parts.slice(0, 2), ...blocks],
        ].map((attempt) => attempt.join('.'));
        for (const attempt of attempts) {
          if (attempt === child) continue;
          tried++;
          assert.equal(verify(attempt), null);
        }
      }),
    );
    assert.ok(tried > 300, `${tried}`);
  });

  test('by any change to any character', () => {
    const child = attenuateCredential(attenuateCredential(root, only('a')), only('b'));
    assertEveryCharacterCounts(child, verify);
  });

  test('by giving the narrowing of one credential to another', () => {
    const other = issueCredential(key, { ...claims, agent: 'other' });
    const [, , block, signature] = attenuateCredential(root, only('a')).split('.');
    assert.equal(verify([...other.split('.').slice(0, 2), block, signature].join('.')), null);
  });
});

describe('a block is refused, whoever signed it', () => {
  assert.notEqual(verify(append(root, '{"o":["a"]}')), null, 'the forge works');
  const cases: readonly [string, string][] = [
    ['empty', ''],
    ['nothing taken away', '{}'],
    ['no JSON', '{"o":["a"]'],
    ['a list', '["a"]'],
    ['null', 'null'],
    ['a number', '1'],
    ['an unknown member', '{"o":["a"],"x":1}'],
    ['the agent', '{"a":"admin","o":["a"]}'],
    ['another order', '{"o":["a"],"e":1}'],
    ['a duplicate', '{"o":["a"],"o":["b"]}'],
    ['__proto__', '{"o":["a"],"__proto__":{"e":1}}'],
    ['white space', '{"o": ["a"]}'],
    ['an escaped spelling', '{"o":["\\u0061"]}'],
    ['no group', '{"o":[]}'],
    ['no host', '{"h":[]}'],
    ['a group of another kind', '{"o":[1]}'],
    ['null groups', '{"o":null}'],
    ['an upper-case host', '{"h":["A.com"]}'],
    ['a host with a line break', '{"h":["a\\nb"]}'],
    ['an end as text', '{"e":"1"}'],
    ['an end with a fraction', '{"e":1.5}'],
    ['a negative end', '{"e":-1}'],
    ['an end of 1e300', '{"e":1e300}'],
    ['nesting', '['.repeat(200)],
  ];
  for (const [what, text] of cases) {
    test(what, () => {
      const credential = append(root, text);
      assert.equal(verify(credential), null);
      assert.equal(readCredential(credential), null);
    });
  }

  test('a ninth one', () => {
    let credential = root;
    for (let i = 0; i < 8; i++) credential = append(credential, '{"e":9}');
    assert.notEqual(verify(credential), null);
    assert.equal(verify(append(credential, '{"e":9}')), null);
    assert.throws(() => attenuateCredential(credential, only('a')), message(/8 times/u));
  });

  test('whatever it is, nothing throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        const read = verify(append(root, text));
        assert.ok(read === null || read.narrowings.length === 1);
      }),
    );
  });
});

describe('cannot be narrowed', () => {
  const cases: readonly [string, string, Narrowing, RegExp][] = [
    ['a text', 'secret', only('a'), /no credential of Sallyport/u],
    ['a JWT', 'e30.e30.c2ln', only('a'), /no credential of Sallyport/u],
    ['a credential cut short', root.slice(0, -1), only('a'), /no credential of Sallyport/u],
    ['with nothing', root, narrowing({}), /nothing is taken away/u],
    ['to an odd group', root, only('A'), /not a group name/u],
    ['to a group twice', root, only('a', 'a'), /twice/u],
    [
      'beyond 1,024 characters',
      root,
      narrowing({ hosts: Array.from({ length: 20 }, (_, i) => `h${i}.${'x'.repeat(40)}.com`) }),
      /1024 are the most/u,
    ],
  ];
  for (const [what, credential, taken, pattern] of cases) {
    test(what, () => assert.throws(() => attenuateCredential(credential, taken), message(pattern)));
  }
});

describe('the end of a key', () => {
  const end = (now + 60) * 1000;
  const ending = credentialKey(Buffer.alloc(32, 1), end);
  const ring = credentialKeys([ending], ending);

  test('is an end of what it signed', () => {
    assert.equal(verifyCredential(ring, root, end - 1)?.expiresAt, end);
    assert.equal(verifyCredential(ring, root, end - 1)?.expired, false);
    assert.equal(verifyCredential(ring, root, end)?.expired, true);
  });
});

const message = (pattern: RegExp) => (error: unknown) =>
  error instanceof CredentialRequestError && pattern.test(error.message);
