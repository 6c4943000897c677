import { parseHostPort, pathProblem } from '../core/authority-form.ts';
import {
  type Issuer,
  type IssuerKeys,
  type WorkloadAlgorithm,
  workloadAlgorithms,
} from '../policy/issuer.ts';
import { clip } from './clip.ts';
import { parseRange } from './entry-form.ts';
import {
  type Complaint,
  expected,
  fieldsOf,
  listOf,
  notEmpty,
  parsed,
  prose,
  type Reader,
  type Report,
  readFields,
  uniqueListOf,
} from './fields.ts';
import { formatPlace, type Position } from './problem.ts';
import { didYouMean } from './spelling.ts';
import { parseDuration } from './units.ts';
import type { YamlNode } from './yaml.ts';

/** One definition below `issuers`, with the places that checks between files name. */
export interface IssuerDefinition extends Omit<Issuer, 'at'> {
  readonly at: Position;
  readonly note: string | undefined;
  readonly keysAt: Position;
  readonly addressesAt: Position;
}

const HTTPS_PORT = 443;
const EXAMPLE =
  '{issuer: https://token.actions.githubusercontent.com, audience: sallyport, keys: https://token.actions.githubusercontent.com/.well-known/jwks}';

/** What nearly all issuers sign with; whoever needs another one says so. */
const usualAlgorithms: readonly WorkloadAlgorithm[] = ['RS256', 'ES256'];

const readAudience: Reader<readonly string[]> = (node, name, report) =>
  node.kind === 'list'
    ? notEmpty(uniqueListOf(prose(200), 'audiences', '[sallyport]', String))(node, name, report)
    : oneAudience(node, name, report);

const issuerFields = {
  about: prose(1000),
  issuer: parsed(parseIssuer),
  'trust-domain': parsed(parseTrustDomain),
  audience: readAudience,
  keys: readKeys,
  algorithms: notEmpty(
    uniqueListOf(parsed(parseAlgorithm), 'algorithms', `[${usualAlgorithms.join(', ')}]`, String),
  ),
  addresses: notEmpty(listOf(parsed(parseRange), 'ranges', '[10.0.0.0/8]')),
  'max-age': parsed(parseDuration),
  note: prose(1000),
};

const fileFields = fieldsOf({ file: parsed(parseKeyFile) }, '{file: issuer-keys.json}');

/** The definition of an issuer of tokens under its name. */
export function readIssuer(
  name: string,
  at: Position,
  node: YamlNode,
  report: Report,
): IssuerDefinition | undefined {
  const called = `the issuer \`${clip(name)}\``;
  if (node.kind !== 'map') return expected(node, called, 'a map', `Write \`${EXAMPLE}\`.`, report);
  const { values, keys } = readFields(node, issuerFields, report);
  if (!keys.has('issuer') && !keys.has('trust-domain')) {
    const hint = 'Write `issuer:`, the exact `iss` of its tokens, or `trust-domain:` for SPIFFE.';
    report(at, 'missing-key', `${called} has neither \`issuer\` nor \`trust-domain\``, hint);
  }
  if (!keys.has('audience')) {
    const hint =
      'Write `audience: sallyport`, and have tokens made for that: those for others must not count here.';
    report(at, 'missing-key', `${called} has no \`audience\``, hint);
  }
  if (!keys.has('keys')) {
    const hint = 'Write `keys: https://…`, where it publishes its keys, or `keys: {file: PATH}`.';
    report(at, 'missing-key', `${called} has no \`keys\``, hint);
  }
  return {
    name,
    issuer: values.issuer,
    trustDomain: values['trust-domain'],
    audience: values.audience ?? [],
    // Never used if it is not there: a file with a problem makes no policy.
    keys: values.keys ?? { kind: 'file', text: '' },
    algorithms: values.algorithms ?? usualAlgorithms,
    addresses: values.addresses ?? [],
    maxAge: values['max-age'],
    note: values.note,
    at,
    keysAt: keys.get('keys') ?? at,
    addressesAt: keys.get('addresses') ?? at,
  };
}

/** As the policy has it. */
export function issuerOf(definition: IssuerDefinition): Issuer {
  const { at, note: _, keysAt: _keysAt, addressesAt: _addressesAt, ...issuer } = definition;
  return { ...issuer, at: formatPlace(at) };
}

function oneAudience(node: YamlNode, name: string, report: Report): readonly string[] | undefined {
  const audience = prose(200)(node, name, report);
  return audience === undefined ? undefined : [audience];
}

