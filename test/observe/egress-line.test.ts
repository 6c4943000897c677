import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { EgressLineFormatter } from '../../src/observe/egress-line.ts';
import type { EgressRecord } from '../../src/observe/egress-log.ts';
import { type EgressLine, egressKeys } from '../support/egress-lines.ts';
import { agentNamed, fullRecord } from './records.ts';

const time = Date.UTC(2026, 6, 1, 12, 0, 5, 7);

function parsed(record: EgressRecord): EgressLine {
  const line = new EgressLineFormatter('host/0').format(record, time, 1);
  assert.ok(line.endsWith('}\n'));
  return JSON.parse(line) as EgressLine;
}

describe('a line', () => {
  test('of a full record has every key in the order of the contract', () => {
    assert.deepEqual(Object.keys(parsed(fullRecord)), [...egressKeys]);
  });

  test('says what the record says', () => {
    assert.deepEqual(parsed(fullRecord), {
      time: '2026-07-01T12:00:05.007Z',
      event: 'open',
      id: '01JD5Z3V9M7QK2W8R4T6Y0XABC',
      agent: 'demo',
      verdict: 'allow',
      reason: 'host_not_allowed',
      scheme: 'https',
      host: 'registry.npm.example',
      port: 443,
      method: 'CONNECT',
      path: '/a/b',
      tool: 'create_issue',
      params: '{"repo":"storefront"}',
      status: 200,
      entry: 'registries.yaml:12',
      group: 'registry/npm',
      policy: '3f9c2a71b0de',
      task: 'OPS-1421',
      requested_by: 'ann@example.com',
      token: 'sha256:0123456789ab',
      client: '10.20.0.17:51234',
      address: '[2606:4700::1111]:443',
      sni: 'registry.npm.example',
      bytes_up: 1200,
      bytes_down: 34_000,
      ms: 12.4,
      dns_ms: 0,
      dial_ms: 8.1,
      end: 'client',
      owner: 'web-platform@example.com',
      purpose: 'Move the storefront to React',
      report: true,
      node: 'host/0',
      seq: 1,
    });
  });

  test('owes nothing to the line before', () => {
    const formatter = new EgressLineFormatter('host/0');
    const value = fc.constantFrom(undefined, 'a', 'b');
    const record = fc.record({
      event: fc.constant('open' as const),
      entry: value,
      group: value,
      policy: value,
      task: value,
      requestedBy: value,
      token: value,
    });
    fc.assert(
      fc.property(record, (next) => {
        const fresh = new EgressLineFormatter('host/0').format(next as EgressRecord, time, 1);
        assert.equal(formatter.format(next as EgressRecord, time, 1), fresh);
      }),
    );
  });

  test('leaves out what is unknown', () => {
    assert.deepEqual(Object.keys(parsed({ event: 'start' })), ['time', 'event', 'node', 'seq']);
  });

  test('keeps false, zero and the empty text', () => {
    const line = parsed({ event: 'close', host: '', port: 0, bytesUp: 0, report: false });
    assert.deepEqual([line.host, line.port, line.bytes_up, line.report], ['', 0, 0, false]);
  });

  test('is escaped and bounded in what a tool call says', () => {
    const line = parsed({ event: 'block', tool: 'x"\n'.repeat(200), params: '{"a":"é\u202e"}' });
    assert.match(line.tool ?? '', /^(?:x"\n){25,}.{0,3}…$/u);
    assert.ok(Buffer.byteLength(JSON.stringify(line.tool)) <= 258);
    assert.equal(line.params, '{"a":"é\u202e"}');
    const params = `{"a":"${'y'.repeat(900)}"}`;
    assert.match(parsed({ event: 'block', params }).params ?? '', /^\{"a":"y{600,}…$/u);
  });

  test('never holds a query', () => {
    assert.equal(parsed({ event: 'open', path: '/login?password=hunter2' }).path, '/login');
    assert.equal(parsed({ event: 'open', path: '?x' }).path, '');
  });

  test('can be found by the grep of the contract', () => {
    const line = new EgressLineFormatter('h/0').format(
      { event: 'block', agent: agentNamed('demo'), verdict: 'block' },
      time,
      1,
    );
    assert.ok(line.includes('"agent":"demo"') && line.includes('"verdict":"block"'));
  });

  test('cannot be made to look like another one', () => {
    const line = parsed({ event: 'block', host: 'x","verdict":"allow', verdict: 'block' });
    assert.equal(line.verdict, 'block');
    assert.equal(line.host, 'x","verdict":"allow');
  });

  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, -1, Number.NEGATIVE_INFINITY]) {
    test(`writes ${value} as a number that JSON knows`, () => {
      assert.equal(parsed({ event: 'close', ms: value, bytesUp: value }).ms, 0);
    });
  }
});

describe('the time of a line', () => {
  const formatter = new EgressLineFormatter('h/0');
  const times = [0, 999, 1000, time, time + 993, time + 992, time - 86_400_000, -1, 4.7e12];
  for (const at of times) {
    test(`${at} ms`, () => {
      const line = JSON.parse(formatter.format({ event: 'start' }, at, 1)) as { time: string };
      assert.equal(line.time, new Date(at).toISOString());
    });
  }
  test('a part of a millisecond is dropped', () => {
    const line = JSON.parse(formatter.format({ event: 'start' }, 1.9, 1)) as { time: string };
    assert.equal(line.time, '1970-01-01T00:00:00.001Z');
  });
});

describe('whatever a client sends', () => {
  const wild = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.constantFrom('\n', '\u202e', '\ud800', '"', '😀', 'x').map((text) => text.repeat(20_000)),
  );
  const record = fc.record({
    id: wild,
    scheme: wild,
    host: wild,
    port: fc.double(),
    method: wild,
    path: wild,
    tool: wild,
    params: wild,
    status: fc.double(),
    entry: wild,
    group: wild,
    policy: wild,
    task: wild,
    requestedBy: wild,
    token: wild,
    client: wild,
    address: wild,
    sni: wild,
    bytesUp: fc.double(),
    bytesDown: fc.double(),
    ms: fc.double(),
    dnsMs: fc.double(),
    dialMs: fc.double(),
    end: wild,
    report: fc.boolean(),
  });

  test('the line is JSON, one line, at most 8 KiB', () => {
    fc.assert(
      fc.property(record, wild, wild, wild, (fields, owner, purpose, node) => {
        const agent = { ...agentNamed('a'.repeat(63)), owner, purpose };
        const line = new EgressLineFormatter(node).format(
          {
            event: 'reload_failed',
            agent,
            verdict: 'allow',
            reason: 'credential_revoked',
            ...fields,
          },
          time,
          Number.MAX_SAFE_INTEGER,
        );
        assert.ok(Buffer.byteLength(line) <= 8192);
        assert.equal(line.indexOf('\n'), line.length - 1);
        assert.deepEqual(Object.keys(JSON.parse(line) as object), [...egressKeys]);
      }),
      { numRuns: 200 },
    );
  });

  test('a host of 253 bytes stays whole', () => {
    const host = `${'a.'.repeat(126)}b`;
    assert.equal(parsed({ event: 'open', host }).host, host);
  });
});
