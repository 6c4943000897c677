import type { EntrySpec, PolicySpec } from '../../src/policy/build.ts';
import { unconditional } from '../../src/policy/entry-conditions.ts';
import { isHostPattern, parsePattern } from '../../src/policy/pattern.ts';

/** Numbers from 0 up to 1, the same ones in every run (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** An https entry on 443 without conditions. @throws TypeError if the pattern is not one. */
export function entrySpec(host: string, line: number): EntrySpec {
  const pattern = parsePattern(host);
  if (!isHostPattern(pattern)) throw new TypeError(`${host}: ${pattern.message}`);
  return {
    pattern,
    scheme: 'https',
    ports: [443],
    addresses: [],
    until: Number.POSITIVE_INFINITY,
    ...unconditional,
    upload: undefined,
    note: undefined,
    file: 'bench.yaml',
    line,
  };
}

/** A policy with the one agent `bench` that has these entries and accepts these token digests. */
export function policySpec(
  allow: readonly EntrySpec[],
  tokens: readonly string[] = [],
): PolicySpec {
  return {
    digest: '0123456789ab',
    groups: [],
    deny: [],
    issuers: [],
    agents: [
      {
        id: 'bench',
        owner: 'bench@example.com',
        purpose: 'to be measured',
        mode: 'enforce',
        credentials: {
          issued: true,
          tokens,
          certificates: [],
          workloads: [],
          sources: [],
          sourcesAlone: false,
        },
        limits: {
          connections: undefined,
          connectionsPerSecond: undefined,
          uploadPerTunnel: undefined,
        },
        groups: [],
        allow,
        deny: [],
        at: 'bench.yaml:1',
      },
    ],
  };
}
