import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { SecretFileError } from '../../src/core/secret-file.ts';
import { authorityPaths, createAuthority, loadAuthority } from '../../src/tls/authority.ts';
import { issueClientCertificate, issueServerCertificate, serverNames } from '../../src/tls/leaf.ts';
import { constraintsFor } from '../../src/tls/name-constraints.ts';
import { finishRotation, isBrokenOff, rotateAuthority } from '../../src/tls/rotation.ts';

const now = Date.now();
const hour = 3_600_000;
const year = 365 * 24 * hour;
let root: string;
let directory: string;
let paths: ReturnType<typeof authorityPaths>;
beforeEach(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-rotation-'));
  directory = path.join(root, 'certs');
  paths = authorityPaths(directory);
});
afterEach(() => fs.rmSync(root, { recursive: true }));

const openssl = (...args: string[]): string =>
  execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

const problem = (message: RegExp) => (error: unknown) =>
  error instanceof SecretFileError && message.test(error.message);

/** Does OpenSSL take this chain of a server or a client, by these roots? */
function accepts(roots: string, chain: string, purpose = 'sslserver'): boolean {
  const [ca, leaf] = [path.join(root, 'roots.pem'), path.join(root, 'chain.pem')];
  fs.writeFileSync(ca, roots);
  fs.writeFileSync(leaf, chain);
  const how = ['-x509_strict', '-purpose', purpose, '-no-CApath', '-no-CAstore'];
  try {
    openssl('verify', ...how, '-CAfile', ca, '-untrusted', leaf, leaf);
    return true;
  } catch {
    return false;
  }
}

function serverChain(at = now, host = 'api.example.com'): string {
  const names = serverNames([host]);
  const authority = loadAuthority(directory);
  assert.ok(authority !== null && typeof names !== 'string');
  return issueServerCertificate(authority, names, at, hour).chain;
}

/** A root as it was made before one could stand below it: no authority may. */
function createEarlierRoot(): string {
  fs.mkdirSync(directory, { recursive: true });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const limits = 'basicConstraints=critical,CA:TRUE,pathlen:0';
  const usage = 'keyUsage=critical,keyCertSign,cRLSign';
  openssl(
    ...['req', '-x509', ...key, '-keyout', paths.key, '-out', paths.certificate, '-days', '90'],
    ...['-subj', '/O=Sallyport/CN=Earlier', '-addext', limits, '-addext', usage],
  );
  fs.chmodSync(paths.key, 0o600);
  assert.match(openssl('x509', '-in', paths.certificate, '-noout', '-text'), /pathlen:0/u);
  return fs.readFileSync(paths.certificate, 'latin1');
}

