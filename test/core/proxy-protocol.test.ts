import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseProxyHeader } from '../../src/core/proxy-protocol.ts';
import { proxyHeader } from '../support/proxy-header.ts';

/** What the header says, in a word or two. */
function outcome(bytes: Buffer): string {
  const header = parseProxyHeader(bytes);
  if (header === null) return 'more';
  if (typeof header === 'string') return header;
  const from = header.from === null ? 'itself' : `${header.from.ip.text} ${header.from.port}`;
  return `${from}, ${header.length} bytes`;
}

const v4 = proxyHeader('192.0.2.7', 4711);
const v6 = proxyHeader('2001:db8::7', 4711);

/** The header with one byte changed. */
function changed(header: Buffer, at: number, value: number): Buffer {
  const copy = Buffer.from(header);
  copy[at] = value;
  return copy;
}

describe('a PROXY header of version 2', () => {
  const cases: readonly [string, Buffer, string][] = [
    ['names an IPv4 client', v4, '192.0.2.7 4711, 28 bytes'],
    ['names an IPv6 client', v6, '2001:db8::7 4711, 52 bytes'],
    [
      'may carry TLVs',
      proxyHeader('192.0.2.7', 4711, { more: Buffer.of(3, 0, 1, 65) }),
      '192.0.2.7 4711, 32 bytes',
    ],
    ['ends where it says', Buffer.concat([v4, Buffer.from('CONNECT')]), '192.0.2.7 4711, 28 bytes'],
    ['of a health check', changed(v4, 12, 0x20), 'itself, 28 bytes'],
    ['of a health check without addresses', localHeader(), 'itself, 16 bytes'],
    ['without a byte', Buffer.alloc(0), 'more'],
    ['cut off in its signature', v4.subarray(0, 5), 'more'],
    ['cut off behind its signature', v4.subarray(0, 15), 'more'],
    ['cut off in its addresses', v4.subarray(0, 27), 'more'],
    ['of version 1', Buffer.from('PROXY TCP4 192.0.2.7'), 'there is no PROXY header of version 2'],
    ['that is a request', Buffer.from('CONNECT x:1'), 'there is no PROXY header of version 2'],
    [
      'that begins as a request may',
      Buffer.from('\r\n\r\nG'),
      'there is no PROXY header of version 2',
    ],
    ['of version 3', changed(v4, 12, 0x31), 'the PROXY header has an unknown command'],
    ['with another command', changed(v4, 12, 0x22), 'the PROXY header has an unknown command'],
    ['for a datagram', changed(v4, 13, 0x12), 'the PROXY header names no TCP client'],
    ['for a Unix socket', changed(v4, 13, 0x31), 'the PROXY header names no TCP client'],
    ['for nobody', changed(v4, 13, 0x00), 'the PROXY header names no TCP client'],
    ['that is too short for IPv6', changed(v4, 13, 0x21), 'the PROXY header names no TCP client'],
    ['that is too long', changed(v4, 14, 0x11), 'the PROXY header is too long'],
  ];
  for (const [what, bytes, expected] of cases) {
    test(what, () => assert.equal(outcome(bytes), expected));
  }

  test('is read alike however it comes, and nothing makes it throw', () => {
    const bytes = fc.oneof(
      fc.constantFrom(v4, v6),
      fc
        .tuple(fc.constantFrom(v4, v6), fc.nat(51), fc.nat(255))
        .map(([header, at, value]) => (at < header.length ? changed(header, at, value) : header)),
      fc.uint8Array({ maxLength: 80 }).map((random) => Buffer.from(random)),
    );
    fc.assert(
      fc.property(bytes, fc.nat(80), (whole, cut) => {
        const part = outcome(whole.subarray(0, cut));
        assert.ok(part === 'more' || part === outcome(whole), part);
      }),
    );
  });
});

function localHeader(): Buffer {
  const header = changed(v4, 12, 0x20).subarray(0, 16);
  return changed(changed(header, 15, 0), 13, 0);
}
