import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { InjectionScheme } from '../../src/policy/injection.ts';
import { injectedValue } from '../../src/proxy/injected-value.ts';

const cases: readonly [what: string, scheme: InjectionScheme, secret: string, value: string][] = [
  ['a bearer', { kind: 'template', value: 'Bearer {secret}' }, 'abc', 'Bearer abc'],
  ['alone', { kind: 'template', value: '{secret}' }, 'abc', 'abc'],
  ['twice', { kind: 'template', value: 'a={secret},b={secret}' }, 'x', 'a=x,b=x'],
  [
    'with dollar signs',
    { kind: 'template', value: 'Bearer {secret}!' },
    "$&$1$`$'$$",
    "Bearer $&$1$`$'$$!",
  ],
  ['that looks like the template', { kind: 'template', value: '{secret}' }, '{secret}', '{secret}'],
  [
    'Basic',
    { kind: 'basic', user: 'Aladdin' },
    'open sesame',
    'Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==',
  ],
  ['Basic without a user', { kind: 'basic', user: '' }, 'x', 'Basic Ong='],
  ['Basic with a user beyond ASCII', { kind: 'basic', user: 'é' }, 'x', 'Basic w6k6eA=='],
];
for (const [what, scheme, secret, value] of cases) {
  test(what, () => assert.equal(injectedValue(scheme, secret), value));
}