describe('after a rotation', () => {
  test('both authorities are trusted, the new one signs, and the old key is gone', () => {
    const old = createAuthority(directory, now);
    const oldKey = fs.readFileSync(paths.key, 'utf8');
    const rotated = rotateAuthority(directory, now);
    assert.deepEqual(fs.readdirSync(directory).sort(), ['ca-cross.crt', 'ca.crt', 'ca.key']);
    assert.equal(fs.statSync(paths.key).mode & 0o777, 0o600);
    assert.notEqual(fs.readFileSync(paths.key, 'utf8'), oldKey);
    assert.equal(rotated.pem, fs.readFileSync(paths.certificate, 'latin1'));
    assert.deepEqual(
      rotated.trusted.map(({ fingerprint256 }) => fingerprint256),
      [rotated.certificate.fingerprint256, old.certificate.fingerprint256],
    );
    assert.equal(rotated.overlap?.old.fingerprint256, old.certificate.fingerprint256);
    assert.notEqual(rotated.certificate.subject, old.certificate.subject);
    assert.ok(rotated.certificate.checkPrivateKey(rotated.key));
    assert.ok(!rotated.key.equals(old.key));
  });

  test('the cross certificate ends and begins with the old one, and OpenSSL takes it', () => {
    createAuthority(directory, now - 4 * year);
    const { overlap, certificate } = rotateAuthority(directory, now);
    assert.ok(overlap !== null);
    const { cross, old } = overlap;
    assert.equal(cross.validToDate.getTime(), old.validToDate.getTime());
    assert.ok(certificate.validToDate > old.validToDate);
    assert.equal(cross.validFromDate.getTime(), certificate.validFromDate.getTime());
    assert.ok(accepts(old.toString(), cross.toString(), 'any'));
    const text = openssl('x509', '-in', paths.cross, '-noout', '-text');
    assert.match(text, /Basic Constraints: critical\s+CA:TRUE, pathlen:0\n/u);
    assert.match(text, /Key Usage: critical\s+Certificate Sign, CRL Sign\n/u);
  });

  test('a server is taken by who trusts the old, the new or both, until the overlap ends', () => {
    const old = createAuthority(directory, now).pem;
    const before = serverChain();
    const { certificate } = rotateAuthority(directory, now);
    const [both, chain] = [fs.readFileSync(paths.certificate, 'latin1'), serverChain()];
    assert.equal(chain.match(/BEGIN CERTIFICATE/gu)?.length, 2);
    for (const roots of [old, certificate.toString(), both]) assert.ok(accepts(roots, chain));
    assert.ok(accepts(both, before), 'what the old one has signed goes on working');
    assert.ok(!accepts(certificate.toString(), before));
    finishRotation(directory);
    const after = serverChain();
    assert.ok(accepts(certificate.toString(), after));
    assert.ok(!accepts(old, after));
  });

  test('a client is taken at a listener that trusts the old one, and the other way round', () => {
    const old = createAuthority(directory, now);
    const name = 'spiffe://example.com/agent/demo';
    const before = issueClientCertificate(old, name, now, hour).chain;
    const rotated = rotateAuthority(directory, now);
    const after = issueClientCertificate(rotated, name, now, hour).chain;
    assert.ok(accepts(rotated.pem, before, 'sslclient'));
    assert.ok(accepts(old.pem, after, 'sslclient'));
    assert.ok(accepts(rotated.pem, after, 'sslclient'));
  });

  test('once the cross certificate has ended it is shown no longer', () => {
    createAuthority(directory, now - 4 * year);
    const { overlap, certificate } = rotateAuthority(directory, now);
    const end = overlap?.old.validToDate.getTime() ?? 0;
    assert.ok(serverChain(end - 1000).includes(String(overlap?.cross.toString().trim())));
    assert.ok(serverChain(end).includes(certificate.toString().trim()));
  });

  test('it can be done again, and again', () => {
    createAuthority(directory, now);
    for (let round = 0; round < 3; round++) {
      const before = loadAuthority(directory)?.pem ?? '';
      rotateAuthority(directory, now);
      assert.ok(accepts(before, serverChain()));
      finishRotation(directory);
      assert.deepEqual(fs.readdirSync(directory).sort(), ['ca.crt', 'ca.key']);
    }
  });

  test('of a root below which none may stand, by a new one of the same name', () => {
    const old = createEarlierRoot();
    const { certificate, overlap } = rotateAuthority(directory, now + 1000);
    assert.equal(certificate.subject, overlap?.old.subject);
    const chain = serverChain(now + 1000);
    for (const roots of [old, certificate.toString(), loadAuthority(directory)?.pem ?? '']) {
      assert.ok(accepts(roots, chain));
    }
  });
});

describe('name constraints', () => {
  const limited = constraintsFor(['example.com']) as Buffer;

  test('go over to the new one, unless others are asked for, or none', () => {
    createAuthority(directory, now, limited);
    const kept = rotateAuthority(directory, now);
    assert.deepEqual(kept.constraints?.permitted.hosts, ['example.com']);
    assert.ok(accepts(kept.overlap?.old.toString() ?? '', serverChain()));
    assert.match(openssl('x509', '-in', paths.cross, '-noout', '-text'), /DNS:example\.com/u);
    finishRotation(directory);
    const other = rotateAuthority(directory, now, constraintsFor(['10.0.0.0/8']) as Buffer);
    assert.deepEqual(other.constraints?.permitted.hosts, []);
    assert.equal(other.constraints?.permitted.ranges[0]?.text, '10.0.0.0/8');
    finishRotation(directory);
    assert.equal(rotateAuthority(directory, now, null).constraints, null);
  });
});

