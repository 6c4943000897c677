import { Command } from 'commander';
import { addRevocations, type NewRevocation } from '../config/revocation-writer.ts';
import type { Settings } from '../config/settings.ts';
import { describeRevocation, type RevocationEntry } from '../identity/revocations.ts';
import type { Policy } from '../policy/policy.ts';
import type { Io } from './io.ts';
import { addSettingsOptions, settingsFor } from './options.ts';
import { plural, styles, writeJson } from './output.ts';
import {
  addReasonOptions,
  describeOutcome,
  effectSentence,
  policyIfSound,
  reasonsOf,
  revocable,
  takeEffect,
  written,
} from './revocation.ts';

interface RevokeOptions {
  readonly by?: string;
  readonly why?: string;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  sallyport revoke 01M82BXQMTPAM8E6V5QCV50000 --why "laptop lost"
  sallyport revoke cert:0a1b2c
  sallyport revoke demo          # all that was issued to the agent until now
`;

/** `sallyport revoke`. */
export function createCommand(io: Io): Command {
  const command = new Command('revoke')
    .description(
      'End credentials before their time, now, and cut what lives by them. Kept in revocations.yaml among the allowlists.',
    )
    .argument(
      '<id...>',
      'the `token` of a log line, the serial number of a certificate, or an agent (all that was issued to it until now)',
    )
    .option('--json', 'print {revoked, known, proxy, in_force, cut}')
    .addHelpText('after', EXAMPLES);
  addReasonOptions(command);
  return addSettingsOptions(command).action(async (ids: readonly string[]) => {
    const options = command.opts<RevokeOptions>();
    const reasons = reasonsOf(io, options);
    const settings = settingsFor(io, options);
    const policy = await policyIfSound(io, settings);
    const at = io.clock.now();
    const named = ids.map((text) => revocable(text, policy));
    const wanted: NewRevocation[] = named.map((what) => ({ ...what, at, ...reasons }));
    const { added, known } = await written(addRevocations(settings.allowlists, wanted, at));
    const effect = await takeEffect(settings, wanted, true);
    const sentence = effectSentence(io, effect, settings);
    if (options.json) {
      const revoked = added.map(describeRevocation);
      writeJson(io.stdout, { revoked, ...describeOutcome(known, effect) });
      return;
    }
    const style = styles(io.stdout, io.env);
    for (const entry of added) {
      io.stdout.write(`${style.red('revoked')}  ${whatOf(entry)}  ${style.dim(entry.place)}\n`);
    }
    for (const entry of known) {
      const who = entry.by === undefined ? '' : ` by ${entry.by}`;
      io.stdout.write(`revoked before${who}  ${whatOf(entry)}  ${style.dim(entry.place)}\n`);
    }
    for (const entry of added) io.stdout.write(leftOver(entry, policy, settings));
    io.stdout.write(`${sentence}\n`);
    if (reasons.why === undefined && added.length > 0) {
      io.stdout.write(style.dim('The file does not say why: --why "…" would.\n'));
    }
  });
}

function whatOf({ kind, id, at }: RevocationEntry): string {
  if (kind !== 'agent' || at === undefined) return `${kind} ${id}`;
  return `all that was issued to agent ${id} until ${new Date(at).toISOString()}`;
}

/** What an agent can still use: what was never issued does not end by being revoked. */
function leftOver(
  { kind, id }: RevocationEntry,
  policy: Policy | null,
  { listen }: Settings,
): string {
  const agent = kind === 'agent' ? policy?.agents.get(id) : undefined;
  if (agent === undefined) return '';
  const { tokens, sourcesAlone } = agent.credentials;
  const left = [
    tokens.length === 0 ? '' : plural(tokens.length, 'static token'),
    sourcesAlone ? 'its source addresses' : '',
    listen.some((on) => on.agent === id) ? 'its own listener' : '',
  ].filter((part) => part !== '');
  if (left.length === 0) return '';
  return `Agent ${id} can still use ${left.join(' and ')}, which nobody issued; \`sallyport quarantine ${id}\` ends everything.\n`;
}
