import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import tls from 'node:tls';
import { TestAuthority } from './certificates.ts';
import { echo, startTlsOrigin } from './origins.ts';

const authority = new TestAuthority();

describe('a test certificate', () => {
  test('says for whom it is', () => {
    const { cert } = authority.issue(['a.test', '*.b.test', '93.184.215.14', '2606:4700::1111'], {
      uris: ['spiffe://example.com/agent/demo'],
    });
    const read = new X509Certificate(cert);
    assert.equal(read.checkHost('a.test'), 'a.test');
    assert.equal(read.checkHost('x.b.test'), '*.b.test');
    assert.equal(read.checkHost('b.test'), undefined);
    assert.equal(read.checkIP('93.184.215.14'), '93.184.215.14');
    assert.equal(read.checkIP('2606:4700::1111'), '2606:4700::1111');
    assert.match(read.subjectAltName ?? '', /URI:spiffe:\/\/example\.com\/agent\/demo/);
    assert.equal(read.ca, false);
  });

  test('is signed by its authority and by no other', () => {
    const { cert } = authority.issue(['a.test']);
    assert.equal(authority.signed(cert), true);
    assert.equal(new TestAuthority().signed(cert), false);
    assert.equal(new X509Certificate(authority.cert).ca, true);
  });

  const cases: [why: string, names: string[], notAfter: number, trusted: boolean, code: string][] =
    [
      ['good', ['a.test'], Date.now() + 60_000, true, ''],
      ['expired', ['a.test'], Date.now() - 60_000, true, 'CERT_HAS_EXPIRED'],
      ['for another name', ['b.test'], Date.now() + 60_000, true, 'ERR_TLS_CERT_ALTNAME_INVALID'],
      [
        'from a stranger',
        ['a.test'],
        Date.now() + 60_000,
        false,
        'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      ],
    ];
  for (const [why, names, notAfter, trusted, code] of cases) {
    test(`that is ${why} is judged by TLS accordingly`, async () => {
      await using origin = await startTlsOrigin({}, authority.issue(names, { notAfter }), echo);
      const ca = trusted ? authority.cert : new TestAuthority().cert;
      const client = tls.connect({ port: origin.port, servername: 'a.test', ca });
      const outcome = await Promise.race([
        once(client, 'secureConnect').then(() => ''),
        once(client, 'close').then(() => 'closed'),
      ]).catch((error: NodeJS.ErrnoException) => error.code);
      client.destroy();
      assert.equal(outcome, code);
    });
  }
});
