import type { DecisionRequest } from './decide.ts';
import type { EntryConditions } from './entry-conditions.ts';
import { matchesPath, type PathPattern, parsePathPattern, plainPath } from './path-pattern.ts';
import type { Entry } from './policy.ts';
import { admitsQuery, type CompiledQuery, compileQuery } from './query.ts';
import { admitsContentType, admitsHeaders } from './request-content.ts';
import { admitsTool } from './tools.ts';

/** A condition of an entry that a request can fail; in the order in which they are looked at. */
export type Condition = 'method' | 'path' | 'query' | 'header' | 'content-type' | 'tool';

/** Patterns of an entry in the form in which they are matched; only of entries that have some. */
export interface CompiledConditions {
  readonly paths: readonly PathPattern[] | undefined;
  readonly query: CompiledQuery | undefined;
}

/** Null if there is nothing to compile. Throws a TypeError for a path pattern that does not parse. */
export function compileConditions(
  { paths, query }: EntryConditions,
  at: string,
): CompiledConditions | null {
  if (paths === undefined && query === undefined) return null;
  return {
    paths: paths?.map((text) => compilePath(text, at)),
    query: query && compileQuery(query),
  };
}

/** True if only TLS inspection could see what the entry asks for. */
export function needsInspection(entry: Entry): boolean {
  return entry.conditional && entry.scheme === 'https';
}

/**
 * The first condition of the entry that does not hold, null if all do. What a request leaves
 * undefined is not asked about; but a request with a method and without a path has a path that is
 * none. `compiled` is undefined for an entry without patterns.
 */
export function failedCondition(
  entry: Entry,
  compiled: CompiledConditions | undefined,
  request: DecisionRequest,
): Condition | null {
  if (!entry.conditional) return null;
  const { method, content, tools } = request;
  if (method !== undefined && entry.methods !== undefined && !entry.methods.includes(method)) {
    return 'method';
  }
  if (compiled !== undefined) {
    const { path } = request;
    if (path === undefined && method !== undefined) {
      return compiled.paths === undefined ? 'query' : 'path';
    }
    if (path !== undefined) {
      if (compiled.paths !== undefined && !admitsPath(compiled.paths, path)) return 'path';
      if (compiled.query !== undefined && !admitsQuery(compiled.query, path)) return 'query';
    }
  }
  if (content !== undefined) {
    if (entry.headers !== undefined && !admitsHeaders(entry.headers, content)) return 'header';
    const types = entry.contentTypes;
    if (types !== undefined && !admitsContentType(types, content)) return 'content-type';
  }
  const rules = entry.tools;
  if (tools === undefined || rules === undefined) return null;
  return tools.every((name) => admitsTool(rules, name)) ? null : 'tool';
}

/** Does one of the patterns cover the path of this request target, query and all? */
export function admitsPath(patterns: readonly PathPattern[], target: string): boolean {
  const path = plainPath(target);
  return path !== null && patterns.some((pattern) => matchesPath(pattern, path));
}

/** Most bytes that an entry lets through in what is asked about: a tunnel, or one request. */
export function uploadCap(entry: Entry, isRequest: boolean): number {
  const upload = entry.upload ?? Number.POSITIVE_INFINITY;
  return isRequest && entry.maxBody !== undefined ? Math.min(upload, entry.maxBody) : upload;
}

/** `ports` is sorted. */
export function hasPort(ports: readonly number[], port: number): boolean {
  let low = 0;
  let high = ports.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const value = ports[middle] as number;
    if (value === port) return true;
    if (value < port) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}

function compilePath(text: string, at: string): PathPattern {
  const pattern = parsePathPattern(text);
  if ('message' in pattern) throw new TypeError(`${at}: ${pattern.message}`);
  return pattern;
}
