import type { Ip } from '../core/ip.ts';
import type { HostPattern } from './pattern.ts';
import { covers } from './pattern-meet.ts';
import type { Entry } from './policy.ts';

/**
 * What a credential was narrowed to. Every part must hold, so that another part can only take away.
 * No parts at all would be no narrowing, and is written as undefined.
 */
export type CredentialScope = readonly ScopePart[];

/** One narrowing: an allow entry counts if its group is named, or if the target's host is covered. */
export interface ScopePart {
  readonly groups: readonly string[];
  readonly hosts: readonly HostPattern[];
}

/** For one target: lists of group names, an entry's group must be in each. Undefined = any entry counts. */
export type NeededGroups = readonly (readonly string[])[] | undefined;

/** The groups of those parts whose hosts do not cover the target: only a group can satisfy these. */
export function neededGroups(
  scope: CredentialScope | undefined,
  host: string,
  ip: Ip | null,
): NeededGroups {
  if (scope === undefined) return undefined;
  const open = scope.filter(({ hosts }) => !hosts.some((pattern) => covers(pattern, host, ip)));
  return open.length === 0 ? undefined : open.map(({ groups }) => groups);
}

/** Null stands for a target that is on no list: no group can hold it. */
export function withinGroups(needed: NeededGroups, entry: Entry | null): boolean {
  if (needed === undefined) return true;
  const group = entry?.group;
  return group !== undefined && needed.every((names) => names.includes(group));
}
