import type { X509Certificate } from 'node:crypto';
import type { Authority } from '../tls/authority.ts';
import { describeSubtrees } from '../tls/name-constraints.ts';
import type { Sink } from './io.ts';
import { writeJson } from './output.ts';

export interface AuthorityFacts {
  readonly authority: Authority;
  /** Path of its certificate. */
  readonly path: string;
  /** Wall clock, milliseconds since the Unix epoch. */
  readonly now: number;
  /** A rotation was begun that did not come to its end. */
  readonly brokenOff: boolean;
}

/** What `ca init`, `ca show` and `ca rotate` print about the authority. */
export function printAuthority(sink: Sink, facts: AuthorityFacts, json: boolean): void {
  if (json) printJson(sink, facts);
  else sink.write(`${textOf(facts).join('\n')}\n`);
}

function printJson(sink: Sink, { authority, path, now, brokenOff }: AuthorityFacts): void {
  const { constraints, overlap } = authority;
  writeJson(sink, {
    ...describe(authority.certificate, now),
    permits: constraints === null ? null : describeSubtrees(constraints.permitted),
    excludes: constraints === null ? [] : describeSubtrees(constraints.excluded),
    overlap: overlap === null ? null : describe(overlap.old, now),
    broken_off: brokenOff,
    path,
  });
}

function textOf({ authority, path, now, brokenOff }: AuthorityFacts): string[] {
  const { certificate, constraints, overlap } = authority;
  const { subject, sha256, expires, expired } = describe(certificate, now);
  const lines = [
    `subject  ${subject}`,
    `sha256   ${sha256}`,
    `expires  ${expires}${expired ? '  EXPIRED' : ''}`,
  ];
  if (constraints !== null) {
    const permitted = describeSubtrees(constraints.permitted);
    const excluded = describeSubtrees(constraints.excluded);
    if (permitted.length > 0) lines.push(`permits  ${permitted.join(', ')}`);
    if (excluded.length > 0) lines.push(`excludes ${excluded.join(', ')}`);
  }
  lines.push(`file     ${path}`);
  if (overlap !== null) {
    const old = describe(overlap.old, now);
    lines.push(
      '',
      'It has taken the place of this one, which is trusted too:',
      `subject  ${old.subject}`,
      `sha256   ${old.sha256}`,
      `until    ${old.expires}${old.expired ? '  EXPIRED' : ''}, or \`sallyport ca rotate --finish\``,
    );
  }
  if (brokenOff) {
    lines.push('', 'A rotation was broken off: `sallyport ca rotate` takes it to its end.');
  }
  return lines;
}

function describe(certificate: X509Certificate, now: number) {
  return {
    subject: certificate.subject.split('\n').join(', '),
    sha256: certificate.fingerprint256,
    expires: certificate.validToDate.toISOString(),
    expired: certificate.validToDate.getTime() <= now,
  };
}
