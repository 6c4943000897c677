import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { classifyServerHello, type ServerOpening } from '../../src/tls/server-hello.ts';
import { clientHello, record, retryRandom, serverHello } from '../support/client-hello.ts';

const alert = Buffer.from('15030300020228', 'hex');
const almostRetry = Buffer.from(retryRandom);
almostRetry[31] = 0;

const cases: readonly [string, Buffer, ServerOpening, decidedAt: number][] = [
  ['a ServerHello', serverHello(), 'server_hello', 43],
  ['a retry', serverHello(retryRandom), 'retry', 43],
  ['a random that is nearly the one of a retry', serverHello(almostRetry), 'server_hello', 43],
  ['a retry in records of ten bytes', serverHello(retryRandom, 10), 'retry', 38 + 4 * 5],
  ['a retry in records of one byte', serverHello(retryRandom, 1), 'retry', 38 * 6],
  ['an alert', alert, 'alert', 5],
  ['HTTP', Buffer.from('HTTP/1.1 200 OK'), 'not_tls', 1],
  ['SSH', Buffer.from('SSH-2.0-x'), 'not_tls', 1],
  ['application data', record(Buffer.from('x'), 0x17), 'not_tls', 1],
  ['an alert of SSL 2', Buffer.from('150200', 'hex'), 'not_tls', 2],
  ['record version 4', Buffer.from('160400', 'hex'), 'not_tls', 2],
  ['an empty record', record(Buffer.alloc(0)), 'not_tls', 5],
  ['a record over 2^14', Buffer.from('160303400102', 'hex'), 'not_tls', 5],
  ['a ClientHello', clientHello({ sni: 'a.test' }), 'not_tls', 6],
  [
    'an alert between two fragments',
    Buffer.concat([
      serverHello().subarray(0, 3),
      Buffer.from([0, 4]),
      serverHello().subarray(5, 9),
      alert,
    ]),
    'not_tls',
    10,
  ],
];

for (const [what, bytes, opening, decidedAt] of cases) {
  test(`${what}: ${opening} after ${decidedAt} bytes, not before`, () => {
    assert.equal(classifyServerHello(bytes), opening);
    for (let length = 0; length < decidedAt; length++) {
      assert.equal(classifyServerHello(bytes.subarray(0, length)), 'more', `${length} bytes`);
    }
    assert.equal(classifyServerHello(bytes.subarray(0, decidedAt)), opening);
  });
}

describe('whatever comes', () => {
  test('never throws, and a decision stands whatever follows', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.uint8Array({ maxLength: 100 }).map((body) => record(Buffer.from([2, ...body]))),
    );
    fc.assert(
      fc.property(bytes, fc.uint8Array({ maxLength: 20 }), (first, second) => {
        const opening = classifyServerHello(Buffer.from(first));
        if (opening === 'more') return;
        assert.equal(classifyServerHello(Buffer.concat([first, second])), opening);
      }),
    );
  });
});
