import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { looksSigned, parseSignedToken } from '../../src/identity/signed-token.ts';
import { encode, TestKey } from '../support/token-issuer.ts';

const key = new TestKey('k', 'ES256');
const header = { alg: 'ES256', kid: 'k' };
const claims = { sub: 'é', exp: 1 };
const token = key.token(claims, header);

test('a token is taken apart', () => {
  const parsed = parseSignedToken(token);
  assert.ok(parsed !== null);
  const { signature, ...rest } = parsed;
  assert.deepEqual(rest, {
    algorithm: 'ES256',
    kid: 'k',
    claims,
    payload: JSON.stringify(claims),
    signed: token.slice(0, token.lastIndexOf('.')),
  });
  assert.equal(signature.length, 64);
});

describe('refused', () => {
  const room = (length: number): string => {
    const rest = key.token({ x: '' }, header).length;
    return key.token({ x: 'x'.repeat(Math.floor(((length - rest) * 3) / 4)) }, header);
  };
  const cases: readonly [string, string][] = [
    ['a fourth part', `${token}.x`],
    ['an empty fourth part', `${token}.`],
    ['two parts', `${encode('{}')}.${encode('{}')}`],
    ['more than 8 KiB', room(8200)],
    ['a kid of 257 characters', key.token(claims, { ...header, kid: 'x'.repeat(257) })],
    ['an empty kid', key.token(claims, { ...header, kid: '' })],
  ];
  for (const [what, text] of cases) {
    test(what, () => assert.equal(parseSignedToken(text), null));
  }

  test('and what is just within', () => {
    assert.notEqual(parseSignedToken(room(8180)), null);
    assert.notEqual(parseSignedToken(key.token(claims, { ...header, kid: 'x'.repeat(256) })), null);
  });
});

describe('looks like one', () => {
  const cases: readonly [string, boolean][] = [
    [token, true],
    [key.token(claims, ' {"alg":"ES256"}'), false],
    ['eyJ.a', false],
    ['eyJ.a.b.c', false],
    ['eyJ..b', false],
    ['sp1.eyJ.x', false],
    ['', false],
  ];
  for (const [text, expected] of cases) {
    test(`${text.slice(0, 12)}: ${expected}`, () => assert.equal(looksSigned(text), expected));
  }
});