/** `iss` is compared byte for byte, so that nothing about it is judged but whether it can be meant. */
function parseIssuer(iss: string): { value: string } | Complaint {
  if (/^[\x21-\x7e]{1,500}$/u.test(iss) && !iss.includes('*')) return { value: iss };
  return {
    code: 'bad-issuer',
    message: `\`${clip(iss)}\` cannot be the \`iss\` of a token`,
    hint: 'Write it exactly as the tokens have it, without stars: https://token.actions.githubusercontent.com.',
  };
}

function parseTrustDomain(domain: string): { value: string } | Complaint {
  if (/^[a-z0-9._-]{1,255}$/u.test(domain)) return { value: domain };
  const bare = /^(?:spiffe:\/\/)?([a-z0-9._-]{1,255})(?:\/.*)?$/iu.exec(domain)?.[1];
  return {
    code: 'bad-issuer',
    message: `\`${clip(domain)}\` is not a trust domain`,
    hint: `Write \`${bare?.toLowerCase() ?? 'example.com'}\`: the part of a SPIFFE id behind spiffe://, in lower case.`,
  };
}

function parseAlgorithm(name: string): { value: WorkloadAlgorithm } | Complaint {
  const algorithm = workloadAlgorithms.find((known) => known === name);
  if (algorithm !== undefined) return { value: algorithm };
  const known = `There are ${workloadAlgorithms.join(', ')}.`;
  if (/^hs\d+$/iu.test(name)) {
    return {
      code: 'bad-algorithm',
      message: `\`${clip(name)}\` is symmetric: whoever can check a token could make one`,
      hint: known,
    };
  }
  return {
    code: 'bad-algorithm',
    message:
      name.toLowerCase() === 'none'
        ? '`none` would accept tokens that nobody has signed'
        : `\`${clip(name)}\` is not known${didYouMean(name, workloadAlgorithms)}`,
    hint: known,
  };
}

/** An https URL, or `{file: PATH}`. */
function readKeys(node: YamlNode, name: string, report: Report): IssuerKeys | undefined {
  if (node.kind !== 'map') return parsed(parseKeysUrl)(node, name, report);
  const file = fileFields(node, name, report);
  if (file === undefined) return undefined;
  if (!file.keys.has('file')) {
    report(node.at, 'missing-key', `${name}: \`file\` is missing`, 'Write `{file: PATH}`.');
  }
  const path = file.values.file;
  return path === undefined ? undefined : { kind: 'file', text: path };
}

function parseKeysUrl(url: string): { value: IssuerKeys } | Complaint {
  const match = /^https:\/\/([^/?#]*)(\/[^#]*)?$/u.exec(url);
  const path = match?.[2] ?? '/';
  if (match === null) return urlComplaint(url);
  const target = parseHostPort(match[1] ?? '', HTTPS_PORT);
  if (typeof target === 'string' || pathProblem(path) !== null || url.length > 2048) {
    return keysComplaint(`\`${clip(url)}\` is not a URL that can be fetched`);
  }
  return { value: { kind: 'url', text: url, ...target, path } };
}

function urlComplaint(url: string): Complaint {
  if (/^http:/iu.test(url)) {
    return keysComplaint('keys over plain HTTP would be whatever somebody on the way puts there');
  }
  if (/^https:/iu.test(url))
    return keysComplaint(`\`${clip(url)}\` is not a URL that can be fetched`);
  return keysComplaint(`\`${clip(url)}\` is not an https URL`);
}

function keysComplaint(message: string): Complaint {
  return {
    code: 'bad-keys',
    message,
    hint: 'Write the `jwks_uri` of the issuer, `https://HOST/PATH`, or `{file: PATH}`.',
  };
}

/** Relative to the allowlists directory and below it, or absolute; in one spelling. */
function parseKeyFile(path: string): { value: string } | Complaint {
  const parts = path.replace(/^\//u, '').split('/');
  const isPlain = parts.every((part) => part !== '' && part !== '.' && part !== '..');
  if (isPlain && /^[\x20-\x7e]{1,1000}$/u.test(path)) return { value: path };
  return {
    code: 'bad-keys',
    message: `\`${clip(path)}\` does not name a file below the allowlists directory`,
    hint: 'Write `mesh/bundle.json`, or an absolute path; no `..`, no `.`.',
  };
}
