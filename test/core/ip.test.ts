import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { cidrContains, parseCidr, parseIp, parseIpv4, parseIpv6 } from '../../src/core/ip.ts';

const canonical: [text: string, expected: string][] = [
  ['0.0.0.0', '0.0.0.0'],
  ['255.255.255.255', '255.255.255.255'],
  ['::', '::'],
  ['0:0::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
  ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
  ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
  ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
  ['2001:0db8::0001', '2001:db8::1'],
  ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
  ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
  ['::FFFF:0a00:0001', '::ffff:10.0.0.1'],
  ['::127.0.0.1', '::7f00:1'],
  ['64:ff9b::10.0.0.1', '64:ff9b::a00:1'],
  ['::ffff:0:7f00:1', '::ffff:0:7f00:1'],
];

const refused = [
  '',
  '1',
  '1.2.3',
  '1.2.3.4.',
  '.1.2.3.4',
  '1.2.3.4.5',
  '1..2.3',
  '01.2.3.4',
  '1.2.3.00',
  '256.0.0.1',
  '127.0.0.256',
  '08.8.8.8',
  '127.1',
  '2130706433',
  '0x7f.0.0.1',
  '0x7f000001',
  '0177.0.0.1',
  '127.000.000.001',
  '+1.2.3.4',
  '1.2.3.4 ',
  ' 1.2.3.4',
  '1.2.3.4\n',
  '1.2.3.4\0',
  '①②⑦.0.0.1',
  '１.2.3.4',
  ':',
  ':::',
  ':1',
  '1:',
  '::1:',
  '1::2::3',
  '12345::',
  '::00001',
  'g::',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7:8::',
  '::1:2:3:4:5:6:7:8',
  '1:2:3:4:5:6:7:1.2.3.4',
  '::1.2.3',
  '::01.2.3.4',
  '::f1.2.3.4',
  '::1.2.3.4:5',
  '::1%eth0',
  'fe80::1%25eth0',
  '::ffff:7f00:1%x.good.test',
  '[::1]',
  '::1/128',
];

const ipv4 = fc
  .tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255))
  .map((parts) => parts.join('.'));

describe('parseIp', () => {
  for (const [text, expected] of canonical) {
    it(`reads ${text} as ${expected}`, () => assert.equal(parseIp(text)?.text, expected));
  }

  for (const text of refused) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseIp(text), null));
  }

  it('gives the words of an address, most significant first', () => {
    assert.deepEqual(parseIp('1.2.3.255')?.words, [0x010203ff]);
    assert.deepEqual(parseIp('255.0.0.1')?.words, [0xff000001]);
    assert.deepEqual(parseIp('fe80::ffff:8000:1')?.words, [0xfe800000, 0, 0xffff, 0x80000001]);
  });

  it('keeps the families apart', () => {
    assert.equal(parseIpv6('1.2.3.4'), null);
    assert.equal(parseIpv4('::1'), null);
  });

  it('accepts nothing that net.isIP refuses, and reads back its own text', () => {
    const noise = fc.string({
      unit: fc.constantFrom(...'0123456789abcdefF:.%/x[] '),
      maxLength: 46,
    });
    fc.assert(
      fc.property(fc.oneof(noise, fc.ipV4(), fc.ipV6(), fc.string()), (text) => {
        const ip = parseIp(text);
        if (ip === null) return;
        assert.equal(isIP(text), ip.family);
        assert.deepEqual(parseIp(ip.text), ip);
      }),
      { numRuns: 2000 },
    );
  });

  it('accepts whatever net.isIP accepts without a zone', () => {
    fc.assert(
      fc.property(fc.oneof(ipv4, fc.ipV6()), (text) => {
        assert.equal(parseIp(text)?.family ?? 0, isIP(text));
      }),
      { numRuns: 2000 },
    );
  });

  it('writes IPv6 as the URL standard serialises it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 }),
        (groups) => {
          const text = groups.map((group) => group.toString(16)).join(':');
          const ip = parseIp(text);
          if (ip?.text.startsWith('::ffff:') && ip.text.includes('.')) return;
          assert.equal(`[${ip?.text}]`, new URL(`http://[${text}]/`).hostname);
        },
      ),
    );
  });
});

describe('parseCidr', () => {
  const accepted: [text: string, expected: string][] = [
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['1.1.1.1', '1.1.1.1/32'],
    ['1.1.1.1/32', '1.1.1.1/32'],
    ['128.0.0.0/1', '128.0.0.0/1'],
    ['::/0', '::/0'],
    ['FE80::/10', 'fe80::/10'],
    ['::1', '::1/128'],
    ['2001:db8:0:8000::/49', '2001:db8:0:8000::/49'],
  ];
  for (const [text, expected] of accepted) {
    it(`reads ${text}`, () => assert.equal(parseCidr(text)?.text, expected));
  }

  const notRanges = [
    '',
    '/',
    '/8',
    '10.0.0.0/',
    '10.0.0.0/08',
    '10.0.0.0/+8',
    '10.0.0.0/-1',
    '10.0.0.0/33',
    '10.0.0.0/8/8',
    '10.0.0.0/255.0.0.0',
    '10.0.0.1/8',
    '10.0.0.0 /8',
    '10/8',
    '0.0.0.1/0',
    '::1/127',
    '::/129',
    '::/1000',
    '2001:db8::1/64',
    '::1%lo/128',
  ];
  for (const text of notRanges) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseCidr(text), null));
  }
});

describe('cidrContains', () => {
  const cases: [range: string, ip: string, inside: boolean][] = [
    ['10.0.0.0/8', '10.0.0.0', true],
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '9.255.255.255', false],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['0.0.0.0/0', '255.255.255.255', true],
    ['0.0.0.0/0', '::', false],
    ['::/0', '0.0.0.0', false],
    ['::/0', 'ffff::', true],
    ['1.2.3.4/32', '1.2.3.4', true],
    ['1.2.3.4/32', '1.2.3.5', false],
    ['128.0.0.0/1', '255.0.0.0', true],
    ['128.0.0.0/1', '127.255.255.255', false],
    ['fe80::/10', 'febf:ffff::1', true],
    ['fe80::/10', 'fec0::', false],
    ['2001:db8::/32', '2001:db8:ffff::', true],
    ['2001:db8::/32', '2001:db9::', false],
    ['2001:db8::/33', '2001:db8:7fff::', true],
    ['2001:db8::/33', '2001:db8:8000::', false],
    ['64:ff9b::/96', '64:ff9b::ffff:ffff', true],
    ['64:ff9b::/96', '64:ff9b::1:0:0', false],
    ['::1/128', '::1', true],
    ['::1/128', '::', false],
  ];
  for (const [range, text, inside] of cases) {
    it(`${range} ${inside ? 'contains' : 'leaves out'} ${text}`, () => {
      const cidr = parseCidr(range);
      const ip = parseIp(text);
      assert.ok(cidr && ip);
      assert.equal(cidrContains(cidr, ip), inside);
    });
  }
});
