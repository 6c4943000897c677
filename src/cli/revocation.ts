import { userInfo } from 'node:os';
import type { Command } from 'commander';
import { clip } from '../config/clip.ts';
import { compileDirectory } from '../config/compile.ts';
import { longestBy, longestWhy, revocationFileName } from '../config/revocation-file.ts';
import { type NewRevocation, RevocationWriteError } from '../config/revocation-writer.ts';
import type { Settings } from '../config/settings.ts';
import { didYouMean } from '../config/spelling.ts';
import { isAgentId } from '../core/agent-id.ts';
import {
  describeRevocation,
  keyOf,
  parseSerial,
  parseTokenId,
  type RevocationEntry,
} from '../identity/revocations.ts';
import type { Policy } from '../policy/policy.ts';
import { adminAddress, askAdmin } from './admin-client.ts';
import { CommandError, type Io } from './io.ts';
import { plural } from './output.ts';

/** UTF-16 code units of a text that messages repeat. */
const LONGEST_MENTION = 30;

/** Who stops something, and why. */
export interface Reasons {
  readonly by: string;
  readonly why: string | undefined;
}

/** Adds `--by` and `--why`. */
export function addReasonOptions(command: Command): Command {
  return command
    .option('--by <who>', 'who does this: in the file and in the log (default: your user name)')
    .option('--why <text>', 'why: in the file and in the log');
}

/**
 * The values of `--by` and `--why`.
 *
 * @throws CommandError (2) if one is too long, or cannot be printed
 */
export function reasonsOf(
  io: Io,
  options: { readonly by?: string; readonly why?: string },
): Reasons {
  const by = options.by ?? userName(io);
  checkText('--by', by, longestBy);
  if (options.why !== undefined) checkText('--why', options.why, longestWhy);
  return { by, why: options.why };
}

function checkText(flag: string, text: string, longest: number): void {
  if (text.trim() === '') throw new CommandError(`${flag} is empty: leave it out.`, 2);
  if (text.length > longest) {
    throw new CommandError(
      `${flag}: ${text.length} characters; at most ${longest} fit. Say it shorter.`,
      2,
    );
  }
  if (/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(text)) {
    throw new CommandError(`${flag}: it has characters that cannot be printed. Leave them out.`, 2);
  }
}

function userName({ env }: Io): string {
  const { SUDO_USER, USER } = env;
  if (SUDO_USER) return SUDO_USER;
  try {
    return userInfo().username;
  } catch {
    // A container's user need not have a name.
    return USER || 'unknown';
  }
}

/** The policy of the allowlists, or null, after saying so, if they do not compile: that must not hold up a stop. */
export async function policyIfSound(io: Io, settings: Settings): Promise<Policy | null> {
  const { policy } = await compileDirectory(settings.allowlists, io.clock.now());
  if (policy === null) {
    io.stderr.write(
      'sallyport: the allowlists do not compile (`sallyport check`), so that ids are taken as they are written.\n',
    );
  }
  return policy;
}

/** @throws CommandError (1) if the policy has no such agent, (2) if the text can be no agent's id */
export function agentNamed(text: string, policy: Policy | null): string {
  if (!isAgentId(text)) {
    throw new CommandError(`${JSON.stringify(clip(text))} is not an agent id.`, 2);
  }
  if (policy === null || policy.agents.has(text)) return text;
  const meant = didYouMean(text, policy.agents.keys());
  throw new CommandError(`no agent ${JSON.stringify(text)} in the allowlists${meant || '.'}`, 1);
}

/**
 * What a person means by an id: an agent, if there is one of that name; a credential as log lines name
 * it; the serial number of a certificate. `agent:` and `cert:` in front say which.
 *
 * @throws CommandError (1) if nothing of that name is known, (2) if it is not clear what is meant
 */
