/** How a secret stands in the header that it is put into. */
export type InjectionScheme =
  /** `{secret}` in the value stands for it. */
  | { readonly kind: 'template'; readonly value: string }
  /** HTTP Basic (RFC 7617): the secret is the password. */
  | { readonly kind: 'basic'; readonly user: string };

/** The value of the header. */
export function injectedValue(scheme: InjectionScheme, secret: string): string {
  if (scheme.kind === 'basic') {
    return `Basic ${Buffer.from(`${scheme.user}:${secret}`).toString('base64')}`;
  }
  // A function, because a text in its place would have its $ signs read.
  return scheme.value.replaceAll('{secret}', () => secret);
}
