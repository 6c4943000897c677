/** What is wrong with a text, and a first attempt at the text that was meant; not yet checked. */
export interface Finding {
  /** Also a code of `sallyport check`. */
  readonly code: 'bad-pattern' | 'url-form' | 'bad-path';
  /** One sentence without a full stop. Repeats nothing of the text but single characters. */
  readonly message: string;
  readonly candidate: string | undefined;
}

export function badPattern(message: string, candidate?: string): Finding {
  return { code: 'bad-pattern', message, candidate };
}

export function urlForm(message: string, candidate: string): Finding {
  return { code: 'url-form', message, candidate };
}

/** The character at `index` as a message shows it: itself, or its code point if it cannot be seen. */
export function showCharacter(text: string, index: number): string {
  const code = text.codePointAt(index) ?? 0;
  const hex = code.toString(16).toUpperCase().padStart(4, '0');
  return code > 0x20 && code < 0x7f ? `\`${String.fromCharCode(code)}\`` : `U+${hex}`;
}
