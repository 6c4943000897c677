import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { InterimFilter } from '../../src/upstream/interim.ts';

const interim = 'HTTP/1.1 100 Continue\r\nX: y\r\n\r\n';

/** What is read of these bytes when they come in pieces of the given lengths. */
function filtered(text: string, lengths: readonly number[]): string {
  const socket = new PassThrough();
  new InterimFilter(socket).expect();
  let seen = '';
  let at = 0;
  for (const length of [...lengths, text.length]) {
    socket.write(Buffer.from(text.slice(at, at + length), 'latin1'));
    at += length;
    for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
      seen += (chunk as Buffer).toString('latin1');
    }
    if (at >= text.length) break;
  }
  return seen;
}

const pieces = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 60 });
const answers = [
  'HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.0 404 No\r\n\r\n',
  'HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
  'HTTP/1.1 1000 X\r\n\r\n',
  'garbage that is long enough',
];

test('100 Continue is skipped however it is cut, and nothing else is touched', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...answers),
      fc.integer({ min: 0, max: 3 }),
      pieces,
      (answer, count, lengths) => {
        assert.equal(filtered(interim.repeat(count) + answer, lengths), answer);
      },
    ),
  );
});

test('it stops skipping after 16 KiB, so that undici refuses the rest', () => {
  const flood = interim.repeat(1000);
  const seen = filtered(flood, []);
  assert.ok(
    seen.startsWith('HTTP/1.1 100 ') && seen.length > flood.length - 17_000,
    seen.slice(0, 40),
  );
});

test('a head that never ends is let through after 16 KiB', () => {
  const endless = `HTTP/1.1 100 ${'a'.repeat(20_000)}`;
  assert.equal(filtered(endless, []), endless);
});
