import { createHash } from 'node:crypto';
import type http from 'node:http';

/** One version of a package. */
export interface NpmPackage {
  /** `left`, or `@scope/left`. */
  readonly name: string;
  readonly version: string;
  /** The archive, with the folder `package` in it. */
  readonly tarball: Buffer;
  readonly dependencies?: Readonly<Record<string, string>>;
}

/**
 * A registry as npm clients speak with one. It takes whatever is published, and hands a token to
 * whoever asks: what a client does not get done, somebody in between has refused.
 *
 * @param host that the archives are said to be on
 */
export function npmRegistry(host: string, packages: readonly NpmPackage[]): http.RequestListener {
  const content = new Map<string, string | Buffer>();
  for (const one of packages) {
    const { name, version, tarball } = one;
    // Scoped packages are asked for in this spelling alone; pnpm writes %2F.
    const file = `/${name}/-/${name.split('/').at(-1)}-${version}.tgz`;
    content.set(`/${name.replace('/', '%2f')}`, packument(one, `https://${host}${file}`));
    content.set(file, tarball);
  }
  return (request, response) => {
    request.resume();
    const { method, url = '' } = request;
    if (method === 'GET' || method === 'HEAD') {
      const found = content.get(url.replace('%2F', '%2f'));
      response.statusCode = found === undefined ? 404 : 200;
      response.end(found ?? '{"error":"Not found"}');
    } else {
      response.statusCode = method === 'PUT' ? 201 : 200;
      response.end(JSON.stringify(accepted(host, url)));
    }
  };
}

function accepted(host: string, url: string): object {
  if (url.endsWith('/login')) {
    return { loginUrl: `https://${host}/login/1`, doneUrl: `https://${host}/-/v1/done` };
  }
  return url.includes('/audits') || url.includes('/advisories')
    ? {}
    : { ok: true, token: 'npm_a-token-of-the-registry' };
}

function packument({ name, version, tarball, dependencies }: NpmPackage, url: string): string {
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
  const dist = { tarball: url, integrity };
  const manifest = { name, version, main: 'index.js', dependencies, dist };
  return JSON.stringify({
    name,
    'dist-tags': { latest: version },
    versions: { [version]: manifest },
    time: { [version]: '2026-01-01T00:00:00.000Z' },
  });
}
