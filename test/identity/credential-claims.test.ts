import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type CredentialClaims, issuedMs } from '../../src/identity/credential-claims.ts';

const second = Date.UTC(2026, 10, 22, 12);
const claims = (id: string): CredentialClaims => ({
  id,
  agent: 'demo',
  issuedAt: second / 1000,
  expiresAt: second / 1000 + 60,
  task: undefined,
  requestedBy: undefined,
  only: undefined,
  hosts: undefined,
});

/** A ULID of that millisecond. */
function idOf(ms: number): string {
  let text = '';
  for (let rest = ms; text.length < 10; rest = Math.floor(rest / 32)) {
    text = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'.charAt(rest % 32) + text;
  }
  return `${text}0000000000000000`;
}

/** Ms of the id, and when the credential counts as made. */
const cases: readonly (readonly [what: string, made: number, expected: number])[] = [
  ['its millisecond', second + 500, second + 500],
  ['the first of its second', second, second],
  ['the last of its second', second + 999, second + 999],
  ['a time much later', second + 9_000_000, second],
  ['a time much earlier', second - 9_000_000, second],
];

describe('a credential was made when its id says so', () => {
  for (const [what, made, expected] of cases) {
    test(what, () => assert.equal(issuedMs(claims(idOf(made))), expected));
  }
});
