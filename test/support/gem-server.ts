import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import type http from 'node:http';
import path from 'node:path';
import { searchPath } from './client-lab.ts';

/** Builds the gem, and what an index says of it in Ruby's own format. */
const build = `
require 'rubygems/package'
require 'zlib'
specification = Gem::Specification.new do |gem|
  gem.name, gem.version, gem.summary, gem.authors = 'left', '1.2.3', 'for a test', ['Test']
  gem.files = ['left.rb']
end
Gem::Package.build(specification, true)
File.binwrite('gemspec.rz', Zlib::Deflate.deflate(Marshal.dump(specification)))
File.binwrite('specs.gz', Zlib.gzip(Marshal.dump([['left', Gem::Version.new('1.2.3'), 'ruby']])))
File.binwrite('none.gz', Zlib.gzip(Marshal.dump([])))
`;

/**
 * A gem server with the gem `left` 1.2.3, by the compact index and the older one. It takes every
 * push, and hands an API key to whoever asks.
 *
 * @param directory an empty one, in which the gem is built: `left-1.2.3.gem`
 */
export function gemServer(directory: string): http.RequestListener {
  fs.writeFileSync(path.join(directory, 'left.rb'), 'LEFT = 1\n');
  const run = spawnSync('ruby', ['-e', build], { cwd: directory, env: { PATH: searchPath } });
  if (run.status !== 0) throw new Error(run.stderr.toString());
  const read = (name: string) => fs.readFileSync(path.join(directory, name));
  const gem = read('left-1.2.3.gem');
  const info = `---\n1.2.3 |checksum:${hash('sha256', gem)}\n`;
  const versions = `created_at: 2026-01-01T00:00:00Z\n---\nleft 1.2.3 ${hash('md5', info)}\n`;
  const content: Readonly<Record<string, string | Buffer>> = {
    '/': 'gems',
    '/versions': versions,
    '/info/left': info,
    '/gems/left-1.2.3.gem': gem,
    '/quick/Marshal.4.8/left-1.2.3.gemspec.rz': read('gemspec.rz'),
    '/specs.4.8.gz': read('specs.gz'),
    '/latest_specs.4.8.gz': read('specs.gz'),
    '/prerelease_specs.4.8.gz': read('none.gz'),
    '/api/v1/api_key': 'a-key-of-the-registry',
  };
  return (request, response) => {
    request.resume();
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    const found = isRead ? content[request.url ?? ''] : 'Successfully registered gem';
    response.statusCode = found === undefined ? 404 : 200;
    response.end(found ?? 'This rubygem could not be found.');
  };
}

function hash(algorithm: string, content: string | Buffer): string {
  return createHash(algorithm).update(content).digest('hex');
}
