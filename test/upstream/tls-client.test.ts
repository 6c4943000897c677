import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { describe, test } from 'node:test';
import tls from 'node:tls';
import { parseIp } from '../../src/core/ip.ts';
import { TlsClient, UpstreamTlsError } from '../../src/upstream/tls-client.ts';
import { type LeafOptions, TestAuthority } from '../support/certificates.ts';

const authority = new TestAuthority();
const client = new TlsClient([authority.cert]);
const another = 'its certificate is for another name';
const hour = 3_600_000;

/** What the client says of a server that shows a certificate for these names; null: it is the host. */
async function verdict(
  host: string,
  names: readonly string[],
  options: LeafOptions = {},
  signer = authority,
): Promise<string | null> {
  const server = tls.createServer({ ...signer.issue(names, options), ALPNProtocols: ['http/1.1'] });
  server.on('connection', (socket) => socket.on('error', () => {}));
  server.on('tlsClientError', () => {});
  server.on('secureConnection', (socket) => socket.on('error', () => {}));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  const { promise, resolve } = Promise.withResolvers<string | null>();
  client.secure(socket, { host, ip: parseIp(host) }, (error, secure) => {
    assert.equal(secure === null, error !== null, 'a socket or an error');
    assert.ok(secure?.authorized !== false);
    resolve(error instanceof UpstreamTlsError ? error.problem : (error?.message ?? null));
  });
  const result = await promise;
  socket.destroy();
  server.close();
  return result;
}

describe('a server that is the host', () => {
  const cases: readonly (readonly [host: string, ...names: string[]])[] = [
    ['api.example.com', 'api.example.com'],
    ['api.example.com', 'www.example.com', 'api.example.com'],
    ['api.example.com', 'API.Example.COM'],
    ['api.example.com', '*.example.com'],
    ['xn--bcher-kva.example.com', '*.example.com'],
    ['127.0.0.1', '127.0.0.1'],
    ['10.1.2.3', 'api.example.com', '10.1.2.3'],
    ['2001:db8::1', '2001:db8::1'],
  ];
  for (const [host, ...names] of cases) {
    test(`${host}, shown ${names.join(', ')}`, async () => {
      assert.equal(await verdict(host, names), null);
    });
  }
});

describe('a server that is another', () => {
  const cases: readonly (readonly [host: string, ...names: string[]])[] = [
    ['api.example.com', 'www.example.com'],
    ['api.example.com', 'example.com'],
    ['example.com', '*.example.com'],
    ['a.b.example.com', '*.example.com'],
    ['a.b.example.com', '*.*.example.com'],
    ['api.example.com', 'api.*.com'],
    ['api.example.com', 'a*.example.com'],
    ['api.example.com', '*i.example.com'],
    ['api.example.com', '*'],
    ['example.com', '*.com'],
    ['api.example.com', 'api.example.com.'],
    ['api.example.com', 'api.example.com\0.evil.test'],
    ['api.example.com', 'evil.test\0api.example.com'],
    ['api.example.com', '.example.com'],
    ['10.1.2.3', '10.1.2.4'],
    ['10.1.2.3', 'api.example.com'],
    ['2001:db8::1', '2001:db8::2'],
    ['api.example.com', '10.1.2.3'],
  ];
  for (const [host, ...names] of cases) {
    test(`${host}, shown ${names.join(', ')}`, async () => {
      assert.equal(await verdict(host, names), another);
    });
  }

  test('the subject is no name of a host, whether or not there are others', async () => {
    assert.equal(await verdict('leaf', []), another);
    assert.equal(await verdict('leaf', [], { uris: ['https://leaf/'] }), another);
  });
});

describe('a certificate that does not hold', () => {
  const names = ['api.example.com'];

  test('ended', async () => {
    const ended = { notBefore: Date.now() - 2 * hour, notAfter: Date.now() - hour };
    assert.equal(await verdict('api.example.com', names, ended), 'its certificate has expired');
  });

  test('not begun', async () => {
    const begins = { notBefore: Date.now() + hour };
    assert.equal(
      await verdict('api.example.com', names, begins),
      'its certificate does not hold yet',
    );
  });

  test('signed by an authority that nobody trusts, also one of the same name', async () => {
    for (const stranger of [new TestAuthority('Stranger'), new TestAuthority()]) {
      assert.notEqual(await verdict('api.example.com', names, {}, stranger), null);
    }
  });
});
