/** The proxy as a sandbox reaches it. */
export interface ProxyAddress {
  readonly scheme: 'http' | 'https';
  /** Name or address, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** What never goes through the proxy: the sandbox itself. */
export const noProxy = 'localhost,127.0.0.1,::1';

/**
 * Lines for a POSIX shell that send whatever runs in it through the proxy, as `eval "$(…)"` takes
 * them. Both cases of each name, because curl reads only `http_proxy`, others only `HTTPS_PROXY`;
 * NODE_USE_ENV_PROXY because Node asks for it (24.0 and later). Not ALL_PROXY: clients take it for
 * protocols that this proxy does not speak.
 *
 * @param agent and credential as they were issued: both are safe in a URL without escapes
 */
export function proxyExports(agent: string, credential: string, proxy: ProxyAddress): string {
  const url = `${proxy.scheme}://${agent}:${credential}@${authorityOf(proxy)}`;
  return exportLines(proxyVariables(url));
}

type Variable = readonly [name: string, value: string];

/** The variables by which tools find a proxy. */
export function proxyVariables(url: string): readonly Variable[] {
  return [
    ['HTTP_PROXY', url],
    ['HTTPS_PROXY', url],
    ['http_proxy', url],
    ['https_proxy', url],
    ['NO_PROXY', noProxy],
    ['no_proxy', noProxy],
    ['NODE_USE_ENV_PROXY', '1'],
  ];
}

export function exportLines(variables: readonly Variable[]): string {
  return variables.map(([name, value]) => `export ${name}=${shellQuote(value)}\n`).join('');
}

/** One word of a POSIX shell that stands for exactly this text (XCU §2.2.2). */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Where a process on the same machine reaches a listener: the wildcard addresses are no destination. */
export function reachableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '127.0.0.1' : host;
}

/** Without a credential. */
export function urlOf(proxy: ProxyAddress): string {
  return `${proxy.scheme}://${authorityOf(proxy)}`;
}

function authorityOf(proxy: ProxyAddress): string {
  const host = proxy.host.includes(':') ? `[${proxy.host}]` : proxy.host;
  return `${host}:${proxy.port}`;
}
