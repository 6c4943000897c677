import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { classify } from '../../src/policy/address-guard.ts';
import { addressClasses, specialBlocks } from '../../src/policy/special-purpose.ts';
import cases from '../cases/addresses.json' with { type: 'json' };
import { ipFromNumber, longestBlock, rangeOf } from '../support/address-numbers.ts';

/** The registries as data, and what the longest matching row says of an address. */
const ranges = [...cases.blocks, ...cases.unallocated].map((row) => ({
  ...rangeOf(row.block),
  row,
}));

function expectedClass(family: 4 | 6, value: bigint): string {
  const ip = ipFromNumber(family, value);
  if (cases.metadata.includes(ip.text)) return 'metadata';
  return longestBlock(ranges, family, value)?.row.class ?? 'global';
}

describe('the special-purpose registries', () => {
  for (const { family, first, last, row } of ranges) {
    it(`${row.block} is ${row.class} from end to end, and its neighbours are theirs`, () => {
      const size = 1n << BigInt(family === 4 ? 32 : 128);
      const middle = (first + last) / 2n;
      for (const value of [first, first + 1n, middle, last - 1n, last, first - 1n, last + 1n]) {
        if (value < 0n || value >= size || isMapped(family, value)) continue;
        const ip = ipFromNumber(family, value);
        assert.equal(classify(ip), expectedClass(family, value), ip.text);
      }
    });

    it(`${row.block} can${row.globallyReachable ? '' : 'not'} be reached by everybody`, () => {
      const { reach } = addressClasses[row.class as keyof typeof addressClasses];
      assert.equal(reach === 'everybody', row.globallyReachable);
      assert.equal(classify(ipFromNumber(family, (first + last) / 2n)), row.class);
    });
  }

  it('have no row that the table lacks, and no other', () => {
    const ours = specialBlocks.filter((block) => block.class !== 'metadata');
    const theirs = cases.blocks.map(({ block }) => block);
    assert.deepEqual(ours.map(({ cidr }) => cidr.text).sort(), theirs.sort());
  });

  it('leave the neighbours of the well-known ranges reachable', () => {
    const neighbours = [
      '9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0',
      '169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0',
      '198.17.255.255 198.20.0.0 223.255.255.255 1.0.0.0 168.63.129.15 168.63.129.17',
      '2000:: 2001:200:: 2003:: 3ffd:ffff:: 3fff:1000:: 2606:4700::1111',
    ];
    for (const text of neighbours.join(' ').split(' ')) {
      const { family, first } = rangeOf(text);
      assert.equal(classify(ipFromNumber(family, first)), 'global', text);
    }
  });
});

/** IPv4-mapped and NAT64 neighbours are judged by the IPv4 address inside; tested elsewhere. */
function isMapped(family: 4 | 6, value: bigint): boolean {
  return family === 6 && (value >> 32n === 0xffffn || value >> 32n === 0x64ff9b0000000000000000n);
}
