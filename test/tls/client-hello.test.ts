import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseIp } from '../../src/core/ip.ts';
import { ClientHelloParser, type HelloResult } from '../../src/tls/client-hello.ts';
import { judgeHello } from '../../src/tls/judge-hello.ts';
import {
  chromiumHello,
  clientHello,
  echOuter,
  extension,
  extensionType,
  handshake,
  helloMessage,
  record,
  records,
  serverHello,
  serverNameList,
  u16,
  vector16,
} from '../support/client-hello.ts';

const host = 'registry.example.test';

function parse(bytes: Buffer): HelloResult {
  return new ClientHelloParser().push(bytes);
}

/** `hello` or the error, or `more`: what a table row expects. */
function outcome(result: HelloResult): string {
  return result.state === 'error' ? result.error : result.state;
}

function drip(bytes: Buffer, size: number): { result: HelloResult; used: number } {
  const parser = new ClientHelloParser();
  for (let at = 0; at < bytes.length; at += size) {
    const result = parser.push(bytes.subarray(at, at + size));
    if (result.state !== 'more') return { result, used: Math.min(at + size, bytes.length) };
  }
  return { result: { state: 'more' }, used: bytes.length };
}

describe('a whole hello', () => {
  test('shows its name, protocols and versions', () => {
    const bytes = clientHello({ sni: 'Registry.Example.test', alpn: ['h2', 'http/1.1'] });
    const result = parse(bytes);
    assert.deepEqual(result, {
      state: 'hello',
      length: bytes.length,
      hello: {
        sni: 'Registry.Example.test',
        alpn: ['h2', 'http/1.1'],
        versions: [0x0304, 0x0303],
        ech: 'none',
      },
    });
  });

  test('of TLS 1.2 offers its legacy version', () => {
    const result = parse(clientHello({ sni: host, versions: null }));
    assert.ok(result.state === 'hello');
    assert.deepEqual(result.hello.versions, [0x0303]);
  });

  test('without extensions has no name', () => {
    const result = parse(clientHello({ noExtensions: true, legacyVersion: 0x0301 }));
    assert.ok(result.state === 'hello');
    assert.equal(result.hello.sni, null);
    assert.deepEqual(result.hello.versions, [0x0301]);
  });

  test('passes GREASE over', () => {
    const result = parse(clientHello({ sni: host, grease: true }));
    assert.ok(result.state === 'hello');
    assert.equal(result.hello.sni, host);
    assert.deepEqual(result.hello.versions, [0x0304, 0x0303]);
  });

  test('leaves what follows it alone', () => {
    const bytes = clientHello({ sni: host });
    const early = record(randomBytes(900), 0x17, 0x0303);
    const parser = new ClientHelloParser();
    const result = parser.push(Buffer.concat([bytes, early]));
    assert.ok(result.state === 'hello');
    assert.equal(result.length, bytes.length);
    assert.deepEqual(parser.bytes, Buffer.concat([bytes, early]));
  });

  test('may come with 60 KiB of early data in one chunk', () => {
    const bytes = Buffer.concat([clientHello({ sni: host }), Buffer.alloc(60_000, 0x17)]);
    assert.equal(outcome(parse(bytes)), 'hello');
  });
});

describe('cut into pieces', () => {
  const bytes = clientHello({ sni: host, alpn: ['h2'], hybridKeyShare: true }, 700);
  const whole = parse(bytes);

  test('every split point gives the same hello', () => {
    assert.equal(whole.state, 'hello');
    for (let at = 1; at < bytes.length; at++) {
      const parser = new ClientHelloParser();
      assert.equal(parser.push(bytes.subarray(0, at)).state, 'more', `split at ${at}`);
      assert.deepEqual(parser.push(bytes.subarray(at)), whole, `split at ${at}`);
      assert.deepEqual(parser.bytes, bytes);
    }
  });

  for (const size of [1, 2, 3, 5, 7, 64, 1000]) {
    test(`drips of ${size} bytes`, () => {
      assert.deepEqual(drip(bytes, size).result, whole);
    });
  }

  for (const size of [1, 2, 3, 4, 5, 17, 100, 1000]) {
    test(`records of ${size} bytes`, () => {
      const message = helloMessage({ sni: host, sessionId: Buffer.alloc(0) });
      const cut = records(message, size);
      for (const result of [parse(cut), drip(cut, 1).result]) {
        assert.ok(result.state === 'hello', outcome(result));
        assert.equal(result.hello.sni, host);
        assert.equal(result.length, cut.length);
      }
    });
  }

  test('a borrowed chunk is not written to', () => {
    const first = Buffer.from(bytes.subarray(0, 50));
    const copy = Buffer.from(first);
    const parser = new ClientHelloParser();
    parser.push(first);
    parser.push(bytes.subarray(50));
    assert.deepEqual(first, copy);
  });
});

