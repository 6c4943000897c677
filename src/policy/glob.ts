/**
 * Does a text fit a pattern in which `*` is any run of characters, an empty one too? `parts` are the
 * literal parts of the pattern, with stars between them; one part: no star. Each part is looked for
 * once, from left to right: nothing is tried again.
 */
export function matchesParts(parts: readonly string[], text: string): boolean {
  const first = parts[0] as string;
  if (parts.length === 1) return text === first;
  const last = parts.at(-1) as string;
  if (text.length < first.length + last.length) return false;
  if (!text.startsWith(first) || !text.endsWith(last)) return false;
  const end = text.length - last.length;
  let at = first.length;
  for (let i = 1; i < parts.length - 1; i++) {
    const part = parts[i] as string;
    const found = text.indexOf(part, at);
    if (found === -1 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
