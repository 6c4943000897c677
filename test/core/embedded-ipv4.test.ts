import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  embeddedIpv4,
  embeddingOf,
  someEmbeddedIpv4,
  unmapped,
} from '../../src/core/embedded-ipv4.ts';
import { type Ip, ipv4FromWord, parseIp } from '../../src/core/ip.ts';

const ip = (text: string): Ip => parseIp(text) ?? assert.fail(`not an address: ${text}`);

/** Address, how it embeds, the IPv4 address it reaches by itself, and every one that may be read out of it. */
const cases: [
  address: string,
  embedding: string | null,
  reached: string | null,
  carried: string,
][] = [
  ['10.0.0.1', null, '10.0.0.1', '10.0.0.1'],
  ['255.255.255.255', null, '255.255.255.255', '255.255.255.255'],
  ['::ffff:10.0.0.1', 'mapped', '10.0.0.1', '10.0.0.1'],
  ['::ffff:255.255.255.255', 'mapped', '255.255.255.255', '255.255.255.255'],
  ['64:ff9b::10.0.0.1', 'nat64', '10.0.0.1', '10.0.0.1'],
  ['64:ff9b::1:a00:1', null, null, ''],
  ['64:ff9b:1::10.0.0.1', 'nat64-local', null, '10.0.0.1'],
  ['64:ff9b:1:a00:0:100::', 'nat64-local', null, '10.0.0.1'],
  ['64:ff9b:1:a:0:1::', 'nat64-local', null, '10.0.0.1'],
  ['64:ff9b:1::a:0:100:0', 'nat64-local', null, '10.0.0.1'],
  ['64:ff9b:2::10.0.0.1', null, null, ''],
  ['::', null, null, ''],
  ['::1', null, null, ''],
  ['::2', 'compatible', null, '0.0.0.2'],
  ['::10.0.0.1', 'compatible', null, '10.0.0.1'],
  ['::1:0:0', null, null, ''],
  ['::ffff:0:10.0.0.1', 'siit', null, '10.0.0.1'],
  ['::fffe:10.0.0.1', null, null, ''],
  ['1::ffff:a00:1', null, null, ''],
  ['2002:a00:1::', '6to4', null, '10.0.0.1'],
  ['2003:a00:1::', null, null, ''],
  ['2001:0:a00:1:0:ffff:f5ff:fffd', 'teredo', null, '10.0.0.1 10.0.0.2'],
  ['2001:1:a00:1::', null, null, ''],
  ['fe80::5efe:10.0.0.1', 'isatap', null, '10.0.0.1'],
  ['2a00::200:5efe:10.0.0.1', 'isatap', null, '10.0.0.1'],
  ['::5efe:10.0.0.1', 'isatap', null, '10.0.0.1'],
  ['2a00::100:5efe:10.0.0.1', null, null, ''],
  ['2606:4700::1111', null, null, ''],
];

for (const [text, embedding, reached, carried] of cases) {
  describe(text, () => {
    it(`embeds ${embedding ?? 'nothing'}`, () => assert.equal(embeddingOf(ip(text)), embedding));

    it(`reaches ${reached ?? 'no IPv4 address'}`, () => {
      const word = embeddedIpv4(ip(text));
      assert.equal(word === -1 ? null : ipv4FromWord(word).text, reached);
    });

    it(`carries ${carried || 'no IPv4 address'}`, () => {
      const seen: string[] = [];
      const found = someEmbeddedIpv4(ip(text), (word) => {
        seen.push(ipv4FromWord(word).text);
        return false;
      });
      assert.equal(found, false);
      // A local NAT64 prefix has four layouts; one of them is meant, so the others are noise.
      const expected = carried === '' ? [] : carried.split(' ');
      if (embedding === 'nat64-local') assert.ok(seen.includes(carried), seen.join(' '));
      else assert.deepEqual(seen, expected);
      assert.equal(
        someEmbeddedIpv4(ip(text), () => true),
        expected.length > 0,
      );
    });
  });
}

describe('unmapped', () => {
  it('turns the mapped form into plain IPv4', () => {
    assert.deepEqual(unmapped(ip('::ffff:10.20.0.5')), ip('10.20.0.5'));
  });

  it('leaves everything else as it is', () => {
    for (const text of [
      '10.20.0.5',
      '::1',
      '64:ff9b::10.20.0.5',
      '::10.20.0.5',
      '2606:4700::1111',
    ]) {
      assert.deepEqual(unmapped(ip(text)), ip(text));
    }
  });
});
