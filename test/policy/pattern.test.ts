import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isHostPattern, parsePattern } from '../../src/policy/pattern.ts';

const names: readonly (readonly [string, readonly string[], string])[] = [
  ['example.com', ['com', 'example'], 'exact'],
  ['localhost', ['localhost'], 'exact'],
  ['*.example.com', ['com', 'example'], 'below'],
  ['.example.com', ['com', 'example'], 'apex-and-below'],
  ['*.com', ['com'], 'below'],
  ['bedrock-runtime.*.amazonaws.com', ['com', 'amazonaws', '*', 'bedrock-runtime'], 'exact'],
  ['*.s3.*.amazonaws.com', ['com', 'amazonaws', '*', 's3'], 'below'],
  ['.x.*.y.example.com', ['com', 'example', 'y', '*', 'x'], 'apex-and-below'],
  ['*.*.one.example.com', ['com', 'example', 'one', '*'], 'below'],
  ['a.*.*.two.example.com', ['com', 'example', 'two', '*', '*', 'a'], 'exact'],
  ['xn--bcher-kva.example', ['example', 'xn--bcher-kva'], 'exact'],
  ['_acme-challenge.example.com', ['com', 'example', '_acme-challenge'], 'exact'],
  ['1.2.3.4.example.com', ['com', 'example', '4', '3', '2', '1'], 'exact'],
  [`${'a.'.repeat(126)}b`, ['b', ...Array<string>(126).fill('a')], 'exact'],
  [`.${'a.'.repeat(126)}b`, ['b', ...Array<string>(126).fill('a')], 'apex-and-below'],
];

const networks: readonly (readonly [string, string, string])[] = [
  ['10.1.2.3', '10.1.2.3', '10.1.2.3/32'],
  ['10.1.2.3/32', '10.1.2.3', '10.1.2.3/32'],
  ['10.0.0.0/8', '10.0.0.0/8', '10.0.0.0/8'],
  ['0.0.0.0/0', '0.0.0.0/0', '0.0.0.0/0'],
  ['::1', '::1', '::1/128'],
  ['[::1]', '::1', '::1/128'],
  ['[2001:db8::]/32', '2001:db8::/32', '2001:db8::/32'],
  ['::/0', '::/0', '::/0'],
  ['::ffff:10.0.0.0/104', '10.0.0.0/8', '10.0.0.0/8'],
  ['::ffff:192.0.2.1', '192.0.2.1', '192.0.2.1/32'],
];

