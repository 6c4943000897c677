import { relative } from 'node:path';
import type { Counts } from '../config/compile.ts';
import { formatListener, isUnix } from '../config/listen-address.ts';
import type { Settings } from '../config/settings.ts';
import { defaultTtl } from '../identity/credential-claims.ts';
import { decide } from '../policy/decide.ts';
import type { Agent, Entry, Policy } from '../policy/policy.ts';
import type { RunningProxy } from '../server/proxy.ts';
import type { Io } from './io.ts';
import { issueFor, openKeys } from './issue.ts';
import { styles } from './output.ts';
import { type ProxyAddress, proxyExports, reachableHost } from './proxy-exports.ts';

/** The agent that a newcomer plays. */
const demo = 'demo';
const blockedHost = 'example.com';

/**
 * What a person sees who has just started the proxy on a terminal: what to paste, one request that
 * will be allowed, one that will be blocked, and where the log is.
 */
export function welcome(io: Io, settings: Settings, counts: Counts, proxy: RunningProxy): string {
  const { bold, dim, green, red } = styles(io.stdout, io.env);
  const [first] = proxy.listeners;
  if (first === undefined) return '';
  const agent = proxy.policy.agents.get(demo);
  const head = `\n${bold('Sallyport')} is listening on ${formatListener(first.at)}. Policy ${proxy.policy.digest}: ${counts.agents} ${counts.agents === 1 ? 'agent' : 'agents'}, ${counts.groups} groups, ${counts.entries} entries.\n`;
  const at = addressOf(proxy);
  if (agent === undefined || !agent.credentials.issued || at === null) {
    return `${head}\n  sallyport env AGENT   prints what a sandbox of that agent needs\n\n`;
  }
  const keys = openKeys(settings.certs);
  if (keys.signing.until < io.clock.now() + defaultTtl * 1000) {
    return `${head}\n  sallyport token keys --rotate   the key that signs credentials is about to end, or has ended\n\n`;
  }
  const issued = issueFor(proxy.policy, keys, { agent: demo, ttl: defaultTtl }, io.clock.now());
  const allowed = allowedExample(proxy.policy, agent, io.clock.now());
  const lines = [
    head,
    `${bold('1.')} In another terminal, become the agent ${bold(demo)} for ${defaultTtl / 3600} hours:\n`,
    proxyExports(demo, issued.credential, at),
    `${bold('2.')} Try a request that is allowed and one that is not:\n`,
  ];
  if (allowed !== null) {
    lines.push(
      `curl -sSI https://${allowed.pattern}/`,
      `   ${green('allowed')} ${dim(`by ${allowed.at}${allowed.group === undefined ? '' : `, ${allowed.group}`}`)}`,
    );
  }
  if (decide(proxy.policy, agent, connectTo(blockedHost), io.clock.now()).verdict === 'block') {
    lines.push(
      `curl -sSv https://${blockedHost}/ 2>&1 | grep '< HTTP'`,
      `   ${red('blocked')} ${dim(`${blockedHost} is not on the allowlist of agent ${demo}`)}`,
    );
  }
  const log = relative('.', settings.log) || settings.log;
  lines.push(`\n${bold('3.')} Read what was decided: ${log}\n`, `tail -n 2 ${log}\n\n`);
  return lines.join('\n');
}

/** The first listener that clients reach by an address and a credential; null if there is none. */
function addressOf(proxy: RunningProxy): ProxyAddress | null {
  for (const { at, tls, agent } of proxy.listeners) {
    if (isUnix(at) || agent !== null || tls?.required === true) continue;
    const scheme = tls === null ? 'http' : 'https';
    return { scheme, host: reachableHost(at.host), port: at.port };
  }
  return null;
}

/** An entry that a plain `https://host/` passes: exact, on 443, and really allowed now. */
export function allowedExample(policy: Policy, agent: Agent, now: number): Entry | null {
  const entries = [...agent.groups.flatMap((grant) => grant.group.allow), ...agent.allow];
  for (const entry of entries) {
    if (entry.scheme !== 'https' || /[*/]|^\./.test(entry.pattern)) continue;
    if (decide(policy, agent, connectTo(entry.pattern), now).verdict === 'allow') return entry;
  }
  return null;
}

function connectTo(host: string): Parameters<typeof decide>[2] {
  return {
    host,
    ip: null,
    port: 443,
    scheme: 'connect',
    method: undefined,
    path: undefined,
    scope: undefined,
  };
}
