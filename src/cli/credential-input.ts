import { CommandError, type Io } from './io.ts';

/** A credential as somebody has it at hand. */
export interface GivenCredential {
  /** The agent beside it, if it came as `agent:credential` or in a URL. */
  readonly agent: string | undefined;
  /** Printable ASCII without spaces. A secret: never to be shown. */
  readonly secret: string;
}

/** As long as any credential that the proxy reads, with room for a URL around it. */
const MAX_LENGTH = 16_384;

const proxyUrl = /^https?:\/\/([^@/?#]+)@[^@/?#]+\/?$/u;
const withAgent = /^([a-z0-9][a-z0-9._-]{0,62}):(.+)$/u;
const printable = /^[\x21-\x7e]+$/u;

/**
 * The credential of an argument, or, without one, of standard input: alone, as `agent:credential`,
 * or in the URL of HTTPS_PROXY.
 *
 * @throws CommandError (2) if there is none, (1) if it is not one line of printable characters; the
 * message shows nothing of it
 */
export async function credentialInput(
  io: Io,
  argument: string | undefined,
): Promise<GivenCredential> {
  const given = argument ?? (await io.input());
  if (given === null) {
    throw new CommandError(
      'no credential: give it on standard input (`printenv HTTPS_PROXY | sallyport token show`) or as an argument.',
      2,
    );
  }
  const text = given.trim();
  if (text === '') throw new CommandError('there is nothing to read: the credential is empty.', 1);
  const [, userinfo] = proxyUrl.exec(text) ?? [];
  const bare = userinfo === undefined ? text : unescaped(userinfo);
  if (text.length > MAX_LENGTH || !printable.test(bare)) {
    throw new CommandError(
      'this is no credential: that is one word of printable characters, alone, as `agent:credential`, or in a proxy URL.',
      1,
    );
  }
  const [, agent, secret] = withAgent.exec(bare) ?? [];
  return { agent, secret: secret ?? bare };
}

/** Percent-decoded, as clients do it with the userinfo of a proxy URL; as it stands if that fails. */
function unescaped(userinfo: string): string {
  try {
    return decodeURIComponent(userinfo);
  } catch {
    return userinfo;
  }
}
