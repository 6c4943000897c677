import type { X509Certificate } from 'node:crypto';
import { Command } from 'commander';
import { SecretFileError } from '../core/secret-file.ts';
import { authorityPaths, createAuthority, loadAuthority } from '../tls/authority.ts';
import { CommandError, type Io } from './io.ts';
import { addSettingsOptions, settingsFor } from './options.ts';
import { writeJson } from './output.ts';

interface CaOptions {
  readonly json?: boolean;
}

/** `sallyport ca init` and `sallyport ca show`. */
export function createCommand(io: Io): Command {
  return new Command('ca')
    .description('The inspection and identity authority under certs/: make it, look at it.')
    .addHelpText('after', '\nExample:\n  sallyport ca init\n')
    .addCommand(createInit(io))
    .addCommand(createShow(io));
}

function createInit(io: Io): Command {
  const command = new Command('init')
    .description('Make ca.key and ca.crt in the certs directory. Never overwrites.')
    .option('--json', 'print the new authority as JSON')
    .addHelpText('after', '\nExample:\n  sallyport ca init\n');
  return addSettingsOptions(command).action(() => {
    const options = command.opts<CaOptions>();
    const { certs } = settingsFor(io, options);
    const { certificate } = asCommand(() => createAuthority(certs, io.clock.now()));
    print(io, certs, certificate, options.json === true);
  });
}

function createShow(io: Io): Command {
  const command = new Command('show')
    .description(
      'Subject, fingerprint and expiry. Exit status 1 if there is none, or it has expired.',
    )
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  sallyport ca show --json\n');
  return addSettingsOptions(command).action(() => {
    const options = command.opts<CaOptions>();
    const { certs } = settingsFor(io, options);
    const authority = asCommand(() => loadAuthority(certs));
    if (authority === null) {
      throw new CommandError(`no authority in ${certs}: \`sallyport ca init\` makes one.`, 1);
    }
    print(io, certs, authority.certificate, options.json === true);
    if (authority.certificate.validToDate.getTime() <= io.clock.now()) io.exitStatus = 1;
  });
}

function print(io: Io, certs: string, certificate: X509Certificate, json: boolean): void {
  const path = authorityPaths(certs).certificate;
  const subject = certificate.subject.split('\n').join(', ');
  const expires = certificate.validToDate.toISOString();
  const expired = certificate.validToDate.getTime() <= io.clock.now();
  const sha256 = certificate.fingerprint256;
  if (json) {
    writeJson(io.stdout, { subject, sha256, expires, expired, path });
    return;
  }
  const lines = [
    `subject  ${subject}`,
    `sha256   ${sha256}`,
    `expires  ${expires}${expired ? '  EXPIRED' : ''}`,
    `file     ${path}`,
  ];
  io.stdout.write(`${lines.join('\n')}\n`);
}

/** Problems with the files are the answer "no", as sentences. */
function asCommand<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof SecretFileError) throw new CommandError(error.message, 1);
    throw error;
  }
}
