import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { javaOptions, javaTrustStore } from '../../src/cli/java-trust-store.ts';
import { TestAuthority } from '../support/certificates.ts';
import { missingClient, searchPath } from '../support/client-lab.ts';

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-jks \'a "b '));
after(() => fs.rmSync(directory, { recursive: true }));
const pems = [new TestAuthority('one').cert, new TestAuthority('two').cert];
const now = Date.UTC(2026, 10, 28, 12);
const proxy = { scheme: 'http', host: '127.0.0.1', port: 3128 } as const;

/** The store as its format is described, read a byte at a time. */
function readStore(store: Buffer): { alias: string; made: number; type: string; der: Buffer }[] {
  let at = 0;
  const take = (length: number) => {
    at += length;
    return store.subarray(at - length, at);
  };
  const number = (length: number) => [...take(length)].reduce((sum, byte) => sum * 256 + byte, 0);
  const text = () => take(number(2)).toString('latin1');
  assert.equal(number(4), 0xfeedfeed);
  assert.equal(number(4), 2);
  const entries = Array.from({ length: number(4) }, () => {
    assert.equal(number(4), 2, 'an entry that is trusted');
    return { alias: text(), made: number(8), type: text(), der: take(number(4)) };
  });
  const password = Buffer.from([...'changeit'].flatMap((letter) => [0, letter.charCodeAt(0)]));
  const salted = [password, Buffer.from('Mighty Aphrodite'), store.subarray(0, at)];
  assert.deepEqual(take(20), createHash('sha1').update(Buffer.concat(salted)).digest());
  assert.equal(at, store.length);
  return entries;
}

test('a store holds the certificates, each under a name of its own', () => {
  const entries = readStore(javaTrustStore(pems, now));
  assert.deepEqual(
    entries.map(({ der }) => der),
    pems.map((pem) => new X509Certificate(pem).raw),
  );
  assert.equal(new Set(entries.map(({ alias }) => alias)).size, 2);
  for (const { made, type } of entries) assert.deepEqual([made, type], [now, 'X.509']);
});

test('an empty one', () => assert.deepEqual(readStore(javaTrustStore([], now)), []));

describe('Java reads', () => {
  const file = path.join(directory, 'ca-trust.jks');
  const run = (command: string, args: readonly string[], env = {}): string =>
    execFileSync(command, args, {
      encoding: 'utf8',
      env: { PATH: searchPath, LC_ALL: 'C', HOME: directory, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });

  test('the store', { skip: missingClient('keytool') && 'no Java here' }, () => {
    fs.writeFileSync(file, javaTrustStore(pems, now));
    const said = run('keytool', ['-list', '-keystore', file, '-storepass', 'changeit']);
    assert.match(said, /contains 2 entries/u);
    for (const pem of pems) assert.ok(said.includes(new X509Certificate(pem).fingerprint256));
    const spoilt = javaTrustStore(pems, now);
    spoilt.writeUInt8(spoilt.readUInt8(40) ^ 1, 40);
    fs.writeFileSync(file, spoilt);
    assert.throws(() => run('keytool', ['-list', '-keystore', file, '-storepass', 'changeit']));
  });

  test('the options, whatever the path has in it', {
    skip: missingClient('java') && 'no Java here',
  }, () => {
    const options = javaOptions(file, proxy);
    const env = { JAVA_TOOL_OPTIONS: options };
    const all = execFileSync('sh', ['-c', 'java -XshowSettings:properties -version 2>&1'], {
      encoding: 'utf8',
      env: { PATH: searchPath, LC_ALL: 'C', ...env },
    });
    assert.ok(all.includes(`javax.net.ssl.trustStore = ${file}\n`), all);
    assert.match(all, /https\.proxyPort = 3128\n/u);
    assert.match(all, /http\.nonProxyHosts = localhost\|127\.0\.0\.1\|\[::1\]\n/u);
  });
});
