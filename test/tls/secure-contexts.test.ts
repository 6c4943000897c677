import assert from 'node:assert/strict';
import type { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, isIP, Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import tls from 'node:tls';
import { type Authority, createAuthority } from '../../src/tls/authority.ts';
import { constraintsFor } from '../../src/tls/name-constraints.ts';
import { rotateAuthority } from '../../src/tls/rotation.ts';
import { SecureContexts } from '../../src/tls/secure-contexts.ts';
import { ManualClock } from '../support/manual-clock.ts';

const hour = 3_600_000;
const day = 24 * hour;
const directory = mkdtempSync(path.join(os.tmpdir(), 'sallyport-contexts-'));
after(() => rmSync(directory, { recursive: true }));
const start = Date.now();
const authority: Authority = createAuthority(directory, start);

function clockAt(ms: number): ManualClock {
  const clock = new ManualClock();
  clock.advance(ms - clock.now());
  return clock;
}

/** A connection to whoever stands in for the host, from a client that trusts the authority. */
async function open(
  contexts: SecureContexts,
  host: string,
  asked = host,
  ca = authority.pem,
  rejectUnauthorized = true,
): Promise<tls.TLSSocket> {
  const server = createServer((socket) => {
    const secure = contexts.terminate(host, socket, Buffer.alloc(0), {
      done: () => secure?.pipe(secure),
      failed: () => socket.destroy(),
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const named = isIP(asked) === 0 ? { servername: asked } : {};
  const secure = tls.connect({ socket, host: asked, ...named, ca, rejectUnauthorized });
  secure.once('close', () => server.close());
  await once(secure, 'secureConnect');
  return secure;
}

async function certificateOf(
  contexts: SecureContexts,
  host: string,
  ca = authority.pem,
): Promise<X509Certificate> {
  const secure = await open(contexts, host, host, ca);
  const certificate = secure.getPeerX509Certificate();
  secure.destroy();
  assert.ok(certificate);
  return certificate;
}

async function serialOf(contexts: SecureContexts, host: string): Promise<string> {
  return (await certificateOf(contexts, host)).serialNumber;
}

describe('a leaf', () => {
  const contexts = new SecureContexts({ authority, clock: clockAt(start) });
  const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.example`;

  for (const [host, name] of [
    ['api.example.com', 'DNS:api.example.com'],
    ['xn--bcher-kva.example', 'DNS:xn--bcher-kva.example'],
    ['a_b.example', 'DNS:a_b.example'],
    [long, `DNS:${long}`],
    ['192.0.2.7', 'IP Address:192.0.2.7'],
    ['2001:db8::1', 'IP Address:2001:DB8:0:0:0:0:0:1'],
  ] as const) {
    test(`is for ${host} and nothing else, and clients take it`, async () => {
      const certificate = await certificateOf(contexts, host);
      assert.equal(certificate.subjectAltName, name);
      assert.equal(certificate.ca, false);
      assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1']);
      assert.ok(certificate.verify(authority.certificate.publicKey));
      assert.match(certificate.serialNumber, /^[4-7][0-9A-F]{31}$/u);
      const from = certificate.validFromDate.getTime();
      const to = certificate.validToDate.getTime();
      assert.ok(from <= start - hour && from > start - hour - 2000, certificate.validFrom);
      assert.ok(to <= start + day && to > start + day - 2000, certificate.validTo);
    });
  }

  test('of one host is not taken for another', async () => {
    const code = 'ERR_TLS_CERT_ALTNAME_INVALID';
    await assert.rejects(open(contexts, 'api.example.com', 'other.example.com'), { code });
  });

  test('does not outlive its authority', async () => {
    const end = authority.certificate.validToDate.getTime();
    const late = new SecureContexts({ authority, clock: clockAt(end - hour) });
    // It is of another year than this one: nobody can verify it now, and its dates can be read.
    const secure = await open(late, 'a.example', 'a.example', undefined, false);
    assert.equal(secure.getPeerX509Certificate()?.validToDate.getTime(), end);
    secure.destroy();
  });

  test('is minted once, and all have one key', async () => {
    const one = await certificateOf(contexts, 'api.example.com');
    const again = await certificateOf(contexts, 'api.example.com');
    const other = await certificateOf(contexts, 'www.example.com');
    assert.equal(one.serialNumber, again.serialNumber);
    assert.notEqual(one.serialNumber, other.serialNumber);
    assert.ok(one.publicKey.equals(other.publicKey));
  });
});

describe('a store of contexts', () => {
  test('renews a leaf long before it ends', async () => {
    const clock = clockAt(start - 13 * hour);
    const contexts = new SecureContexts({ authority, clock });
    const first = await serialOf(contexts, 'a.example');
    clock.advance(11 * hour);
    assert.equal(await serialOf(contexts, 'a.example'), first);
    clock.advance(2 * hour);
    assert.notEqual(await serialOf(contexts, 'a.example'), first);
  });

  test('has nothing for a host that the authority may not sign for', async () => {
    const home = path.join(directory, 'limited');
    const limited = createAuthority(home, start, constraintsFor(['a.example']) as Buffer);
    const contexts = new SecureContexts({ authority: limited, clock: clockAt(start) });
    const waiter = { done: () => undefined, failed: () => undefined };
    assert.equal(contexts.permits('b.example'), false);
    assert.equal(contexts.terminate('b.example', new Socket(), Buffer.alloc(0), waiter), null);
    assert.equal(contexts.permits('x.a.example'), true);
    assert.equal(
      (await certificateOf(contexts, 'x.a.example', limited.pem)).subjectAltName,
      'DNS:x.a.example',
    );
  });

  test('shows what makes its authority one, while that takes over from another and no longer', async () => {
    const home = path.join(directory, 'rotated');
    const year = 365 * day;
    const old = createAuthority(home, start - 5 * year + hour);
    const rotated = rotateAuthority(home, start - 13 * hour);
    const clock = clockAt(start - 13 * hour);
    const contexts = new SecureContexts({ authority: rotated, clock });
    const chain = async (roots: string): Promise<(string | undefined)[]> => {
      const secure = await open(contexts, 'a.example', 'a.example', roots);
      const { serialNumber, issuerCertificate } = secure.getPeerX509Certificate() ?? {};
      secure.destroy();
      return [serialNumber, issuerCertificate?.serialNumber];
    };
    const cross = rotated.overlap?.cross.serialNumber;
    const [first, ...above] = await chain(old.pem);
    assert.deepEqual(above, [cross]);
    clock.advance(11 * hour);
    assert.deepEqual(await chain(old.pem), [first, cross]);
    // The old one has ended, by this clock: for the client it goes on for an hour.
    clock.advance(3 * hour);
    const [later, none] = await chain(rotated.certificate.toString());
    assert.notEqual(later, first);
    assert.equal(none, undefined);
  });

  test('has nothing once the authority has ended', () => {
    const end = authority.certificate.validToDate.getTime();
    const contexts = new SecureContexts({ authority, clock: clockAt(end) });
    const waiter = { done: () => undefined, failed: () => undefined };
    assert.equal(contexts.terminate('a.example', new Socket(), Buffer.alloc(0), waiter), null);
  });

  test('forgets the host that was not used for longest, and can still serve it', async () => {
    const contexts = new SecureContexts({ authority, clock: clockAt(start), leaves: 2 });
    const a = await serialOf(contexts, 'a.example');
    const b = await serialOf(contexts, 'b.example');
    await serialOf(contexts, 'a.example');
    await serialOf(contexts, 'c.example');
    assert.equal(await serialOf(contexts, 'a.example'), a);
    assert.notEqual(await serialOf(contexts, 'b.example'), b);
  });

  test('gives memory back, and what is open goes on', async () => {
    const contexts = new SecureContexts({ authority, clock: clockAt(start), contexts: 1 });
    const early = await open(contexts, 'early.example');
    await serialOf(contexts, 'late.example');
    early.write('still here');
    const [answer] = (await once(early, 'data')) as [Buffer];
    assert.equal(answer.toString(), 'still here');
    early.destroy();
    assert.equal(
      (await certificateOf(contexts, 'early.example')).subjectAltName,
      'DNS:early.example',
    );
  });
});
