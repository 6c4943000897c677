import type { Agent } from '../policy/policy.ts';
import type { EgressRecord } from './egress-log.ts';
import { escapeText } from './escape.ts';

/**
 * The longest that one field may become, in bytes of escaped UTF-8. Together with keys, numbers
 * and punctuation they stay under the contract's 8 KiB a line, whatever a client sends (§5).
 */
const maxBytes = {
  id: 64,
  agent: 64,
  scheme: 16,
  host: 256,
  method: 64,
  path: 3072,
  tool: 256,
  params: 640,
  entry: 512,
  group: 128,
  policy: 64,
  task: 256,
  requestedBy: 256,
  token: 128,
  endpoint: 128,
  sni: 256,
  end: 64,
  owner: 256,
  purpose: 512,
  node: 256,
} as const;

/** `000Z` … `999Z`: the end of a timestamp. */
const milliseconds = Array.from({ length: 1000 }, (_, ms) => `${String(ms).padStart(3, '0')}Z`);

type DecisionFields = Partial<
  Pick<EgressRecord, 'entry' | 'group' | 'policy' | 'task' | 'requestedBy' | 'token'>
>;

interface AgentFragments {
  readonly id: string;
  readonly ownerAndPurpose: string;
}

/**
 * Egress records → lines of the egress log (contract §5), each ending in a newline. Built by hand
 * because it is on the path of every connection: JSON.stringify costs half as much again and leaves
 * DEL, C1 and bidirectional controls as they are. Never throws.
 */
export class EgressLineFormatter {
  readonly #tail: string;
  readonly #agents = new WeakMap<Agent, AgentFragments>();
  /** The last record's part of `decision`: most lines have the credential and entry of the one before. */
  #decided: Readonly<DecisionFields> = {};
  #decidedText = '';
  #second = Number.NaN;
  #secondText = '';

  /** `node`: host and worker that write, `host/worker`. */
  constructor(node: string) {
    this.#tail = `,"node":"${escapeText(node, maxBytes.node)}","seq":`;
  }

  /** `time`: milliseconds since the epoch. `seq`: number of the line on this node, from 1. */
  format(record: EgressRecord, time: number, seq: number): string {
    const agent = record.agent === undefined ? undefined : this.#fragments(record.agent);
    let line = `{"time":"${this.#timestamp(time)}","event":"${record.event}"`;
    if (record.id !== undefined) line += text(',"id":"', record.id, maxBytes.id);
    if (agent !== undefined) line += agent.id;
    if (record.verdict !== undefined) line += `,"verdict":"${record.verdict}"`;
    if (record.reason !== undefined) line += `,"reason":"${record.reason}"`;
    line += target(record) + this.#decision(record) + transfer(record);
    if (agent !== undefined) line += agent.ownerAndPurpose;
    if (record.report !== undefined) line += `,"report":${record.report}`;
    return `${line}${this.#tail}${seq}}\n`;
  }

  /** entry … token */
  #decision(record: EgressRecord): string {
    const last = this.#decided;
    const same =
      record.entry === last.entry &&
      record.group === last.group &&
      record.policy === last.policy &&
      record.task === last.task &&
      record.requestedBy === last.requestedBy &&
      record.token === last.token;
    if (!same) {
      const { entry, group, policy, task, requestedBy, token } = record;
      this.#decided = { entry, group, policy, task, requestedBy, token };
      this.#decidedText = decision(record);
    }
    return this.#decidedText;
  }

  /** RFC 3339, UTC, milliseconds. */
  #timestamp(time: number): string {
    const second = Math.floor(time / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = new Date(second * 1000).toISOString().slice(0, -4);
    }
    return this.#secondText + milliseconds[Math.floor(time) - second * 1000];
  }

  #fragments(agent: Agent): AgentFragments {
    const known = this.#agents.get(agent);
    if (known !== undefined) return known;
    const owner = text(',"owner":"', agent.owner, maxBytes.owner);
    const made = {
      id: text(',"agent":"', agent.id, maxBytes.agent),
      ownerAndPurpose: owner + text(',"purpose":"', agent.purpose, maxBytes.purpose),
    };
    this.#agents.set(agent, made);
    return made;
  }
}

/** scheme … status */
function target(record: EgressRecord): string {
  let part = '';
  if (record.scheme !== undefined) part += text(',"scheme":"', record.scheme, maxBytes.scheme);
  if (record.host !== undefined) part += text(',"host":"', record.host, maxBytes.host);
  if (record.port !== undefined) part += `,"port":${whole(record.port)}`;
  if (record.method !== undefined) part += text(',"method":"', record.method, maxBytes.method);
  if (record.path !== undefined) {
    part += text(',"path":"', withoutQuery(record.path), maxBytes.path);
  }
  if (record.tool !== undefined) part += text(',"tool":"', record.tool, maxBytes.tool);
  if (record.params !== undefined) part += text(',"params":"', record.params, maxBytes.params);
  if (record.status !== undefined) part += `,"status":${whole(record.status)}`;
  return part;
}

function decision(record: EgressRecord): string {
  let part = '';
  if (record.entry !== undefined) part += text(',"entry":"', record.entry, maxBytes.entry);
  if (record.group !== undefined) part += text(',"group":"', record.group, maxBytes.group);
  if (record.policy !== undefined) part += text(',"policy":"', record.policy, maxBytes.policy);
  if (record.task !== undefined) part += text(',"task":"', record.task, maxBytes.task);
  if (record.requestedBy !== undefined) {
    part += text(',"requested_by":"', record.requestedBy, maxBytes.requestedBy);
  }
  if (record.token !== undefined) part += text(',"token":"', record.token, maxBytes.token);
  return part;
}

/** client … end */
function transfer(record: EgressRecord): string {
  let part = '';
  if (record.client !== undefined) part += text(',"client":"', record.client, maxBytes.endpoint);
  if (record.address !== undefined) part += text(',"address":"', record.address, maxBytes.endpoint);
  if (record.sni !== undefined) part += text(',"sni":"', record.sni, maxBytes.sni);
  if (record.bytesUp !== undefined) part += `,"bytes_up":${whole(record.bytesUp)}`;
  if (record.bytesDown !== undefined) part += `,"bytes_down":${whole(record.bytesDown)}`;
  if (record.ms !== undefined) part += `,"ms":${tenths(record.ms)}`;
  if (record.dnsMs !== undefined) part += `,"dns_ms":${tenths(record.dnsMs)}`;
  if (record.dialMs !== undefined) part += `,"dial_ms":${tenths(record.dialMs)}`;
  if (record.end !== undefined) part += text(',"end":"', record.end, maxBytes.end);
  return part;
}

function text(key: string, value: string, limit: number): string {
  return `${key}${escapeText(value, limit)}"`;
}

/** Queries carry secrets: cut here too, in case a caller hands over the whole request target. */
function withoutQuery(path: string): string {
  const query = path.indexOf('?');
  return query === -1 ? path : path.slice(0, query);
}

/** JSON has no NaN and no Infinity; nothing that is counted or measured here is below zero. */
function whole(value: number): number {
  return value > 0 && value < Number.MAX_SAFE_INTEGER ? Math.round(value) : 0;
}

/** Milliseconds, to a tenth: a name from the cache takes less than one. */
function tenths(value: number): number {
  return whole(value * 10) / 10;
}
