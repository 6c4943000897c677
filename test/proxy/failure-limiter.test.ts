import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type Ip, parseIp } from '../../src/core/ip.ts';
import type { Reason } from '../../src/core/reasons.ts';
import { FailureLimiter } from '../../src/proxy/failure-limiter.ts';
import type { Live } from '../../src/proxy/services.ts';
import { until } from '../support/deadline.ts';
import { ManualClock } from '../support/manual-clock.ts';

const socketPath = 'unix:/run/sallyport.sock';
const cases: readonly (readonly [first: string | null, second: string | null, one: boolean])[] = [
  ['192.0.2.1', '192.0.2.1', true],
  ['192.0.2.1', '192.0.2.2', false],
  ['2001:db8::1', '2001:db8::ffff:ffff:ffff:ffff', true],
  ['2001:db8::1', '2001:db8:0:1::1', false],
  [null, null, true],
  [null, '192.0.2.1', false],
];

/** A limiter and all that it touches. */
class Stage {
  readonly clock = new ManualClock();
  readonly live = new Set<Live>();
  readonly counted: string[] = [];
  readonly limiter: FailureLimiter;

  constructor(connections = 10_000) {
    this.limiter = new FailureLimiter({
      clock: this.clock,
      live: this.live,
      connections,
      metrics: { identityFailure: (reason, answer) => this.counted.push(`${reason} ${answer}`) },
    });
  }

  fail(from: string | null = '192.0.2.1', reason: Reason = 'bad_credentials') {
    const source: Ip | null = from === null ? null : parseIp(from);
    return this.limiter.farewell({ source, client: socketPath }, reason);
  }

  /** How each of so many failures in one moment is answered, as the metrics say it. */
  fails(count: number, from?: string | null): Record<string, number> {
    const before = this.counted.length;
    for (let n = 0; n < count; n++) this.fail(from);
    const answers = this.counted.slice(before).map((text) => text.split(' ')[1] ?? '');
    return Object.fromEntries(
      [...new Set(answers)].map((answer) => [answer, answers.filter((a) => a === answer).length]),
    );
  }

  /** One sweep of the registry. */
  sweep(): void {
    for (const live of this.live) live.tick(this.clock.monotonic(), this.clock.now());
  }
}

describe('the ration of one source', () => {
  test('is twenty at once, then 64 that wait, then none', () => {
    assert.deepEqual(new Stage().fails(100), { at_once: 20, held: 64, none: 16 });
  });

  test('grows by one in two seconds, up to twenty', () => {
    const stage = new Stage();
    stage.fails(20);
    stage.clock.advance(1_999);
    assert.deepEqual(stage.fails(1), { held: 1 });
    stage.clock.advance(1);
    assert.deepEqual(stage.fails(2), { at_once: 1, held: 1 });
    stage.clock.advance(3_600_000);
    assert.deepEqual(stage.fails(21), { at_once: 20, held: 1 });
  });

  for (const reason of ['no_credentials', 'agent_quarantined'] as const) {
    test(`is not touched by ${reason}`, () => {
      const stage = new Stage();
      for (let n = 0; n < 100; n++) assert.ok(stage.fail('192.0.2.1', reason).answered);
      assert.deepEqual(new Set(stage.counted), new Set([`${reason} at_once`]));
      assert.deepEqual(stage.fails(20), { at_once: 20 });
    });
  }

  test('counts every other failure', () => {
    const stage = new Stage();
    const reasons = ['source_not_allowed', 'credential_expired', 'credential_revoked'] as const;
    for (let n = 0; n < 21; n++) stage.fail('192.0.2.1', reasons[n % 3]);
    assert.deepEqual(
      stage.counted.filter((text) => text.endsWith('held')),
      ['credential_revoked held'],
    );
  });

  for (const [first, second, one] of cases) {
    test(`${first ?? 'a socket'} and ${second ?? 'a socket'} ${one ? 'share' : 'do not share'} it`, () => {
      const stage = new Stage();
      stage.fails(20, first);
      assert.deepEqual(stage.fails(1, second), one ? { held: 1 } : { at_once: 1 });
    });
  }
});

describe('all sources together', () => {
  const crowd = (stage: Stage, sources: number) => {
    for (let n = 0; n < sources; n++) stage.fails(84, `198.51.${n >> 8}.${n & 255}`);
  };

  test('have 1,024 answers that wait', () => {
    const stage = new Stage();
    crowd(stage, 20);
    assert.equal(stage.limiter.held, 1_024);
    assert.deepEqual(stage.fails(21), { at_once: 20, none: 1 });
  });

  test('have an eighth of the connections at most', () => {
    const stage = new Stage(100);
    crowd(stage, 20);
    assert.equal(stage.limiter.held, 13);
  });

  test('are forgotten, not piled up', () => {
    const stage = new Stage();
    stage.fails(20);
    for (let n = 0; n < 20_000; n++) stage.fail(`198.51.${n >> 8}.${n & 255}`);
    assert.deepEqual(stage.fails(1), { at_once: 1 }, 'the oldest made room');
  });
});

describe('an answer that waits', () => {
  let server: net.Server;
  const ours: Socket[] = [];
  before(async () => {
    server = net.createServer({ allowHalfOpen: true }, (socket) => {
      ours.push(socket.on('error', () => {}));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(() => server.close());

  /** Both ends of a connection whose answer waits, and what the client has of it. */
  async function held(stage: Stage): Promise<{ client: Socket; text: () => string }> {
    const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
    await once(client, 'connect');
    await until(
      () => ours.length > 0,
      () => 'not accepted',
    );
    let text = '';
    client.on('error', () => {}).on('data', (chunk: Buffer) => (text += chunk.toString()));
    stage.fails(20);
    stage.fail().end(ours.pop() as Socket, 'the answer');
    return { client, text: () => text };
  }

  test('comes after a second', async () => {
    const stage = new Stage();
    const { client, text } = await held(stage);
    stage.clock.advance(999);
    stage.sweep();
    assert.deepEqual([stage.limiter.held, stage.live.size], [1, 1]);
    stage.clock.advance(1);
    stage.sweep();
    assert.deepEqual([stage.limiter.held, stage.live.size], [0, 0]);
    await once(client, 'end');
    assert.equal(text(), 'the answer');
  });

  const endings: readonly (readonly [string, (client: Socket, stage: Stage) => void])[] = [
    ['its client resets', (client) => client.resetAndDestroy()],
    ['its client ends', (client) => client.end()],
    ['its client is gone', (client) => client.destroy()],
    [
      'the proxy drains',
      (_client, stage) => {
        for (const live of stage.live) live.cut('draining');
      },
    ],
  ];
  for (const [what, end] of endings) {
    test(`is given up when ${what}`, async () => {
      const stage = new Stage();
      const { client, text } = await held(stage);
      client.write('more that nobody reads');
      end(client, stage);
      await until(
        () => stage.limiter.held === 0 && stage.live.size === 0 && client.destroyed,
        () => 'still held',
      );
      assert.equal(text(), '');
    });
  }
});
