import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../support/deadline.ts';
import { linesLike, onlyLine, waitForLine } from '../support/egress-lines.ts';
import {
  answerAll,
  answering,
  demo,
  HttpStage,
  head,
  ok,
  once,
  second,
  summary,
} from '../support/http-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import type { Received } from '../support/origins.ts';

await enterNamespace(import.meta.filename);

let stage: HttpStage;
before(async () => {
  stage = await HttpStage.start();
});
after(async () => await stage[Symbol.asyncDispose]());
afterEach(() => {
  stage.script = answerAll;
});

const get = (path: string, credential = demo) => head(`GET http://good.test${path}`, credential);
const last = `Connection: close\r\n${demo}`;

/** The connection on which this request came, once it is there. */
async function asked(path: string): Promise<Received> {
  const find = () => stage.connections.find((connection) => connection.text.includes(path));
  await until(
    () => find() !== undefined,
    () => `nobody asked for ${path}`,
  );
  return find() as Received;
}

test('one connection: every request is identified and decided by itself', async () => {
  const client = await stage.client();
  const requests: [request: string, answer: string][] = [
    [get('/1'), 'GET /1 HTTP/1.1'],
    [head('GET http://other.test/2', second), 'GET /2 HTTP/1.1'],
    [head('GET http://good.test:8080/3', demo), 'GET /3 HTTP/1.1'],
    [get('/4'), 'GET /4 HTTP/1.1'],
  ];
  for (const [request, answer] of requests) {
    client.write(request);
    assert.equal((await client.readResponse()).body.toString(), answer);
  }
  client.write(get('/5', second) + get('/6'));
  assert.equal(summary((await client.readToEnd()).toString('latin1')), '403 host_not_allowed');
  const used = stage.connections.filter((connection) => /GET \/[1-6] /.test(connection.text));
  assert.equal(used.length, 3, 'one connection for each origin');
});

describe('pipelined requests are answered in order, one at a time', () => {
  const broken = head('POST http://good.test/x', `${demo}Transfer-Encoding: chunked\r\n`);
  const upgrade = 'Connection: Upgrade\r\nUpgrade: h2c\r\n';
  const slow = (received: Received) => {
    answering((text) => {
      const answer = ok(text.split(' ', 2)[1] ?? '');
      setTimeout(() => received.socket.write(answer), 30);
      return '';
    })(received);
  };
  const cases: [what: string, bytes: string, answers: string][] = [
    [
      'two origins',
      get('/a') + head('GET http://other.test/b', demo) + head('GET http://good.test/c', last),
      '200 /a|200 /b|200 /c',
    ],
    [
      'a refused one ends all',
      get('/a') + head('GET http://evil.test/', demo) + get('/c'),
      '200 /a|403 host_not_allowed',
    ],
    [
      'an unidentified one ends all',
      get('/a') + get('/b', '') + get('/c'),
      '200 /a|407 no_credentials',
    ],
    [
      'a malformed one ends all',
      `${get('/a')}GARBAGE\r\n\r\n${get('/c')}`,
      '200 /a|400 bad_request',
    ],
    ['a broken body ends all', `${get('/a') + broken}ZZ\r\n${get('/c')}`, '200 /a|400 bad_request'],
    [
      'a body between',
      `${head('POST http://good.test/a', `${demo}Content-Length: 3\r\n`)}abc${head('GET http://good.test/b', last)}`,
      '200 /a|200 /b',
    ],
    [
      'CONNECT waits',
      `${get('/a')}CONNECT evil.test:443 HTTP/1.1\r\nHost: x\r\n${demo}\r\n`,
      '200 /a|403 host_not_allowed',
    ],
    [
      'an upgrade waits',
      get('/a') + head('GET http://good.test/b', demo + upgrade),
      '200 /a|403 upgrade_not_allowed',
    ],
    ['a last one', head('GET http://good.test/a', last) + get('/b'), '200 /a'],
    ['half a one', `${get('/a')}GET http://good`, '200 /a'],
  ];
  for (const [what, bytes, answers] of cases) {
    test(what, async () => {
      stage.script = slow;
      const { text } = await stage.exchange(bytes, { fin: what === 'half a one' });
      assert.equal(summary(text), answers);
    });
  }

  test('many', async () => {
    const before = stage.connections.length;
    let open = 0;
    let most = 0;
    stage.script = (received) => {
      answering((text) => {
        most = Math.max(most, ++open);
        setImmediate(() => {
          open--;
          received.socket.write(ok(text.split(' ', 2)[1] ?? ''));
        });
        return '';
      })(received);
    };
    const paths = Array.from({ length: 200 }, (_, index) => `/${index}`);
    const requests = paths.map((path) => get(path)).join('');
    const { text } = await stage.exchange(requests + head('GET http://good.test/end', last));
    assert.equal(summary(text), [...paths, '/end'].map((path) => `200 ${path}`).join('|'));
    assert.deepEqual([most, stage.connections.length - before], [1, 1]);
  });
});

