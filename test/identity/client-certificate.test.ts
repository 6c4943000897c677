import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  inspectClientCertificate,
  readClientCertificate,
} from '../../src/identity/client-certificate.ts';
import {
  type AltName,
  altNames,
  attribute,
  clientExtensions,
  constraints,
  purposes,
  subject,
  usage,
  type ZooCertificate,
  zooCertificate,
  zooEnd,
  zooStart,
} from '../support/certificate-zoo.ts';
import { der, extension, octets, sequence, set, truth } from '../support/certificates.ts';

const spiffe = 'spiffe://example.com/agent/demo';
const never = () => false;
const falsehood = der(0x01, Buffer.of(0));
const utcTime = (text: string) => der(0x17, Buffer.from(text));
const generalTime = (text: string) => der(0x18, Buffer.from(text));

/** A good certificate with these alternative names. */
const withNames = (...names: readonly AltName[]): ZooCertificate => ({
  extensions: [...clientExtensions, altNames(...names)],
});
const withExtensions = (...extensions: Buffer[]): ZooCertificate => ({
  extensions: [...clientExtensions, ...extensions],
});
const dns = (text: string) => [0x82, text] as const;
const uri = (text: string) => [0x86, text] as const;

describe('a good certificate', () => {
  test('says who it is', () => {
    const read = readClientCertificate(zooCertificate(withNames(uri(spiffe))), never);
    assert.deepEqual(
      { ...read, isListed: undefined },
      {
        serial: '1234',
        spiffe,
        subject: 'CN=demo',
        issuedAt: zooStart,
        expiresAt: zooEnd,
        isListed: undefined,
      },
    );
  });

  test('asks the list each time, by its serial number', () => {
    const listed = new Set<string>();
    const serial = Buffer.from('00ff01', 'hex');
    const read = readClientCertificate(zooCertificate({ serial }), (text) => listed.has(text));
    assert.equal(read?.serial, 'ff01');
    assert.equal(read.isListed(), false);
    listed.add('ff01');
    assert.equal(read.isListed(), true);
  });

  const same: readonly [string, ZooCertificate][] = [
    ['no extended key usage', { extensions: [constraints(), usage(0x80)] }],
    ['no key usage', { extensions: [purposes('client')] }],
    ['several purposes', { extensions: [purposes('server', 'client')] }],
    ['more key usages', { extensions: [usage(0xa0)] }],
    ['CA:FALSE spelled out', { extensions: [constraints(falsehood)] }],
    ['an unknown extension', withExtensions(extension('2a0304', false, octets()))],
    [
      'an object identifier of 128 bits',
      withExtensions(extension('698382c0a5b1d3c1a0c7a3d1c5b2d7e1f00d', false, octets())),
    ],
    ['critical policies', withExtensions(extension('551d20', true, sequence()))],
    ['a short year', { notBefore: utcTime('260101000000Z') }],
  ];
  for (const [what, parts] of same) {
    test(`with ${what}`, () => {
      const facts = inspectClientCertificate(zooCertificate(parts));
      assert.ok(typeof facts === 'object', String(facts));
      assert.equal(facts.subject, 'CN=demo');
      assert.equal(facts.notBefore, zooStart);
    });
  }
});

describe('its SPIFFE id', () => {
  const others = Array.from({ length: 99 }, (_, index) => dns(`n${index}.example`));
  const cases: readonly [string, readonly AltName[], string | null][] = [
    ['alone', [uri(spiffe)], spiffe],
    ['beside 99 other names', [...others, uri(spiffe)], spiffe],
    [
      'beside an otherName',
      [[0xa0, Buffer.from('0603 2a0304'.replace(' ', ''), 'hex')], uri(spiffe)],
      spiffe,
    ],
    ['beside an address', [[0x87, Buffer.of(10, 0, 0, 1)], uri(spiffe)], spiffe],
    ['not there', [dns('a.example')], null],
    ['only in a dNSName', [dns('spiffe.example.com')], null],
    ['another URI', [uri('https://example.com/agent/demo')], null],
    ['two other URIs', [uri('https://a.example/'), uri('https://b.example/')], null],
  ];
  for (const [what, names, expected] of cases) {
    test(what, () => {
      const facts = inspectClientCertificate(zooCertificate(withNames(...names)));
      assert.ok(typeof facts === 'object', String(facts));
      assert.equal(facts.spiffe, expected);
    });
  }
});

