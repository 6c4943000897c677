import assert from 'node:assert/strict';
import { Resolver } from 'node:dns';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseServer } from '../../src/upstream/server-address.ts';

describe('parseServer', () => {
  const good: readonly [text: string, expected: string][] = [
    ['192.0.2.1', '192.0.2.1'],
    ['192.0.2.1:5353', '192.0.2.1:5353'],
    ['192.0.2.1:65535', '192.0.2.1:65535'],
    ['2001:DB8::1', '2001:db8::1'],
    ['::1', '::1'],
    ['[2001:db8::1]', '[2001:db8::1]'],
    ['[2001:db8::1]:1', '[2001:db8::1]:1'],
  ];
  for (const [text, expected] of good) {
    it(`accepts ${text}`, () => {
      assert.equal(parseServer(text), expected);
      assert.doesNotThrow(() => new Resolver().setServers([expected]));
    });
  }

  const bad = [
    '',
    ' ',
    'dns.test',
    'localhost:53',
    '127.1',
    '0177.0.0.1',
    '192.0.2.1:',
    '192.0.2.1:0',
    '192.0.2.1:053',
    '192.0.2.1:+53',
    '192.0.2.1:0x35',
    '192.0.2.1:65536',
    '192.0.2.1 ',
    '192.0.2.1:53\n',
    '[192.0.2.1]:53',
    '[2001:db8::1',
    '[2001:db8::1]53',
    '[]:53',
    '[:53',
    'fe80::1%eth0',
    '2001:db8::1]:53',
  ];
  for (const text of bad) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseServer(text), null));
  }

  it('accepts nothing that node:dns does not, and its own result again', () => {
    const address = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.ipV6().map((ip) => `[${ip}]`),
      fc.string(),
    );
    const port = fc.oneof(
      fc.constant(''),
      fc.integer({ min: -1, max: 70_000 }).map((n) => `:${n}`),
    );
    fc.assert(
      fc.property(address, port, (host, suffix) => {
        const server = parseServer(host + suffix);
        if (server === null) return;
        assert.equal(parseServer(server), server);
        assert.doesNotThrow(() => new Resolver().setServers([server]));
      }),
    );
  });
});
