import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const fixture = fileURLToPath(new URL('./fixtures/resolv-conf.ts', import.meta.url));
const canUnshare = spawnSync('unshare', ['-rmn', 'true']).status === 0;

describe('SystemResolver with resolv.conf', { skip: !canUnshare && 'no user namespaces' }, () => {
  it('follows its changes, asks no search list and falls back to nobody', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'resolv-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const file = join(directory, 'resolv.conf');
    writeFileSync(file, '');
    const script =
      'ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$1" --no-warnings "$2"';
    const { stdout } = await promisify(execFile)(
      'unshare',
      ['-rmn', 'sh', '-c', script, file, process.execPath, fixture],
      { timeout: 20_000 },
    );
    assert.deepEqual(JSON.parse(stdout), {
      // The server at 127.0.0.3 does not exist: a failure, though two others would know.
      answers: ['192.0.2.1', 'NXDOMAIN', 'NXDOMAIN', '192.0.2.2', 'FAILED', '192.0.2.1'],
      asked: ['good.test', 'only.test', 'single'],
    });
  });
});