describe('its subject', () => {
  const cases: readonly [string, Buffer, string | null][] = [
    [
      'in the order of the certificate',
      subject(['CN', 'demo'], ['O', 'Example']),
      'CN=demo,O=Example',
    ],
    ['the other way round', subject(['O', 'Example'], ['CN', 'demo']), 'O=Example,CN=demo'],
    ['the same attribute twice', subject(['OU', 'a'], ['OU', 'b']), 'OU=a,OU=b'],
    ['blanks and dots inside', subject(['CN', "Ann O'Neil (v1.2)"]), "CN=Ann O'Neil (v1.2)"],
    [
      'of all that there is',
      subject(
        ['DC', 'example', 0x16],
        ['C', 'DE', 0x13],
        ['serialNumber', '7', 0x13],
        ['UID', 'u'],
      ),
      'DC=example,C=DE,serialNumber=7,UID=u',
    ],
    ['empty', sequence(), null],
    ['an empty value', subject(['CN', '']), null],
    ['a comma', subject(['CN', 'demo,O=Example']), null],
    ['a plus', subject(['CN', 'demo+OU=x']), null],
    ['an equals sign', subject(['CN', 'a=b']), null],
    ['a quote', subject(['CN', '"demo"']), null],
    ['a backslash', subject(['CN', 'demo\\00']), null],
    ['a NUL', subject(['CN', 'demo\0.example']), null],
    ['a line break', subject(['CN', 'demo\nO=Example']), null],
    ['a blank at the end', subject(['CN', 'demo ']), null],
    ['letters beyond ASCII', subject(['CN', 'dеmo']), null],
    ['BMPString', subject(['CN', Buffer.from('\0d\0e\0m\0o'), 0x1e]), null],
    ['T61String', subject(['CN', 'demo', 0x14]), null],
    ['UniversalString', subject(['CN', Buffer.from('\0\0\0d'), 0x1c]), null],
    ['an attribute that is not known', subject(['CN', 'demo'], ['title', 'Dr']), null],
    [
      'several values in one set',
      sequence(set(attribute('CN', 'demo'), attribute('OU', 'x'))),
      null,
    ],
    ['an empty attribute before a good one', subject(['O', ''], ['CN', 'demo']), null],
    [
      'seventeen attributes',
      subject(...Array.from({ length: 17 }, () => ['OU', 'x'] as [string, string])),
      null,
    ],
    ['a value of 257 bytes', subject(['CN', 'x'.repeat(257)]), null],
  ];
  for (const [what, name, expected] of cases) {
    test(what, () => {
      const facts = inspectClientCertificate(zooCertificate({ subject: name }));
      assert.ok(typeof facts === 'object', String(facts));
      assert.equal(facts.subject, expected);
    });
  }
});

