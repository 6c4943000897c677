import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { parseRevocations } from '../../src/config/revocation-file.ts';
import {
  addRevocations,
  liftQuarantines,
  type NewRevocation,
  RevocationWriteError,
} from '../../src/config/revocation-writer.ts';

const now = Date.UTC(2026, 10, 22, 12);
const token = (number: number): NewRevocation => ({
  kind: 'token',
  id: `01JD8Q6Z00000000000000${String(number).padStart(4, '0')}`,
  at: now,
  by: 'alice',
  why: undefined,
});
const quarantine = (id: string, why?: string): NewRevocation => ({
  kind: 'quarantine',
  id,
  at: now,
  by: 'alice',
  why,
});

class Directory implements Disposable {
  readonly root = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-writer-'));
  readonly file = path.join(this.root, 'revocations.yaml');

  constructor(text?: string) {
    if (text !== undefined) fs.writeFileSync(this.file, text);
  }

  get text(): string {
    return fs.readFileSync(this.file, 'utf8');
  }

  get ids(): (string | undefined)[] {
    const { entries } = parseRevocations(Buffer.from(this.text), now);
    assert.ok(entries, this.text);
    return entries.map(({ id }) => id);
  }

  [Symbol.dispose](): void {
    fs.rmSync(this.root, { recursive: true });
  }
}

const kept = `# Ended before their time.

revoked:
  # the laptop
  - token: 01JD8Q6Z0000000000000000AB # INC-7
    why: lost
  - {certificate: 0a1b, by: 'x'}

# Stopped.
quarantined:
  - agent: storefront
`;

