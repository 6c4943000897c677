/** How such a matcher is mostly written: a set of names, a set of suffixes, one slice per label. */
export class SuffixMap {
  readonly #exact: ReadonlySet<string>;
  readonly #suffixes: ReadonlySet<string>;

  constructor(exact: readonly string[], suffixes: readonly string[]) {
    this.#exact = new Set(exact);
    this.#suffixes = new Set(suffixes);
  }

  has(host: string): boolean {
    if (this.#exact.has(host)) return true;
    for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1)) {
      if (this.#suffixes.has(host.slice(dot + 1))) return true;
    }
    return false;
  }
}
