import type { Injection } from './injection.ts';
import type { QueryRule } from './query.ts';
import type { HeaderRules } from './request-content.ts';
import type { ToolRules } from './tools.ts';

/** What an entry asks of each request and does to it; undefined = nothing of the kind. */
export interface EntryConditions {
  /** Upper-case method names. */
  readonly methods: readonly string[] | undefined;
  /** Path patterns that `parsePathPattern` accepts. */
  readonly paths: readonly string[] | undefined;
  /** What the query may hold; an empty list: there may be none. */
  readonly query: readonly QueryRule[] | undefined;
  readonly headers: HeaderRules | undefined;
  /** Media ranges that a body may be of, lower case: `type/subtype` or `type/*`. */
  readonly contentTypes: readonly string[] | undefined;
  /** Most bytes of the body of one request. */
  readonly maxBody: number | undefined;
  /** The entry is an MCP server; which of its tools may be called. */
  readonly tools: ToolRules | undefined;
  /** Credentials that the proxy adds. */
  readonly inject: readonly Injection[] | undefined;
  /** Lower-case names of the client's own credential headers that are let through beside `inject`. */
  readonly pass: readonly string[];
}

export const unconditional: EntryConditions = Object.freeze({
  methods: undefined,
  paths: undefined,
  query: undefined,
  headers: undefined,
  contentTypes: undefined,
  maxBody: undefined,
  tools: undefined,
  inject: undefined,
  pass: Object.freeze([]),
});

/** Can only who sees the requests do as the entry says? */
export function isConditional(entry: EntryConditions): boolean {
  return (
    entry.methods !== undefined ||
    entry.paths !== undefined ||
    entry.query !== undefined ||
    entry.headers !== undefined ||
    entry.contentTypes !== undefined ||
    entry.maxBody !== undefined ||
    entry.tools !== undefined ||
    entry.inject !== undefined
  );
}

/** These conditions alone, of an object that may hold more, and frozen. */
export function frozenConditions(of: EntryConditions): EntryConditions {
  return {
    methods: frozen(of.methods),
    paths: frozen(of.paths),
    query: frozen(of.query),
    headers: of.headers && Object.freeze({ ...of.headers }),
    contentTypes: frozen(of.contentTypes),
    maxBody: of.maxBody,
    tools: of.tools && Object.freeze({ ...of.tools }),
    inject: frozen(of.inject),
    // Most entries pass none, and there may be a million.
    pass: of.pass.length === 0 ? unconditional.pass : Object.freeze([...of.pass]),
  };
}

function frozen<T>(list: readonly T[] | undefined): readonly T[] | undefined {
  return list && Object.freeze([...list]);
}