describe('a client that says no more', () => {
  test('still gets its answer', async () => {
    const { text } = await stage.exchange(get('/half-closed'), { fin: true });
    assert.equal(summary(text), '200 GET /half-closed HTTP/1.1');
  });

  const leaves: [what: string, request: string, path: string][] = [
    ['waits', get('/left-waiting'), '/left-waiting'],
    [
      'uploads',
      `${head('POST http://good.test/left-up', `${demo}Content-Length: 9\r\n`)}abc`,
      '/left-up',
    ],
  ];
  for (const [what, request, path] of leaves) {
    for (const how of ['close', 'reset'] as const) {
      test(`takes its request with it by ${how} while it ${what}`, async () => {
        stage.script = () => undefined;
        const client = await stage.client();
        client.write(request.replace(path, `${path}-${how}`));
        const received = await asked(`${path}-${how}`);
        client[how]();
        await received.waitForEnd();
        const line = await waitForLine(stage.proxy.logFile, {
          event: 'request',
          path: `${path}-${how}`,
        });
        assert.deepEqual([line.verdict, line.end, line.status], ['allow', 'client', undefined]);
      });
    }
  }

  test('takes its request with it while it downloads', async () => {
    stage.script = once('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabc', ({ socket }) => {
      const timer = setInterval(() => socket.write('x'), 5);
      socket.on('close', () => clearInterval(timer));
    });
    const client = await stage.client();
    client.write(get('/left-down'));
    await client.readUntil('abc');
    client.close();
    await (await asked('/left-down')).waitForEnd();
  });
});

describe('Expect: 100-continue', () => {
  const expecting = head(
    'POST http://good.test/e',
    `${last}Expect: 100-continue\r\nContent-Length: 3\r\n`,
  );
  test('is answered, and not passed on', async () => {
    const client = await stage.client();
    client.write(expecting);
    assert.equal((await client.readUntil('\r\n\r\n')).toString(), 'HTTP/1.1 100 Continue\r\n\r\n');
    client.write('abc');
    assert.match((await client.readToEnd()).toString(), /^HTTP\/1\.1 200 /);
    const { text } = await asked('/e ');
    assert.doesNotMatch(text, /expect/i);
    assert.match(text, /\r\n\r\nabc$/);
  });

  test('of a refused request is not', async () => {
    const { text } = await stage.exchange(expecting.replace('good', 'evil'));
    assert.equal(summary(text), '403 host_not_allowed');
  });
});

