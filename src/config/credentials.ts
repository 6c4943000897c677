import { isSpiffeId, parseSubject, subjectAttributes } from '../core/certificate-name.ts';
import type { WorkloadRule } from '../policy/issuer.ts';
import type { AgentCredentials } from '../policy/policy.ts';
import { clip } from './clip.ts';
import { parseRange } from './entry-form.ts';
import {
  boolean,
  type Complaint,
  fieldsOf,
  type Located,
  listOf,
  located,
  notEmpty,
  parsed,
  type Report,
} from './fields.ts';
import type { Position } from './problem.ts';
import { readWorkloads, type WorkloadLine } from './workloads.ts';
import type { YamlNode } from './yaml.ts';

/** How an agent proves who it is, with the places that the check between agents names. */
export interface CredentialLines extends AgentCredentials {
  readonly tokenLines: readonly Located<string>[];
  readonly certificateLines: readonly Located<string>[];
  readonly workloadLines: readonly WorkloadLine[];
  readonly sourcesAt: Position;
}

const credentialFields = {
  issued: boolean,
  tokens: listOf(located(parsed(parseTokenDigest)), 'digests', '["sha256:…"]'),
  certificates: listOf(
    located(parsed(parseCertificateName)),
    'SPIFFE ids and subjects',
    '["spiffe://example.com/agent/NAME"]',
  ),
  workloads: readWorkloads,
  sources: notEmpty(listOf(parsed(parseRange), 'ranges', '[10.20.0.0/24]')),
  'sources-alone': boolean,
};

const read = fieldsOf(credentialFields, '{tokens: ["sha256:…"], sources: [10.20.0.0/24]}');

/** Credentials of `sallyport token issue` and nothing else, which is what leaving the key out means. */
export function defaultCredentials(at: Position): CredentialLines {
  return {
    issued: true,
    tokens: [],
    certificates: [],
    workloads: [],
    sources: [],
    sourcesAlone: false,
    tokenLines: [],
    certificateLines: [],
    workloadLines: [],
    sourcesAt: at,
  };
}

export function readCredentials(
  node: YamlNode,
  name: string,
  report: Report,
): CredentialLines | undefined {
  const fields = read(node, name, report);
  if (fields === undefined) return undefined;
  const { values, keys, at } = fields;
  const sourcesAlone = values['sources-alone'] ?? false;
  const sources = values.sources ?? [];
  const aloneAt = keys.get('sources-alone');
  if (sourcesAlone && aloneAt !== undefined && !keys.has('sources')) {
    const message = '`sources-alone` needs `sources`: without them any address would do';
    report(aloneAt, 'missing-key', message, 'Write `sources: [10.20.0.0/24]` beside it.');
  }
  const sourcesAt = keys.get('sources') ?? at;
  const tokenLines = values.tokens ?? [];
  const certificateLines = values.certificates ?? [];
  const workloadLines = values.workloads ?? [];
  return {
    issued: values.issued ?? true,
    tokens: tokenLines.map(({ value }) => value),
    certificates: certificateLines.map(({ value }) => value),
    workloads: workloadLines.map(workloadRule),
    sources,
    sourcesAlone,
    tokenLines,
    certificateLines,
    workloadLines,
    sourcesAt,
  };
}

function workloadRule({ issuer, claims, task, requestedBy }: WorkloadLine): WorkloadRule {
  return { issuer, claims, task, requestedBy };
}

/** `sha256:` and 64 lower-case hexadecimal digits → the digits. */
function parseTokenDigest(text: string): { value: string } | Complaint {
  const digits = /^sha256:([0-9a-f]{64})$/u.exec(text)?.[1];
  if (digits !== undefined) return { value: digits };
  const bare = /^(?:sha256:)?([0-9a-f]{64})$/iu.exec(text.trim())?.[1];
  return {
    code: 'bad-token',
    message:
      bare === undefined
        ? 'this is not the digest of a token'
        : 'the digest is not written as it must be',
    hint:
      bare === undefined
        ? "Write `sha256:` and the 64 hexadecimal digits of the token's SHA-256; never the token itself."
        : `Write \`"sha256:${bare.toLowerCase()}"\`.`,
  };
}

/** A SPIFFE id, or the exact subject of a certificate. */
function parseCertificateName(text: string): { value: string } | Complaint {
  if (isSpiffeId(text) || parseSubject(text) !== null) return { value: text };
  const code = 'bad-certificate';
  const meant = subjectMeant(text);
  if (meant !== null) {
    const message = `\`${clip(text)}\` is a subject in another form than the one that is compared`;
    return { code, message, hint: `Write \`"${meant}"\`, in the order of the certificate.` };
  }
  if (/^spiffe:/iu.test(text)) {
    const hint =
      'Write `spiffe://example.com/agent/NAME`: a lower-case trust domain and a path, nothing else.';
    return { code, message: `\`${clip(text)}\` is not a SPIFFE id`, hint };
  }
  return {
    code,
    message: `\`${clip(text)}\` is neither a SPIFFE id nor a subject`,
    hint: `Write \`spiffe://example.com/agent/NAME\`, or the whole subject, \`"CN=NAME,O=Example"\`, of ${[...subjectAttributes.keys()].join(', ')} in the order of the certificate; \`sallyport cert show FILE\` prints it.`,
  };
}

/** A subject as OpenSSL prints it, `subject=CN = demo, O = Example` or `/CN=demo/O=Example`, in our form. */
function subjectMeant(text: string): string | null {
  const bare = text.trim().replace(/^subject\s*[=:]\s*/iu, '');
  const parts = bare.startsWith('/') ? bare.slice(1).split('/') : bare.split(',');
  const meant = parts.map((part) => {
    const [name = '', ...value] = part.split('=');
    return `${attributeMeant(name.trim())}=${value.join('=').trim()}`;
  });
  return parseSubject(meant.join(',')) === null ? null : meant.join(',');
}

function attributeMeant(name: string): string {
  const folded = name.toLowerCase();
  return [...subjectAttributes.keys()].find((known) => known.toLowerCase() === folded) ?? name;
}