describe('decides at the first byte that cannot be right', () => {
  const body = helloMessage({ sni: host }).subarray(4);
  const cases: readonly [what: string, bytes: Buffer, error: string, after: number][] = [
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'not_tls', 1],
    ['SSH', Buffer.from('SSH-2.0-x\r\n'), 'not_tls', 1],
    ['an SSLv2 hello', Buffer.from('802b0103030012', 'hex'), 'not_tls', 1],
    ['change_cipher_spec first', Buffer.from('140303000101', 'hex'), 'not_tls', 1],
    ['an alert first', Buffer.from('15030300020228', 'hex'), 'not_tls', 1],
    ['application data first', record(Buffer.from('x'), 0x17), 'not_tls', 1],
    ['record version 2.0', Buffer.from('160200', 'hex'), 'not_tls', 2],
    ['record version 4.0', Buffer.from('160400', 'hex'), 'not_tls', 2],
    ['an empty record', record(Buffer.alloc(0)), 'not_tls', 5],
    ['a record over 2^14', Buffer.from('16030140010100', 'hex'), 'not_tls', 5],
    ['a record of 0xffff', Buffer.from('160301ffff010000', 'hex'), 'not_tls', 5],
    ['a ServerHello', serverHello(), 'not_tls', 6],
    ['a message of 2^24 - 1', record(Buffer.from('01ffffff0303', 'hex')), 'too_large', 9],
    ['a body over 16 KiB', record(Buffer.from('010040010303', 'hex')), 'too_large', 9],
    [
      'bytes behind the hello in its record',
      record(Buffer.concat([handshake(1, body), body])),
      'malformed',
      9,
    ],
  ];
  for (const [what, bytes, error, after] of cases) {
    test(what, () => {
      assert.equal(outcome(parse(bytes)), error);
      const { result, used } = drip(bytes, 1);
      assert.equal(outcome(result), error);
      assert.equal(used, after);
    });
  }

  test('another record type between the fragments', () => {
    const [first, second] = [body.subarray(0, 60), body.subarray(60)];
    const start = record(Buffer.concat([Buffer.from([1, 0, 0, body.length]), first]));
    const bytes = Buffer.concat([start, Buffer.from('140303000101', 'hex'), record(second)]);
    assert.ok(body.length < 256);
    const { result, used } = drip(bytes, 1);
    assert.equal(outcome(result), 'not_tls');
    assert.equal(used, start.length + 1);
  });

  test('an empty record between the fragments', () => {
    const message = handshake(1, body);
    const bytes = Buffer.concat([
      record(message.subarray(0, 60)),
      record(Buffer.alloc(0)),
      record(message.subarray(60)),
    ]);
    assert.equal(outcome(parse(bytes)), 'not_tls');
  });

  test('a large hello in tiny records stops at 20 KiB', () => {
    const bytes = clientHello({ sni: host, ticket: 9000 }, 1);
    const { result, used } = drip(bytes, 1);
    assert.equal(outcome(result), 'too_large');
    assert.ok(used <= 20_485, `${used}`);
  });

  test('a hello of nearly 16 KiB is read', () => {
    const result = parse(clientHello({ sni: host, ticket: 15_900 }));
    assert.equal(outcome(result), 'hello');
  });

  test('and stays with its decision', () => {
    const parser = new ClientHelloParser();
    parser.push(Buffer.from('G'));
    assert.equal(outcome(parser.push(clientHello({ sni: host }))), 'not_tls');
  });
});

describe('a hello whose inside does not add up is malformed', () => {
  const name = Buffer.from(host);
  const sni = extension(extensionType.serverName, serverNameList([0, name]));
  const fixed = Buffer.concat([u16(0x0303), Buffer.alloc(32)]);
  const middle = Buffer.from('000002130101 00'.replace(' ', ''), 'hex');
  const build = (...parts: Buffer[]): Buffer => record(handshake(1, Buffer.concat(parts)));
  const withSni = (raw: Buffer): Buffer => clientHello({ sni: { raw } });
  const cases: readonly [string, Buffer][] = [
    ['an empty body', build()],
    ['version 2.0', build(Buffer.from([2, 0]), fixed.subarray(2), middle)],
    ['SSL 3.0', clientHello({ sni: host, legacyVersion: 0x0300 })],
    ['legacy version 0x0304', clientHello({ sni: host, legacyVersion: 0x0304 })],
    ['a body cut in the random', build(fixed.subarray(0, 20))],
    ['a session id of 33 bytes', clientHello({ sni: host, sessionId: Buffer.alloc(33) })],
    ['no cipher suites', build(fixed, Buffer.from('0000000100', 'hex'))],
    [
      'an odd length of cipher suites',
      build(fixed, Buffer.from('000003130113 0100'.replace(' ', ''), 'hex')),
    ],
    ['no compression methods', build(fixed, Buffer.from('0000021301 00'.replace(' ', ''), 'hex'))],
    ['extensions shorter than announced', build(fixed, middle, u16(500), sni)],
    ['bytes behind the extensions', build(fixed, middle, vector16(sni), Buffer.from([0]))],
    ['half an extensions length', build(fixed, middle, Buffer.from([0]))],
    ['half an extension header', build(fixed, middle, vector16(Buffer.from([0, 0, 0])))],
    [
      'an extension longer than the block',
      build(fixed, middle, vector16(Buffer.from([0, 0, 0, 9, 1]))),
    ],
    ['two server_name extensions', build(fixed, middle, vector16(Buffer.concat([sni, sni])))],
    [
      'two equal GREASE extensions',
      clientHello({
        sni: host,
        extra: [
          [0x2a2a, name],
          [0x2a2a, name],
        ],
      }),
    ],
    ['an empty server_name', withSni(Buffer.alloc(0))],
    ['a server name list longer than its extension', withSni(Buffer.from('ffff00000161', 'hex'))],
    ['a server name list shorter than its extension', withSni(Buffer.from('000300000161', 'hex'))],
    ['a host name longer than its list', withSni(Buffer.from('00040000ff61', 'hex'))],
    ['a list cut in an entry', withSni(Buffer.from('00020000', 'hex'))],
    ['an empty ALPN list', clientHello({ sni: host, alpn: [] })],
    ['an empty ALPN name', clientHello({ sni: host, alpn: ['h2', ''] })],
    [
      'an ALPN name longer than its list',
      clientHello({ sni: host, extra: [[extensionType.alpn, Buffer.from('000309683200', 'hex')]] }),
    ],
    ['an empty supported_versions', clientHello({ sni: host, versions: [] })],
    [
      'odd supported_versions',
      clientHello({
        sni: host,
        versions: null,
        extra: [[extensionType.supportedVersions, Buffer.from('03030403', 'hex')]],
      }),
    ],
  ];
  for (const [what, bytes] of cases) {
    test(what, () => assert.equal(outcome(parse(bytes)), 'malformed'));
  }
});

