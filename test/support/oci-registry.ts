import { createHash } from 'node:crypto';
import type http from 'node:http';
import { gzipSync } from 'node:zlib';
import type { Sites } from './web-origin.ts';

/** Where the parts of a registry are; some may be on one host. */
export interface OciHosts {
  /** Manifests, and the way in for everything else. */
  readonly registry: string;
  /** Hands out tokens at `/token`. */
  readonly tokens: string;
  /** Has the blobs, under addresses that the registry redirects to. */
  readonly blobs: string;
  /** As the challenge names it. */
  readonly service: string;
}

const token = 'a-token-of-the-registry';
const types = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
};

/**
 * A registry with one image, tag `1`, as the distribution specification and Docker's token
 * authentication have it. It gives a token to whoever asks, and takes every upload.
 *
 * @param name of the image: `library/tools`
 */
export function ociSites(hosts: OciHosts, name: string): Sites {
  const image = makeImage();
  const sites: Record<string, http.RequestListener> = {};
  sites[hosts.blobs] = (request, response) => {
    const blob = image.blobs.get(blobOf(request));
    response.statusCode = blob === undefined ? 404 : 200;
    response.end(blob);
  };
  sites[hosts.tokens] = (_request, response) => {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ token, access_token: token, expires_in: 300 }));
  };
  const giveToken = sites[hosts.tokens];
  sites[hosts.registry] = (request, response) => {
    request.resume();
    const path = request.url?.split('?', 1)[0] ?? '';
    if (path === '/token' && hosts.tokens === hosts.registry) giveToken?.(request, response);
    else if (request.headers.authorization !== `Bearer ${token}`) challenge(hosts, name, response);
    else if (request.method === 'GET' || request.method === 'HEAD') {
      read(hosts, image, name, request, response);
    } else accept(path, response);
  };
  return sites;
}

function challenge(hosts: OciHosts, name: string, response: http.ServerResponse): void {
  const { tokens, service } = hosts;
  const scope = `repository:${name}:pull`;
  response.statusCode = 401;
  response.setHeader(
    'WWW-Authenticate',
    `Bearer realm="https://${tokens}/token",service="${service}",scope="${scope}"`,
  );
  response.end('{"errors":[{"code":"UNAUTHORIZED"}]}');
}

function read(
  hosts: OciHosts,
  image: Image,
  name: string,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): void {
  const { url = '' } = request;
  const digest = blobOf(request);
  if (url === '/v2/') response.end('{}');
  else if (url === `/v2/${name}/tags/list`) response.end(JSON.stringify({ name, tags: ['1'] }));
  else if (url === `/v2/${name}/manifests/1` || url === `/v2/${name}/manifests/${image.digest}`) {
    response.setHeader('Content-Type', types.manifest);
    response.setHeader('Docker-Content-Digest', image.digest);
    response.end(image.manifest);
  } else if (url.startsWith(`/v2/${name}/blobs/`) && image.blobs.has(digest)) {
    response.statusCode = 307;
    const signed = `/registry-v2/blobs/${digest}?X-Amz-Expires=1200&X-Amz-Signature=00`;
    response.setHeader('Location', `https://${hosts.blobs}${signed}`);
    response.end();
  } else {
    response.statusCode = 404;
    response.end('{"errors":[{"code":"UNKNOWN"}]}');
  }
}

/** What an upload begins and ends with. */
function accept(path: string, response: http.ServerResponse): void {
  const begins = path.endsWith('/blobs/uploads/');
  response.statusCode = begins ? 202 : 201;
  response.setHeader('Location', begins ? `${path}1` : path);
  response.end();
}

function blobOf({ url = '' }: http.IncomingMessage): string {
  return /\/(sha256:[0-9a-f]{64})(?:\?|$)/.exec(url)?.[1] ?? '';
}

interface Image {
  readonly manifest: string;
  readonly digest: string;
  /** By their digests. */
  readonly blobs: ReadonlyMap<string, Buffer>;
}

function makeImage(): Image {
  // An archive without files: two blocks of zeros.
  const archive = Buffer.alloc(1024);
  const layer = gzipSync(archive);
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [digestOf(archive)] },
    }),
  );
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: types.manifest,
    config: describe(types.config, config),
    layers: [describe(types.layer, layer)],
  });
  const blobs = new Map([layer, config].map((blob) => [digestOf(blob), blob]));
  return { manifest, digest: digestOf(Buffer.from(manifest)), blobs };
}

function describe(mediaType: string, blob: Buffer): object {
  return { mediaType, digest: digestOf(blob), size: blob.length };
}

function digestOf(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}
