/** What stands in the place of a secret. */
export const redacted = '[redacted]';

/** Names of fields that hold secrets, wherever in the name these words stand: `Proxy-Authorization`, `apiKey`, `tokens` … */
const secretNames =
  /authorization|token|credential|secret|password|passwd|cookie|api-?key|private-?key/i;

/** The value of an Authorization field inside a text. */
const secretText = /\b(Basic|Bearer) +[A-Za-z0-9+/=._~:-]+/gi;

/** The userinfo of a URL inside a text. */
const userInfo = /:\/\/[^\s/@"']{1,512}@/g;

/** Objects deeper than this are not shown. */
const maxDepth = 6;

/**
 * A copy without secrets for the operations log: fields named like one are replaced whole, and
 * authorization values and URL userinfo are taken out of every text. Cycles end at `maxDepth`.
 */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= maxDepth) return '[deeper]';
  if (value instanceof Error) return redactError(value, depth);
  if (value instanceof Date) return value;
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return value.map((item) => redact(item, depth + 1));
  return redactFields(value, depth);
}

export function redactText(text: string): string {
  return text.replace(secretText, `$1 ${redacted}`).replace(userInfo, `://${redacted}@`);
}

function redactFields(object: object, depth: number): Record<string, unknown> {
  const entries = Object.entries(object).map(([name, value]) => [
    name,
    secretNames.test(name) && isFilled(value) ? redacted : redact(value, depth + 1),
  ]);
  return Object.fromEntries(entries);
}

/** Counts and switches (`tokens: 3`) are no secrets, nor is the absence of one. */
function isFilled(value: unknown): boolean {
  return typeof value === 'string' || (typeof value === 'object' && value !== null);
}

/** Name, message and stack are not enumerable: they are named here; what was added (`code`) follows. */
function redactError(error: Error, depth: number): Record<string, unknown> {
  const own = redactFields(error, depth);
  const cause = error.cause === undefined ? {} : { cause: redact(error.cause, depth + 1) };
  const stack = error.stack === undefined ? {} : { stack: redactText(error.stack) };
  return { ...own, ...cause, type: error.name, message: redactText(error.message), ...stack };
}
