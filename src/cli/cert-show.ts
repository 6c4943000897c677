import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { readRevocationFile } from '../config/revocation-file.ts';
import { type CertificateFacts, inspectClientCertificate } from '../identity/client-certificate.ts';
import { identifyByCertificate } from '../identity/identify.ts';
import { isFailure } from '../identity/identity.ts';
import { Revocations } from '../identity/revocations.ts';
import type { Agent, Policy } from '../policy/policy.ts';
import { authorityPaths } from '../tls/authority.ts';
import { isSignedBy } from './certificate-files.ts';
import { CommandError, type Io } from './io.ts';
import { loadPolicy } from './load-policy.ts';
import { addSettingsOptions, settingsFor } from './options.ts';
import { writeJson } from './output.ts';

interface ShowOptions {
  readonly json?: boolean;
}

/** `sallyport cert show`. */
export function createShow(io: Io): Command {
  const command = new Command('show')
    .description(
      'What a certificate is to the proxy: its names as allowlists write them, and whose it is. Exit status 1 if it proves nobody or does not hold now.',
    )
    .argument('<file>', 'a certificate in PEM or DER; of several the first')
    .option(
      '--json',
      'print {spiffe, subject, token, issued, not_before, expires, ours, agent, problem}',
    )
    .addHelpText('after', '\nExample:\n  sallyport cert show certs/agents/demo.crt\n');
  return addSettingsOptions(command).action(async (file: string) => {
    const options = command.opts<ShowOptions>();
    const settings = settingsFor(io, options);
    const facts = inspectClientCertificate(readDer(file));
    if (typeof facts === 'string') throw new CommandError(`${file} ${facts}.`, 1);
    const policy = await loadPolicy(io, settings.allowlists);
    if (policy === null) return;
    const shown = {
      facts,
      agents: agentsOf(policy, facts),
      ours: isSignedBy(file, authorityPaths(settings.certs).certificate),
    };
    const now = io.clock.now();
    const problem =
      problemOf(shown, now) ?? (await revocationOf(shown, policy, settings.allowlists, now));
    if (problem !== null) io.exitStatus = 1;
    if (options.json) printJson(io, shown, problem);
    else printText(io, shown, problem);
  });
}

interface Shown {
  readonly facts: CertificateFacts;
  /** Who lists its SPIFFE id, and who its subject. */
  readonly agents: readonly Agent[];
  /** Is it signed by the authority under certs/? */
  readonly ours: boolean;
}

function agentsOf(policy: Policy, { spiffe, subject }: CertificateFacts): Agent[] {
  const named = [spiffe, subject].map((name) =>
    name === null ? undefined : policy.certificates.get(name),
  );
  return [...new Set(named)].filter((agent) => agent !== undefined);
}

/** Why it proves nobody now, as far as `revocations.yaml` is not asked; null if it proves one agent. */
function problemOf({ facts, agents }: Shown, now: number): string | null {
  if (facts.spiffe === null && facts.subject === null) {
    return 'it has no name that an allowlist could list: neither one SPIFFE id nor a plain subject';
  }
  if (agents.length === 0) return 'no agent lists it under `certificates`';
  if (facts.spiffe !== null && !agents.some((agent) => lists(agent, facts.spiffe))) {
    return 'no agent lists its SPIFFE id, beside which the subject does not count';
  }
  if (agents.length > 1) return 'one agent lists its SPIFFE id and another one its subject';
  if (now >= facts.expiresAt) return 'it has expired';
  return now < facts.notBefore ? 'it does not hold yet' : null;
}

/** How `revocations.yaml` ends it; null if it does not. */
async function revocationOf(
  { facts }: Shown,
  policy: Policy,
  allowlists: string,
  now: number,
): Promise<string | null> {
  const { entries } = await readRevocationFile(allowlists, now);
  if (entries === null) return 'revocations.yaml has errors: `sallyport check` shows them';
  const certificate = { ...facts, isListed: () => false };
  const identity = identifyByCertificate(policy, certificate, now);
  if (isFailure(identity)) return null;
  const evidence = { certificate, source: null, listener: null };
  const reason = new Revocations(entries).find(identity, evidence);
  if (reason === null) return null;
  return reason === 'agent_quarantined' ? 'its agent is quarantined' : 'it is revoked';
}

function lists({ credentials }: Agent, name: string | null): boolean {
  return name !== null && credentials.certificates.includes(name);
}

function printJson(io: Io, { facts, agents, ours }: Shown, problem: string | null): void {
  writeJson(io.stdout, {
    spiffe: facts.spiffe,
    subject: facts.subject,
    token: `cert:${facts.serial}`,
    issued: iso(facts.issuedAt),
    not_before: iso(facts.notBefore),
    expires: iso(facts.expiresAt),
    ours,
    agent: agents.length === 1 ? agents[0]?.id : null,
    problem,
  });
}

function printText(io: Io, { facts, agents, ours }: Shown, problem: string | null): void {
  const lines = [
    ...(facts.spiffe === null ? [] : [`spiffe   ${facts.spiffe}`]),
    ...(facts.subject === null ? [] : [`subject  ${facts.subject}`]),
    `id       cert:${facts.serial}`,
    `issued   ${iso(facts.issuedAt)}`,
    `from     ${iso(facts.notBefore)}`,
    `expires  ${iso(facts.expiresAt)}`,
    `signed   ${ours ? '' : 'not '}by the authority under certs/`,
    ...agents.map(({ id, at }) => `agent    ${id} (${at})`),
    ...(problem === null ? [] : [`problem  ${problem}`]),
  ];
  io.stdout.write(`${lines.join('\n')}\n`);
}

/** @throws CommandError (1) if there is no certificate in the file */
function readDer(file: string): Buffer {
  try {
    return new X509Certificate(readFileSync(file)).raw;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code?.startsWith('E') && !code.startsWith('ERR_') ? ` (${code})` : '';
    throw new CommandError(`${file}: no certificate can be read from it${why}.`, 1);
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
