import {
  Composer,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type ParsedNode,
  Parser,
  parseDocument,
  type YAMLError,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml';
import { clip } from './clip.ts';
import { type Position, type Problem, problemAt } from './problem.ts';
import type { ProblemCode } from './problem-codes.ts';
import { decodeText } from './yaml-text.ts';

/** A value and where it stands. No JavaScript objects are made from the text: maps are Maps. */
export type YamlNode = YamlScalar | YamlList | YamlMap | YamlBroken;

export interface YamlScalar {
  readonly kind: 'scalar';
  readonly at: Position;
  readonly value: string | number | boolean | null;
  /** As written, without quotes: `0x1F`, `1.10`, `~`. */
  readonly source: string;
}

export interface YamlList {
  readonly kind: 'list';
  readonly at: Position;
  readonly items: readonly YamlNode[];
}

export interface YamlMap {
  readonly kind: 'map';
  readonly at: Position;
  /** In the order of the file; every key once. */
  readonly entries: ReadonlyMap<string, YamlEntry>;
}

export interface YamlEntry {
  readonly key: string;
  /** Where the key stands. */
  readonly at: Position;
  readonly value: YamlNode;
}

/** Something that has already been reported: readers pass over it without another word. */
export interface YamlBroken {
  readonly kind: 'broken';
  readonly at: Position;
}

export interface YamlResult {
  /** Null if the file says nothing, or if it does not parse (then there are problems). */
  readonly root: YamlNode | null;
  readonly problems: readonly Problem[];
}

/** Collections inside collections; an allowlist needs 7. */
const MAX_DEPTH = 20;
/** Broken text can be wrong at every character; nobody reads more than this. */
const MAX_PROBLEMS = 50;

/**
 * Reads one YAML 1.2 document (core schema, keys are always text). Refused with a position: more
 * than one document, directives, anchors, aliases, merge keys, tags outside the core schema,
 * duplicate keys, more than 1 MiB, nesting deeper than 20, bytes that are not UTF-8, characters
 * that cannot be seen. Never throws.
 */
export function readYaml(file: string, bytes: Uint8Array): YamlResult {
  const decoded = decodeText(file, bytes);
  if (typeof decoded !== 'string') return { root: null, problems: [decoded] };
  return parse(file, decoded);
}

function parse(file: string, text: string): YamlResult {
  const lines = new LineCounter();
  const reader = new TreeReader(file, text, lines);
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  for (const token of tokens) {
    if (token.type === 'directive') {
      reader.report(
        token.offset,
        'yaml-directive',
        `\`${clip(token.source)}\` is a YAML directive`,
      );
    }
  }
  const composer = new Composer({
    stringKeys: true,
    resolveKnownTags: false,
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: 'silent',
  });
  const documents = [...composer.compose(tokens, true, text.length)];
  const root = reader.readDocuments(documents);
  return { root, problems: reader.problems };
}

type YamlCode = ProblemCode & `yaml-${string}`;

/** What to do about each kind of refusal, where nothing better is known. */
const hints: Readonly<Record<YamlCode, string>> = {
  'yaml-alias': 'Write the value out. Text that begins with a star needs quotes: "*.example.com".',
  'yaml-anchor': 'Leave it out: what is named is never repeated. Shared entries go into a group.',
  'yaml-characters': 'Delete it, or write it as an escape in double quotes: "\\u0007".',
  'yaml-depth': 'Flatten it: an allowlist needs no more than seven levels.',
  'yaml-directive': 'Leave the line out: the file is read as YAML 1.2 whatever it says.',
  'yaml-documents': 'Put it into a file of its own, or merge the two.',
  'yaml-duplicate-key': 'Merge the two into one.',
  'yaml-encoding': 'Save the file as UTF-8.',
  'yaml-merge-key': 'Write the keys out, or put shared entries into a group.',
  'yaml-size': 'Split it: every *.yaml below the allowlists directory is read.',
  'yaml-syntax':
    'Check indentation, colons and quotes here and on the line before; text that begins with one of [ { & ! @ % needs quotes.',
  'yaml-tag': 'Leave the tag out; quote the value if it must stay text.',
};

const CORE = 'tag:yaml.org,2002:';

/** YAML 1.2.2 §10.3. */
const coreTags: ReadonlySet<string> = new Set(
  ['str', 'int', 'float', 'bool', 'null', 'seq', 'map'].map((name) => CORE + name),
);

/** What the package objects to and the tree still shows. */
const laterCodes: ReadonlySet<string> = new Set(['BAD_ALIAS', 'TAG_RESOLVE_FAILED']);

/** A change of one list at the top level of a document. */
export interface ListEdit {
  readonly key: string;
  /** Appended, each a map of texts; keys without a value are left out. */
  readonly add: readonly Readonly<Record<string, string | undefined>>[];
  /** Numbers of the items to take away, from 0. */
  readonly remove: readonly number[];
}

/**
 * The text with its list changed; comments and order stay, the layout may be tidied. The text
 * must be one that `readYaml` takes, with a map, or nothing, at its top, and a list, if anything, at
 * the key.
 */
export function editList(text: string, { key, add, remove }: ListEdit): string {
  const document = parseDocument(text, { stringKeys: true, resolveKnownTags: false });
  const found: unknown = document.get(key);
  const list = isSeq(found) ? found : document.createNode([]);
  if (list !== found) document.set(key, list);
  for (const index of remove.toSorted((a, b) => b - a)) list.delete(index);
  for (const item of add) list.add(document.createNode(item));
  // `[]` would put a new item on its own line.
  list.flow = list.items.length === 0;
  return document.toString({ lineWidth: 0 });
}

/** The core schema knows nothing else; what a package might add becomes text. */
function plainValue(value: unknown): YamlScalar['value'] {
  switch (typeof value) {
    case 'string':
    case 'number':
    case 'boolean':
      return value;
    default:
      return value === null ? null : String(value);
  }
}

/** A value that was left out: `key:` or `- `. */
function nothing(at: Position): YamlScalar {
  return { kind: 'scalar', at, value: null, source: '' };
}

/** Turns the package's tree into ours and collects what it, or we, object to. */
class TreeReader {
  readonly problems: Problem[] = [];
  readonly #file: string;
  readonly #text: string;
  readonly #lines: LineCounter;

  constructor(file: string, text: string, lines: LineCounter) {
    this.#file = file;
    this.#text = text;
    this.#lines = lines;
  }

  readDocuments(documents: readonly Document.Parsed[]): YamlNode | null {
    const [first, second] = documents;
    if (first === undefined) return null;
    const found = [...first.errors, ...first.warnings];
    // Aliases and tags are reported below, where the tree is read, with what was probably meant.
    for (const error of found) if (!laterCodes.has(error.code)) this.#reportSyntax(error);
    if (second !== undefined) {
      this.report(second.range[0], 'yaml-documents', 'a second document begins here');
    }
    if (this.problems.length > 0 || first.contents === null) return null;
    const root = this.#read(first.contents, 0);
    if (this.problems.length === 0) for (const error of found) this.#reportSyntax(error);
    return root.kind === 'scalar' && root.value === null && root.source === '' ? null : root;
  }

  report(offset: number, code: YamlCode, message: string, hint: string = hints[code]): void {
    if (this.problems.length >= MAX_PROBLEMS) return;
    this.problems.push(problemAt(this.#position(offset), code, message, hint));
  }

  #reportSyntax(error: YAMLError): void {
    const offset = error.pos[0];
    if (error.code === 'RESOURCE_EXHAUSTION') {
      this.#reportDepth(offset);
      return;
    }
    const { line } = this.#position(offset);
    // One slip makes the package object several times over; the first time says it.
    if (this.problems.some((earlier) => earlier.line === line)) return;
    const code = error.code === 'TAG_RESOLVE_FAILED' ? 'yaml-tag' : 'yaml-syntax';
    this.report(offset, code, clip(error.message));
  }

  #reportDepth(offset: number): void {
    this.report(offset, 'yaml-depth', `lists and maps are nested deeper than ${MAX_DEPTH}`);
  }

  #read(node: ParsedNode, depth: number): YamlNode {
    const at = this.#position(node.range[0]);
    if (isAlias(node)) {
      this.#reportAlias(node.range[0], node.source);
      return { kind: 'broken', at };
    }
    if (node.anchor !== undefined) {
      const written = `&${node.anchor}`;
      const offset = this.#offsetBefore(node, written);
      this.report(offset, 'yaml-anchor', `\`${clip(written)}\` is an anchor`);
    }
    if (node.tag !== undefined && !coreTags.has(node.tag)) {
      const written = node.tag.replace(CORE, '!!');
      const offset = this.#offsetBefore(node, written);
      this.report(offset, 'yaml-tag', `\`${clip(written)}\` is not a tag of the core schema`);
    }
    if (isScalar(node))
      return { kind: 'scalar', at, value: plainValue(node.value), source: node.source };
    if (depth >= MAX_DEPTH) {
      this.#reportDepth(node.range[0]);
      return { kind: 'broken', at };
    }
    return isMap(node) ? this.#readMap(node, at, depth) : this.#readList(node, at, depth);
  }

  #readList(list: YAMLSeq.Parsed, at: Position, depth: number): YamlNode {
    const items = list.items.map((item) =>
      item === null || !('range' in item) ? nothing(at) : this.#read(item, depth + 1),
    );
    return { kind: 'list', at, items };
  }

  #readMap(map: YAMLMap.Parsed, at: Position, depth: number): YamlNode {
    const entries = new Map<string, YamlEntry>();
    for (const { key, value } of map.items) {
      const keyAt = this.#position(key.range[0]);
      const name = this.#readKey(key, entries);
      if (name === null) continue;
      const node = value === null ? nothing(keyAt) : this.#read(value, depth + 1);
      entries.set(name, { key: name, at: keyAt, value: node });
    }
    return { kind: 'map', at, entries };
  }

  /** Null if the key is refused; what it leads to is then passed over. */
  #readKey(key: ParsedNode, earlier: ReadonlyMap<string, YamlEntry>): string | null {
    const offset = key.range[0];
    const node = this.#read(key, MAX_DEPTH);
    if (node.kind !== 'scalar') return null;
    const name = String(node.value ?? '');
    const first = earlier.get(name);
    if (name === '<<') {
      this.report(offset, 'yaml-merge-key', '`<<` is a merge key');
    } else if (first !== undefined) {
      this.report(
        offset,
        'yaml-duplicate-key',
        `\`${clip(name)}\` stands here a second time; it is already on line ${first.at.line}`,
      );
    } else {
      return name;
    }
    return null;
  }

  /** An unquoted star at the start of a value is YAML's alias: the commonest slip in an allowlist. */
  #reportAlias(offset: number, name: string): void {
    const text = `*${name}`;
    const pattern = name === '' || name.startsWith('.');
    if (pattern) {
      this.report(
        offset,
        'yaml-alias',
        `\`${clip(text)}\` without quotes is a YAML alias`,
        `Put it in quotes: "${clip(text)}".`,
      );
    } else {
      this.report(offset, 'yaml-alias', `\`${clip(text)}\` is an alias`);
    }
  }

  /** The package's ranges begin behind anchor and tag, which stand before the node they belong to. */
  #offsetBefore(node: ParsedNode, written: string): number {
    const offset = this.#text.lastIndexOf(written, node.range[0]);
    return offset === -1 ? node.range[0] : offset;
  }

  #position(offset: number): Position {
    const { line, col } = this.#lines.linePos(offset);
    return { file: this.#file, line: Math.max(line, 1), column: Math.max(col, 1) };
  }
}