describe('proves nobody', () => {
  const many = Array.from({ length: 1025 }, () => dns('a.example'));
  const long = Buffer.alloc(21, 1);
  const cases: readonly [string, ZooCertificate | Buffer, RegExp][] = [
    ['an authority', { extensions: [constraints(truth)] }, /of an authority/],
    [
      'an authority with a path length',
      { extensions: [constraints(truth, der(0x02, Buffer.of(0)))] },
      /of an authority/,
    ],
    [
      'a path length alone',
      { extensions: [constraints(der(0x02, Buffer.of(0)))] },
      /behind the last/,
    ],
    [
      'a truth value of its own',
      { extensions: [constraints(der(0x01, Buffer.of(1)))] },
      /truth value/,
    ],
    ['a server', { extensions: [purposes('server')] }, /lacks clientAuth/],
    ['any purpose', { extensions: [purposes('any')] }, /lacks clientAuth/],
    ['no purpose', { extensions: [purposes()] }, /lacks clientAuth/],
    [
      '65 purposes',
      { extensions: [purposes(...Array.from({ length: 65 }, () => 'client' as const))] },
      /too many purposes/,
    ],
    [
      '65 attributes',
      { subject: subject(...Array.from({ length: 65 }, () => ['OU', 'x'] as [string, string])) },
      /too many attributes/,
    ],
    ['an empty set in the subject', { subject: sequence(set()) }, /30 belongs where the end is/],
    ['keyCertSign', { extensions: [usage(0x84)] }, /key usage/],
    ['cRLSign', { extensions: [usage(0x82)] }, /key usage/],
    ['no digitalSignature', { extensions: [usage(0x20)] }, /key usage/],
    [
      'a critical extension that is not known',
      withExtensions(extension('551d1e', true, sequence())),
      /critical extension.*2\.5\.29\.30/,
    ],
    ['an extension twice', { extensions: [usage(0x80), usage(0x80)] }, /twice/],
    [
      '65 extensions',
      {
        extensions: Array.from({ length: 65 }, (_, i) =>
          extension(`2a03${(i + 1).toString(16).padStart(2, '0')}`, false, octets()),
        ),
      },
      /too many extensions/,
    ],
    ['two SPIFFE ids', withNames(uri(spiffe), uri(`${spiffe}2`)), /beside another/],
    ['the same SPIFFE id twice', withNames(uri(spiffe), uri(spiffe)), /beside another/],
    [
      'a SPIFFE id beside another URI',
      withNames(uri(spiffe), uri('https://a.example/')),
      /beside another/,
    ],
    ['a SPIFFE id with a NUL', withNames(uri(`${spiffe}\0.evil`)), /alternative name/],
    ['a SPIFFE id with a comma', withNames(uri(`${spiffe},URI:spiffe://x/y`)), /almost/],
    ['a SPIFFE id in upper case', withNames(uri(spiffe.toUpperCase())), /almost/],
    ['a SPIFFE id with a port', withNames(uri('spiffe://example.com:443/agent/demo')), /almost/],
    ['a SPIFFE id with a percent', withNames(uri('spiffe://example.com/agent%2fdemo')), /almost/],
    ['a SPIFFE id with dots', withNames(uri('spiffe://example.com/a/../agent')), /almost/],
    ['a SPIFFE id without a path', withNames(uri('spiffe://example.com')), /almost/],
    [
      'a SPIFFE id of 2,049 bytes',
      withNames(uri(`spiffe://example.com/${'a'.repeat(2028)}`)),
      /almost/,
    ],
    ['high bytes in a URI', withNames(uri('https://example.com/\xe9')), /alternative name/],
    ['high bytes in a dNSName', withNames(dns('\xe9.example')), /alternative name/],
    [
      'a dNSName with a NUL',
      withNames(dns('good.example\0.evil'), uri(spiffe)),
      /alternative name/,
    ],
    ['a dNSName with text of another', withNames(dns(`x, URI:${spiffe}`)), /alternative name/],
    ['an empty dNSName', withNames(dns('')), /alternative name/],
    ['an address of five bytes', withNames([0x87, Buffer.alloc(5)]), /alternative name/],
    ['a constructed URI', withNames([0xa6, spiffe]), /alternative name/],
    ['a name of a kind that does not exist', withNames([0x89, 'x']), /alternative name/],
    ['an empty list of names', withNames(), /empty list/],
    ['1,025 names', withNames(...many), /too many alternative/],
    ['a negative serial number', { serial: Buffer.of(0x80) }, /serial number/],
    ['no serial number', { serial: Buffer.alloc(0) }, /serial number/],
    ['the serial number 0', { serial: Buffer.of(0) }, /serial number/],
    ['a serial number with a zero too many', { serial: Buffer.of(0, 0x12) }, /serial number/],
    ['a serial number of 21 bytes', { serial: long }, /serial number/],
    ['a time with an offset', { notAfter: generalTime('20270101000000+0000') }, /a time/],
    ['a time with fractions', { notAfter: generalTime('20270101000000.5Z') }, /a time/],
    ['30 February', { notAfter: generalTime('20270230000000Z') }, /a time/],
    ['second 60', { notAfter: utcTime('270101000060Z') }, /a time/],
    ['a time without seconds', { notAfter: utcTime('2701010000Z') }, /a time/],
    ['version 1', { version: null, extensions: null }, /version 1/],
    ['version 2', { version: 1 }, /another version/],
    ['no extensions', { extensions: null }, /a3 belongs/],
    ['something behind the extensions', { rest: der(0x05) }, /behind the last/],
    ['bytes behind it', Buffer.concat([zooCertificate(), Buffer.of(0)]), /behind the last/],
    ['a byte too few', zooCertificate().subarray(0, -1), /longer than its place/],
    ['nothing', Buffer.alloc(0), /the end/],
    [
      'an extension of a mebibyte',
      withExtensions(extension('2a0304', false, Buffer.alloc(1 << 20))),
      /larger than 64 KiB/,
    ],
  ];
  for (const [what, parts, expected] of cases) {
    test(what, () => {
      const bytes = Buffer.isBuffer(parts) ? parts : zooCertificate(parts);
      assert.match(String(inspectClientCertificate(bytes)), expected);
      assert.equal(readClientCertificate(bytes, never), null);
    });
  }
});

