import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  formatSubject,
  isSpiffeId,
  parseSubject,
  subjectAttributes,
} from '../../src/core/certificate-name.ts';

describe('a SPIFFE id', () => {
  const good = [
    'spiffe://example.com/agent/demo',
    'spiffe://a/b',
    'spiffe://trust_domain-1.example/A/b.c-d_e',
    'spiffe://example.com/...',
    `spiffe://example.com/${'a'.repeat(2027)}`,
  ];
  for (const text of good) test(`${text.slice(0, 60)} is one`, () => assert.ok(isSpiffeId(text)));

  const bad = [
    '',
    'spiffe://',
    'spiffe://example.com',
    'spiffe://example.com/',
    'spiffe://example.com/a/',
    'spiffe://example.com//a',
    'spiffe://example.com/.',
    'spiffe://example.com/a/../b',
    'spiffe://Example.com/a',
    'SPIFFE://example.com/a',
    'spiffe://example.com:443/a',
    'spiffe://user@example.com/a',
    'spiffe://example.com/a?b',
    'spiffe://example.com/a#b',
    'spiffe://example.com/a%2fb',
    'spiffe://example.com/a\n',
    ' spiffe://example.com/a',
    'https://example.com/a',
    `spiffe://example.com/${'a'.repeat(2028)}`,
  ];
  for (const text of bad) {
    test(`${JSON.stringify(text.slice(0, 60))} is none`, () => assert.ok(!isSpiffeId(text)));
  }
});

describe('a subject', () => {
  test('has attributes in their order', () => {
    assert.deepEqual(parseSubject('CN=demo,O=Example Ltd.'), [
      { name: 'CN', value: 'demo' },
      { name: 'O', value: 'Example Ltd.' },
    ]);
  });

  const bad = [
    '',
    'demo',
    '=demo',
    'CN=',
    'CN',
    'cn=demo',
    'CN =demo',
    'CN= demo',
    'CN=demo ',
    'CN=demo, O=Example',
    'CN=demo,',
    ',CN=demo',
    'CN=a=b',
    'CN=a+OU=b',
    'CN=a\\,b',
    'CN="a"',
    'CN=<a>',
    'CN=a;O=b',
    'CN=#0c0161',
    'CN=é',
    'CN=a\0',
    'CN=a\u00a0',
    'title=Dr',
    '2.5.4.3=demo',
    '/CN=demo',
    '__proto__=x',
    `CN=${'x'.repeat(257)}`,
    Array.from({ length: 17 }, () => 'OU=x').join(','),
  ];
  for (const text of bad) {
    test(`is not ${JSON.stringify(text.slice(0, 40))}`, () =>
      assert.equal(parseSubject(text), null));
  }

  test('is the same text again, or null', () => {
    const part = fc.tuple(
      fc.constantFrom(...subjectAttributes.keys(), 'cn', ''),
      fc.string({ unit: fc.constantFrom('a', ' ', ',', '=', '+', '\\', '\0', 'é'), maxLength: 3 }),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 3 }), (parts) => {
        const text = parts.map(([name, value]) => `${name}=${value}`).join(',');
        const attributes = parseSubject(text);
        if (attributes !== null) assert.equal(formatSubject(attributes), text);
      }),
    );
  });
});
