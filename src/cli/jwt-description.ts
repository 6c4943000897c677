import { escapeText } from '../observe/escape.ts';

/** What `token show` tells about a JSON Web Token (RFC 7519). All of it is whatever its author wrote. */
export interface JwtDescription {
  readonly kind: 'jwt';
  readonly verified: false;
  readonly alg: string | undefined;
  readonly kid: string | undefined;
  readonly iss: string | undefined;
  readonly sub: string | undefined;
  readonly aud: readonly string[] | undefined;
  /** RFC 3339. */
  readonly nbf: string | undefined;
  readonly exp: string | undefined;
  readonly expired: boolean | undefined;
}

/** Bytes of one claim that are shown. */
const MOST_SHOWN = 512;

/** Null if it is none: three parts in Base64url, the first two JSON objects, the first with `alg`. */
export function describeJwt(token: string, now: number): JwtDescription | null {
  const parts = token.split('.');
  if (parts.length !== 3) return null;
  const header = objectOf(parts[0] ?? '');
  const claims = objectOf(parts[1] ?? '');
  const { alg, kid } = header ?? {};
  if (claims === null || typeof alg !== 'string') return null;
  const { iss, sub, aud, nbf, exp } = claims;
  const audience = Array.isArray(aud) ? aud : [aud];
  return {
    kind: 'jwt',
    verified: false,
    alg: textOf(alg),
    kid: textOf(kid),
    iss: textOf(iss),
    sub: textOf(sub),
    aud: aud === undefined ? undefined : audience.map((item) => textOf(item) ?? ''),
    nbf: timeOf(nbf),
    exp: timeOf(exp),
    expired: typeof exp === 'number' ? now >= exp * 1000 : undefined,
  };
}

export function renderJwt(jwt: JwtDescription): string {
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['issuer (iss)', jwt.iss],
    ['subject (sub)', jwt.sub],
    ['audience (aud)', jwt.aud?.join(', ')],
    ['not before', jwt.nbf],
    [jwt.expired === true ? 'ended' : 'expires', jwt.exp ?? 'never: the proxy refuses that'],
    ['key (kid)', jwt.kid],
    ['algorithm', jwt.alg],
  ];
  const lines = rows.flatMap(([name, value]) => {
    return value === undefined ? [] : [`${`${name}:`.padEnd(16)}${value}\n`];
  });
  return `A JSON Web Token of another issuer:\n\n${lines.join('')}\nNothing of this is verified: anybody can write such a text, and only the proxy can tell.\n`;
}

function objectOf(part: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
    return value as Record<string, unknown>;
  } catch {
    return null;
  }
}

/** A claim fit for a terminal; undefined if it is not there. */
function textOf(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  return escapeText(typeof value === 'string' ? value : JSON.stringify(value), MOST_SHOWN);
}

/** NumericDate (RFC 7519 §2); what is none, or no calendar has, is shown as it stands. */
function timeOf(value: unknown): string | undefined {
  if (typeof value !== 'number') return textOf(value);
  const date = new Date(value * 1000);
  return Number.isNaN(date.getTime()) ? String(value) : date.toISOString();
}