describe('an answer before the end of the body', () => {
  const upload = Buffer.concat([
    Buffer.from(head('POST http://good.test/early', `${demo}Content-Length: 5000000\r\n`)),
    Buffer.alloc(5_000_000, 65),
  ]);
  const early = 'HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno';
  const cases: [what: string, script: (received: Received) => void, answer: string][] = [
    ['that leaves the connection open', once(early), '413 no'],
    ['that closes it', once(early, ({ socket }) => socket.end()), '413 no'],
    ['that is none', once('garbage\r\n\r\n'), '502 connect_failed'],
    ['by a reset', once('', ({ socket }) => socket.resetAndDestroy()), '502 connect_failed'],
  ];
  for (const [what, script, answer] of cases) {
    test(what, async () => {
      stage.script = script;
      const { text, reset } = await stage.exchange(upload);
      assert.deepEqual([summary(text), reset], [answer, false]);
    });
  }

  test('by us, when the body is larger than the entry allows', async () => {
    stage.script = () => undefined;
    const chunk = `186a0\r\n${'A'.repeat(100_000)}\r\n`;
    const request = head('POST http://small.test/', `${demo}Transfer-Encoding: chunked\r\n`);
    const { text } = await stage.exchange(request + chunk + chunk);
    assert.equal(summary(text), '413 upload_limit');
    const line = await waitForLine(stage.proxy.logFile, { event: 'request', host: 'small.test' });
    assert.deepEqual(
      [line.verdict, line.reason, line.end],
      ['block', 'upload_limit', 'upload_limit'],
    );
  });
});

describe('bodies that are larger than memory should be', () => {
  const size = 100_000_000;
  const rss = () => {
    const status = readFileSync(`/proc/${stage.proxy.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
  };
  const pour = (socket: NodeJS.WritableStream, left: number) => {
    const block = Buffer.alloc(100_000, 66);
    const go = () => {
      while (left > 0) {
        left -= block.length;
        if (!socket.write(block)) {
          socket.once('drain', go);
          return;
        }
      }
    };
    go();
  };

  test('down to a client that does not read', async () => {
    stage.script = once(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`, ({ socket }) =>
      pour(socket, size),
    );
    const client = await stage.client();
    client.socket.removeAllListeners('data').pause();
    let got = 0;
    const before = rss();
    client.write(head('GET http://good.test/down', last));
    await sleep(300);
    assert.ok(rss() - before < size / 2, 'held back, not kept');
    client.socket.on('data', (chunk: Buffer) => {
      got += chunk.length;
    });
    client.socket.resume();
    await until(
      () => client.ended,
      () => `${got} bytes`,
      15_000,
    );
    assert.ok(got > size && got < size + 1000, String(got));
    client.close();
  });

  test('up to an origin that does not read', async () => {
    let got = 0;
    stage.script = ({ socket }) => {
      socket.removeAllListeners('data');
      socket.pause();
      setTimeout(() => socket.resume(), 300);
      socket.on('data', (chunk: Buffer) => {
        got += chunk.length;
        if (got > size) socket.write(ok('ok'));
      });
    };
    const client = await stage.client();
    const before = rss();
    client.write(head('POST http://good.test/up', `${last}Content-Length: ${size}\r\n`));
    pour(client.socket, size);
    await sleep(250);
    assert.ok(rss() - before < size / 2, 'held back, not kept');
    await until(
      () => client.ended,
      () => `${got} bytes`,
      15_000,
    );
    assert.equal(summary(client.pending.toString('latin1')), '200 ok');
    client.close();
  });
});

test('an answer that nobody asked for is given to nobody', async () => {
  stage.script = answering((text, index) => {
    const extra = index === 0 ? ok('evil') : '';
    return ok(text.split(' ', 2)[1] ?? '') + extra;
  });
  const client = await stage.client();
  for (const path of ['/a', '/b', '/c']) {
    client.write(get(path));
    assert.equal((await client.readResponse()).body.toString(), path);
  }
  client.close();
});

test('every request has its two lines, and only them', async () => {
  const lines = await stage.stop();
  const line = onlyLine(lines, { event: 'request', path: '/half-closed' });
  assert.equal(onlyLine(lines, { event: 'open', id: line.id ?? '' }).address, '93.184.215.14:80');
  assert.deepEqual([line.scheme, line.method, line.status], ['http', 'GET', 200]);
  assert.equal(linesLike(lines, { event: 'close' }).length, 0);
});
