import type { InjectionScheme } from '../policy/injection.ts';

/** The value of the header. */
export function injectedValue(scheme: InjectionScheme, secret: string): string {
  if (scheme.kind === 'basic') {
    return `Basic ${Buffer.from(`${scheme.user}:${secret}`).toString('base64')}`;
  }
  // A function, because a text in its place would have its $ signs read.
  return scheme.value.replaceAll('{secret}', () => secret);
}
