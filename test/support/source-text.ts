import assert from 'node:assert/strict';

/** One import of a source file. */
export interface SourceImport {
  /** As written: `../core/ip.ts`, `node:net`, `yaml`. */
  readonly specifier: string;
  /** Erased before the file runs: `import type …`, `export type … from`. */
  readonly typeOnly: boolean;
  /** Names of the other file that exist here at run time, as it calls them; `*` if all do. */
  readonly values: readonly string[];
}

interface Scanned {
  /** Comments and what stands in strings, templates and regular expressions are blanks. */
  readonly code: string;
  /** The same with the contents of quoted strings. */
  readonly withStrings: string;
}

/**
 * A TypeScript file without its comments. Every character keeps its place. A slash begins a regular
 * expression unless a value stands before it; that much is right for formatted code.
 */
export function scan(source: string): Scanned {
  const code = source.split('');
  const withStrings = source.split('');
  /** Depths of braces at which a `${` of a template ends. */
  const templates: number[] = [];
  let depth = 0;
  let before = '';
  let at = 0;
  const blank = (from: number, to: number, strings: boolean): void => {
    for (let index = from; index < to; index++) {
      if (source[index] === '\n') continue;
      code[index] = ' ';
      if (!strings) withStrings[index] = ' ';
    }
  };
  /** From behind the opening quote to behind the closing one. */
  const skipQuoted = (from: number, quote: string): number => {
    let end = from;
    while (end < source.length && source[end] !== quote && source[end] !== '\n') {
      end += source[end] === '\\' ? 2 : 1;
    }
    blank(from, end, true);
    return end + 1;
  };
  /** From behind a backtick, or the brace that closes `${`, to behind the next `${` or backtick. */
  const skipTemplate = (from: number): number => {
    let end = from;
    while (end < source.length && source[end] !== '`' && !source.startsWith('${', end)) {
      end += source[end] === '\\' ? 2 : 1;
    }
    blank(from, end, false);
    if (source[end] === '`') return end + 1;
    templates.push(depth);
    depth++;
    return end + 2;
  };
  const skipPattern = (from: number): number => {
    let end = from;
    let inClass = false;
    while (end < source.length && (inClass || source[end] !== '/') && source[end] !== '\n') {
      if (source[end] === '[') inClass = true;
      if (source[end] === ']') inClass = false;
      end += source[end] === '\\' ? 2 : 1;
    }
    blank(from, end, false);
    return end + 1;
  };
  if (source.startsWith('#!')) {
    at = lineEnd(source, 0);
    blank(0, at, false);
  }
  while (at < source.length) {
    const char = source[at] as string;
    if (source.startsWith('//', at)) {
      const end = lineEnd(source, at);
      blank(at, end, false);
      at = end;
      continue;
    }
    if (source.startsWith('/*', at)) {
      const end = source.indexOf('*/', at + 2) + 2;
      assert.ok(end > 1, 'a comment that does not end');
      blank(at, end, false);
      at = end;
      continue;
    }
    if (char === "'" || char === '"') at = skipQuoted(at + 1, char);
    else if (char === '`') at = skipTemplate(at + 1);
    else if (char === '/' && !endsInValue(before)) at = skipPattern(at + 1);
    else {
      at++;
      if (char === '{') depth++;
      if (char === '}') {
        depth--;
        if (templates.at(-1) === depth) {
          templates.pop();
          at = skipTemplate(at);
        }
      }
    }
    if (char.trim() !== '') before = (before + char).slice(-8);
    else if (!before.endsWith(' ')) before = `${before} `.slice(-8);
  }
  assert.deepEqual(
    [depth, templates],
    [0, []],
    'braces that do not match: the scanner lost its way',
  );
  return { code: code.join(''), withStrings: withStrings.join('') };
}

const lineEnd = (source: string, from: number): number => {
  const end = source.indexOf('\n', from);
  return end < 0 ? source.length : end;
};

/** Does a value end here, so that a slash divides? */
function endsInValue(before: string): boolean {
  const text = before.trimEnd();
  if (/(?:^|[^\w$.])(?:return|case|typeof|of|in)$/.test(text)) return false;
  return /[\w$)\]'"`]$/.test(text);
}

const fromClause = /^(import|export)(\s+type)?\s+([^;'"]*?)\s+from\s+'([^']+)';/gm;
const bareImport = /^import\s+'([^']+)';/gm;
const dynamicImport = /\bimport\(\s*'([^']+)'\s*\)/g;
const moduleUrl = /\bnew URL\(\s*'([^']+)',\s*import\.meta\.url\s*\)/g;

/**
 * Everything that a file takes in, also by `import()` and as a module of its own beside it
 * (`new URL('./x.ts', import.meta.url)`).
 */
export function importsOf(source: string): SourceImport[] {
  const { code, withStrings } = scan(source);
  const found: SourceImport[] = [];
  let statements = 0;
  for (const [, keyword, type, clause, specifier] of withStrings.matchAll(fromClause)) {
    statements++;
    // `export const x = 1` has no `from`; what has one is an import in another dress.
    assert.ok(keyword === 'import' || /^[{*]/.test(clause ?? ''), `not understood: ${clause}`);
    const values = type === undefined ? valuesOf(clause ?? '') : [];
    found.push({ specifier: specifier ?? '', typeOnly: type !== undefined, values });
  }
  for (const [, specifier] of withStrings.matchAll(bareImport)) {
    statements++;
    found.push({ specifier: specifier ?? '', typeOnly: false, values: [] });
  }
  const imports = code.match(/^\s*import\b(?!\()/gm)?.length ?? 0;
  const reexports = code.match(/^\s*export\s+(?:type\s+)?(?:\*|\{[^}]*\}\s+from\b)/gm)?.length ?? 0;
  assert.equal(statements, imports + reexports, 'an import that is not understood');
  for (const pattern of [dynamicImport, moduleUrl]) {
    for (const [, specifier] of withStrings.matchAll(pattern)) {
      found.push({ specifier: specifier ?? '', typeOnly: false, values: ['*'] });
    }
  }
  const dynamic = code.match(/\bimport\(/g)?.length ?? 0;
  const understood = withStrings.match(dynamicImport)?.length ?? 0;
  assert.equal(dynamic, understood, 'an import() whose module is not written out');
  return found;
}

/** `a, { b, type c, d as e }` → a comes as `default`, then b and d. */
function valuesOf(clause: string): string[] {
  const values: string[] = [];
  const open = clause.indexOf('{');
  const outside = (open < 0 ? clause : clause.slice(0, open)).split(',');
  for (const part of outside.map((text) => text.trim()).filter((text) => text !== '')) {
    values.push(part.startsWith('*') ? '*' : 'default');
  }
  if (open < 0) return values;
  for (const part of clause.slice(open + 1, clause.indexOf('}')).split(',')) {
    const name = part.trim();
    if (name === '' || name.startsWith('type ')) continue;
    values.push(name.split(/\s+as\s+/)[0] ?? name);
  }
  return values;
}
