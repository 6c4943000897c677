import assert from 'node:assert/strict';
import net from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { type Ip, parseIp } from '../../src/core/ip.ts';
import { DialError, failLater } from '../../src/upstream/dialer.ts';
import { GuardedDialer } from '../../src/upstream/guarded-dialer.ts';
import { HttpsKeyFetcher, type KeysUrl } from '../../src/upstream/key-fetcher.ts';
import { ResolveError } from '../../src/upstream/resolver.ts';
import { TlsClient } from '../../src/upstream/tls-client.ts';
import { TestAuthority } from '../support/certificates.ts';
import { type Origin, type Script, startTcpOrigin, startTlsOrigin } from '../support/origins.ts';

const authority = new TestAuthority();
const loopback = parseIp('127.0.0.1') as Ip;

let server: Origin;
let silent: Origin;
/** What the server does with a connection. */
let script: Script;
/** Dials that were called off. */
let cancelled = 0;
/** Connections of one test. */
const dialled: net.Socket[] = [];

before(async () => {
  const certificate = authority.issue(['keys.test', '127.0.0.1']);
  server = await startTlsOrigin({}, certificate, (received) => script(received));
  silent = await startTcpOrigin({});
});
after(() => Promise.all([server.close(), silent.close()]));
afterEach(() => {
  assert.ok(dialled.every(({ destroyed }) => destroyed));
  dialled.length = 0;
});

const answers =
  (text: string): Script =>
  ({ socket }) => {
    socket.once('data', () => socket.end(text));
  };
const good = (fields = ''): string =>
  `HTTP/1.1 200 OK\r\n${fields}Content-Length: 11\r\n\r\n{"keys":[]}`;

function urlOf(host: string, port: number): KeysUrl {
  const text = `https://${host}:${port}/jwks?x=1`;
  return { kind: 'url', text, host, ip: parseIp(host), port, path: '/jwks?x=1' };
}

/** Fetches over the real network, but for names, which are all on loopback. */
function fetcher(options: { timeoutMs?: number; roots?: readonly string[] } = {}): HttpsKeyFetcher {
  return new HttpsKeyFetcher({
    resolver: {
      resolve: (name) =>
        name === 'nowhere.test'
          ? Promise.reject(new ResolveError('NXDOMAIN', name))
          : name === 'never.test'
            ? new Promise(() => {})
            : Promise.resolve({ addresses: [loopback], ttl: 60 }),
    },
    dialer: new GuardedDialer(
      {
        dial([ip], port, done) {
          if (port === 3) return { cancel: () => cancelled++ };
          if (port === 1) return failLater(new DialError('connect_refused', 'refused'), done);
          const socket = net.connect({ host: ip?.text ?? '', port, allowHalfOpen: true });
          dialled.push(socket);
          socket.once('connect', () => done(null, socket, ip ?? null));
          return { cancel: () => socket.destroy() };
        },
      },
      {
        check: (_ip, port, granted) =>
          port === 2 && granted.length === 0 ? 'address_not_allowed' : 'ok',
      },
    ),
    tls: new TlsClient(options.roots ?? [authority.cert]),
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
  });
}

const never = new AbortController().signal;

async function load(host = 'keys.test', port = server.port): Promise<string> {
  const { bytes, maxAge } = await fetcher({ timeoutMs: 3000 }).load(urlOf(host, port), [], never);
  return `${Buffer.from(bytes).toString()} ${maxAge}`;
}

describe('an answer', () => {
  const cases: readonly [what: string, answer: string, expected: string][] = [
    ['whole', good(), '{"keys":[]} undefined'],
    ['with an age', good('Cache-Control: public, MAX-AGE=600\r\n'), '{"keys":[]} 600'],
    ['with a quoted age', good('Cache-Control: max-age="7"\r\n'), '{"keys":[]} 7'],
    ['with two fields', good('Cache-Control: a\r\nCache-Control: max-age=8\r\n'), '{"keys":[]} 8'],
    ['not to be kept', good('Cache-Control: max-age=9, no-store\r\n'), '{"keys":[]} 0'],
    ['with an age that is none', good('Cache-Control: max-age=-1\r\n'), '{"keys":[]} undefined'],
    [
      'in chunks',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"key\r\n6\r\ns":[]}\r\n0\r\n\r\n',
      '{"keys":[]} undefined',
    ],
    ['after 100 Continue', `HTTP/1.1 100 Continue\r\n\r\n${good()}`, '{"keys":[]} undefined'],
    [
      'that ends with the connection',
      'HTTP/1.1 200 OK\r\n\r\n{"keys":[]}',
      '{"keys":[]} undefined',
    ],
  ];
  for (const [what, answer, expected] of cases) {
    test(what, async () => {
      script = answers(answer);
      assert.equal(await load(), expected);
    });
  }

  for (const [host, sni] of [
    ['keys.test', 'keys.test'],
    ['127.0.0.1', false],
  ] as const) {
    test(`from ${host}, which TLS is told as ${sni}`, async () => {
      let asked: unknown;
      script = (received) => {
        asked = (received.socket as TLSSocket).servername;
        answers(good())(received);
      };
      assert.equal(await load(host), '{"keys":[]} undefined');
      assert.equal(asked, sni);
    });
  }

  test('to a request that says what it must', async () => {
    let head = '';
    script = ({ socket }) => {
      socket.once('data', (chunk: Buffer) => {
        head = chunk.toString();
        socket.end(good());
      });
    };
    await load();
    assert.match(head, /^GET \/jwks\?x=1 HTTP\/1\.1\r\n/);
    assert.ok(head.includes(`\r\nhost: keys.test:${server.port}\r\n`), head);
    assert.match(head, /\r\naccept-encoding: identity\r\n/);
    assert.doesNotMatch(head, /authorization|cookie|user-agent/i);
  });
});

