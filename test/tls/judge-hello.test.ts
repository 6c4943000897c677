import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { parseIp } from '../../src/core/ip.ts';
import { ClientHelloParser } from '../../src/tls/client-hello.ts';
import { type HelloVerdict, judgeHello } from '../../src/tls/judge-hello.ts';
import {
  chromiumHello,
  clientHello,
  type EchOptions,
  echInner,
  echOuter,
  type HelloOptions,
  serverNameList,
} from '../support/client-hello.ts';

const host = 'good.example.test';

function judge(bytes: Buffer, target: string): HelloVerdict {
  const result = new ClientHelloParser().push(bytes);
  assert.ok(result.state === 'hello', JSON.stringify(result));
  return judgeHello(result.hello, { host: target, ip: parseIp(target) });
}

describe('the name', () => {
  const cases: readonly [string, HelloOptions['sni'], HelloVerdict][] = [
    ['equal', host, 'ok'],
    ['equal after folding', 'GOOD.Example.TEST', 'ok'],
    ['none', null, 'sni_missing'],
    ['another', 'evil.example.test', 'sni_mismatch'],
    ['a name below', 'a.good.example.test', 'sni_mismatch'],
    ['a name above', 'example.test', 'sni_mismatch'],
    ['a trailing dot', `${host}.`, 'sni_mismatch'],
    ['a NUL and more', `${host}\0.evil.test`, 'sni_mismatch'],
    ['a NUL', `${host}\0`, 'sni_mismatch'],
    ['a line break', `${host}\r\nX: y`, 'sni_mismatch'],
    ['a space', ` ${host}`, 'sni_mismatch'],
    ['UTF-8', Buffer.from('göod.example.test'), 'sni_mismatch'],
    ['the Kelvin sign', Buffer.from('\u212A.example.test'), 'sni_mismatch'],
    ['300 bytes', 'a'.repeat(300), 'sni_mismatch'],
    ['empty', '', 'sni_mismatch'],
    ['two, the right one first', [host, 'evil.test'], 'sni_mismatch'],
    ['two, the right one last', ['evil.test', host], 'sni_mismatch'],
    ['twice the same', [host, host], 'sni_mismatch'],
    ['an empty list', { raw: Buffer.from('0000', 'hex') }, 'sni_mismatch'],
    ['of another type', { raw: serverNameList([1, Buffer.from(host)]) }, 'sni_mismatch'],
    [
      'with another type behind it',
      { raw: serverNameList([0, Buffer.from(host)], [7, Buffer.from('x')]) },
      'sni_mismatch',
    ],
  ];
  for (const [what, sni, verdict] of cases) {
    test(what, () => assert.equal(judge(clientHello({ sni: sni ?? null }), host), verdict));
  }
});

describe('an IP literal as target', () => {
  for (const target of ['192.0.2.7', '2001:db8::7']) {
    test(`${target} without SNI`, () => assert.equal(judge(clientHello(), target), 'ok'));
    test(`${target} with its own text as SNI`, () =>
      assert.equal(judge(clientHello({ sni: target }), target), 'sni_mismatch'));
    test(`${target} with a name`, () =>
      assert.equal(judge(clientHello({ sni: host }), target), 'sni_mismatch'));
    test(`${target} with an empty list`, () =>
      assert.equal(
        judge(clientHello({ sni: { raw: Buffer.from('0000', 'hex') } }), target),
        'sni_mismatch',
      ));
    test(`${target} with GREASE ECH`, () =>
      assert.equal(judge(clientHello({ ech: echOuter() }), target), 'ok'));
  }
});

describe('Encrypted Client Hello', () => {
  test('a Chromium page passes', () => assert.equal(judge(chromiumHello(host), host), 'ok'));

  for (const length of [144, 176, 208, 240, 239]) {
    for (const aead of [0x0001, 0x0003]) {
      test(`GREASE of ${length} bytes, AEAD ${aead}`, () => {
        const ech = echOuter({ aead, payload: randomBytes(length) });
        assert.equal(judge(clientHello({ sni: host, ech }), host), 'ok');
      });
    }
  }

  const odd: readonly [string, EchOptions][] = [
    ['a payload between the sizes', { payload: randomBytes(160) }],
    ['a payload below the sizes', { payload: randomBytes(112) }],
    ['a payload above the sizes', { payload: randomBytes(272) }],
    ['no payload', { payload: Buffer.alloc(0) }],
    ['another KDF', { kdf: 0x0002 }],
    ['AES-256-GCM', { aead: 0x0002 }],
    ['a P-256 key', { enc: randomBytes(65) }],
    ['no key', { enc: Buffer.alloc(0) }],
  ];
  for (const [what, options] of odd) {
    test(`in no shape of GREASE: ${what}`, () =>
      assert.equal(judge(clientHello({ sni: host, ech: echOuter(options) }), host), 'ech_refused'));
  }

  const refused: readonly [string, HelloOptions, string][] = [
    ['beside the public name', { sni: 'public.example.net', ech: echOuter() }, host],
    ['beside an IP literal', { sni: 'public.example.net', ech: echOuter() }, '192.0.2.7'],
    [
      'towards a name that hides others',
      { sni: 'cloudflare-ech.com', ech: echOuter() },
      'cloudflare-ech.com',
    ],
    ['of type inner', { sni: host, ech: echInner() }, host],
    ['empty', { sni: host, ech: Buffer.alloc(0) }, host],
    [
      'with bytes behind it',
      { sni: host, ech: Buffer.concat([echOuter(), Buffer.alloc(1)]) },
      host,
    ],
    ['cut short', { sni: host, ech: echOuter().subarray(0, 100) }, host],
    ['in a TLS 1.2 hello', { sni: host, ech: echOuter(), versions: null }, host],
    ['the older ESNI', { sni: host, esni: true }, host],
    ['the older ESNI beside GREASE', { sni: host, esni: true, ech: echOuter() }, host],
    [
      'the older ESNI before GREASE',
      {
        sni: host,
        extra: [
          [0xffce, Buffer.alloc(8)],
          [0xfe0d, echOuter()],
        ],
      },
      host,
    ],
    ['the older ESNI without SNI', { esni: true }, host],
  ];
  for (const [what, options, target] of refused) {
    test(what, () => assert.equal(judge(clientHello(options), target), 'ech_refused'));
  }

  test('GREASE without SNI is a missing name', () =>
    assert.equal(judge(clientHello({ ech: echOuter() }), host), 'sni_missing'));
});
