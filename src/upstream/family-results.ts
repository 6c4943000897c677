import type { RecordWithTtl } from 'node:dns';
import type { Ip } from '../core/ip.ts';
import { parseIp } from '../core/ip.ts';
import type { Answer } from './resolver.ts';

/**
 * Seconds for which an answer may be reused while one family is missing because its query failed.
 * Short, so that a lost packet does not cost that family a whole TTL.
 */
const PARTIAL_TTL = 5;
/** RFC 2181 §8: a TTL with the top bit set counts as zero. */
const LARGEST_TTL = 0x7fffffff;

/** What the query for A or for AAAA came to. */
export interface FamilyResult {
  /** `NOERROR`, or one of the codes of `ResolveError`. */
  readonly rcode: string;
  /** Not empty exactly if `rcode` is `NOERROR`. */
  readonly addresses: readonly Ip[];
  /** Seconds. */
  readonly ttl: number;
}

/** The result of a query to which nothing came back in time. */
export const unanswered: FamilyResult = { rcode: 'TIMEOUT', addresses: [], ttl: 0 };

/**
 * If no family has addresses, the first of these that one of them met. A failed query comes before
 * an empty one, as the addresses may be where the failure is; TIMEOUT only if nothing answered.
 */
const mostTelling = ['REFUSED', 'SERVFAIL', 'FORMERR', 'FAILED', 'TIMEOUT', 'NODATA', 'NXDOMAIN'];

/** c-ares error code → response code; anything else is `FAILED`. */
const rcodeOfError: ReadonlyMap<string, string> = new Map([
  ['ENOTFOUND', 'NXDOMAIN'],
  ['ENODATA', 'NODATA'],
  ['ESERVFAIL', 'SERVFAIL'],
  ['EREFUSED', 'REFUSED'],
  ['EFORMERR', 'FORMERR'],
  ['EBADRESP', 'FORMERR'],
  ['EBADNAME', 'FORMERR'],
  ['ETIMEOUT', 'TIMEOUT'],
]);

/** Text that is not an address of that family is dropped; nothing left counts as a bad response. */
export function fromRecords(family: 4 | 6, records: readonly RecordWithTtl[]): FamilyResult {
  const addresses: Ip[] = [];
  let ttl = LARGEST_TTL;
  for (const record of records) {
    const ip = parseIp(record.address);
    if (ip?.family !== family) continue;
    addresses.push(ip);
    ttl = Math.min(ttl, saneTtl(record.ttl));
  }
  if (addresses.length > 0) return { rcode: 'NOERROR', addresses, ttl };
  return { rcode: records.length === 0 ? 'NODATA' : 'FORMERR', addresses, ttl: 0 };
}

export function fromError(error: { readonly code?: string | undefined }): FamilyResult {
  return { rcode: rcodeOfError.get(error.code ?? '') ?? 'FAILED', addresses: [], ttl: 0 };
}

export function isAnswered(result: FamilyResult): boolean {
  return result.addresses.length > 0;
}

/**
 * Both families together: the answer, or the response code that says most about why there is none.
 * The TTL is the smallest of those in use.
 */
export function mergeFamilies(a: FamilyResult, aaaa: FamilyResult): Answer | string {
  const addresses = [...a.addresses, ...aaaa.addresses];
  if (addresses.length === 0) {
    return mostTelling.find((rcode) => rcode === a.rcode || rcode === aaaa.rcode) ?? 'FAILED';
  }
  return { addresses, ttl: Math.min(ttlOf(a), ttlOf(aaaa)) };
}

function ttlOf(result: FamilyResult): number {
  switch (result.rcode) {
    case 'NOERROR':
      return result.ttl;
    // A name without addresses of this family: the other one's TTL holds.
    case 'NODATA':
    case 'NXDOMAIN':
      return LARGEST_TTL;
    default:
      return PARTIAL_TTL;
  }
}

function saneTtl(ttl: number): number {
  return ttl >= 0 && ttl <= LARGEST_TTL ? ttl : 0;
}
