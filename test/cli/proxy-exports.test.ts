import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { proxyExports, reachableHost, shellQuote } from '../../src/cli/proxy-exports.ts';

const sh = (script: string): string =>
  execFileSync('sh', ['-eu', '-c', script], { encoding: 'utf8', env: { PATH: '/usr/bin:/bin' } });

describe('proxyExports', () => {
  test('sets what the tools read, in a POSIX shell', () => {
    const lines = proxyExports('demo', 'sp1.abc-_.def', {
      scheme: 'http',
      host: '127.0.0.1',
      port: 3128,
    });
    const url = 'http://demo:sp1.abc-_.def@127.0.0.1:3128';
    const names = [
      'HTTP_PROXY',
      'HTTPS_PROXY',
      'http_proxy',
      'https_proxy',
      'NO_PROXY',
      'no_proxy',
      'NODE_USE_ENV_PROXY',
    ];
    const printed = sh(`${lines}${names.map((name) => `printf '%s\\n' "$${name}"`).join('\n')}`);
    const local = 'localhost,127.0.0.1,::1';
    assert.deepEqual(printed.split('\n'), [url, url, url, url, local, local, '1', '']);
    assert.match(sh(`${lines}env`), /^https_proxy=http:/mu, 'exported, not only set');
  });

  test('puts brackets round IPv6', () => {
    const lines = proxyExports('demo', 'x', { scheme: 'https', host: '2001:db8::1', port: 3130 });
    assert.match(lines, /^export HTTPS_PROXY='https:\/\/demo:x@\[2001:db8::1\]:3130'$/mu);
  });

  test('a wildcard listener is reached on loopback', () => {
    for (const [host, expected] of [
      ['0.0.0.0', '127.0.0.1'],
      ['::', '127.0.0.1'],
      ['::1', '::1'],
      ['10.0.0.7', '10.0.0.7'],
      ['proxy.internal', 'proxy.internal'],
    ] as const) {
      assert.equal(reachableHost(host), expected);
    }
  });
});

test('shellQuote: the shell reads back any text', () => {
  const texts = fc
    .sample(fc.string({ unit: 'grapheme', maxLength: 30 }), 100)
    .map((text) => text.replaceAll('\0', ''));
  const all = [`it's`, `$(id)`, '`id`', '"', '\\', `';id;'`, '!x', ...texts];
  const printed = sh(`printf '%s\\036' ${all.map(shellQuote).join(' ')}`);
  assert.deepEqual(
    printed.split('\x1e').slice(0, -1),
    all.map((text) => text.toWellFormed()),
  );
});
