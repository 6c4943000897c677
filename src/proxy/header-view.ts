import type { RequestContent } from '../policy/request-content.ts';
import type { RawHeaders } from './headers.ts';

/** A header list as conditions of entries ask about it; it is gone through only when one does. */
export class HeaderView implements RequestContent {
  readonly hasBody: boolean;
  readonly #raw: RawHeaders;

  constructor(raw: RawHeaders, hasBody: boolean) {
    this.#raw = raw;
    this.hasBody = hasBody;
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
    for (let at = 0; at + 1 < this.#raw.length; at += 2) {
      if ((this.#raw[at] as string).toLowerCase() !== name) continue;
      values.push((this.#raw[at + 1] as string).replace(/^[ \t]+|[ \t]+$/g, ''));
    }
    return values;
  }
}