describe('no answer', () => {
  const flood: Script = ({ socket }) => {
    socket.once('data', () => socket.write(`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(300_000)}`));
  };
  const cases: readonly [what: string, script: Script, why: RegExp][] = [
    ['not found', answers('HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n'), /the answer is 404$/],
    ['not modified', answers('HTTP/1.1 304 No\r\n\r\n'), /the answer is 304, and redirects/],
    [
      'a redirect',
      answers('HTTP/1.1 301 Moved\r\nLocation: https://evil.test/\r\nContent-Length: 0\r\n\r\n'),
      /the answer is 301, and redirects are not followed/,
    ],
    ['an error', answers('HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n'), /the answer is 500$/],
    ['compressed', answers(good('Content-Encoding: gzip\r\n')), /compressed/],
    ['too long', flood, /more than 256 KiB/],
    ['too long, as it says', answers('HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\nx'), /./],
    ['cut short', answers('HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"keys":[]}'), /./],
    ['no HTTP', answers('hello\r\n\r\n'), /./],
    ['nothing', ({ socket }) => socket.end(), /./],
  ];
  for (const [what, then, why] of cases) {
    test(what, async () => {
      script = then;
      await assert.rejects(load(), { name: 'KeyFetchError', message: why });
    });
  }

  const elsewhere: readonly [what: string, host: string, port: () => number, why: RegExp][] = [
    ['a certificate for another', 'other.test', () => server.port, /ERR_TLS_CERT_ALTNAME_INVALID/],
    ['no name', 'nowhere.test', () => server.port, /does not resolve \(NXDOMAIN\)/],
    ['nobody', 'keys.test', () => 1, /refused/],
    ['an address that is not granted', 'keys.test', () => 2, /write the range under `addresses`/],
  ];
  for (const [what, host, port, why] of elsewhere) {
    test(what, async () => {
      script = answers(good());
      await assert.rejects(load(host, port()), { name: 'KeyFetchError', message: why });
    });
  }

  test('a certificate for hundreds of others, in few words', async () => {
    const names = Array.from({ length: 300 }, (_, index) => `host-${index}.test`);
    await using crowded = await startTlsOrigin({}, authority.issue(names), answers(good()));
    await assert.rejects(load('keys.test', crowded.port), (error: Error) => {
      assert.match(error.message, /does not match certificate's altnames/);
      return error.message.length <= 300;
    });
  });

  test('a certificate of nobody', async () => {
    const strict = fetcher({ roots: [new TestAuthority('another').cert], timeoutMs: 3000 });
    await assert.rejects(strict.load(urlOf('keys.test', server.port), [], never), {
      name: 'KeyFetchError',
      message: /UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT/,
    });
  });
});

describe('in time', () => {
  const drip: Script = ({ socket }) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n{');
      const timer = setInterval(() => socket.write(' '), 20);
      socket.once('close', () => clearInterval(timer));
    });
  };
  const cases: readonly [what: string, host: string, port: () => number, script: Script][] = [
    ['a name that never comes', 'never.test', () => server.port, drip],
    ['a handshake that never comes', 'keys.test', () => silent.port, drip],
    ['a head that never comes', 'keys.test', () => server.port, () => undefined],
    ['a body without end', 'keys.test', () => server.port, drip],
  ];
  for (const [what, host, port, then] of cases) {
    test(`${what} is given up`, async () => {
      script = then;
      const url = urlOf(host, port());
      await assert.rejects(fetcher({ timeoutMs: 200 }).load(url, [], never), {
        name: 'KeyFetchError',
        message: 'there was no whole answer within 200 ms',
      });
      const over = new AbortController();
      const stopped = fetcher().load(url, [], over.signal);
      setTimeout(() => over.abort(), 50);
      await assert.rejects(stopped, { name: 'KeyFetchError' });
    });
  }

  test('a dial that never ends is called off', async () => {
    const url = urlOf('keys.test', 3);
    await assert.rejects(fetcher({ timeoutMs: 50 }).load(url, [], never), {
      message: 'there was no whole answer within 50 ms',
    });
    assert.equal(cancelled, 1);
  });
});
