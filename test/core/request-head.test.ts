import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  collectConnectFields,
  maxHeadBytes,
  maxHeaderLines,
  parseConnectHead,
  skipEmptyLines,
  startsWithConnect,
} from '../../src/core/request-head.ts';

const head = (lines: readonly string[]): Buffer =>
  Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
const line = 'CONNECT good.test:443 HTTP/1.1';

describe('a CONNECT head', () => {
  it('is read with what it is judged by', () => {
    const bytes = head([
      line,
      'Host: good.test:443',
      'pROXY-aUTHORIZATION:\tBasic YTpi \t',
      'User-Agent: x/1',
      'Via: 1.0 a',
      'Via: 1.1 b',
    ]);
    const early = Buffer.concat([bytes, Buffer.from('early')]);
    assert.deepEqual(parseConnectHead(early, 0), {
      head: {
        target: 'good.test:443',
        version: '1.1',
        hosts: 1,
        authorization: 'Basic YTpi',
        authorizations: 1,
        body: false,
        via: '1.0 a, 1.1 b',
      },
      length: bytes.length,
    });
  });

  const counted: readonly [string, readonly string[], object][] = [
    ['without headers, HTTP/1.0', ['CONNECT a.test:1 HTTP/1.0'], { version: '1.0', hosts: 0 }],
    ['two Hosts', [line, 'Host: a', 'host: b'], { hosts: 2 }],
    [
      'two credentials',
      [line, 'Proxy-Authorization: a', 'proxy-authorization: b'],
      { authorizations: 2 },
    ],
    ['a length of 0', [line, 'Content-Length: 0'], { body: false }],
    ['a length', [line, 'Content-Length: 3'], { body: true }],
    ['a length spelled 00', [line, 'Content-Length: 00'], { body: true }],
    ['a transfer coding', [line, 'Transfer-Encoding: identity'], { body: true }],
    ['an empty value', [line, 'X:'], { hosts: 0 }],
    ['obs-text', [line, 'X: \x80\xff'], { hosts: 0 }],
  ];
  for (const [what, lines, expected] of counted) {
    it(`with ${what}`, () => {
      const parsed = parseConnectHead(head(lines), 0);
      assert.ok(parsed !== null && typeof parsed !== 'string', String(parsed));
      for (const [key, value] of Object.entries(expected)) {
        assert.equal(parsed.head[key as keyof typeof parsed.head], value, key);
      }
    });
  }

  const refused: readonly [string, readonly string[]][] = [
    ['no version', ['CONNECT good.test:443']],
    ['HTTP/2.0', ['CONNECT good.test:443 HTTP/2.0']],
    ['a lower-case version', ['CONNECT good.test:443 http/1.1']],
    ['a space behind the version', [`${line} `]],
    ['two spaces', ['CONNECT  good.test:443 HTTP/1.1']],
    ['a bare LF', [line, 'A: b\nC: d']],
    ['a bare CR', [line, 'A: b\rC: d']],
    ['a NUL', [line, 'A: b\0']],
    ['a DEL', [line, 'A: b\x7f']],
    ['a folded line', [line, 'A: b', ' c']],
    ['a space before the colon', [line, 'Host : a']],
    ['an empty name', [line, ': a']],
    ['no colon', [line, 'Host']],
    ['a name that is no token', [line, 'Ho(st: a']],
    ['a name beyond ASCII', [line, 'H\xf6st: a']],
    ['too many lines', [line, ...Array.from({ length: maxHeaderLines + 1 }, () => 'A: b')]],
    ['too many bytes', [line, `A: ${'b'.repeat(maxHeadBytes)}`]],
  ];
  for (const [what, lines] of refused) {
    it(`is refused for ${what}`, () =>
      assert.equal(typeof parseConnectHead(head(lines), 0), 'string'));
  }

  it('that has not come whole is waited for, up to its bound', () => {
    assert.equal(parseConnectHead(Buffer.from(`${line}\r\nHost: a\r\n`), 0), null);
    assert.equal(typeof parseConnectHead(Buffer.alloc(maxHeadBytes + 1, 'a'), 0), 'string');
  });

  it('may follow two empty lines', () => {
    const bytes = Buffer.concat([Buffer.from('\r\n\r\n'), head([line, 'Host: a'])]);
    const from = skipEmptyLines(bytes);
    assert.equal(from, 4);
    assert.equal(startsWithConnect(bytes, from), 'yes');
    assert.equal(skipEmptyLines(Buffer.from('\r\n\r\n\r\nCONNECT ')), 4);
  });

  it('is told from other methods as early as possible', () => {
    assert.equal(startsWithConnect(Buffer.from('CONN'), 0), 'more');
    assert.equal(startsWithConnect(Buffer.from('CONNECT'), 0), 'more');
    assert.equal(startsWithConnect(Buffer.from('CONNECTx'), 0), 'no');
    assert.equal(startsWithConnect(Buffer.from('connect '), 0), 'no');
    assert.equal(startsWithConnect(Buffer.from('\x16'), 0), 'no');
  });

  it('means the same whether our parser or node:http has read its lines', () => {
    const name = fc.constantFrom(
      'Host',
      'via',
      'Proxy-Authorization',
      'Content-Length',
      'TE',
      'X-Y',
    );
    const value = fc.string({ unit: fc.constantFrom('0', 'a', ':', ',', '=') });
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value), { maxLength: 12 }), (fields) => {
        const parsed = parseConnectHead(
          head([line, ...fields.map((field) => field.join(': '))]),
          0,
        );
        assert.ok(parsed !== null && typeof parsed !== 'string');
        assert.deepEqual(parsed.head, collectConnectFields('good.test:443', '1.1', fields.flat()));
      }),
    );
  });

  it('never throws, and never takes a control character', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        const bytes = Buffer.concat([Buffer.from('CONNECT '), noise, Buffer.from('\r\n\r\n')]);
        const parsed = parseConnectHead(bytes, 0);
        if (parsed === null || typeof parsed === 'string') return;
        const control = (char: string): boolean => char !== '\t' && (char < ' ' || char === '\x7f');
        assert.ok(![...(parsed.head.authorization ?? '')].some(control));
      }),
    );
  });
});
