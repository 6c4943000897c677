import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Ip, parseIp } from '../../src/core/ip.ts';
import { interleave } from '../../src/upstream/interleave.ts';

const ips = (text: string): Ip[] =>
  text === '' ? [] : text.split(' ').map((ip) => parseIp(ip) as Ip);

describe('interleave', () => {
  const cases: readonly [given: string, expected: string][] = [
    ['', ''],
    ['192.0.2.1', '192.0.2.1'],
    ['192.0.2.2 192.0.2.1', '192.0.2.2 192.0.2.1'],
    ['::2 ::1', '::2 ::1'],
    ['192.0.2.1 ::1', '::1 192.0.2.1'],
    ['192.0.2.1 192.0.2.2 192.0.2.3 ::1', '::1 192.0.2.1 192.0.2.2 192.0.2.3'],
    ['192.0.2.1 ::2 ::3 ::1', '::2 192.0.2.1 ::3 ::1'],
    ['192.0.2.1 192.0.2.2 ::1 ::2', '::1 192.0.2.1 ::2 192.0.2.2'],
  ];
  for (const [given, expected] of cases) {
    it(`${given} → ${expected}`, () => {
      const order = interleave(ips(given)).map((ip) => ip.text);
      assert.equal(order.join(' '), expected);
    });
  }
});
