import { Command } from 'commander';
import {
  addRevocations,
  liftQuarantines,
  type NewRevocation,
} from '../config/revocation-writer.ts';
import { describeRevocation, type RevocationEntry } from '../identity/revocations.ts';
import { CommandError, type Io } from './io.ts';
import { addSettingsOptions, settingsFor } from './options.ts';
import { styles, writeJson } from './output.ts';
import {
  addReasonOptions,
  agentNamed,
  describeOutcome,
  effectSentence,
  policyIfSound,
  type Reasons,
  reasonsOf,
  takeEffect,
  written,
} from './revocation.ts';

interface QuarantineOptions {
  readonly by?: string;
  readonly why?: string;
  readonly undo?: boolean;
  readonly json?: boolean;
}

/** `sallyport quarantine`. */
export function createCommand(io: Io): Command {
  const command = new Command('quarantine')
    .description(
      'Stop an agent now, whatever it shows, and cut what it has open. Kept in revocations.yaml among the allowlists.',
    )
    .argument('<agent>', 'id of an agent')
    .option('--undo', 'let the agent go on: the same as `unquarantine`')
    .option('--json', 'print {quarantined, known, proxy, in_force, cut}, with --undo {lifted, …}')
    .addHelpText(
      'after',
      '\nExamples:\n  sallyport quarantine demo --why "uploads to an unknown host"\n  sallyport quarantine --undo demo\n',
    );
  addReasonOptions(command);
  return addSettingsOptions(command).action(async (text: string) => {
    const options = command.opts<QuarantineOptions>();
    if (options.undo !== true) return await quarantine(io, text, options);
    if (options.by !== undefined || options.why !== undefined) {
      throw new CommandError(
        '--undo takes neither --by nor --why: the entry goes away with both.',
        2,
      );
    }
    return await unquarantine(io, text, options);
  });
}

async function quarantine(io: Io, text: string, options: QuarantineOptions): Promise<void> {
  const reasons: Reasons = reasonsOf(io, options);
  const settings = settingsFor(io, options);
  const id = agentNamed(text, await policyIfSound(io, settings));
  const at = io.clock.now();
  const wanted: NewRevocation = { kind: 'quarantine', id, at, ...reasons };
  const { added, known } = await written(addRevocations(settings.allowlists, [wanted], at));
  const effect = await takeEffect(settings, [wanted], true);
  const sentence = effectSentence(io, effect, settings);
  if (options.json) {
    const quarantined = added.map(describeRevocation);
    writeJson(io.stdout, { quarantined, ...describeOutcome(known, effect) });
    return;
  }
  const style = styles(io.stdout, io.env);
  const before = known.map((entry) => `was already quarantined${fromOf(entry)}`);
  const state = before[0] ?? style.red('quarantined');
  const place = (added[0] ?? known[0])?.place ?? '';
  io.stdout.write(`agent ${style.bold(id)}  ${state}  ${style.dim(place)}\n${sentence}\n`);
  io.stdout.write(`To let it go on: sallyport unquarantine ${id}\n`);
}

/** Takes an agent out of quarantine: `quarantine --undo`, and `unquarantine`. */
export async function unquarantine(
  io: Io,
  text: string,
  options: QuarantineOptions,
): Promise<void> {
  const settings = settingsFor(io, options);
  const id = agentNamed(text, null);
  const at = io.clock.now();
  const lifted = await written(liftQuarantines(settings.allowlists, [id], at));
  if (lifted.length === 0) {
    const policy = await policyIfSound(io, settings);
    agentNamed(id, policy);
  }
  const none = { kind: 'quarantine', id, at, by: undefined, why: undefined } as const;
  const effect = await takeEffect(settings, [none], false);
  const sentence = effectSentence(io, effect, settings);
  if (options.json) {
    const { proxy, inForce } = effect;
    writeJson(io.stdout, { lifted: lifted.map(describeRevocation), proxy, in_force: inForce });
    return;
  }
  const [entry] = lifted;
  const state =
    entry === undefined ? 'is not quarantined' : `is no longer quarantined${fromOf(entry)}`;
  io.stdout.write(`agent ${styles(io.stdout, io.env).bold(id)} ${state}\n${sentence}\n`);
}

/** ` (since … by …: why)`, as far as the entry says it. */
function fromOf({ at, by, why }: RevocationEntry): string {
  const parts = [
    at === undefined ? '' : `since ${new Date(at).toISOString()}`,
    by === undefined ? '' : `by ${by}`,
  ].filter((part) => part !== '');
  const told = parts.join(' ') + (why === undefined ? '' : `: ${why}`);
  return told === '' ? '' : ` (${told})`;
}
