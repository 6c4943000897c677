import type { Identity } from '../identity/identity.ts';
import type { CredentialScope } from '../policy/credential-scope.ts';
import { policyNeedsInspection } from '../policy/inspection.ts';
import type { Agent, Entry, Policy } from '../policy/policy.ts';
import type { QueryRule } from '../policy/query.ts';
import { reachableEntries } from '../policy/reach.ts';
import type { Inbound } from './inbound.ts';
import type { Services } from './services.ts';

/** The name under which the proxy speaks for itself to clients that go through it. */
export const selfHost = 'sallyport.internal';

export interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const text = 'text/plain; charset=utf-8';
const json = 'application/json';

/** Paths that we answer (contract §4, "The proxy speaks for itself"). */
const paths: ReadonlySet<string> = new Set(['/', '/health', '/policy', '/ca.pem']);

export const isOwnPath = (path: string): boolean => paths.has(path);
export const needsIdentity = (path: string): boolean => path === '/policy';

/**
 * One of our own pages, or null if there is none at this path.
 * @param identity who asks; `/policy` must not be asked for without one.
 */
export function ownPage(services: Services, path: string, identity: Identity | null): Page | null {
  switch (path) {
    case '/':
      return { status: 200, type: text, body: welcome };
    case '/health':
      return services.draining()
        ? { status: 503, type: json, body: '{"status":"draining"}\n' }
        : { status: 200, type: json, body: '{"status":"ok"}\n' };
    case '/policy':
      return identity === null
        ? null
        : {
            status: 200,
            type: json,
            body: `${policyOf(services.policy(), identity, services.clock.now())}\n`,
          };
    case '/ca.pem':
      return authorityPage(services);
    default:
      return null;
  }
}

/** The certificate that sandboxes must trust; none where nothing is inspected. */
function authorityPage({ inspection, policy }: Services): Page | null {
  if (inspection === null || !policyNeedsInspection(policy())) return null;
  return { status: 200, type: 'application/x-pem-file', body: inspection.contexts.pem };
}

/** Answers with one of our own pages. */
export function sendPage(inbound: Inbound, page: Page): void {
  const headers = [
    ['Content-Type', page.type],
    ['Content-Length', String(Buffer.byteLength(page.body))],
    ['Cache-Control', 'no-store'],
  ].flat();
  const hasBody = inbound.method !== 'HEAD';
  inbound.answer(page.status, page.status === 200 ? 'OK' : 'Service Unavailable', headers, hasBody);
  if (hasBody) inbound.write(page.body);
  inbound.end([]);
}

const welcome = `This is Sallyport, an egress proxy: the one guarded door out of this sandbox.

Everything is denied unless the allowlist of your agent names it, and every
connection is logged. Most tools need no more than

  HTTPS_PROXY=http://AGENT:CREDENTIAL@this-host:port
  HTTP_PROXY=the same

A refusal says why, in its status line and as JSON, and what to do instead.

  GET http://${selfHost}/policy   what your agent may reach (with its credential)
  GET http://${selfHost}/health   is the proxy up
  GET http://${selfHost}/ca.pem   whom to trust for hosts that are inspected, if any are
`;

/**
 * What this credential may reach, until when, for which task, and whom to ask for more. Nothing of
 * other agents, and nothing that the credential could be used with.
 */
function policyOf(policy: Policy, identity: Identity, now: number): string {
  const agent = policy.agents.get(identity.agent.id) ?? identity.agent;
  return JSON.stringify(
    {
      agent: agent.id,
      owner: agent.owner,
      purpose: agent.purpose,
      mode: agent.mode,
      policy: policy.digest,
      credential: {
        id: identity.token,
        kind: identity.kind,
        expires: instant(identity.expiresAt),
        task: identity.task,
        requested_by: identity.requestedBy,
        scope: identity.scope === undefined ? undefined : describeScope(identity.scope),
      },
      allow: reachableEntries(agent, identity.scope, now).map(({ entry, host, until }) =>
        describe(entry, host, Math.min(until, identity.expiresAt)),
      ),
      deny: denied(policy, agent),
      limits: {
        connections: agent.limits.connections,
        connections_per_second: agent.limits.connectionsPerSecond,
        upload_per_tunnel: agent.limits.uploadPerTunnel,
      },
      ask: agent.owner,
      message: sentence(agent, identity),
    },
    null,
    2,
  );
}

/** For each narrowing of the credential: a target must be in one of these groups or hosts. */
function describeScope(scope: CredentialScope): object[] {
  return scope.map(({ groups, hosts }) => ({ groups, hosts: hosts.map(({ text }) => text) }));
}

/** For the agent that reads it: until when, and what to do about more. */
function sentence(agent: Agent, identity: Identity): string {
  const end = instant(identity.expiresAt);
  const until = end === undefined ? '' : ` until ${end}`;
  const task = identity.task === undefined ? '' : `, for the task ${identity.task}`;
  const narrowed =
    identity.scope === undefined ? '' : ' The credential is narrowed; the agent may have more.';
  const report =
    agent.mode === 'report' ? ' Report mode: other targets may pass, and are logged.' : '';
  return `You are agent ${agent.id}${until}${task}. \`allow\` is all that you may reach, less what \`deny\` names.${narrowed}${report} For more ask ${agent.owner}.`;
}

function denied(policy: Policy, agent: Agent): object[] {
  const groups = agent.groups.flatMap((grant) => grant.group.deny);
  return [...agent.deny, ...groups, ...policy.deny].map((entry) =>
    describe(entry, entry.pattern, Infinity),
  );
}

function describe(entry: Entry, host: string, until: number): object {
  return {
    host,
    scheme: entry.scheme,
    ports: entry.ports,
    methods: entry.methods,
    paths: entry.paths,
    query: entry.query && describeQuery(entry.query),
    required_headers: requiredHeaders(entry),
    content_types: entry.contentTypes,
    max_body: entry.maxBody,
    tools: entry.tools && { allow: entry.tools.allow, deny: entry.tools.deny },
    credential: entry.inject && 'added by the proxy',
    until: instant(until),
    group: entry.group,
  };
}

/** Key → values, "*" for any. */
function describeQuery(rules: readonly QueryRule[]): object {
  return Object.fromEntries(rules.map(({ key, values }) => [key, values ?? '*']));
}

/** Names alone: a value may be meant as a secret between the agent and the host. */
function requiredHeaders({ headers }: Entry): readonly string[] | undefined {
  const names = headers?.require.map(({ name }) => name) ?? [];
  return names.length === 0 ? undefined : names;
}

function instant(ms: number): string | undefined {
  return Number.isFinite(ms) ? new Date(ms).toISOString() : undefined;
}
