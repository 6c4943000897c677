import { matchesParts } from './glob.ts';
import type { PatternProblem } from './pattern.ts';

/**
 * A compiled path pattern (contract §7, "Paths"): `*` is one segment, or any part of one, an empty
 * part too; `**` is any number of segments; `/a/**` is `/a/` and everything below. Everything else
 * matches itself, byte for byte: no case folding, no decoding. An encoded slash (`%2f` or `%2F`) is
 * matched by itself alone, never by a star.
 */
export interface PathPattern {
  readonly text: string;
  /** Runs of segments with `**` between them. One run: no `**`. */
  readonly runs: readonly (readonly SegmentPattern[])[];
  /** How many there are in `text`. */
  readonly encodedSlashes: number;
}

/** The literal parts of a segment, with stars between them. One part: no star. */
export type SegmentPattern = readonly string[];

/** Outside RFC 3986 §3.3 `path`; and `;`, which servers cut parameters off at. */
const ODD_CHARACTER = /[^A-Za-z0-9._~!$&'()*+,=:@%/-]/;
const LONGEST_PATTERN = 1024;
const ENCODED_SLASH = /%2f/gi;

/** Reads one item of `paths`. Never throws. */
export function parsePathPattern(text: string): PathPattern | PatternProblem {
  const problem = findProblem(text);
  if (problem !== null) return problem;
  const runs: SegmentPattern[][] = [[]];
  for (const segment of text.slice(1).split('/')) {
    if (segment === '**') runs.push([]);
    else runs.at(-1)?.push(segment.split('*'));
  }
  return { text, runs, encodedSlashes: countEncodedSlashes(text) };
}

/**
 * Does the pattern cover this path? `path` comes from `plainPath`. Takes time linear in the path
 * for a given pattern: every run is looked for once, from left to right.
 *
 * The encoded slashes of the pattern match as many in the path. If the path has no more of them, then
 * no star and no `**` has taken one in.
 */
export function matchesPath(pattern: PathPattern, path: string): boolean {
  if (countEncodedSlashes(path) !== pattern.encodedSlashes) return false;
  const segments = path.slice(1).split('/');
  const { runs } = pattern;
  const first = runs[0] as readonly SegmentPattern[];
  if (runs.length === 1) return first.length === segments.length && runAt(first, segments, 0);
  const last = runs.at(-1) as readonly SegmentPattern[];
  // `/a/**` ends in an empty run: at least the slash behind `a` has to be there.
  const end = segments.length - Math.max(last.length, 1);
  if (first.length > end || !runAt(first, segments, 0)) return false;
  if (!runAt(last, segments, segments.length - last.length)) return false;
  let at = first.length;
  for (let i = 1; i < runs.length - 1; i++) {
    const run = runs[i] as readonly SegmentPattern[];
    while (at + run.length <= end && !runAt(run, segments, at)) at++;
    if (at + run.length > end) return false;
    at += run.length;
  }
  return true;
}

/**
 * The path of an origin-form request target without its query; null if servers may read it in
 * different ways: dot segments, empty segments, `;`, backslashes, encoded delimiters or controls,
 * escapes that decode to escapes, escapes that are not UTF-8, characters outside RFC 3986 §3.3.
 * Such a path matches no pattern, whatever the pattern says.
 *
 * An encoded slash is read in two ways as well, and still is the only spelling that some servers are
 * asked in: `/@scope%2fname` of npm registries. It passes where the path is plain under both
 * readings, for the patterns that name it; `matchesPath` sees to that.
 */
export function plainPath(target: string): string | null {
  const query = target.indexOf('?');
  const path = query === -1 ? target : target.slice(0, query);
  return isPlain(path) ? path : null;
}

function findProblem(text: string): PatternProblem | null {
  const message = problemOf(text);
  if (message === null) return null;
  const hint = hintOf(text);
  return { code: 'bad-path', message, hint: problemOf(hint) === null ? hint : undefined };
}

function problemOf(text: string): string | null {
  if (!text.startsWith('/')) return 'a path pattern begins with a slash';
  if (text.length > LONGEST_PATTERN)
    return `a path pattern has at most ${LONGEST_PATTERN} characters`;
  if (text.includes('?')) return 'the query is no part of a path; leave it out';
  const segments = text.split('/');
  if (segments.some((segment) => segment.includes('**') && segment !== '**')) {
    return '`**` stands for whole segments; inside a segment write `*`';
  }
  if (segments.some((segment, i) => segment === '**' && segments[i + 1] === '**')) {
    return 'one `**` already stands for any number of segments';
  }
  if (!isPlain(text.replace(/\*+/g, 'x'))) {
    return 'a path that servers read in different ways (`//`, dot segments, `;`, odd escapes) never matches';
  }
  return null;
}

function hintOf(text: string): string {
  const path = text.replace(/[?#].*$/s, '').replace(/\/{2,}/g, '/');
  const single = path.replace(/(?:\/\*\*)+(?=\/|$)/g, '/**');
  const segments = single.split('/').map((segment) => {
    return segment === '**' ? segment : segment.replace(/\*{2,}/g, '*');
  });
  const joined = segments.join('/');
  return joined.startsWith('/') ? joined : `/${joined}`;
}

function isPlain(path: string): boolean {
  if (!path.startsWith('/') || path.includes('//') || ODD_CHARACTER.test(path)) return false;
  const decoded = path.includes('%') ? decodePlain(path) : path;
  if (decoded === null || hasDotSegment(decoded)) return false;
  // A slash that is encoded stands between two segments that are there.
  return countEncodedSlashes(path) === 0 || !(decoded.includes('//') || /%2f$/i.test(path));
}

/**
 * The path decoded once, encoded slashes too; null if that is not possible, or if what comes out is
 * more than text: a delimiter, a control character, another escape, or a character that NFKC folds
 * into one of these or into a slash.
 */
function decodePlain(path: string): string | null {
  if (/%(?![0-9A-Fa-f]{2})/.test(path)) return null;
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    return null;
  }
  const folded = decoded.normalize('NFKC');
  if (/[\p{Cc}\\;?#]|%[0-9A-Fa-f]{2}|%u/u.test(folded)) return null;
  return slashes(folded) === slashes(path) + countEncodedSlashes(path) ? folded : null;
}

/** A segment of nothing but dots and spaces: some servers drop what stands at its end. */
function hasDotSegment(decoded: string): boolean {
  return /(?:^|\/)[. ]+(?:\/|$)/.test(decoded);
}

function countEncodedSlashes(text: string): number {
  return text.includes('%') ? (text.match(ENCODED_SLASH)?.length ?? 0) : 0;
}

function slashes(text: string): number {
  let count = 0;
  for (let at = text.indexOf('/'); at !== -1; at = text.indexOf('/', at + 1)) count++;
  return count;
}

function runAt(run: readonly SegmentPattern[], segments: readonly string[], at: number): boolean {
  for (let i = 0; i < run.length; i++) {
    if (!segmentMatches(run[i] as SegmentPattern, segments[at + i] as string)) return false;
  }
  return true;
}

/** A `*` alone is a segment that is there: not the empty one behind a trailing slash. */
function segmentMatches(parts: SegmentPattern, segment: string): boolean {
  return (parts.length === 1 || segment !== '') && matchesParts(parts, segment);
}
