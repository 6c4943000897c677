import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { echo, HttpOrigin, startRawHttpOrigin, startTcpOrigin } from './origins.ts';
import { connectHead, header, parseHead, proxyAuthorization, RawClient } from './raw-client.ts';

describe('a response', () => {
  const cases: [why: string, bytes: string, status: number, body: string][] = [
    ['with a length', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc', 200, 'abc'],
    ['without a body', 'HTTP/1.1 204 No Content\r\n\r\n', 204, ''],
    ['without a reason', 'HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n', 404, ''],
    [
      'in chunks',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n',
      200,
      'abc0123456789',
    ],
  ];
  for (const [why, bytes, status, body] of cases) {
    test(`${why} is read to its end and no further`, async () => {
      await using origin = await startRawHttpOrigin({}, () => `${bytes}REST`);
      const client = await RawClient.connect({ port: origin.port });
      client.write('GET / HTTP/1.1\r\n\r\n');
      const response = await client.readResponse();
      assert.deepEqual([response.status, response.body.toString()], [status, body]);
      assert.equal((await client.readBytes(4)).toString(), 'REST');
      client.close();
    });
  }

  test('without framing ends with the stream', async () => {
    await using origin = await startTcpOrigin({}, ({ socket }) => {
      socket.end('HTTP/1.0 200 OK\r\n\r\nuntil the end');
    });
    const client = await RawClient.connect({ port: origin.port });
    assert.equal((await client.readResponse()).body.toString(), 'until the end');
    client.close();
  });

  for (const head of [
    'HTTP/1.1 2000 X\r\n\r\n',
    'SSH-2.0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nnocolon\r\n\r\n',
  ]) {
    test(`${JSON.stringify(head)} is none`, () => assert.throws(() => parseHead(head)));
  }

  test('gives a field by its name in any case, and refuses to choose between two', () => {
    const head = parseHead(
      'HTTP/1.1 200 OK\r\nX-One:  a \r\nSet-Cookie: b\r\nset-cookie: c\r\n\r\n',
    );
    assert.equal(header(head, 'x-one'), 'a');
    assert.equal(header(head, 'x-two'), undefined);
    assert.throws(() => header(head, 'Set-Cookie'));
  });
});

describe('a connection', () => {
  test('carries every byte both ways, and half-close', async () => {
    await using origin = await startTcpOrigin({}, echo);
    const client = await RawClient.connect({ port: origin.port });
    const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    client.write(all);
    client.write(all.toString('latin1'));
    client.end();
    assert.deepEqual(await client.readToEnd(), Buffer.concat([all, all]));
    const received = await origin.connection();
    assert.deepEqual(received.bytes, Buffer.concat([all, all]));
    assert.equal(await received.waitForEnd(), 'fin');
  });

  test('that is reset is told from one that is ended', async () => {
    await using origin = await startTcpOrigin({});
    const client = await RawClient.connect({ port: origin.port });
    const received = await origin.connection();
    client.reset();
    assert.equal(await received.waitForEnd(), 'reset');
    const other = await RawClient.connect({ port: origin.port });
    (await origin.connection(1)).socket.resetAndDestroy();
    await other.readToClose();
    assert.deepEqual([other.error?.code, other.ended], ['ECONNRESET', false]);
    await assert.rejects(other.readBytes(1), /ECONNRESET/);
  });

  test('that brings too little says what it brought', async () => {
    await using origin = await startTcpOrigin({}, ({ socket }) => socket.end('short'));
    const client = await RawClient.connect({ port: origin.port });
    await assert.rejects(client.readUntil('\r\n'), /received "short"/);
    client.close();
  });
});

describe('an HTTP origin', () => {
  test('keeps what it was asked', async () => {
    await using origin = await HttpOrigin.start({}, (_, response) => response.end('hi'));
    const client = await RawClient.connect({ port: origin.port });
    client.write('GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n');
    assert.equal((await client.readResponse()).body.toString(), 'hi');
    assert.equal(origin.requests[0]?.url, '/a?b');
    const closed = once(client.socket, 'close');
    client.close();
    await closed;
  });
});

describe('a head', () => {
  test('of CONNECT is written as asked', () => {
    assert.equal(
      connectHead('a.test:443', proxyAuthorization('secret', 'demo')),
      'CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nProxy-Authorization: Basic ZGVtbzpzZWNyZXQ=\r\n\r\n',
    );
    assert.equal(proxyAuthorization('x'), 'Proxy-Authorization: Bearer x\r\n');
  });
});
