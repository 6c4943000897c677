import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { redact, redactText } from '../../src/observe/redact.ts';

const secret = 'hunter2-s3cr3t';

describe('a field named like a secret', () => {
  const names = [
    'proxy-authorization',
    'Proxy-Authorization',
    'authorization',
    'token',
    'tokens',
    'credential',
    'clientSecret',
    'password',
    'DB_PASSWD',
    'set-cookie',
    'x-api-key',
    'apiKey',
    'privateKey',
  ];
  for (const name of names) {
    test(`${name} is not shown`, () => {
      const values = [secret, [secret], { deep: secret }];
      for (const value of values) {
        assert.deepEqual(redact({ [name]: value }), { [name]: '[redacted]' });
        const nested = JSON.stringify(redact({ a: [{ [name]: value }] }));
        assert.ok(!nested.includes(secret));
      }
    });
  }

  test('keeps counts, switches and nothing at all', () => {
    const fields = { tokens: 3, credentials: true, password: undefined, secret: null };
    assert.deepEqual(redact(fields), fields);
  });
});

describe('a text', () => {
  const cases: [text: string, expected: string][] = [
    [`Proxy-Authorization: Basic ${secret}`, 'Proxy-Authorization: Basic [redacted]'],
    [`got bearer ${secret}, too`, 'got bearer [redacted], too'],
    [`http://demo:${secret}@127.0.0.1:3128/`, 'http://[redacted]@127.0.0.1:3128/'],
    ['write to ops@example.com', 'write to ops@example.com'],
    ['http://example.com/a@b', 'http://example.com/a@b'],
    ['', ''],
  ];
  for (const [text, expected] of cases) {
    test(JSON.stringify(text), () => {
      assert.equal(redactText(text), expected);
      assert.deepEqual(redact({ text: [text] }), { text: [expected] });
    });
  }

  test('of many slashes takes no time worth speaking of', () => {
    assert.equal(redactText('://a'.repeat(50_000)).length, 200_000);
  });
});

describe('an error', () => {
  test('is shown with its code and cause, without its secrets', () => {
    const cause = new Error(`Bearer ${secret}`);
    const error = Object.assign(new Error(`http://u:${secret}@h/`, { cause }), {
      code: 'ECONNREFUSED',
      headers: { authorization: secret },
    });
    const shown = redact({ err: error }) as {
      err: { type: string; code: string; message: string; stack: string };
    };
    assert.equal(shown.err.type, 'Error');
    assert.equal(shown.err.code, 'ECONNREFUSED');
    assert.equal(shown.err.message, 'http://[redacted]@h/');
    assert.ok(typeof shown.err.stack === 'string');
    assert.ok(!JSON.stringify(shown).includes(secret));
    assert.ok(JSON.stringify(shown).includes('Bearer [redacted]'));
  });
});

describe('other values', () => {
  test('come through', () => {
    const date = new Date(0);
    assert.deepEqual(redact({ a: 1, b: null, c: 2n, d: date, e: Buffer.alloc(3) }), {
      a: 1,
      b: null,
      c: '2',
      d: date,
      e: '[3 bytes]',
    });
  });

  test('end where they turn in circles', () => {
    const circle: { self?: unknown } = {};
    circle.self = circle;
    assert.ok(JSON.stringify(redact(circle)).includes('[deeper]'));
  });
});
