import type { Condition } from './conditions.ts';

/** How far an allow entry whose host pattern covers the target got; the furthest counts. */
export const NO_HOST = 0;
export const NO_PORT = 1;
export const NO_SCHEME = 2;
export const EXPIRED = 3;
/** From here on the entry speaks. */
export const NEEDS_INSPECTION = 4;
export const NO_METHOD = 5;
export const NO_PATH = 6;
export const NO_QUERY = 7;
export const NO_HEADER = 8;
export const NO_CONTENT_TYPE = 9;
export const NO_TOOL = 10;
/** What a tunnel carries is inspected, and decided request by request. */
export const INSPECTS = 11;
export const ALLOWS = 12;

export const stageOfCondition: Readonly<Record<Condition, number>> = Object.freeze({
  method: NO_METHOD,
  path: NO_PATH,
  query: NO_QUERY,
  header: NO_HEADER,
  'content-type': NO_CONTENT_TYPE,
  tool: NO_TOOL,
});

const conditions = Object.keys(stageOfCondition) as Condition[];

/** The condition that this stage failed at; null if it is another. */
export function conditionOfStage(stage: number): Condition | null {
  return conditions[stage - NO_METHOD] ?? null;
}
