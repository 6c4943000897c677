import { clip } from './clip.ts';
import type { Complaint } from './fields.ts';

type Parsed<T> = { readonly value: T } | Complaint;

const sizeUnits: ReadonlyMap<string, number> = new Map([
  ['B', 1],
  ['KB', 1000],
  ['MB', 1000 ** 2],
  ['GB', 1000 ** 3],
  ['TB', 1000 ** 4],
  ['KiB', 1024],
  ['MiB', 1024 ** 2],
  ['GiB', 1024 ** 3],
  ['TiB', 1024 ** 4],
]);

const durationUnits: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** Node's timers take 2^31 - 1 ms and fire at once beyond it. */
const LONGEST_MS = 24 * 86_400_000;

const MINUTE_MS = 60_000;

/** `50MB`, `64KiB` → bytes. A whole number and a unit: KB, MB, GB, TB count in 1000, KiB and so on in 1024. */
export function parseSize(text: string): Parsed<number> {
  const { digits, unit } = splitUnit(text);
  const factor = sizeUnits.get(unit);
  if (digits === '' || factor === undefined) return badSize(text, digits, unit);
  const value = Number(digits) * factor;
  if (value >= 1 && Number.isSafeInteger(value)) return { value };
  return {
    code: 'bad-size',
    message: `${clip(text)} is out of range`,
    hint: 'Write a size from 1B to 9000TB.',
  };
}

function badSize(text: string, digits: string, unit: string): Complaint {
  const meant = [...sizeUnits.keys()].find((known) => known.toLowerCase() === unit.toLowerCase());
  const hint =
    digits === '' || (unit !== '' && meant === undefined)
      ? 'Write a whole number and a unit: `50MB` (1000s) or `64KiB` (1024s).'
      : `Write \`${clip(digits)}${meant ?? 'B'}\`; KB is 1000 bytes, KiB is 1024.`;
  return { code: 'bad-size', message: `\`${clip(text)}\` is not a size`, hint };
}

/** `500ms`, `10s`, `15m`, `8h`, `7d` → milliseconds, 1 ms to 24 days. */
export function parseDuration(text: string): Parsed<number> {
  const { digits, unit } = splitUnit(text);
  const factor = durationUnits.get(unit);
  if (digits === '' || factor === undefined) {
    const hint =
      digits !== '' && unit === ''
        ? `Write a unit: ${clip(digits)}s, ${clip(digits)}m, ${clip(digits)}h …`
        : 'Write a whole number and a unit: 500ms, 10s, 15m, 8h, 7d.';
    return { code: 'bad-duration', message: `\`${clip(text)}\` is not a duration`, hint };
  }
  const value = Number(digits) * factor;
  if (value >= 1 && value <= LONGEST_MS) return { value };
  return {
    code: 'bad-duration',
    message: `${clip(text)} is out of range`,
    hint: 'Write a duration from 1ms to 24d.',
  };
}

/** Leading decimal digits (without a leading zero, at most 15) and what follows them. */
function splitUnit(text: string): { digits: string; unit: string } {
  const match = /^(0|[1-9][0-9]{0,14})([A-Za-z]{0,3})$/u.exec(text);
  return { digits: match?.[1] ?? '', unit: match?.[2] ?? '' };
}

/**
 * An RFC 3339 §5.6 date-time with `T` and a zone → ms since the epoch. Dates that do not exist and
 * leap seconds are refused; fractions of a second count to the millisecond.
 */
export function parseTime(text: string): Parsed<number> {
  const match =
    /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d{1,9})?(?:(Z)|([+-])(\d\d):(\d\d))$/u.exec(
      text,
    );
  if (match === null) return badTime(text);
  const part = (index: number): number => Number(match[index] ?? 0);
  const utc = Date.UTC(part(1), part(2) - 1, part(3), part(4), part(5), part(6));
  // Date.UTC carries 31 February over into March: what does not come back as written does not exist.
  const exists = new Date(utc).toISOString().slice(0, 19) === text.slice(0, 19);
  if (!exists || part(10) > 23 || part(11) > 59) {
    return {
      code: 'bad-time',
      message: `${clip(text)} does not exist`,
      hint: 'Check day, month, hour and zone.',
    };
  }
  const offset = (part(10) * 60 + part(11)) * MINUTE_MS * (match[9] === '-' ? -1 : 1);
  return { value: utc + Number(`${match[7] ?? '.'}000`.slice(1, 4)) - offset };
}

function badTime(text: string): Complaint {
  const day = /^\d{4}-\d\d-\d\d/u.exec(text)?.[0];
  const clock = /^\d{4}-\d\d-\d\d[Tt ](\d\d:\d\d(?::\d\d)?)/u.exec(text)?.[1];
  const seconds = clock?.length === 5 ? `${clock}:00` : clock;
  const zoned = /(?:[Zz]|[+-]\d\d:?\d\d)$/u.test(text);
  return {
    code: 'bad-time',
    message:
      clock !== undefined && !zoned
        ? `\`${clip(text)}\` has no zone`
        : `\`${clip(text)}\` is not a time of RFC 3339`,
    hint: `Write \`${day ?? '2026-12-31'}T${seconds ?? '18:00:00'}Z\`, or a zone such as +01:00 for the Z.`,
  };
}
