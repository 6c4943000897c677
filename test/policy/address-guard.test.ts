import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Cidr, type Ip, parseCidr, parseIp } from '../../src/core/ip.ts';
import {
  AddressGuard,
  classify,
  type GuardVerdict,
  isMetadata,
  isMetadataName,
  type ListenerAddress,
  neverGranted,
} from '../../src/policy/address-guard.ts';
import { addressClasses } from '../../src/policy/special-purpose.ts';
import cases from '../cases/addresses.json' with { type: 'json' };
import { ipFromNumber, rangeOf } from '../support/address-numbers.ts';

const ip = (text: string): Ip => parseIp(text) ?? assert.fail(`not an address: ${text}`);
const cidr = (text: string): Cidr => parseCidr(text) ?? assert.fail(`not a range: ${text}`);
const cidrs = (text: string): Cidr[] => (text === '' ? [] : text.split(' ').map(cidr));
const listener = (address: string | null, port: number): ListenerAddress => ({
  ip: address === null ? null : ip(address),
  port,
});

const everything = cidrs('0.0.0.0/0 ::/0');
const guard = new AddressGuard(() => []);

describe('classify', () => {
  for (const row of cases.embedded) {
    it(`${row.ip} is ${row.class}`, () => assert.equal(classify(ip(row.ip)), row.class));
  }

  it('judges the mapped and the NAT64 form as the IPv4 address inside', () => {
    const special = fc
      .constantFrom(...cases.blocks.filter(({ block }) => !block.includes(':')))
      .map(({ block }) => Number(rangeOf(block).first));
    fc.assert(
      fc.property(fc.oneof(fc.nat(0xffffffff), special), (word) => {
        const plain = classify(ipFromNumber(4, BigInt(word)));
        assert.equal(classify(ipFromNumber(6, 0xffff_0000_0000n + BigInt(word))), plain);
        assert.equal(classify(ipFromNumber(6, (0x64ff9bn << 96n) + BigInt(word))), plain);
      }),
    );
  });
});

describe('AddressGuard.check without grants', () => {
  for (const row of [...cases.blocks, ...cases.unallocated]) {
    it(`${row.globallyReachable ? 'passes' : 'refuses'} ${row.block}`, () => {
      const { family, first, last } = rangeOf(row.block);
      const verdict = guard.check(ipFromNumber(family, (first + last) / 2n), 443, []);
      assert.equal(verdict, row.globallyReachable ? 'ok' : 'address_not_allowed');
    });
  }

  for (const row of cases.embedded) {
    it(`${row.class === 'global' ? 'passes' : 'refuses'} ${row.ip}`, () => {
      const expected = row.class === 'global' ? 'ok' : 'address_not_allowed';
      assert.equal(guard.check(ip(row.ip), 443, []), expected);
    });
  }
});

