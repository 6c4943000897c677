import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { searchPath } from './client-lab.ts';
import type { Sites } from './web-origin.ts';

/** The only file of the project `demo-package`. */
export const wheelName = 'demo_package-1.0-py3-none-any.whl';

/** A wheel with one module, made by python itself: a zip file with its metadata. */
export function makeWheel(directory: string): Buffer {
  const info = path.join(directory, 'demo_package-1.0.dist-info');
  fs.mkdirSync(info, { recursive: true });
  fs.writeFileSync(path.join(directory, 'demo_package.py'), 'answer = 42\n');
  fs.writeFileSync(
    path.join(info, 'METADATA'),
    'Metadata-Version: 2.1\nName: demo-package\nVersion: 1.0\n',
  );
  fs.writeFileSync(
    path.join(info, 'WHEEL'),
    'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
  );
  fs.writeFileSync(path.join(info, 'RECORD'), '');
  const content = ['demo_package.py', path.basename(info)];
  const run = spawnSync('python3', ['-m', 'zipfile', '-c', wheelName, ...content], {
    cwd: directory,
    env: { PATH: searchPath },
  });
  if (run.status !== 0) throw new Error(run.stderr.toString());
  return fs.readFileSync(path.join(directory, wheelName));
}

/** PEP 503: a page with one link for each file. */
export function indexPage(url: string, content: Uint8Array): string {
  const digest = createHash('sha256').update(content).digest('hex');
  return `<!DOCTYPE html><a href="${url}#sha256=${digest}">${path.basename(url)}</a>`;
}

/** PyPI with one project, and its hosts for files and for uploads; each takes every upload. */
export function pypiSites(wheel: Buffer): Sites {
  const file = `/packages/aa/bb/${wheelName}`;
  const content: Readonly<Record<string, string | Buffer>> = {
    'pypi.org/simple/demo-package/': indexPage(`https://files.pythonhosted.org${file}`, wheel),
    [`files.pythonhosted.org${file}`]: wheel,
  };
  const site: Sites[string] = (request, response) => {
    request.resume();
    const { headers, method, url } = request;
    const found = content[`${headers.host}${url}`];
    if (method !== 'POST') {
      response.statusCode = found === undefined ? 404 : 200;
      response.setHeader('Content-Type', url?.endsWith('/') ? 'text/html' : 'application/zip');
    }
    response.end(method === 'POST' ? 'OK' : (found ?? 'not found'));
  };
  return { 'pypi.org': site, 'files.pythonhosted.org': site, 'upload.pypi.org': site };
}