export function revocable(
  text: string,
  policy: Policy | null,
): Pick<RevocationEntry, 'kind' | 'id'> {
  if (/^(?:sp1\.|eyJ)/u.test(text)) {
    throw new CommandError(
      'this is a credential, not the id of one: write its id, as `sallyport token show` and the `token` of its log lines tell it. Who can see this command line can now use it.',
      2,
    );
  }
  if (text.startsWith('agent:')) return { kind: 'agent', id: agentNamed(text.slice(6), policy) };
  if (policy?.agents.has(text) === true) return { kind: 'agent', id: text };
  const token = parseTokenId(text);
  if (token !== null) return { kind: 'token', id: token };
  const serial = parseSerial(text.startsWith('cert:') ? text.slice(5) : text);
  const isPlain = serial !== null && isAgentId(text);
  if (serial !== null && !(isPlain && policy === null)) return { kind: 'certificate', id: serial };
  if (isPlain) {
    throw new CommandError(
      `${text} may be an agent or a certificate: write agent:${text} or cert:${text}.`,
      2,
    );
  }
  if (isAgentId(text)) return { kind: 'agent', id: agentNamed(text, policy) };
  throw new CommandError(
    `${mention(text)} is neither an agent nor the id of a credential: write an agent id, the \`token\` of a log line (01JD…, sha256:…, jwt:…, cert:…), or a certificate's serial number in hexadecimal. Never write the credential itself.`,
    2,
  );
}

/** What is as long as a secret is not repeated: it may be one. */
function mention(text: string): string {
  return text.length > LONGEST_MENTION ? 'this' : JSON.stringify(clip(text));
}

/** Runs a change of the file; what it cannot write is a message and exit status 1. */
export async function written<T>(change: Promise<T>): Promise<T> {
  try {
    return await change;
  } catch (error) {
    if (error instanceof RevocationWriteError) throw new CommandError(error.message, 1);
    throw error;
  }
}

/** What a running proxy has made of the file. */
export interface Effect {
  /** Null: no proxy answers. */
  readonly proxy: string | null;
  /** The proxy has exactly what was asked for in force. */
  readonly inForce: boolean;
  /** Live connections and requests that it cut; undefined where there is nothing to cut. */
  readonly cut: number | undefined;
}

/** Has the running proxy read the file now. `wanted` must be in force then, or not, as `present` says. */
export async function takeEffect(
  settings: Settings,
  wanted: readonly NewRevocation[],
  present: boolean,
): Promise<Effect> {
  const answer = await askAdmin(settings, 'POST', '/revocations');
  const entries = answer?.body.entries;
  if (answer === null || !Array.isArray(entries))
    return { proxy: null, inForce: false, cut: undefined };
  const keys = new Set(entries.map((entry) => keyOf(entryOf(entry))));
  const { cut } = answer.body;
  return {
    proxy: adminAddress(settings),
    inForce: wanted.every((item) => keys.has(keyOf({ ...item, place: '' })) === present),
    cut: present && typeof cut === 'number' ? cut : undefined,
  };
}

/** What both commands tell programs beside the entries they have added. */
export function describeOutcome(
  known: readonly RevocationEntry[],
  { proxy, inForce, cut }: Effect,
): object {
  return { known: known.map(describeRevocation), proxy, in_force: inForce, cut };
}

/** An entry as the admin listener describes it. */
function entryOf(value: Partial<Record<'kind' | 'id' | 'at', string>> | null): RevocationEntry {
  const at = value?.at === undefined ? undefined : Date.parse(value.at);
  const kind = value?.kind as RevocationEntry['kind'];
  return { kind, id: value?.id ?? '', at, by: undefined, why: undefined, place: '' };
}

/** One sentence about the effect, for a person; sets exit status 1 if a proxy runs and does not have it. */
export function effectSentence(
  io: Io,
  { proxy, inForce, cut }: Effect,
  settings: Settings,
): string {
  if (proxy === null) {
    return `No proxy answers at ${adminAddress(settings)}; one that runs elsewhere takes it up within a second.`;
  }
  if (inForce) {
    return `In force at ${proxy}${cut === undefined ? '' : `; ${plural(cut, 'live connection')} cut`}.`;
  }
  io.exitStatus = 1;
  return `NOT in force at ${proxy}: that proxy reads another ${revocationFileName}, or cannot read this one. GET /ready there tells.`;
}
