import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  type PresentedCredential,
  parseProxyAuthorization,
} from '../../src/identity/proxy-authorization.ts';

const base64 = (text: string): string => Buffer.from(text, 'latin1').toString('base64');
const demo: PresentedCredential = { agentId: 'demo', secret: 'secret' };
const token: PresentedCredential = { agentId: null, secret: 'abc.DEF-1_2~3+4/5==' };

const cases: readonly [what: string, value: string, PresentedCredential | null][] = [
  ['Basic', `Basic ${base64('demo:secret')}`, demo],
  ['basic', `basic ${base64('demo:secret')}`, demo],
  ['bAsIc', `bAsIc ${base64('demo:secret')}`, demo],
  ['two padding characters', `Basic ${base64('demo:secre')}`, { agentId: 'demo', secret: 'secre' }],
  ['no padding', `Basic ${base64('demo:secr')}`, { agentId: 'demo', secret: 'secr' }],
  ['a colon in the secret', `Basic ${base64('demo:a:b')}`, { agentId: 'demo', secret: 'a:b' }],
  ['Bearer', 'Bearer abc.DEF-1_2~3+4/5==', token],
  ['bEARER', 'bEARER abc.DEF-1_2~3+4/5==', token],
  ['nothing', '', null],
  ['a scheme alone', 'Basic', null],
  ['a scheme and a space', 'Basic ', null],
  ['Bearer and a space', 'Bearer ', null],
  ['two spaces', `Basic  ${base64('demo:secret')}`, null],
  ['a tab', `Basic\t${base64('demo:secret')}`, null],
  ['a space before', ` Basic ${base64('demo:secret')}`, null],
  ['a space behind', `Basic ${base64('demo:secret')} `, null],
  ['a line break behind', `Basic ${base64('demo:secret')}\n`, null],
  ['padding left out', `Basic ${base64('demo:secret').replaceAll('=', '')}`, null],
  ['too much padding', `Basic ${base64('demo:secret')}====`, null],
  ['junk in the middle', 'Basic ZGVt!!bzpzZWNyZXQ=', null],
  ['junk behind', 'Basic dTpw!!==', null],
  ['URL-safe alphabet', `Basic ${Buffer.from('demo:???>>>').toString('base64url')}`, null],
  ['bits behind the last character', 'Basic ZGVtbzpzZWNyZXR=', null],
  ['something behind the padding', `Basic ${base64('demo:secret')}AAAA`, null],
  ['no colon', `Basic ${base64('demosecret')}`, null],
  ['an empty agent', `Basic ${base64(':secret')}`, null],
  ['an empty secret', `Basic ${base64('demo:')}`, null],
  ['a NUL', `Basic ${base64('demo:sec\0ret')}`, null],
  ['a line break in the agent', `Basic ${base64('de\r\nmo:secret')}`, null],
  ['DEL', `Basic ${base64('demo:secret\x7f')}`, null],
  ['a byte over 0x7f', `Basic ${base64('demo:s\xe9cret')}`, null],
  ['Digest', 'Digest username="demo"', null],
  ['Negotiate', `Negotiate ${base64('demo:secret')}`, null],
  ['Basics', `Basics ${base64('demo:secret')}`, null],
  ['Bearer with a space', 'Bearer abc def', null],
  ['Bearer with padding inside', 'Bearer ab=c', null],
  ['Bearer with a comma', 'Bearer abc,Basic ZGVtbzpzZWNyZXQ=', null],
  ['Bearer with a line break', 'Bearer abc\n', null],
  ['more than 8 KiB', `Basic ${base64(`demo:${'a'.repeat(6200)}`)}`, null],
  ['more than 8 KiB of Bearer', `Bearer ${'a'.repeat(8190)}`, null],
];

describe('Proxy-Authorization', () => {
  for (const [what, value, expected] of cases) {
    test(what, () => assert.deepEqual(parseProxyAuthorization(value), expected));
  }

  test('what a client encodes is what is read', () => {
    const printable = fc.string({
      unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
      minLength: 1,
      maxLength: 80,
    });
    const agent = printable.filter((text) => !text.includes(':'));
    fc.assert(
      fc.property(agent, printable, (agentId, secret) => {
        const value = `Basic ${base64(`${agentId}:${secret}`)}`;
        assert.deepEqual(parseProxyAuthorization(value), { agentId, secret });
      }),
    );
  });

  test('there is one spelling: no other text is read as the same credential', () => {
    const value = `Basic ${base64('demo:secret')}`;
    fc.assert(
      fc.property(
        fc.nat(value.length),
        fc.nat(1),
        fc.string({ maxLength: 3 }),
        (at, cut, insert) => {
          const other = value.slice(0, at) + insert + value.slice(at + cut);
          fc.pre(other.slice(6) !== value.slice(6) || other.slice(0, 6).toLowerCase() !== 'basic ');
          assert.notDeepEqual(parseProxyAuthorization(other), demo);
        },
      ),
      { numRuns: 2000 },
    );
  });
});