describe('AddressGuard.check with grants', () => {
  const table: [address: string, granted: string, verdict: GuardVerdict][] = [
    ['10.0.0.1', '10.0.0.0/8', 'ok'],
    ['10.0.0.1', '10.0.0.1', 'ok'],
    ['10.0.0.1', '10.0.0.2', 'address_not_allowed'],
    ['10.9.9.9', '10.1.2.0/24', 'address_not_allowed'],
    ['10.9.9.9', '10.1.2.0/24 10.9.9.0/24', 'ok'],
    ['127.0.0.1', '127.0.0.0/8', 'ok'],
    ['127.0.0.1', '10.0.0.0/8', 'address_not_allowed'],
    ['::1', '::1', 'ok'],
    ['::1', '127.0.0.0/8', 'address_not_allowed'],
    ['fd12:3456::1', 'fd12:3456::/32', 'ok'],
    ['fd12:3457::1', 'fd12:3456::/32', 'address_not_allowed'],
    ['fe80::1', 'fe80::/10', 'ok'],
    ['240.0.0.1', '240.0.0.0/4', 'ok'],
    ['::ffff:10.0.0.1', '10.0.0.0/8', 'ok'],
    ['::ffff:10.0.0.1', '0.0.0.0/0', 'ok'],
    ['::ffff:11.0.0.1', '10.0.0.0/8', 'ok'],
    ['::ffff:192.168.0.1', '10.0.0.0/8', 'address_not_allowed'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.0/104', 'ok'],
    ['64:ff9b::10.0.0.1', '10.0.0.0/8', 'ok'],
    ['64:ff9b::192.168.0.1', '10.0.0.0/8', 'address_not_allowed'],
    ['64:ff9b:1::10.0.0.1', '10.0.0.0/8', 'address_not_allowed'],
    ['64:ff9b:1::10.0.0.1', '64:ff9b:1::/48', 'ok'],
    ['2002:a00:1::', '10.0.0.0/8', 'address_not_allowed'],
    ['::10.0.0.1', '10.0.0.0/8', 'address_not_allowed'],
    ['10.0.0.1', '::/0', 'address_not_allowed'],
    ['93.184.215.14', '10.0.0.0/8', 'ok'],
  ];
  for (const [address, granted, verdict] of table) {
    it(`${address} under ${granted}: ${verdict}`, () => {
      assert.equal(guard.check(ip(address), 443, cidrs(granted)), verdict);
    });
  }

  for (const row of [...cases.blocks, ...cases.unallocated]) {
    it(`grants ${row.block} or never does, by its class`, () => {
      const { family, first, last } = rangeOf(row.block);
      const { reach } = addressClasses[row.class as keyof typeof addressClasses];
      const verdict = guard.check(ipFromNumber(family, (first + last) / 2n), 443, everything);
      assert.equal(verdict, reach === 'nobody' ? 'address_not_allowed' : 'ok');
    });
  }

  const never = [
    ...cases.metadata,
    ...cases.embedded.filter((row) => row.class === 'metadata').map((row) => row.ip),
    ...'0.0.0.0 0.0.0.1 0.255.255.255 :: ::ffff:0.0.0.0 64:ff9b::0.0.0.0'.split(' '),
    ...'224.0.0.1 239.255.255.255 ff02::1 ::ffff:224.0.0.1 255.255.255.255'.split(' '),
    '64:ff9b::255.255.255.255',
  ];
  for (const text of never) {
    it(`never opens ${text}`, () => {
      const grants = [...everything, cidr(text)];
      assert.equal(guard.check(ip(text), 80, grants), 'address_not_allowed');
    });
  }
});

describe('own listeners', () => {
  const listeners = [
    listener('127.0.0.1', 3128),
    listener('10.1.1.1', 3130),
    listener('2606:4700::9', 3131),
    listener('93.184.215.14', 8443),
    listener('::ffff:10.1.1.2', 3132),
  ];
  const ours = new AddressGuard(() => listeners);
  const table: [address: string, port: number, verdict: GuardVerdict][] = [
    ['127.0.0.1', 3128, 'loop'],
    ['127.0.0.1', 3129, 'ok'],
    ['127.0.0.2', 3128, 'ok'],
    ['::ffff:127.0.0.1', 3128, 'loop'],
    ['64:ff9b::127.0.0.1', 3128, 'loop'],
    ['::127.0.0.1', 3128, 'loop'],
    ['::ffff:0:127.0.0.1', 3128, 'loop'],
    ['0.0.0.0', 3128, 'loop'],
    ['::', 3128, 'loop'],
    ['::ffff:0.0.0.0', 3128, 'loop'],
    ['0.0.0.0', 3129, 'address_not_allowed'],
    ['10.1.1.1', 3130, 'loop'],
    ['10.1.1.1', 3128, 'ok'],
    ['64:ff9b:1::10.1.1.1', 3130, 'loop'],
    ['2002:a01:101::', 3130, 'loop'],
    ['10.1.1.2', 3132, 'loop'],
    ['2606:4700::9', 3131, 'loop'],
    ['2606:4700::9', 443, 'ok'],
    ['93.184.215.14', 8443, 'loop'],
    ['93.184.215.14', 443, 'ok'],
  ];
  for (const [address, port, verdict] of table) {
    it(`${address} port ${port}, everything granted: ${verdict}`, () => {
      assert.equal(ours.check(ip(address), port, everything), verdict);
      assert.equal(ours.isOwnListener(ip(address), port), verdict === 'loop');
    });
  }

  it('are asked for anew at every check, as ports are bound while we run', () => {
    const bound: ListenerAddress[] = [];
    const late = new AddressGuard(() => bound);
    assert.equal(late.check(ip('127.0.0.1'), 3128, everything), 'ok');
    bound.push(listener('127.0.0.1', 3128));
    assert.equal(late.check(ip('127.0.0.1'), 3128, everything), 'loop');
  });

  const host = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  for (const wildcard of [null, '0.0.0.0', '::']) {
    it(`on ${wildcard ?? 'every address'} are all addresses of this host`, () => {
      const open = new AddressGuard(() => [listener(wildcard, 3128)]);
      const local = [...host.map(({ address }) => address), '127.9.9.9', '::1', '0.0.0.0', '::'];
      for (const address of [...local, '::ffff:127.0.0.1', '64:ff9b::7f00:1']) {
        assert.equal(open.check(ip(address), 3128, everything), 'loop', address);
      }
      assert.equal(open.check(ip('127.0.0.1'), 3127, everything), 'ok');
      assert.equal(open.check(ip('93.184.215.14'), 3128, everything), 'ok');
    });
  }
});

describe('isMetadata', () => {
  for (const text of cases.metadata) {
    it(`knows ${text}`, () => assert.equal(isMetadata(ip(text)), true));
  }
  for (const text of ['169.254.169.255', '168.63.129.17', 'fd00:ec1::254', 'fd00:ec3::254']) {
    it(`leaves ${text} alone`, () => assert.equal(isMetadata(ip(text)), false));
  }
});

describe('isMetadataName', () => {
  const names: [host: string, known: boolean][] = [
    ['metadata', true],
    ['metadata.google.internal', true],
    ['metadata.goog', true],
    ['metadata.tencentyun.com', true],
    ['instance-data', true],
    ['kubernetes.default.svc', true],
    ['host.docker.internal', true],
    ['metadata.example.com', false],
    ['google.internal', false],
    ['constructor', false],
  ];
  for (const [host, known] of names) {
    it(`${host}: ${known}`, () => assert.equal(isMetadataName(host), known));
  }
});

describe('neverGranted', () => {
  const never: [range: string, why: RegExp][] = [
    ['169.254.169.254', /^169\.254\.169\.254 is a cloud metadata .*; no entry can grant it$/],
    ['168.63.129.16/32', /^168\.63\.129\.16 is a cloud metadata/],
    ['fd00:ec2::/32', /^fd00:ec2::\/32 is a cloud metadata/],
    ['fd00:ec2:1::/48', /metadata/],
    ['::ffff:169.254.169.254', /^::ffff:169\.254\.169\.254 is a cloud metadata/],
    ['64:ff9b::168.63.129.16', /metadata/],
    ['2002:a9fe:a9fe::1', /metadata/],
    ['0.0.0.0', /unspecified/],
    ['0.0.0.0/8', /^0\.0\.0\.0\/8 is an unspecified/],
    ['::', /unspecified/],
    ['::ffff:0.0.0.0/104', /unspecified/],
    ['224.0.0.0/4', /multicast/],
    ['239.0.0.0/8', /multicast/],
    ['::ffff:224.0.0.0/100', /multicast/],
    ['ff02::/16', /multicast/],
    ['255.255.255.255', /broadcast/],
  ];
  for (const [range, why] of never) {
    it(`says why of ${range}`, () => assert.match(neverGranted(cidr(range)) ?? '', why));
  }

  const open =
    '0.0.0.0/0 ::/0 10.0.0.0/8 127.0.0.1 169.254.0.0/16 169.254.169.254/31 fd00::/8 fd00:ec2::/31 ' +
    '0.0.0.0/7 224.0.0.0/3 240.0.0.0/4 ::ffff:0.0.0.0/96 64:ff9b::/32 ::/127 ::1 93.184.215.14 2606:4700::/32';
  for (const range of open.split(' ')) {
    it(`has nothing against ${range}`, () => assert.equal(neverGranted(cidr(range)), null));
  }
});
