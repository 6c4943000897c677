import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DerError } from '../../src/core/der.ts';
import {
  constraintsFor,
  isPermitted,
  readNameConstraints,
} from '../../src/tls/name-constraints.ts';
import { der, sequence } from '../support/certificates.ts';

function constraints(...texts: string[]) {
  const value = constraintsFor(texts);
  assert.ok(typeof value !== 'string', `${String(value)} is neither a domain nor a range`);
  return readNameConstraints(value);
}

const dns = (name: string) => sequence(der(0x82, Buffer.from(name)));
const ip = (hex: string) => sequence(der(0x87, Buffer.from(hex, 'hex')));
const permitted = (...list: Buffer[]) => der(0xa0, ...list);
const excluded = (...list: Buffer[]) => der(0xa1, ...list);

describe('what is permitted', () => {
  const cases: readonly [permit: string, within: string, outside: string][] = [
    [
      'example.com',
      'example.com a.example.com a.b.example.com',
      'com example.org xexample.com example.com.evil 10.0.0.1 ::1',
    ],
    ['a.example.com', 'a.example.com x.a.example.com', 'example.com b.example.com aa.example.com'],
    ['com,net', 'com a.com b.net', 'a.org 1.2.3.4'],
    ['localhost', 'localhost a.localhost', 'local 127.0.0.1'],
    ['10.0.0.0/8', '10.0.0.0 10.255.255.255', '11.0.0.0 9.255.255.255 a.example ::ffff:10.0.0.1'],
    ['192.0.2.7', '192.0.2.7', '192.0.2.6 192.0.2.8 example.com'],
    ['0.0.0.0/0', '1.2.3.4 255.255.255.255', '::1 a.example'],
    ['2001:db8::/33', '2001:db8:7fff::1', '2001:db8:8000::1 2001:db7::1 1.2.3.4 a.example'],
    ['::1', '::1', '::2 127.0.0.1 localhost'],
    ['example.com,10.0.0.0/8,::1', 'example.com 10.1.1.1 ::1', 'a.org 11.1.1.1 ::2'],
  ];
  for (const [permit, within, outside] of cases) {
    test(permit, () => {
      const limits = constraints(...permit.split(','));
      for (const host of within.split(' ')) assert.equal(isPermitted(limits, host), true, host);
      for (const host of outside.split(' ')) assert.equal(isPermitted(limits, host), false, host);
    });
  }

  const foreign: readonly [what: string, value: Buffer, within: string, outside: string][] = [
    [
      'a leading dot is all below',
      sequence(permitted(dns('.example.com'))),
      'a.example.com 1.2.3.4',
      'example.com xexample.com',
    ],
    [
      'what is excluded is so whatever is permitted',
      sequence(permitted(dns('example.com')), excluded(dns('b.example.com'))),
      'a.example.com ::1',
      'b.example.com a.b.example.com',
    ],
    ['only exclusions', sequence(excluded(dns('EVIL.test'))), 'a.test 1.1.1.1', 'a.evil.test'],
    ['every name excluded', sequence(excluded(dns(''))), '1.1.1.1', 'a.test'],
    [
      'host bits count for nothing',
      sequence(permitted(ip('0a010203ffff0000'))),
      '10.1.0.0 a.example',
      '10.2.2.3 ::1',
    ],
    ['mail addresses are not hosts', sequence(permitted(sequence(der(0x81)))), 'a.b 1.1.1.1', ''],
    [
      'subjects, which ours do not keep to',
      sequence(permitted(sequence(der(0xa4, sequence())))),
      '1.1.1.1',
      'a.example',
    ],
    ['nothing at all', sequence(), 'a.example ::1', ''],
  ];
  for (const [what, value, within, outside] of foreign) {
    test(`of another maker: ${what}`, () => {
      const limits = readNameConstraints(value);
      const hosts = (list: string) => list.split(' ').filter((host) => host !== '');
      for (const host of hosts(within)) assert.equal(isPermitted(limits, host), true, host);
      for (const host of hosts(outside)) assert.equal(isPermitted(limits, host), false, host);
    });
  }

  test('of addresses is what arithmetic says', () => {
    const quad = (value: number) => [24, 16, 8, 0].map((by) => (value >>> by) & 255).join('.');
    const word = fc.integer({ min: 0, max: 0xffffffff });
    fc.assert(
      fc.property(word, fc.integer({ min: 0, max: 32 }), word, (base, prefix, other) => {
        const size = 2 ** (32 - prefix);
        const start = Math.floor(base / size) * size;
        const limits = constraints(`${quad(start)}/${prefix}`);
        for (const at of [other, start, start + size - 1, start - 1, start + size]) {
          if (at < 0 || at > 0xffffffff) continue;
          assert.equal(isPermitted(limits, quad(at)), at >= start && at < start + size);
        }
      }),
    );
  });
});

describe('is no domain and no range', () => {
  for (const text of [
    '',
    '*.example.com',
    '.example.com',
    'Example.com',
    'example.com.',
    'https://example.com',
    'example.com:443',
    '10.0.0.1/8',
    '10.0.0.0/33',
    '1.2.3',
    'a b',
  ]) {
    test(JSON.stringify(text), () => assert.equal(constraintsFor(['a.example', text]), text));
  }
});

describe('does not read', () => {
  const cases: readonly [string, Buffer][] = [
    ['nothing', Buffer.alloc(0)],
    ['something behind it', Buffer.concat([sequence(), Buffer.of(0)])],
    ['the two lists in the wrong order', sequence(excluded(dns('a')), permitted(dns('b')))],
    ['a list twice', sequence(permitted(dns('a')), permitted(dns('b')))],
    ['a minimum', sequence(permitted(sequence(der(0x82), der(0x80, Buffer.of(1)))))],
    ['half a range', sequence(permitted(ip('0a000000')))],
    ['a mask with gaps', sequence(permitted(ip('0a000000ff00ff00')))],
    ['a subtree without a name', sequence(permitted(sequence()))],
  ];
  for (const [what, value] of cases) {
    test(what, () => assert.throws(() => readNameConstraints(value), DerError));
  }
});
