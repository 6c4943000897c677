import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { filterToolText } from '../../src/proxy/tool-list.ts';
import { ToolListStream } from '../../src/proxy/tool-list-stream.ts';
import { eventsOf } from '../support/event-stream.ts';

const admits = (tool: string): boolean => tool.startsWith('get_');
const list = (tools: string): string => `{"id":1,"result":{"tools":${tools}}}`;
const mixed = list('[{"name":"get_a"},{"name":"put"}]');
const kept = list('[{"name":"get_a"}]');

/** What came out after each chunk, then at the end; a problem ends it. */
function pushed(chunks: readonly (string | Buffer)[], longestEvent?: number): string[] {
  const stream = new ToolListStream({
    admits,
    ...(longestEvent === undefined ? {} : { longestEvent }),
  });
  const out: string[] = [];
  for (const chunk of chunks) {
    const passed = stream.push(Buffer.from(chunk));
    if (typeof passed === 'string') return [...out, `problem: ${passed}`];
    out.push(passed.toString());
  }
  const rest = stream.end();
  return [...out, typeof rest === 'string' ? `problem: ${rest}` : rest.toString()];
}

describe('passed on', () => {
  const cases: readonly [what: string, chunks: readonly string[], out: readonly string[]][] = [
    ['an event without tools, whole', ['data: {"id":1}\n\n'], ['data: {"id":1}\n\n', '']],
    [
      'the endpoint of the older transport',
      ['event: endpoint\ndata: /tools/messages?session=1\n\n'],
      ['event: endpoint\ndata: /tools/messages?session=1\n\n', ''],
    ],
    ['a comment at once', [': ping\n'], [': ping\n', '']],
    ['a comment before its blank line', [':\r\n', '\r\n'], [':\r\n', '\r\n', '']],
    ['a comment after an event', ['data: 1\n\n: ping\n'], ['data: 1\n\n: ping\n', '']],
    [
      'fields before the data',
      ['id: 7\nevent: message\n', 'data: 1\n', '\n'],
      ['id: 7\nevent: message\n', '', 'data: 1\n\n', ''],
    ],
    ['a line when it is whole', ['da', 'ta: 1', '\n\n'], ['', '', 'data: 1\n\n', '']],
    [
      'a blank line split in two',
      ['data: 1\r\n\r', '\n: x\r\n'],
      ['data: 1\r\n\r', '\n: x\r\n', ''],
    ],
    [
      'a line end split within an event',
      ['data: 1\r', '\ndata: 2\r\n\r\n'],
      ['', 'data: 1\r\ndata: 2\r\n\r\n', ''],
    ],
    [
      'a whole line end, then a blank line',
      ['data: 1\r\n', '\n: x\n'],
      ['', 'data: 1\r\n\n: x\n', ''],
    ],
    ['a return alone', ['data: 1\r', 'data: 2\r\r'], ['', 'data: 1\rdata: 2\r\r', '']],
    [
      'a return, then nothing, then a line feed',
      ['data: 1\r\r', '', '\n'],
      ['data: 1\r\r', '', '\n', ''],
    ],
    ['an event that never ends', ['data: 1\nid: 3\nda'], ['', 'data: 1\nid: 3\nda']],
    ['a byte order mark', ['\ufeffdata: 1\n\n'], ['\ufeffdata: 1\n\n', '']],
    ['a byte order mark on a line of its own', ['\ufeff\n'], ['\ufeff\n', '']],
  ];
  for (const [what, chunks, out] of cases) {
    test(what, () => assert.deepEqual(pushed(chunks), out));
  }

  test('bytes that are not UTF-8, untouched', () => {
    const stream = new ToolListStream({ admits });
    const bytes = Buffer.from('data: "\xff\xfe tools"\n\n', 'latin1');
    assert.deepEqual(stream.push(bytes), bytes);
  });
});

describe('filtered', () => {
  const cases: readonly [what: string, chunks: readonly string[], out: string][] = [
    [
      'a list',
      [`event: message\nid: 4\ndata: ${mixed}\n\n`],
      `event: message\nid: 4\ndata: ${kept}\n\n`,
    ],
    ['without a space', [`data:${mixed}\n\n`], `data: ${kept}\n\n`],
    ['in returns', [`data: ${mixed}\r\rdata: 1\r\r`], `data: ${kept}\n\rdata: 1\r\r`],
    [
      'in several lines',
      ['data: {"result":\nid: 1\ndata: {"tools":\ndata\n: c\ndata: [{"name":"put"}]}}\n\n'],
      'data: {"result":{"tools":[]}}\nid: 1\n: c\n\n',
    ],
    ['cut in pieces', [...`data: ${mixed}\r\n\r\ndata: 2\n\n`], `data: ${kept}\r\n\r\ndata: 2\n\n`],
    ['behind a byte order mark', [`\ufeffdata: ${mixed}\n\n`], `data: ${kept}\n\n`],
    ['at the end, unfinished', [`data: ${mixed}`], `data: ${kept}`],
    ['at the end, without its blank line', [`data: ${mixed}\n`], `data: ${kept}\n`],
    ['a batch', [`data: [${mixed},1]\n\n`], `data: [${kept},1]\n\n`],
  ];
  for (const [what, chunks, out] of cases) {
    test(what, () => assert.equal(pushed(chunks).join(''), out));
  }
});

