import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import { type AddressInfo, isIP } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import tls from 'node:tls';
import { javaTrustStore } from '../../src/cli/java-trust-store.ts';
import { type Authority, createAuthority, keyPem, mayStandFor } from '../../src/tls/authority.ts';
import { certificatePem } from '../../src/tls/certificate.ts';
import { ServerLeafMint } from '../../src/tls/leaf.ts';
import { constraintsFor } from '../../src/tls/name-constraints.ts';
import { missingClient, searchPath } from '../support/client-lab.ts';

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-constrained-'));
after(() => fs.rmSync(directory, { recursive: true }));
const now = Date.now();

/** Connects to a port of 127.0.0.1 for a host, and knows the roots of this file alone. */
type Client = (host: string, port: number, roots: string) => readonly string[];

const pythonClient = `
import socket, ssl, sys
host, port, roots = sys.argv[1:]
context = ssl.create_default_context(cafile=roots)
with socket.create_connection(("127.0.0.1", int(port))) as plain:
    with context.wrap_socket(plain, server_hostname=host) as secure:
        print("taken")
`;

const nodeClient = `
const [host, port, roots] = process.argv.slice(1);
const named = require('node:net').isIP(host) === 0 ? { servername: host } : {};
const ca = require('node:fs').readFileSync(roots);
const socket = require('node:tls').connect({ port, host: '127.0.0.1', ...named, ca,
  checkServerIdentity: (_, shown) => require('node:tls').checkServerIdentity(host, shown) });
socket.on('error', (error) => { console.error(error); process.exit(1); });
socket.on('secureConnect', () => { console.log('taken'); socket.destroy(); });
`;

const javaClient = `
import java.net.*;
import javax.net.ssl.*;
public class Client {
  public static void main(String[] args) throws Exception {
    Socket plain = new Socket("127.0.0.1", Integer.parseInt(args[1]));
    SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
    SSLSocket secure = (SSLSocket) factory.createSocket(plain, args[0], 443, true);
    SSLParameters parameters = secure.getSSLParameters();
    parameters.setEndpointIdentificationAlgorithm("HTTPS");
    secure.setSSLParameters(parameters);
    secure.startHandshake();
    System.out.println("taken");
  }
}
`;

const clients: readonly (readonly [program: string, client: Client])[] = [
  [
    'openssl',
    (host, port, roots) => {
      const name = isIP(host) === 0 ? ['-verify_hostname', host] : ['-verify_ip', host];
      const only = ['-no-CApath', '-no-CAstore', '-CAfile', roots];
      const how = ['s_client', '-verify_return_error', '-brief', ...only, ...name];
      const command = ['openssl', ...how, '-connect', `127.0.0.1:${port}`].join(' ');
      // How it ends depends on who closes first.
      return ['sh', '-c', `${command} </dev/null 2>&1 | grep -q 'Verification: OK'`];
    },
  ],
  [
    'curl',
    (host, port, roots) => {
      const at = isIP(host) === 6 ? `[${host}]` : host;
      const to = ['--connect-to', `::127.0.0.1:${port}`];
      return ['curl', '-sS', '--noproxy', '*', '--cacert', roots, ...to, `https://${at}/`];
    },
  ],
  ['python3', (host, port, roots) => ['python3', '-c', pythonClient, host, String(port), roots]],
  ['node', (host, port, roots) => [process.execPath, '-e', nodeClient, host, String(port), roots]],
];

const java: Client = (host, port, roots) => {
  const store = `${roots}.jks`;
  fs.writeFileSync(store, javaTrustStore([fs.readFileSync(roots, 'latin1')], now));
  const source = path.join(directory, 'Client.java');
  fs.writeFileSync(source, javaClient);
  return ['java', `-Djavax.net.ssl.trustStore=${store}`, source, host, String(port)];
};

interface Case {
  readonly authority: Authority;
  readonly roots: string;
  readonly hosts: readonly (readonly [host: string, taken: boolean])[];
}

const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });

function caseOf(permit: string, within: string, outside: string): Case {
  const home = path.join(directory, permit.replaceAll(/\W/gu, '-'));
  const constraints = constraintsFor(permit.split(','));
  assert.ok(typeof constraints !== 'string');
  const authority = createAuthority(home, now, constraints);
  const all = (hosts: string, taken: boolean) =>
    hosts.split(' ').map((host) => [host, taken] as const);
  const hosts = [...all(within, true), ...all(outside, false)];
  return { authority, roots: path.join(home, 'ca.crt'), hosts };
}

const cases = [
  caseOf('example.com', 'example.com a.b.example.com', 'example.org xexample.com 10.1.2.3 ::1'),
  caseOf('10.0.0.0/8', '10.1.2.3', '11.1.2.3 example.com ::1'),
  caseOf('a.test,2001:db8::/32', 'a.test 2001:db8::1', 'b.test 2001:db9::1 10.1.2.3'),
];

/** Does the client finish a handshake with a server that shows what the authority signed for this host? */
async function isTaken(client: Client, { authority, roots }: Case, host: string): Promise<boolean> {
  const mint = new ServerLeafMint(authority, keys.publicKey);
  const cert = certificatePem(mint.issue(host, now - 60_000, now + 3_600_000));
  const server = tls.createServer({ cert, key: keyPem(keys.privateKey) }, (socket) => {
    socket.on('error', () => undefined);
    socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\ntaken');
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const [program = '', ...args] = client(host, (server.address() as AddressInfo).port, roots);
  const status = await new Promise<unknown>((resolve) => {
    const env = { PATH: searchPath, HOME: directory, LC_ALL: 'C' };
    const child = execFile(program, args, { env, timeout: 60_000 }, (error) =>
      resolve(error === null ? 0 : error.code),
    );
    child.stdin?.end();
  });
  server.close();
  return status === 0;
}

test('we know what it may sign for', () => {
  for (const { authority, hosts } of cases) {
    for (const [host, taken] of hosts) assert.equal(mayStandFor(authority, host), taken, host);
  }
});

describe('a client takes what the authority may sign for, and nothing else', () => {
  for (const [program, client] of clients) {
    const missing = program === 'node' ? false : missingClient(program);
    test(program, { skip: missing }, async () => {
      for (const one of cases) {
        for (const [host, taken] of one.hosts) {
          assert.equal(await isTaken(client, one, host), taken, host);
        }
      }
    });
  }
});

/** Java does not look at what a root that it trusts says of names (RFC 5280 §6.1 does not ask it to). */
test('java takes what the authority may sign for', {
  skip: missingClient('java') && 'no Java here',
}, async () => {
  for (const one of cases) {
    const [[host] = ['']] = one.hosts;
    assert.equal(await isTaken(java, one, host), true, host);
  }
});
