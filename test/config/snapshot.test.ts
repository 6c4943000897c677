import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { compileDirectory } from '../../src/config/compile.ts';
import { type FileReader, type FileStat, systemFiles } from '../../src/config/file-reader.ts';
import { readSnapshot } from '../../src/config/snapshot.ts';

const now = Date.UTC(2026, 10, 22);

class Directory implements Disposable {
  readonly root = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-snapshot-'));

  write(name: string, text = ''): this {
    const file = path.join(this.root, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, text);
    return this;
  }

  link(name: string, to: string): this {
    fs.symlinkSync(to, path.join(this.root, name));
    return this;
  }

  [Symbol.dispose](): void {
    fs.rmSync(this.root, { recursive: true, force: true });
  }
}

async function read(directory: Directory): Promise<{ files: string[]; problems: string[] }> {
  const { files, problems } = await readSnapshot(directory.root, systemFiles);
  return {
    files: [...files.keys()],
    problems: problems.map(({ file, code }) => `${file} ${code}`),
  };
}

describe('a directory', () => {
  test('gives every .yaml and .yml in path order, and nothing else', async () => {
    using directory = new Directory();
    for (const name of ['b.yaml', 'a.yml', 'sub/x.yaml', 'sub-a.yaml', 'B.yaml'])
      directory.write(name);
    for (const name of [
      'README.md',
      'a.yaml.bak',
      'a.yaml~',
      '.hidden.yaml',
      '.git/x.yaml',
      'yaml',
    ]) {
      directory.write(name);
    }
    assert.deepEqual(await read(directory), {
      files: ['B.yaml', 'a.yml', 'b.yaml', 'sub-a.yaml', 'sub/x.yaml'],
      problems: [],
    });
  });

  test('of a Kubernetes config map is read once, through its visible links', async () => {
    using directory = new Directory();
    directory
      .write('..2026_01/a.yaml', 'groups: {}')
      .link('..data', '..2026_01')
      .link('a.yaml', '..data/a.yaml');
    assert.deepEqual(await read(directory), { files: ['a.yaml'], problems: [] });
  });

  test('may be a link, and hold links to directories', async () => {
    using directory = new Directory();
    using other = new Directory();
    other.write('x.yaml');
    directory.link('shared', other.root);
    assert.deepEqual(await read(directory), { files: ['shared/x.yaml'], problems: [] });
  });

  test('that leads back into itself is refused', async () => {
    using directory = new Directory();
    directory.write('a.yaml').link('loop', '.');
    assert.deepEqual((await read(directory)).problems, ['loop file-type']);
  });

  test('with a dead link, or an ending in capitals, is refused', async () => {
    using directory = new Directory();
    directory.link('dead.yaml', 'nowhere').write('Deny.YAML');
    assert.deepEqual((await read(directory)).problems.toSorted(), [
      'Deny.YAML file-type',
      'dead.yaml file-unreadable',
    ]);
  });

  test('that is not there, or a file', async () => {
    using directory = new Directory();
    directory.write('file');
    const missing = await compileDirectory(path.join(directory.root, 'nowhere'), now);
    assert.deepEqual(
      [missing.policy, missing.problems.map(({ code }) => code)],
      [null, ['file-missing']],
    );
    const file = await compileDirectory(path.join(directory.root, 'file'), now);
    assert.deepEqual([file.policy, file.problems.map(({ code }) => code)], [null, ['file-type']]);
  });

  test('with a file over 1 MiB is refused without reading it all', async () => {
    using directory = new Directory();
    directory.write('big.yaml');
    fs.truncateSync(path.join(directory.root, 'big.yaml'), 10_000_000_000);
    const { policy, problems } = await compileDirectory(directory.root, now);
    assert.deepEqual([policy, problems.map(({ code }) => code)], [null, ['yaml-size']]);
  });
});

/** One file `a.yaml` in a directory; what is read and when it changes is up to the test. */
class Memory implements FileReader {
  reads = 0;
  readonly #versionAt: (read: number) => number;
  readonly #failures: ReadonlyMap<string, string>;

  constructor(
    versionAt: (read: number) => number,
    failures: Readonly<Record<string, string>> = {},
  ) {
    this.#versionAt = versionAt;
    this.#failures = new Map(Object.entries(failures));
  }

  async stat(name: string): Promise<FileStat> {
    this.#fail(`stat ${name}`);
    if (name === 'dir') return { kind: 'directory', id: '1', version: '1' };
    return { kind: 'file', id: '2', version: String(this.#versionAt(this.reads)) };
  }

  async list(): Promise<readonly string[]> {
    this.#fail('list');
    return ['a.yaml'];
  }

  async read(): Promise<Uint8Array> {
    this.#fail('read');
    const version = this.#versionAt(this.reads);
    this.reads++;
    return new TextEncoder().encode(`# ${version}`);
  }

  #fail(what: string): void {
    const code = this.#failures.get(what);
    if (code !== undefined) throw Object.assign(new Error(what), { code });
  }
}

describe('a snapshot', () => {
  test('is read again if a file changed meanwhile, and is then the new one', async () => {
    const memory = new Memory((read) => (read === 0 ? 1 : 2));
    const { files, problems } = await readSnapshot('dir', memory);
    assert.deepEqual(problems, []);
    assert.equal(new TextDecoder().decode(files.get('a.yaml')), '# 2');
    assert.equal(memory.reads, 2);
  });

  test('of files that never stand still is refused', async () => {
    const memory = new Memory((read) => read);
    const { problems } = await readSnapshot('dir', memory);
    assert.deepEqual(
      problems.map(({ code }) => code),
      ['file-changed'],
    );
  });

  const failures: readonly [string, string, string][] = [
    ['stat dir', 'EACCES', '. file-unreadable'],
    ['stat dir', 'ENOENT', '. file-missing'],
    ['list', 'EACCES', '. file-unreadable'],
    ['stat dir/a.yaml', 'EACCES', 'a.yaml file-unreadable'],
    ['read', 'EIO', 'a.yaml file-unreadable'],
  ];
  for (const [what, code, expected] of failures) {
    test(`with ${code} at ${what} makes no policy`, async () => {
      const { policy, problems } = await compileDirectory(
        'dir',
        now,
        new Memory(() => 1, { [what]: code }),
      );
      assert.equal(policy, null);
      assert.deepEqual(
        problems.map((problem) => `${problem.file} ${problem.code}`),
        [expected],
      );
    });
  }
});