describe('a problem', () => {
  const cases: readonly [what: string, chunks: readonly string[], why: RegExp][] = [
    [
      'a list with a mistake',
      [`data: ${mixed},\n\n`],
      /data of an event is not one JSON value, and may hold/,
    ],
    ['a list twice', ['data: {"result":{"tools":[{"name":"put"}],"tools":[]}}\n\n'], /key twice/],
    ['a mistake at the end', [`data: ${mixed},`], /may hold/],
    ['a list in a comment', [`: ${mixed}\n`], /no data/],
    ['a list behind a line separator in a comment', [`: x\u2028data: ${mixed}\n\n`], /no data/],
    ['a list behind a line separator in data', [`data: 1\u2028data: ${mixed}\n\n`], /may hold/],
    ['a field in capitals', [`DATA: ${mixed}\n\n`], /no data/],
    ['a field behind a space', [` data: ${mixed}\n\n`], /no data/],
    ['a second byte order mark', [`\ufeff\ufeffdata: ${mixed}\n\n`], /no data/],
    ['a list in an unfinished comment', [`: ${mixed}`], /no data/],
  ];
  for (const [what, chunks, why] of cases) {
    test(what, () =>
      assert.match(pushed(chunks).at(-1) ?? '', new RegExp(`^problem: .*${why.source}`, 'u')),
    );
  }

  test('an event that is too long, in one line or in many, in one piece or in many', () => {
    const piece = 'x'.repeat(400);
    const long = /problem: an event is longer than 1000 bytes/u;
    assert.match(pushed([`data: ${piece}`, piece, piece], 1000).join(), long);
    assert.match(pushed([`data: ${piece}\n`.repeat(3)], 1000).join(), long);
    assert.match(pushed(['data\n'.repeat(20)], 1000).join(), long);
    assert.match(
      pushed(
        Array.from({ length: 20 }, () => 'x'),
        1000,
      ).join(),
      long,
    );
    assert.match(pushed([`: ${piece}${piece}${piece}`], 1000).join(), long);
  });

  test('is none for many short events', () => {
    const events = 'data: 1\n\n: x\nid: 1\n'.repeat(1000);
    assert.equal(pushed([events], 1000).join(''), events);
  });
});

const data = fc.constantFrom(
  mixed,
  mixed,
  mixed,
  kept,
  '{"a":1}',
  'tools',
  '',
  '{"result":{"tools":[]}}',
  '\ufeff',
  'é{"x":"😀"}',
  '[{"result":{"tools":[{"name":"x"}]}}]',
);
const line = fc.oneof(
  { weight: 4, arbitrary: data.map((text) => `data: ${text}`) },
  fc.constantFrom(
    'data',
    'data:',
    ': ping',
    ':',
    'id: 7',
    'event: message',
    'retry: 1',
    'nonsense',
    '',
    '',
  ),
);
const streamText = fc
  .tuple(fc.boolean(), fc.array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r'))), line)
  .map(
    ([mark, lines, rest]) =>
      `${mark ? '\ufeff' : ''}${lines.map((pair) => pair.join('')).join('')}${rest}`,
  );

/** The same text in chunks that may end anywhere, inside characters as well; some behind each line end. */
function cut(bytes: Buffer, sizes: readonly number[], atEnds: boolean): Buffer[] {
  const ends = [...bytes.toString('latin1').matchAll(/\r\n|\r|\n/gu)].map(
    ({ index, 0: end }) => index + end.length,
  );
  const places = new Set(atEnds ? ends : []);
  let place = 0;
  for (const size of sizes) place += size;
  places.add(place);
  const sorted = [0, ...places, bytes.length].toSorted((one, other) => one - other);
  return sorted.map((at, index) => bytes.subarray(at, sorted[index + 1] ?? bytes.length));
}

test('clients get the same events, filtered, however the stream is cut', () => {
  let filtered = 0;
  fc.assert(
    fc.property(
      streamText,
      fc.array(fc.integer({ min: 0, max: 30 })),
      fc.boolean(),
      (text, sizes, atEnds) => {
        const bytes = Buffer.from(text);
        const whole = run([bytes]);
        const pieces = run(cut(bytes, sizes, atEnds));
        assert.equal(pieces === null, whole === null);
        if (whole === null || pieces === null) return;
        assert.deepEqual(pieces, whole);
        for (const lenient of [false, true]) {
          const expected = eventsOf(bytes, lenient).map((event) => {
            const changed = filterToolText(event.data, admits);
            assert.notEqual(typeof changed, 'string');
            if (changed === null || typeof changed === 'string') return event;
            filtered++;
            return { ...event, data: changed.text };
          });
          assert.deepEqual(eventsOf(whole, lenient), expected);
        }
      },
    ),
    { numRuns: 8000 },
  );
  assert.ok(filtered > 300, `only ${filtered} events were filtered`);
});

/** All that comes out; null after a problem. */
function run(chunks: readonly Buffer[]): Buffer | null {
  const stream = new ToolListStream({ admits });
  const out: Buffer[] = [];
  for (const chunk of chunks) {
    const passed = stream.push(chunk);
    if (typeof passed === 'string') return null;
    out.push(passed);
  }
  const rest = stream.end();
  return typeof rest === 'string' ? null : Buffer.concat([...out, rest]);
}
