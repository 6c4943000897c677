import { Command } from 'commander';
import {
  type Authority,
  authorityPaths,
  createAuthority,
  loadAuthority,
} from '../tls/authority.ts';
import { constraintsFor } from '../tls/name-constraints.ts';
import { finishRotation, isBrokenOff, rotateAuthority } from '../tls/rotation.ts';
import { printAuthority } from './authority-description.ts';
import { asCommand } from './certificate-files.ts';
import { CommandError, type Io } from './io.ts';
import { addSettingsOptions, settingsFor } from './options.ts';

interface CaOptions {
  readonly json?: boolean;
}

interface InitOptions extends CaOptions {
  readonly permit?: readonly string[];
}

interface RotateOptions extends InitOptions {
  readonly permitAll?: boolean;
  readonly finish?: boolean;
}

/** `sallyport ca init`, `ca show` and `ca rotate`. */
export function createCommand(io: Io): Command {
  return new Command('ca')
    .description(
      'The inspection and identity authority under certs/: make it, look at it, change it.',
    )
    .addHelpText('after', '\nExample:\n  sallyport ca init\n')
    .addCommand(createInit(io))
    .addCommand(createShow(io))
    .addCommand(createRotate(io));
}

function createInit(io: Io): Command {
  const command = new Command('init')
    .description('Make ca.key and ca.crt in the certs directory. Never overwrites.')
    .option('--json', 'print the new authority as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  sallyport ca init\n  sallyport ca init --permit api.github.com,internal.example.com\n',
    );
  addPermit(command, 'it may sign for these domains (and all below) and address ranges alone');
  return addSettingsOptions(command).action(() => {
    const options = command.opts<InitOptions>();
    const constraints = options.permit === undefined ? null : permitting(options.permit);
    const { certs } = settingsFor(io, options);
    print(
      io,
      certs,
      asCommand(() => createAuthority(certs, io.clock.now(), constraints)),
      options,
    );
  });
}

function createShow(io: Io): Command {
  const command = new Command('show')
    .description(
      'Subject, fingerprint, expiry, limits, and what it takes over from. Exit status 1 if there is none, or it has expired.',
    )
    .option(
      '--json',
      'print {subject, sha256, expires, expired, permits, excludes, overlap, broken_off, path}',
    )
    .addHelpText('after', '\nExample:\n  sallyport ca show --json\n');
  return addSettingsOptions(command).action(() => {
    const options = command.opts<CaOptions>();
    const { certs } = settingsFor(io, options);
    const authority = asCommand(() => loadAuthority(certs));
    if (authority === null) {
      throw new CommandError(`no authority in ${certs}: \`sallyport ca init\` makes one.`, 1);
    }
    print(io, certs, authority, options);
    if (authority.certificate.validToDate.getTime() <= io.clock.now()) io.exitStatus = 1;
  });
}

function createRotate(io: Io): Command {
  const command = new Command('rotate')
    .description(
      'Put a new authority in the place of the present one. Both are trusted until --finish, or until the old one ends; a running proxy follows by itself.',
    )
    .option('--permit-all', 'it may sign for any host, whatever the old one might')
    .option('--finish', 'end the overlap: the old authority is trusted no longer')
    .option('--json', 'print the authority as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  sallyport ca rotate\n  sallyport ca rotate --finish    # when no sandbox trusts only the old one\n',
    );
  addPermit(command, 'it may sign for these alone, instead of what the old one might');
  return addSettingsOptions(command).action(() => {
    const options = command.opts<RotateOptions>();
    const constraints = rotatedConstraints(options);
    const { certs } = settingsFor(io, options);
    const authority = asCommand(() =>
      options.finish === true
        ? finishRotation(certs)
        : rotateAuthority(certs, io.clock.now(), constraints),
    );
    print(io, certs, authority, options);
  });
}

function addPermit(command: Command, help: string): void {
  const collect = (text: string, earlier: readonly string[] = []) => [
    ...earlier,
    ...text.split(','),
  ];
  command.option('--permit <domain...>', `${help}; repeat it or separate by commas`, collect);
}

/** @throws CommandError (2) for options that say different things */
function rotatedConstraints({ permit, permitAll, finish }: RotateOptions) {
  const given = [permit !== undefined, permitAll === true, finish === true].filter(Boolean).length;
  if (given > 1) throw new CommandError('one of --permit, --permit-all and --finish at a time.', 2);
  if (permitAll === true) return null;
  return permit === undefined ? undefined : permitting(permit);
}

/** @throws CommandError (2) if one is neither a domain nor a range */
function permitting(texts: readonly string[]): Buffer {
  const constraints = constraintsFor(texts);
  if (typeof constraints !== 'string') return constraints;
  throw new CommandError(
    `--permit ${JSON.stringify(constraints)}: write a domain in lower case (example.com is it and every name below) or a range of addresses whose host bits are zero (10.0.0.0/8).`,
    2,
  );
}

function print(io: Io, certs: string, authority: Authority, { json }: CaOptions): void {
  const path = authorityPaths(certs).certificate;
  const now = io.clock.now();
  const brokenOff = isBrokenOff(certs);
  printAuthority(io.stdout, { authority, path, now, brokenOff }, json === true);
}
