/**
 * The small world of one trial: names, addresses and ports inside its network namespace. Several
 * addresses for everything, or a run would measure how the kernel searches for a free port.
 */

/** Where every proxy listens. */
export const proxyAddresses: readonly string[] = range(8, (at) => `127.0.1.${at + 1}`);
export const proxyPort = 3128;
export const adminPort = 3129;

export const originPort = 18_080;
/** The same origin behind TLS. */
export const tlsOriginPort = 18_443;

const originCount = 16;
const originAddress = (at: number): string => `127.0.2.${at + 1}`;

/** What an entry for a name is: the first letter of the name tells which. */
export type Kind = 'tcp' | 'https' | 'http' | 'inspected';

/** Names that are allowed, one per origin address and kind. */
export function allowedNames(kind: Kind): readonly string[] {
  return range(originCount, (at) => `${kind}${at + 1}.allowed.example`);
}

/** A name that resolves and is not on any list; the bare relay knows the suffix. */
export const blockedName = 'exfiltration.blocked.example';
export const blockedSuffix = '.blocked.example';

const kinds: readonly Kind[] = ['tcp', 'https', 'http', 'inspected'];

/** Further names on the lists: with those above they are 1,000. */
export const otherNames: readonly string[] = range(
  1000 - kinds.length * originCount,
  (at) => `api${at % 7}.vendor-${at + 1}.example`,
);

/** hosts(5) of the namespace. */
export function hostsText(): string {
  const lines = kinds.flatMap((kind) =>
    allowedNames(kind).map((name, at) => `${originAddress(at)} ${name}`),
  );
  return ['127.0.0.1 localhost', `127.0.2.200 ${blockedName}`, ...lines, ''].join('\n');
}

export const agent = 'bench';
/** Means nothing outside a namespace that nothing can leave. */
export const token = 'bench-0123456789abcdef0123456789abcdef0123456789abcdef';
export const authorization = `Basic ${Buffer.from(`${agent}:${token}`).toString('base64')}`;

function range<T>(count: number, make: (at: number) => T): readonly T[] {
  return Array.from({ length: count }, (_, at) => make(at));
}
