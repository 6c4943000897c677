import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { TrustError, trustedRoots } from '../../src/upstream/trusted-roots.ts';
import { TestAuthority } from '../support/certificates.ts';

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-roots-'));
after(() => fs.rmSync(directory, { recursive: true }));

const [one, two] = [new TestAuthority('one'), new TestAuthority('two')];

function file(name: string, text: string): string {
  const at = path.join(directory, name);
  fs.writeFileSync(at, text);
  return at;
}

test('without files they are the usual ones', () => {
  assert.equal(trustedRoots([]), undefined);
});

test('those of the files stand beside the usual ones', () => {
  const roots = trustedRoots([
    file('a.pem', `some words\n${one.cert}${two.cert}`),
    file('b.pem', two.cert),
  ]);
  assert.ok((roots?.length ?? 0) > 20);
  assert.deepEqual(
    roots?.slice(-3).map((pem) => pem.trim()),
    [one.cert.trim(), two.cert.trim(), two.cert.trim()],
  );
});

describe('refused with the name of the file', () => {
  const broken = one.cert.replace(/\n[A-Za-z0-9+/]/, '\nA');
  const texts: readonly [string, string][] = [
    ['empty', ''],
    ['no-certificate', 'hello'],
    ['key', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'],
    ['malformed', broken],
    ['one-malformed', `${two.cert}${broken}`],
    ['one-without-end', `${two.cert}${one.cert.slice(0, -30)}`],
  ];
  for (const [name, text] of texts) {
    test(name, () => {
      const at = file(name, text);
      assert.throws(
        () => trustedRoots([at]),
        (error) => error instanceof TrustError && error.message.includes(at),
      );
    });
  }

  test('missing', () => {
    assert.throws(() => trustedRoots([path.join(directory, 'none')]), /cannot be read \(ENOENT\)/);
  });
});
