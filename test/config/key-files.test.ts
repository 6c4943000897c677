import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { compileDirectory } from '../../src/config/compile.ts';
import { formatProblem } from '../../src/config/problem.ts';
import { keySet, TestKey } from '../support/token-issuer.ts';

const key = new TestKey('one', 'ES256');
let directory: string;

beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-key-files-'));
});
afterEach(() => fs.rmSync(directory, { recursive: true }));

function allowlist(file: string): string {
  return `issuers:
  mesh:
    trust-domain: example.com
    audience: sallyport
    keys: {file: ${file}}
agents:
  service:
    owner: a@example.com
    purpose: p
    credentials: {workloads: [{issuer: mesh, claims: {sub: spiffe://example.com/service}}]}
    allow: []
`;
}

/** The first lines of all problems; there is a policy whatever is wrong with keys. */
async function problems(file: string): Promise<string[]> {
  fs.writeFileSync(path.join(directory, 'a.yaml'), allowlist(file));
  const result = await compileDirectory(directory, 0);
  assert.ok(result.policy !== null);
  return result.problems.map((problem) => formatProblem(problem).split('\n', 1)[0] ?? '');
}

const warning = 'a.yaml:5:5  unusable-keys  no token of the issuer `mesh` can be checked: ';

describe('a key file', () => {
  const bundle = keySet([key.jwk({ use: 'jwt-svid' })]);
  const cases: readonly [what: string, text: string | null, why: string | null][] = [
    ['with a key that fits', bundle, null],
    ['that is missing', null, 'keys.json cannot be read, it does not exist'],
    ['without an end', bundle.slice(0, -1), 'of keys.json, it is not a JWK Set, {"keys": […]}'],
    [
      'with keys for other uses',
      keySet([key.jwk({ use: 'x509-svid' })]),
      'of keys.json, it has no key for RS256, ES256',
    ],
    [
      'with a private key',
      keySet([key.privateKey.export({ format: 'jwk' })]),
      'of keys.json, it holds a private or symmetric key: publish the public ones alone',
    ],
  ];
  for (const [what, text, why] of cases) {
    test(what, async () => {
      if (text !== null) fs.writeFileSync(path.join(directory, 'keys.json'), text);
      assert.deepEqual(await problems('keys.json'), why === null ? [] : [warning + why]);
    });
  }

  test('that is a directory', async () => {
    fs.mkdirSync(path.join(directory, 'keys.json'));
    assert.deepEqual(await problems('keys.json'), [`${warning}keys.json is not a regular file`]);
  });

  test('of another machine is not missed, but judged if it is here', async () => {
    const absolute = path.join(directory, 'keys.json');
    assert.deepEqual(await problems(absolute), []);
    fs.writeFileSync(absolute, '[]');
    assert.equal((await problems(absolute)).length, 1);
  });
});
