/** What a condition may ask of a request beside its method and target. */
export interface RequestContent {
  /**
   * Value of a header by its lower-case name, without blanks around it; values of repeated lines
   * joined by ", "; undefined if it is absent.
   */
  header(name: string): string | undefined;
  /** How many lines of that name there are. */
  lines(name: string): number;
  /** The request has a body. */
  readonly hasBody: boolean;
}

export interface HeaderRules {
  /** The request must carry each of these. */
  readonly require: readonly HeaderRule[];
  /** Lower-case names of what is not passed on. */
  readonly strip: readonly string[];
}

export interface HeaderRule {
  /** Lower case. */
  readonly name: string;
  /** Exact; undefined = any. */
  readonly values: readonly string[] | undefined;
}

/** RFC 9110 §8.3.1; parameters as in §5.6.6. */
const TOKEN = "[A-Za-z0-9!#$%&'*+.^_`|~-]+";
const QUOTED = '"(?:[\\t !#-\\[\\]-~\\x80-\\xff]|\\\\[\\t -~\\x80-\\xff])*"';
const MEDIA_TYPE = new RegExp(
  `^(${TOKEN})/(${TOKEN})(?:[ \\t]*;(?:[ \\t]*${TOKEN}=(?:${TOKEN}|${QUOTED}))?)*[ \\t]*$`,
);
const MEDIA_RANGE = new RegExp(`^${TOKEN}/${TOKEN}$`);

/** Is this `type/subtype` or `type/*`? */
export function isMediaRange(text: string): boolean {
  return MEDIA_RANGE.test(text) && (!text.includes('*') || /^[^*]+\/\*$/.test(text));
}

/** Does the request carry every header that it must? A header of several lines is their joined value. */
export function admitsHeaders({ require }: HeaderRules, content: RequestContent): boolean {
  return require.every(({ name, values }) => {
    const value = content.header(name);
    return value !== undefined && (values === undefined || values.includes(value));
  });
}

/**
 * Is the body of one of these media ranges (lower case)? A request without a body is; one with a
 * body whose type is missing, malformed or there twice is not.
 */
export function admitsContentType(ranges: readonly string[], content: RequestContent): boolean {
  if (!content.hasBody) return true;
  if (content.lines('content-type') !== 1) return false;
  const match = MEDIA_TYPE.exec(content.header('content-type') ?? '');
  if (match === null) return false;
  const type = (match[1] as string).toLowerCase();
  const subtype = (match[2] as string).toLowerCase();
  return ranges.includes(`${type}/${subtype}`) || ranges.includes(`${type}/*`);
}
