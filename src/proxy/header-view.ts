import type { RequestContent } from '../policy/request-content.ts';
import type { RawHeaders, RequestFacts } from './headers.ts';

/**
 * A header list as conditions of entries ask about it; it is gone through only when one does. What the
 * origin may not get, or may read otherwise, is not there: a header that Connection takes away, and one
 * that stands beside the same with underscores, which servers behind CGI and its like take for hyphens.
 */
export class HeaderView implements RequestContent {
  readonly hasBody: boolean;
  readonly #raw: RawHeaders;
  readonly #nominated: ReadonlySet<string>;

  constructor(raw: RawHeaders, { hasBody, nominated }: RequestFacts) {
    this.#raw = raw;
    this.hasBody = hasBody;
    this.#nominated = nominated;
  }

  header(name: string): string | undefined {
    const values = this.#values(name);
    return values.length === 0 ? undefined : values.join(', ');
  }

  lines(name: string): number {
    return this.#values(name).length;
  }

  #values(name: string): string[] {
    const values: string[] = [];
    if (this.#nominated.has(name)) return values;
    const plain = name.replaceAll('_', '-');
    for (let at = 0; at + 1 < this.#raw.length; at += 2) {
      const one = (this.#raw[at] as string).toLowerCase();
      if (one !== name && one.replaceAll('_', '-') === plain) return [];
      if (one !== name) continue;
      values.push((this.#raw[at + 1] as string).replace(/^[ \t]+|[ \t]+$/g, ''));
    }
    return values;
  }
}
