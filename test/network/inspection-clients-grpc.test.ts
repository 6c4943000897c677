import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { type ClientRun, describeRun } from '../support/client-lab.ts';
import { until } from '../support/deadline.ts';
import { linesLike } from '../support/egress-lines.ts';
import { assertRefusedRequest, assertRequests, EnvLab } from '../support/env-lab.ts';
import type { Outcome } from '../support/grpc-client.ts';
import { GrpcEcho } from '../support/grpc-echo.ts';
import { enterNamespace } from '../support/namespace.ts';

await enterNamespace(import.meta.filename);

const host = 'api.test';
const address = '93.184.215.14';
/** Not loopback, which the exports keep from proxies: a sandbox elsewhere reaches it by an address. */
const proxyHost = '10.0.0.5';
const program = path.resolve(import.meta.dirname, '../support/grpc-client.ts');
const codes = {
  ok: 0,
  cancelled: 1,
  deadline: 4,
  notFound: 5,
  denied: 7,
  unavailable: 14,
  loss: 15,
};

let lab: EnvLab;
let origin: GrpcEcho;
before(async () => {
  lab = await EnvLab.start({
    hosts: { [host]: address },
    proxyHost,
    settings: { listen: [`${proxyHost}:0`] },
    allow: [{ host, methods: ['POST'], paths: ['/lab.Echo/*'] }],
  });
  origin = await GrpcEcho.start(`${address}:443`, lab.certificate(host));
});
after(async () => {
  await lab[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});
beforeEach(() => {
  origin.calls.length = 0;
  origin.cancelled.length = 0;
});

interface Called<T> {
  readonly run: ClientRun;
  readonly outcome: T;
}

async function call<T = Outcome>(name: string, before = '', to = host): Promise<Called<T>> {
  const run = await lab.shell(`${before}\nnode "$1" "$2" "$3"`, program, to, name);
  assert.equal(run.status, 0, describeRun(run));
  return { run, outcome: JSON.parse(run.stdout) as T };
}

const echo = (method: string) => ({ host, method: 'POST', path: `/lab.Echo/${method}` });

/** One tunnel, and in it one request. */
function assertOneCall(run: ClientRun, method: string): void {
  const [line] = assertRequests(run, { ...echo(method), status: 200 });
  assert.ok(Number(line?.bytes_up) >= 5, describeRun(run));
  assert.equal(linesLike(run.lines, { event: 'open' }).length, 2, describeRun(run));
}

describe('grpc-js, inspected', () => {
  test('a message and its answer, with metadata of all three kinds', async () => {
    const { run, outcome } = await call('unary');
    assert.deepEqual([outcome.code, outcome.messages], [codes.ok, ['hello']], describeRun(run));
    assert.deepEqual([outcome.head['x-echo'], outcome.head['x-echo-bin']], ['a tag', 'ä']);
    assert.equal(outcome.trailers['x-trailer'], 'at the end');
    assertOneCall(run, 'Unary');
  });

  test('3 MB each way come whole, although trailers are behind them', async () => {
    const { run, outcome } = await call('large');
    assert.deepEqual([outcome.code, outcome.messages[0]?.length], [codes.ok, 3_000_000]);
    assertOneCall(run, 'Unary');
  });

  test('a stream of answers', async () => {
    const { run, outcome } = await call('serverStream');
    assert.equal(outcome.code, codes.ok, describeRun(run));
    assert.deepEqual(
      outcome.messages,
      Array.from({ length: 500 }, (_, at) => `${at}`),
    );
    assertOneCall(run, 'ServerStream');
  });

  test('a stream of messages', async () => {
    const { run, outcome } = await call('clientStream');
    assert.deepEqual([outcome.code, outcome.messages], [codes.ok, ['500000']], describeRun(run));
    assertOneCall(run, 'ClientStream');
  });

  test('streams both ways, by turns', async () => {
    const { run, outcome } = await call('both');
    assert.equal(outcome.code, codes.ok, describeRun(run));
    assert.deepEqual(
      outcome.messages,
      Array.from({ length: 20 }, (_, at) => `${at + 1}!`),
    );
    assertOneCall(run, 'Both');
  });

  test('a hundred calls at once share a tunnel', async () => {
    const { run, outcome } = await call<Outcome[]>('many');
    const answers = outcome.map(({ messages }) => messages[0]);
    assert.deepEqual(
      answers,
      Array.from({ length: 100 }, (_, at) => `${at}`),
    );
    assertRequests(run, { ...echo('Unary'), status: 200 }, 100);
    assert.equal(linesLike(run.lines, { event: 'open', method: 'CONNECT' }).length, 1);
  });

  test('an error that is trailers alone', async () => {
    const { run, outcome } = await call('fail');
    assert.deepEqual([outcome.code, outcome.details], [codes.notFound, 'not found: ä']);
    assert.equal(outcome.trailers['x-why'], 'it was never there');
    assertOneCall(run, 'Fail');
  });

  test('an error behind messages', async () => {
    const { run, outcome } = await call('failLate');
    assert.deepEqual([outcome.code, outcome.details], [codes.loss, 'and no further']);
    assert.deepEqual(outcome.messages, ['so far so good']);
    assertOneCall(run, 'FailLate');
  });

  test('a deadline ends the call on both sides', async () => {
    const { run, outcome } = await call('silent');
    assert.equal(outcome.code, codes.deadline, outcome.details);
    await untilCancelled('silent');
    const [line] = assertRequests(run, echo('Silent'));
    assert.equal(line?.end, 'client');
  });

  test('what is taken back ends on both sides', async () => {
    const { run, outcome } = await call('cancel');
    assert.equal(outcome.code, codes.cancelled, outcome.details);
    assert.deepEqual(outcome.messages, ['one of endlessly many']);
    await untilCancelled('serverStream');
    const [line] = assertRequests(run, echo('ServerStream'));
    assert.equal(line?.end, 'client');
  });

  test('another service is refused, with the reason in the error', async () => {
    const { run, outcome } = await call('erase');
    const said = `this path of ${host} is not allowed for agent demo (path_not_allowed)`;
    assert.deepEqual([outcome.code, outcome.details], [codes.denied, said]);
    const refused = { host, method: 'POST', path: '/lab.Admin/Erase', status: 403 };
    const line = assertRefusedRequest(run, { ...refused, reason: 'path_not_allowed' }, said);
    assert.equal(outcome.trailers['sallyport-id'], line.id);
    assert.deepEqual(origin.calls, []);
  });

  test('a refusal ends its call, and not the connection', async () => {
    const { run, outcome } = await call<Outcome[]>('eraseAfter');
    assert.deepEqual(
      outcome.map(({ code }) => code),
      [codes.ok, codes.denied, codes.ok],
    );
    assertRequests(run, { ...echo('Unary'), status: 200 }, 2);
    assert.equal(linesLike(run.lines, { event: 'open', method: 'CONNECT' }).length, 1);
    assert.deepEqual(origin.calls, ['unary', 'unary']);
  });

  test('grpc_proxy alone is enough', async () => {
    const { run, outcome } = await call(
      'unary',
      'export grpc_proxy="$https_proxy"; unset HTTP_PROXY HTTPS_PROXY http_proxy https_proxy',
    );
    assert.equal(outcome.code, codes.ok, describeRun(run));
    assertOneCall(run, 'Unary');
  });

  test('says of a host that is not allowed only that there is no connection', async () => {
    const { run, outcome } = await call('unary', '', 'evil.test');
    assert.equal(outcome.code, codes.unavailable);
    assert.match(outcome.details, /^No connection established/u);
    const [line] = linesLike(run.lines, { event: 'block', host: 'evil.test' });
    assert.equal(line?.reason, 'host_not_allowed', describeRun(run));
  });
});

async function untilCancelled(name: string): Promise<void> {
  await until(
    () => origin.cancelled.includes(name),
    () => `${name} goes on at the origin`,
  );
}
