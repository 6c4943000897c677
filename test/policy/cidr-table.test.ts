import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Cidr, cidrContains, type Ip, parseCidr } from '../../src/core/ip.ts';
import { CidrTable } from '../../src/policy/cidr-table.ts';
import { Hits } from '../../src/policy/hits.ts';
import { ipFromNumber } from '../support/address-numbers.ts';

/** Close together, so that networks nest. */
const bits = fc.bigInt({ min: 0n, max: 0xffffn });

const ip: fc.Arbitrary<Ip> = fc.oneof(
  bits.map((low) => ipFromNumber(4, (10n << 24n) | low)),
  bits.map((low) => ipFromNumber(6, (0x20010db8n << 96n) | (low << 60n))),
);

const cidr: fc.Arbitrary<Cidr> = fc
  .tuple(ip, fc.integer({ min: 0, max: 128 }))
  .map(([address, length]) => {
    const width = address.family === 4 ? 32 : 128;
    const prefix = Math.min(length, width);
    const free = BigInt(width - prefix);
    const number = address.words.reduce((sum, word) => (sum << 32n) | BigInt(word), 0n);
    const network = ipFromNumber(address.family, (number >> free) << free);
    return parseCidr(`${network.text}/${prefix}`) as Cidr;
  });

describe('CidrTable', () => {
  it('finds every network that contains an address, longest prefix first', () => {
    const cidrs = fc.uniqueArray(cidr, { selector: ({ text }) => text, maxLength: 20 });
    fc.assert(
      fc.property(cidrs, fc.array(ip, { maxLength: 10 }), (networks, addresses) => {
        const table = new CidrTable(networks, 7);
        const hits = new Hits(table.mostHits);
        const terminals = new Map(networks.map((network) => [table.terminalOf(network), network]));
        assert.equal(terminals.size, networks.length);
        assert.ok([...terminals.keys()].every((terminal) => terminal >= 7));
        for (const address of [...addresses, ...networks.map((network) => network.ip)]) {
          table.match(address, hits);
          const found = Array.from({ length: hits.count }, (_, i) => {
            return terminals.get(hits.terminal(i))?.text;
          });
          const wanted = networks
            .filter((network) => cidrContains(network, address))
            .sort((a, b) => b.prefix - a.prefix);
          assert.deepEqual(
            found,
            wanted.map(({ text }) => text),
          );
          assert.equal(new Set(found.map((_, i) => hits.tier(i))).size, hits.count);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('has no terminal for a network that is not in it', () => {
    const table = new CidrTable([parseCidr('10.0.0.0/8') as Cidr], 0);
    assert.throws(() => table.terminalOf(parseCidr('10.0.0.0/9') as Cidr), RangeError);
    assert.throws(() => table.terminalOf(parseCidr('11.0.0.0/8') as Cidr), RangeError);
  });
});
