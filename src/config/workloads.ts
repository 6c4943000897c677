import type { ClaimRule, WorkloadRule } from '../policy/issuer.ts';
import { clip } from './clip.ts';
import {
  type Complaint,
  expected,
  fieldsOf,
  listOf,
  parsed,
  prose,
  type Reader,
  type Report,
  text,
} from './fields.ts';
import type { Position } from './problem.ts';
import type { YamlNode } from './yaml.ts';

/** One item of `workloads`, with the places that other checks name. */
export interface WorkloadLine extends WorkloadRule {
  readonly note: string | undefined;
  readonly at: Position;
  readonly issuerAt: Position;
}

const EXAMPLE = '{issuer: github-actions, claims: {sub: "repo:example/app:ref:refs/heads/main"}}';
const LONGEST_PATTERN = 512;
const MOST_STARS = 8;

/** Numbers in every token: no pattern of text ever fits them. */
const timeClaims: ReadonlySet<string> = new Set(['exp', 'nbf', 'iat']);

const ruleFields = {
  issuer: text,
  claims: readClaims,
  task: parsed(parseClaimName),
  'requested-by': parsed(parseClaimName),
  note: prose(1000),
};

const readRule = fieldsOf(ruleFields, EXAMPLE);

/** `workloads` of an agent's credentials. */
export const readWorkloads: Reader<readonly WorkloadLine[]> = listOf(
  readWorkload,
  'tokens that are the agent',
  `[${EXAMPLE}]`,
);

function readWorkload(node: YamlNode, name: string, report: Report): WorkloadLine | undefined {
  const fields = readRule(node, name, report);
  if (fields === undefined) return undefined;
  const { values, keys, at } = fields;
  for (const key of ['issuer', 'claims']) {
    if (keys.has(key)) continue;
    report(at, 'missing-key', `${name}: \`${key}\` is missing`, `Write \`${EXAMPLE}\`.`);
  }
  const { issuer, claims } = values;
  if (issuer === undefined || claims === undefined) return undefined;
  return {
    issuer,
    claims,
    task: values.task,
    requestedBy: values['requested-by'],
    note: values.note,
    at,
    issuerAt: keys.get('issuer') ?? at,
  };
}

/** A map from claims to what their values must be. */
function readClaims(
  node: YamlNode,
  name: string,
  report: Report,
): readonly ClaimRule[] | undefined {
  const hint = 'Write `claims: {sub: "repo:example/app:ref:refs/heads/main"}`.';
  if (node.kind !== 'map') return expected(node, name, 'a map of claims', hint, report);
  if (node.entries.size === 0) {
    const message = `${name}: without a claim every token of the issuer would be the agent`;
    report(node.at, 'broad-claim', message, hint);
  }
  const rules: ClaimRule[] = [];
  for (const { key, at, value } of node.entries.values()) {
    const claim = parseClaimName(key);
    if ('code' in claim) report(at, claim.code, `${name}: ${claim.message}`, claim.hint);
    const pattern = parsed(parseClaimPattern)(value, `\`${clip(key)}\``, report);
    if (pattern !== undefined) rules.push({ name: key, pattern });
  }
  return rules;
}

function parseClaimName(name: string): { value: string } | Complaint {
  if (timeClaims.has(name)) {
    return {
      code: 'bad-claim',
      message: `\`${name}\` is a time, not text`,
      hint: 'Leave it out: the times of every token are checked. `max-age` of the issuer bounds them.',
    };
  }
  if (/^[\x21-\x7e]{1,200}$/u.test(name)) return { value: name };
  return {
    code: 'bad-claim',
    message: `\`${clip(name)}\` is not the name of a claim`,
    hint: 'Write a name at the top level of the tokens, such as sub or repository_owner.',
  };
}

function parseClaimPattern(pattern: string): { value: string } | Complaint {
  const stars = pattern.match(/\*+/gu) ?? [];
  if (stars.some((run) => run.length > 2)) {
    return {
      code: 'bad-claim',
      message: `\`${clip(pattern)}\` has more than two stars in a row`,
      hint: 'Write `*` for a part without : and /, `**` for anything.',
    };
  }
  if (pattern.length > LONGEST_PATTERN || stars.length > MOST_STARS) {
    return {
      code: 'bad-claim',
      message: `the pattern has more than ${LONGEST_PATTERN} characters or ${MOST_STARS} stars`,
      hint: 'Write a shorter one, or one workload for each value.',
    };
  }
  if (!/[^*:/]/u.test(pattern)) {
    return {
      code: 'broad-claim',
      message: `\`${clip(pattern)}\` fits whatever the token says`,
      hint: 'Write the value, or the part of it that must be so.',
    };
  }
  return { value: pattern };
}