describe('a rotation that was broken off', () => {
  /** As it is once everything but the new key is in place. */
  function breakOff(): { old: string; oldKey: string } {
    const old = createAuthority(directory, now).certificate.fingerprint256;
    const oldKey = fs.readFileSync(paths.key, 'utf8');
    rotateAuthority(directory, now);
    fs.renameSync(paths.key, paths.next);
    fs.writeFileSync(paths.key, oldKey, { mode: 0o600 });
    return { old, oldKey };
  }

  test('leaves the old authority in force, and is taken to its end by the next one', () => {
    const { old } = breakOff();
    assert.equal(isBrokenOff(directory), true);
    const between = loadAuthority(directory);
    assert.equal(between?.certificate.fingerprint256, old);
    assert.equal(between?.overlap, null);
    const chain = serverChain();
    for (const root of between?.trusted.slice(1) ?? []) assert.ok(accepts(root.toString(), chain));
    assert.throws(() => finishRotation(directory), problem(/broken off.*`sallyport ca rotate`/u));
    const first = between?.trusted[0]?.fingerprint256;
    const rotated = rotateAuthority(directory, now);
    assert.equal(rotated.certificate.fingerprint256, first);
    assert.equal(rotated.overlap?.old.fingerprint256, old);
    assert.equal(isBrokenOff(directory), false);
  });

  for (const [what, undo] of [
    ['before the certificate', (pem: string) => fs.writeFileSync(paths.certificate, pem)],
    [
      'before the cross certificate',
      (pem: string) => {
        fs.writeFileSync(paths.certificate, pem);
        fs.rmSync(paths.cross);
      },
    ],
  ] as const) {
    test(`${what} has changed nothing, and the next one begins anew`, () => {
      const { old } = breakOff();
      const between = loadAuthority(directory);
      undo(between?.certificate.toString() ?? '');
      assert.equal(loadAuthority(directory)?.certificate.fingerprint256, old);
      assert.equal(loadAuthority(directory)?.overlap, null);
      const rotated = rotateAuthority(directory, now);
      assert.notEqual(rotated.certificate.fingerprint256, between?.trusted[0]?.fingerprint256);
      assert.equal(rotated.overlap?.old.fingerprint256, old);
      assert.ok(accepts(between?.certificate.toString() ?? '', serverChain()));
    });
  }

  test('with a key that belongs to nothing does not make the second certificate the authority', () => {
    const { oldKey } = breakOff();
    fs.rmSync(paths.next);
    assert.throws(() => loadAuthority(directory), problem(/do not belong together/u));
    fs.writeFileSync(paths.next, oldKey, { mode: 0o600 });
    assert.throws(() => loadAuthority(directory), problem(/do not belong together/u));
  });

  test('at its end: a cross certificate whose issuer nobody trusts stands for nothing', () => {
    createAuthority(directory, now);
    rotateAuthority(directory, now);
    const cross = fs.readFileSync(paths.cross);
    finishRotation(directory);
    fs.writeFileSync(paths.cross, cross);
    assert.equal(loadAuthority(directory)?.overlap, null);
    finishRotation(directory);
    assert.equal(fs.existsSync(paths.cross), false);
  });
});

test('who looks while it goes on finds an authority that is whole', async () => {
  createAuthority(directory, now);
  const module = path.resolve(import.meta.dirname, '../../src/tls/rotation.ts');
  const script = `
    const { rotateAuthority, finishRotation } = await import(process.argv[1]);
    for (let round = 0; round < 30; round++) {
      rotateAuthority(process.argv[2], ${now});
      finishRotation(process.argv[2]);
    }`;
  const argv = ['--input-type=module', '-e', script, module, directory];
  const child = spawn(process.execPath, argv, { stdio: 'inherit' });
  let ended = false;
  const exit = once(child, 'exit').finally(() => {
    ended = true;
  });
  const seen = new Set<string>();
  while (!ended) {
    const authority = loadAuthority(directory);
    assert.ok(authority !== null);
    assert.ok(authority.certificate.checkPrivateKey(authority.key));
    seen.add(authority.certificate.fingerprint256);
    await setImmediate();
  }
  assert.deepEqual(await exit, [0, null]);
  assert.ok(seen.size > 2, `${seen.size} authorities were seen`);
});

describe('is refused', () => {
  test('where there is no authority', () => {
    assert.throws(() => rotateAuthority(directory, now), problem(/`sallyport ca init` makes one/u));
  });

  test('while an overlap lasts, and not when the old one has ended', () => {
    createAuthority(directory, now - 4 * year);
    const first = rotateAuthority(directory, now);
    const key = fs.readFileSync(paths.key, 'utf8');
    assert.throws(
      () => rotateAuthority(directory, now),
      problem(/overlap lasts already, until .*`sallyport ca rotate --finish`/u),
    );
    assert.equal(fs.readFileSync(paths.key, 'utf8'), key);
    const later = (first.overlap?.old.validToDate.getTime() ?? 0) + 1000;
    const second = rotateAuthority(directory, later);
    assert.equal(second.overlap?.old.fingerprint256, first.certificate.fingerprint256);
    assert.equal(second.trusted.length, 2, 'what has ended is trusted no longer');
  });

  test('once the authority has ended', () => {
    createAuthority(directory, now - 6 * year);
    assert.throws(() => rotateAuthority(directory, now), problem(/ended .*`sallyport ca init`/u));
  });

  test('while somebody else does it', () => {
    createAuthority(directory, now);
    fs.writeFileSync(`${paths.key}.lock`, '');
    assert.throws(() => rotateAuthority(directory, now), problem(/remove .*ca\.key\.lock/u));
    assert.deepEqual(fs.readdirSync(directory).sort(), ['ca.crt', 'ca.key', 'ca.key.lock']);
  });

  test('to end what has not begun', () => {
    createAuthority(directory, now);
    assert.throws(() => finishRotation(directory), problem(/no overlap to end/u));
  });
});
