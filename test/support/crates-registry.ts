import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Sites } from './web-origin.ts';

/**
 * crates.io with the crate `left` 1.2.3: a sparse index (RFC 2789), the files, and the web API, which
 * takes every crate.
 *
 * @param directory an empty one, in which the crate is packed
 */
export function cratesSites(directory: string): Sites {
  const crate = packCrate(directory);
  const entry = {
    name: 'left',
    vers: '1.2.3',
    deps: [],
    cksum: createHash('sha256').update(crate).digest('hex'),
    features: {},
    yanked: false,
  };
  const index: Readonly<Record<string, string>> = {
    '/config.json': '{"dl":"https://static.crates.io/crates","api":"https://crates.io"}',
    '/le/ft/left': `${JSON.stringify(entry)}\n`,
  };
  return {
    'index.crates.io': (request, response) => {
      const found = index[request.url ?? ''];
      response.statusCode = found === undefined ? 404 : 200;
      response.end(found);
    },
    'static.crates.io': (request, response) => {
      const found = request.url === '/crates/left/1.2.3/download';
      response.statusCode = found ? 200 : 404;
      response.end(found ? crate : 'not found');
    },
    'crates.io': (request, response) => {
      request.resume();
      response.end('{"ok":true,"crates":[],"meta":{"total":0},"warnings":{}}');
    },
  };
}

/** A library with one function, as `cargo package` packs it. */
function packCrate(directory: string): Buffer {
  writeCrate(path.join(directory, 'left-1.2.3'), 'left', '1.2.3');
  const run = spawnSync('tar', ['-cf', '-', 'left-1.2.3'], { cwd: directory });
  if (run.status !== 0) throw new Error(run.stderr.toString());
  return gzipSync(run.stdout);
}

/** @param dependencies lines of that section of Cargo.toml */
export function writeCrate(
  directory: string,
  name: string,
  version: string,
  dependencies = '',
): void {
  fs.mkdirSync(path.join(directory, 'src'), { recursive: true });
  const manifest = [
    '[package]',
    `name = "${name}"`,
    `version = "${version}"`,
    'edition = "2021"',
    'license = "MIT"',
    'description = "for a test"',
    '[dependencies]',
    dependencies,
    '',
  ];
  fs.writeFileSync(path.join(directory, 'Cargo.toml'), manifest.join('\n'));
  fs.writeFileSync(path.join(directory, 'src/lib.rs'), 'pub fn left() {}\n');
}