describe('forms of lengths and tags that DER does not have', () => {
  const good = zooCertificate();
  /** The first certificate in which the bytes of a length are others. */
  const withHead = (...head: number[]) => Buffer.concat([Buffer.from(head), good.subarray(4)]);
  const cases: readonly [string, Buffer, RegExp][] = [
    ['indefinite', Buffer.concat([withHead(0x30, 0x80), Buffer.of(0, 0)]), /not DER/],
    [
      'longer than needed',
      withHead(0x30, 0x83, 0, good[2] as number, good[3] as number),
      /shortest/,
    ],
    [
      'of five bytes',
      withHead(0x30, 0x85, 0, 0, 0, good[2] as number, good[3] as number),
      /not DER/,
    ],
    ['cut', Buffer.of(0x30, 0x82, 0x01), /within its head/],
    ['4 GiB', withHead(0x30, 0x84, 0xff, 0xff, 0xff, 0xff), /longer than its place/],
    [
      'a set instead',
      withHead(0x31, 0x82, good[2] as number, good[3] as number),
      /30 belongs where tag 31/,
    ],
  ];
  for (const [what, bytes, expected] of cases) {
    test(what, () => assert.match(String(inspectClientCertificate(bytes)), expected));
  }

  test('a short length in a long form', () => {
    const names = sequence(Buffer.concat([Buffer.of(0x82, 0x81, 1), Buffer.from('a')]));
    const facts = inspectClientCertificate(
      zooCertificate(withExtensions(extension('551d11', false, names))),
    );
    assert.match(String(facts), /shortest/);
  });

  test('a tag of several bytes', () => {
    const names = sequence(Buffer.of(0x9f, 0x86, 0x01, 0x61));
    const facts = inspectClientCertificate(
      zooCertificate(withExtensions(extension('551d11', false, names))),
    );
    assert.match(String(facts), /tag of several bytes/);
  });
});

describe('when it was made', () => {
  const serialAt = (ms: number, random = 'ff'.repeat(10)) =>
    Buffer.from(ms.toString(16).padStart(12, '0') + random, 'hex');
  const cases: readonly [string, Buffer, number][] = [
    ['the millisecond of its serial number', serialAt(zooStart + 678), zooStart + 678],
    ['at once', serialAt(zooStart, '00'.repeat(10)), zooStart],
    ['two minutes later', serialAt(zooStart + 120_000), zooStart + 120_000],
    ['later than that', serialAt(zooStart + 120_001), zooStart],
    ['before it holds', serialAt(zooStart - 1), zooStart],
    ['a short serial number', Buffer.of(7), zooStart],
    ['a serial number of 20 bytes', Buffer.alloc(20, 0x55), zooStart],
    [
      'one that would be in time but is longer',
      Buffer.concat([Buffer.of(1), serialAt(zooStart + 5)]),
      zooStart,
    ],
  ];
  for (const [what, serial, expected] of cases) {
    test(what, () => {
      const facts = inspectClientCertificate(zooCertificate({ serial }));
      assert.ok(typeof facts === 'object', String(facts));
      assert.equal(facts.issuedAt, expected);
    });
  }
});

/** Null where the key, say, is none: TLS would never hand on such a certificate. */
function opensslReads(bytes: Buffer): X509Certificate | null {
  try {
    return new X509Certificate(bytes);
  } catch {
    return null;
  }
}

describe('whatever the bytes', () => {
  const good = zooCertificate(withNames(dns('a.example'), uri(spiffe)));
  const edits = fc.array(
    fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }), fc.boolean()),
    { minLength: 1, maxLength: 4 },
  );

  test('nothing is thrown, and what is read is what OpenSSL reads', () => {
    let read = 0;
    fc.assert(
      fc.property(edits, (changes) => {
        let bytes = Buffer.from(good);
        for (const [at, byte, cut] of changes) {
          if (cut && bytes.length > at)
            bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
          else if (at < bytes.length) bytes[at] = byte;
        }
        const facts = inspectClientCertificate(bytes);
        if (typeof facts === 'string') return;
        const reference = opensslReads(bytes);
        if (reference === null) return;
        read++;
        assert.equal(facts.serial, reference.serialNumber.toLowerCase());
        assert.equal(facts.notBefore, reference.validFromDate.getTime());
        assert.equal(facts.expiresAt, reference.validToDate.getTime());
      }),
      { numRuns: 5000 },
    );
    assert.ok(read > 10, `${read} were still certificates`);
  });

  test('bytes of no structure', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        assert.equal(readClientCertificate(Buffer.from(bytes), never), null);
      }),
    );
  });
});