/** Pattern, code, hint. */
const problems: readonly (readonly [string, string, string | undefined])[] = [
  ['', 'bad-pattern', undefined],
  ['Example.COM', 'bad-pattern', 'example.com'],
  ['example.com.', 'bad-pattern', 'example.com'],
  ['bücher.example', 'bad-pattern', 'xn--bcher-kva.example'],
  ['*.Bücher.example', 'bad-pattern', '*.xn--bcher-kva.example'],
  ['\u00ad.com', 'bad-pattern', undefined],
  ['ex\u3002ample.com', 'bad-pattern', undefined],
  [' example.com ', 'bad-pattern', 'example.com'],
  ['exa mple.com', 'bad-pattern', undefined],
  ['https://example.com/', 'url-form', 'example.com'],
  ['HTTPS://user@Bücher.Example:443/x', 'url-form', 'xn--bcher-kva.example'],
  ['example.com/path', 'url-form', 'example.com'],
  ['example.com?x', 'url-form', 'example.com'],
  ['example.com:443', 'url-form', 'example.com'],
  ['[::1]:443', 'url-form', '::1'],
  ['user@example.com', 'url-form', 'example.com'],
  ['example.com/../10.0.0.1', 'url-form', 'example.com'],
  ['**.example.com', 'bad-pattern', '*.example.com'],
  ['*example.com', 'bad-pattern', '*.example.com'],
  ['api-*.example.com', 'bad-pattern', '*.example.com'],
  ['+.example.com', 'bad-pattern', '.example.com'],
  ['!example.com', 'bad-pattern', 'example.com'],
  ['foo..com', 'bad-pattern', 'foo.com'],
  ['..example.com', 'bad-pattern', '.example.com'],
  ['.*.example.com', 'bad-pattern', '*.example.com'],
  ['**', 'bad-pattern', undefined],
  ['*.', 'bad-pattern', undefined],
  ['.', 'bad-pattern', undefined],
  ['example.*', 'bad-pattern', undefined],
  ['foo.*.com', 'bad-pattern', undefined],
  ['a.*.*.*.example.com', 'bad-pattern', undefined],
  ['example.com,example.org', 'bad-pattern', undefined],
  ['(a|b).com', 'bad-pattern', undefined],
  ['[example.com]', 'bad-pattern', 'example.com'],
  ['[10.0.0.1]', 'bad-pattern', '10.0.0.1'],
  ['10.0.0.1/8', 'bad-pattern', '10.0.0.0/8'],
  ['10.0.0.0/08', 'bad-pattern', '10.0.0.0/8'],
  ['10.0.0.0/33', 'bad-pattern', undefined],
  ['10.0.*.*', 'bad-pattern', '10.0.0.0/16'],
  ['10.*', 'bad-pattern', '10.0.0.0/8'],
  ['127.1', 'bad-pattern', '127.0.0.1'],
  ['0x7f.0.0.1', 'bad-pattern', '127.0.0.1'],
  ['0177.0.0.1', 'bad-pattern', '127.0.0.1'],
  ['2130706433', 'bad-pattern', '127.0.0.1'],
  ['300.1.1.1', 'bad-pattern', undefined],
  ['1.2.3.4.5', 'bad-pattern', undefined],
  ['*.10.0.0.1', 'bad-pattern', undefined],
  ['2001:DB8::/32', 'bad-pattern', '2001:db8::/32'],
  ['2001:db8:0:0::/32', 'bad-pattern', '2001:db8::/32'],
  ['2001:db8::1/32', 'bad-pattern', '2001:db8::/32'],
  ['::ffff:a00:0/104', 'bad-pattern', '10.0.0.0/8'],
  ['fe80::1%eth0', 'bad-pattern', 'fe80::1'],
  [`${'a'.repeat(64)}.com`, 'bad-pattern', undefined],
  [`*.${'a.'.repeat(126)}b`, 'bad-pattern', undefined],
  ['a'.repeat(100_000), 'bad-pattern', undefined],
];

describe('host patterns', () => {
  for (const [text, labels, suffix] of names) {
    it(text.slice(0, 40), () => {
      assert.deepEqual(parsePattern(text), { kind: 'name', text, labels, suffix });
    });
  }

  for (const [text, canonical, cidr] of networks) {
    it(text, () => {
      const read = parsePattern(text);
      assert.ok(isHostPattern(read) && read.kind === 'cidr');
      assert.equal(read.text, canonical);
      assert.equal(read.cidr.text, cidr);
    });
  }

  it('*', () => assert.deepEqual(parsePattern('*'), { kind: 'any', text: '*' }));

  for (const [text, code, hint] of problems) {
    it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
      const read = parsePattern(text);
      assert.ok(!isHostPattern(read));
      assert.equal(read.code, code);
      assert.equal(read.hint, hint);
      assert.match(read.message, /^[ -~]{10,}[^.]$/);
    });
  }

  it('never throws; its hints and canonical texts are patterns', () => {
    const piece = fc.oneof(
      fc.constantFrom('*', '.', '*.', 'a', 'B', '-', '_', '/', '://', ':', '@', '[', ']', '%', '?'),
      fc.constantFrom(
        'com',
        'xn--',
        '0x',
        '10',
        '255',
        '::',
        'ffff',
        '/8',
        '\u00fc',
        '\u3002',
        '\ud800',
      ),
      fc.string({ unit: 'binary', maxLength: 3 }),
    );
    const text = fc.array(piece, { maxLength: 9 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(text, (source) => {
        const read = parsePattern(source);
        const canonical = isHostPattern(read) ? read.text : read.hint;
        if (canonical === undefined) return;
        const again = parsePattern(canonical);
        assert.ok(isHostPattern(again), canonical);
        assert.equal(again.text, canonical);
      }),
      { numRuns: 5000 },
    );
  });
});
