import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pemBlocks } from '../../src/tls/pem.ts';
import { pem } from '../support/certificate-zoo.ts';

const one = Buffer.from('one');
const two = Buffer.alloc(48, 2);

describe('blocks', () => {
  const cases: readonly [string, string, Buffer[]][] = [
    ['none', 'text', []],
    ['one', pem('X', one), [one]],
    ['several, with text around', `a\n${pem('X', one)}b\n${pem('X', two)}c`, [one, two]],
    ['of other labels', `${pem('Y', one)}${pem('X', two)}`, [two]],
    ['without an end', pem('X', one) + pem('X', two).slice(0, -10), [one]],
    ['with line ends of another system', pem('X', two).replaceAll('\n', '\r\n'), [two]],
  ];
  for (const [what, text, expected] of cases) {
    test(what, () => assert.deepEqual(pemBlocks(text, 'X'), expected));
  }
});