describe('the second hello, after a retry', () => {
  const hello = clientHello({ sni: host });
  const ccs = Buffer.from('140303000101', 'hex');
  const early = record(randomBytes(300), 0x17, 0x0303);
  const second = (bytes: Buffer): HelloResult =>
    new ClientHelloParser({ afterRetry: true }).push(bytes);

  for (const [what, before] of [
    ['alone', Buffer.alloc(0)],
    ['behind change_cipher_spec', ccs],
    ['behind early data', Buffer.concat([early, early, ccs])],
  ] as const) {
    test(what, () => {
      const result = second(Buffer.concat([before, hello]));
      assert.ok(result.state === 'hello');
      assert.equal(result.hello.sni, host);
      assert.equal(result.length, before.length + hello.length);
    });
  }

  test('byte by byte', () => {
    const bytes = Buffer.concat([ccs, early, hello]);
    const parser = new ClientHelloParser({ afterRetry: true });
    const results = Array.from(bytes, (_, at) => parser.push(bytes.subarray(at, at + 1)).state);
    assert.equal(results.indexOf('hello'), bytes.length - 1);
  });

  test('an alert is none', () => {
    assert.equal(outcome(second(Buffer.from('15030300020228', 'hex'))), 'not_tls');
  });

  test('early data without end stops at 20 KiB', () => {
    const endless = record(randomBytes(16_000), 0x17, 0x0303);
    assert.equal(outcome(second(Buffer.concat([endless, endless]))), 'too_large');
  });
});

describe('whatever comes', () => {
  const target = { host, ip: null };
  const seeds = [
    clientHello({ sni: 'evil.example.test', alpn: ['h2'] }),
    clientHello({ sni: ['evil.example.test', host] }),
    chromiumHello('evil.example.test'),
    clientHello({ noExtensions: true }, 30),
  ];

  test('random bytes never throw and never pass', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, framed) => {
        const raw = Buffer.from(bytes);
        const result = parse(framed ? record(handshake(1, raw)) : raw);
        assert.ok(result.state !== 'hello' || judgeHello(result.hello, target) !== 'ok');
      }),
    );
  });

  test('mutations of a hello for another name never throw and never pass', () => {
    const mutation = fc.tuple(fc.nat(), fc.nat(255));
    fc.assert(
      fc.property(
        fc.constantFrom(...seeds),
        fc.array(mutation, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 400 }),
        (seed, mutations, size) => {
          const bytes = Buffer.from(seed);
          for (const [at, value] of mutations) bytes[at % bytes.length] = value;
          const { result } = drip(bytes, size);
          assert.ok(result.state !== 'hello' || judgeHello(result.hello, target) !== 'ok');
          assert.deepEqual(result, parse(bytes));
        },
      ),
      { numRuns: 500 },
    );
  });

  test('any host, any cut: the hello of the target passes, that of another does not', () => {
    const label = fc.stringMatching(/^[a-z0-9]{1,20}$/u);
    const name = fc.array(label, { minLength: 2, maxLength: 5 }).map((labels) => labels.join('.'));
    fc.assert(
      fc.property(
        name,
        name,
        fc.integer({ min: 20, max: 2000 }),
        fc.integer({ min: 1, max: 2000 }),
        (shown, asked, recordSize, size) => {
          const bytes = clientHello({ sni: shown, grease: true, ech: echOuter() }, recordSize);
          const { result } = drip(bytes, size);
          assert.ok(result.state === 'hello');
          const verdict = judgeHello(result.hello, { host: asked, ip: parseIp(asked) });
          assert.equal(verdict === 'ok', shown === asked);
        },
      ),
    );
  });
});
