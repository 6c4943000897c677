import type { SecretObserver } from './secret-source.ts';

/** Tells the observer of one secret's troubles, and of each only once. */
export class SecretReports {
  readonly #source: string;
  readonly #observer: SecretObserver;
  #trouble: string | null = null;
  #exposure: string | null = null;

  constructor(source: string, observer: SecretObserver) {
    this.#source = source;
    this.#observer = observer;
  }

  failed(why: string, kept: boolean): void {
    const trouble = `${kept} ${why}`;
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.#observer.failed(this.#source, why, kept);
  }

  /** It was read, and is fit to be used. @param exposure why others may know it, if they may. */
  read(exposure: string | null): void {
    if (this.#trouble !== null) this.#observer.recovered(this.#source);
    this.#trouble = null;
    if (exposure !== null && exposure !== this.#exposure) {
      this.#observer.exposed(this.#source, exposure);
    }
    this.#exposure = exposure;
  }
}