describe('adding', () => {
  test('makes the file, says where the entries stand, and does not write them twice', async () => {
    using home = new Directory();
    const wanted = [token(1), quarantine('demo', 'a: "b" # c')];
    const first = await addRevocations(home.root, wanted, now);
    assert.deepEqual(
      first.added.map(({ kind, place }) => `${kind} ${place}`),
      ['token revocations.yaml:5', 'quarantine revocations.yaml:9'],
    );
    const { ino } = fs.statSync(home.file);
    const again = await addRevocations(home.root, wanted, now + 1000);
    assert.deepEqual([again.added, again.known], [[], first.added]);
    assert.equal(fs.statSync(home.file).ino, ino, 'the file is left alone');
  });

  test('keeps comments, order and mode, and leaves nothing else behind', async () => {
    using home = new Directory(kept);
    fs.chmodSync(home.file, 0o640);
    await addRevocations(home.root, [token(1), quarantine('demo')], now);
    assert.deepEqual(home.ids, [
      '01JD8Q6Z0000000000000000AB',
      '0a1b',
      token(1).id,
      'storefront',
      'demo',
    ]);
    for (const comment of ['# Ended before', '# the laptop', '# INC-7', '# Stopped.']) {
      assert.ok(home.text.includes(comment), home.text);
    }
    assert.equal(fs.statSync(home.file).mode & 0o777, 0o640);
    assert.deepEqual(fs.readdirSync(home.root), ['revocations.yaml']);
  });

  for (const text of ['', '# nothing yet\n', 'revoked: [] # c\n', '{}\n']) {
    test(`into ${JSON.stringify(text)}`, async () => {
      using home = new Directory(text);
      await addRevocations(home.root, [token(1), quarantine('demo')], now);
      assert.deepEqual(home.ids, [token(1).id, 'demo']);
      for (const comment of text.match(/#.*/g) ?? []) assert.ok(home.text.includes(comment));
    });
  }

  test('an agent is another entry each time', async () => {
    using home = new Directory();
    const agent = (at: number): NewRevocation => ({ ...token(1), kind: 'agent', id: 'demo', at });
    await addRevocations(home.root, [agent(now)], now);
    await addRevocations(home.root, [agent(now + 5)], now + 5);
    await addRevocations(home.root, [agent(now + 5)], now + 9);
    assert.deepEqual(home.ids, ['demo', 'demo']);
  });

  test('whatever somebody says comes back as it was', async () => {
    using home = new Directory();
    const said = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
      .filter(
        (text) =>
          text === text.trim() && !/[\p{Cc}\p{Cf}\p{Cs}\p{Cn}\p{Co}\p{Zl}\p{Zp}]/u.test(text),
      );
    await fc.assert(
      fc.asyncProperty(said, said, async (by, why) => {
        fs.rmSync(home.file, { force: true });
        const { added } = await addRevocations(home.root, [{ ...token(1), by, why }], now);
        assert.deepEqual([added[0]?.by, added[0]?.why], [by, why]);
      }),
      { numRuns: 50 },
    );
  });
});

describe('lifting', () => {
  test('takes an agent out, and nothing else', async () => {
    using home = new Directory(kept.replace('storefront', 'a\n  - agent: b\n  - agent: c'));
    const lifted = await liftQuarantines(home.root, ['b'], now);
    assert.deepEqual(
      lifted.map(({ id }) => id),
      ['b'],
    );
    assert.deepEqual(home.ids, ['01JD8Q6Z0000000000000000AB', '0a1b', 'a', 'c']);
    assert.deepEqual(await liftQuarantines(home.root, ['b', '0a1b'], now), []);
  });

  test('takes the last one out, and one that stands there twice', async () => {
    using home = new Directory('quarantined:\n  - agent: a\n  - agent: a\n');
    assert.equal((await liftQuarantines(home.root, ['a'], now)).length, 2);
    assert.deepEqual(home.ids, []);
    await addRevocations(home.root, [quarantine('a')], now);
    assert.deepEqual(home.ids, ['a']);
  });
});

describe('a file that cannot be written', () => {
  test('a broken one is left as it is, and its errors are told', async () => {
    const text = 'revoked:\n  - tokn: x\n';
    using home = new Directory(text);
    await assert.rejects(addRevocations(home.root, [token(1)], now), (error: Error) => {
      assert.ok(error instanceof RevocationWriteError);
      assert.match(error.message, /revocations\.yaml:2:5 {2}unknown-key/);
      return true;
    });
    assert.equal(home.text, text);
    assert.deepEqual(fs.readdirSync(home.root), ['revocations.yaml']);
  });

  test('a pipe in its place is not waited for, nor replaced', async () => {
    using home = new Directory();
    execFileSync('mkfifo', [home.file]);
    await assert.rejects(addRevocations(home.root, [token(1)], now), /is no file/);
    assert.ok(fs.statSync(home.file).isFIFO());
  });

  test('what stands there already needs no right to write', async () => {
    using home = new Directory(kept);
    // A lock that is a directory cannot be made, waited for or taken away.
    fs.mkdirSync(path.join(home.root, '.revocations.yaml.lock'));
    const { known } = await addRevocations(home.root, [quarantine('storefront')], now);
    assert.equal(known.length, 1);
    assert.equal(home.text, kept);
  });

  test('the lines are told that belong elsewhere', async () => {
    using home = new Directory();
    const nowhere = path.join(home.root, 'gone');
    await assert.rejects(
      addRevocations(nowhere, [quarantine('demo', 'x')], now),
      (error: Error) => {
        const [, lines = ''] = error.message.split(':\n\n');
        const { entries } = parseRevocations(Buffer.from(lines), now);
        assert.deepEqual(
          entries?.map(({ id, why }) => [id, why]),
          [['demo', 'x']],
        );
        return true;
      },
    );
  });
});

describe('writers at the same time', () => {
  test('lose nothing', async () => {
    using home = new Directory();
    await Promise.all(
      Array.from({ length: 20 }, (_, number) => addRevocations(home.root, [token(number)], now)),
    );
    assert.equal(new Set(home.ids).size, 20);
    assert.deepEqual(fs.readdirSync(home.root), ['revocations.yaml']);
  });

  test('a lock that somebody left behind holds nobody up', async () => {
    using home = new Directory();
    const child = spawn(process.execPath, ['-e', '']);
    await once(child, 'exit');
    const lock = path.join(home.root, '.revocations.yaml.lock');
    fs.writeFileSync(lock, `${os.hostname()} ${child.pid}\n`);
    const started = performance.now();
    await addRevocations(home.root, [token(1)], now);
    assert.ok(performance.now() - started < 4000);
    assert.ok(!fs.existsSync(lock));
  });

  test('a writer that is killed leaves a whole file', async () => {
    using home = new Directory(kept);
    const source = path.resolve(import.meta.dirname, '../../src/config/revocation-writer.ts');
    for (let round = 0; round < 8; round++) {
      const script = `
        import { addRevocations } from ${JSON.stringify(source)};
        process.stdout.write('ready');
        for (let n = 0; ; n++) {
          const id = '01JD8Q6Z00000000000${round}' + String(n).padStart(6, '0');
          await addRevocations(${JSON.stringify(home.root)}, [{ kind: 'token', id, at: ${now} }], ${now});
        }`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
      await once(child.stdout, 'data');
      await sleep(15 + 11 * round);
      child.kill('SIGKILL');
      await once(child, 'exit');
      assert.deepEqual(home.ids.slice(0, 2), ['01JD8Q6Z0000000000000000AB', '0a1b']);
      assert.ok(home.ids.includes('storefront'));
    }
    await addRevocations(home.root, [token(9)], now);
    assert.ok(home.ids.length > 4, 'the killed writers had written something');
  });
});
