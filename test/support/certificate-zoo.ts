import { type KeyObject, sign } from 'node:crypto';
import {
  bits,
  der,
  extension,
  keyPair,
  nameOf,
  sequence,
  set,
  signatureAlgorithm,
  time,
  truth,
} from './certificates.ts';

/** A certificate of which every part can be wrong. */
export interface ZooCertificate {
  readonly version?: number | null;
  /** Content of the INTEGER. */
  readonly serial?: Buffer;
  readonly issuer?: Buffer;
  readonly subject?: Buffer;
  readonly notBefore?: Buffer;
  readonly notAfter?: Buffer;
  readonly publicKey?: KeyObject;
  readonly extensions?: readonly Buffer[] | null;
  /** Stands behind the last field of the signed part. */
  readonly rest?: Buffer;
}

export const zooKeys = keyPair();
export const zooStart = Date.UTC(2026, 0);
export const zooEnd = Date.UTC(2027, 0);

/** DER, signed by `key`: a good certificate of a client where nothing else is said. */
export function zooCertificate(
  parts: ZooCertificate = {},
  key: KeyObject = zooKeys.privateKey,
): Buffer {
  const version = parts.version === undefined ? 2 : parts.version;
  const extensions = parts.extensions === undefined ? clientExtensions : parts.extensions;
  const body = sequence(
    ...(version === null ? [] : [der(0xa0, der(0x02, Buffer.of(version)))]),
    der(0x02, parts.serial ?? Buffer.of(0x12, 0x34)),
    signatureAlgorithm,
    parts.issuer ?? nameOf('Zoo'),
    sequence(parts.notBefore ?? time(zooStart), parts.notAfter ?? time(zooEnd)),
    parts.subject ?? subject(['CN', 'demo']),
    (parts.publicKey ?? zooKeys.publicKey).export({ type: 'spki', format: 'der' }),
    ...(extensions === null ? [] : [der(0xa3, sequence(...extensions))]),
    parts.rest ?? Buffer.alloc(0),
  );
  return signed(body, key);
}

/** A signed structure of RFC 5280: body, algorithm, signature. */
export function signed(body: Buffer, key: KeyObject, algorithm = signatureAlgorithm): Buffer {
  const digest = key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  return sequence(body, algorithm, bits(sign(digest, body, key)));
}

const attributeTypes: Readonly<Record<string, string>> = {
  CN: '550403',
  serialNumber: '550405',
  C: '550406',
  O: '55040a',
  OU: '55040b',
  title: '55040c',
  UID: '0992268993f22c640101',
  DC: '0992268993f22c640119',
};

/** One attribute of a name; text as UTF8String (0c) unless `tag` says otherwise. */
export function attribute(type: string, value: string | Buffer, tag = 0x0c): Buffer {
  const id = der(0x06, Buffer.from(attributeTypes[type] as string, 'hex'));
  return sequence(id, der(tag, Buffer.from(value as string)));
}

/** A name of attributes, each in a set of its own. */
export function subject(...attributes: readonly Parameters<typeof attribute>[]): Buffer {
  return sequence(...attributes.map((parts) => set(attribute(...parts))));
}

const purposeIds = { server: '2b06010505070301', client: '2b06010505070302', any: '551d2500' };

export function purposes(...names: readonly (keyof typeof purposeIds)[]): Buffer {
  const ids = names.map((name) => der(0x06, Buffer.from(purposeIds[name], 'hex')));
  return extension('551d25', false, sequence(...ids));
}

/** Bits of the first byte: 80 digitalSignature, 20 keyEncipherment, 04 keyCertSign, 02 cRLSign. */
export const usage = (flags: number) => extension('551d0f', true, der(0x03, Buffer.of(0, flags)));
export const constraints = (...content: readonly Buffer[]) =>
  extension('551d13', true, sequence(...content));

/** An alternative name: 82 dNSName, 86 URI, … */
export type AltName = readonly [tag: number, content: string | Buffer];

export function altNames(...names: readonly AltName[]): Buffer {
  const list = names.map(([tag, content]) => der(tag, Buffer.from(content as string, 'latin1')));
  return extension('551d11', false, sequence(...list));
}

export const clientExtensions: readonly Buffer[] = [constraints(), usage(0x80), purposes('client')];

/** A revocation list of which every part can be wrong. */
export interface ZooList {
  readonly version?: Buffer;
  readonly algorithm?: Buffer;
  readonly outerAlgorithm?: Buffer;
  readonly issuer?: Buffer;
  readonly thisUpdate?: number;
  /** Null: there is none. */
  readonly nextUpdate?: number | null;
  /** Contents of the serial numbers, with extensions of their entries. */
  readonly entries?: readonly (readonly [serial: Buffer, ...extensions: Buffer[]])[];
  readonly extensions?: readonly Buffer[];
}

/** DER of a list (RFC 5280 §5.1), signed by `key`. */
export function zooList(parts: ZooList = {}, key: KeyObject = zooKeys.privateKey): Buffer {
  const entries = (parts.entries ?? []).map(([serial, ...extensions]) =>
    sequence(
      der(0x02, serial),
      time(zooStart),
      ...(extensions.length === 0 ? [] : [sequence(...extensions)]),
    ),
  );
  const nextUpdate = parts.nextUpdate === undefined ? zooEnd : parts.nextUpdate;
  const body = sequence(
    der(0x02, parts.version ?? Buffer.of(1)),
    parts.algorithm ?? signatureAlgorithm,
    parts.issuer ?? nameOf('Zoo'),
    time(parts.thisUpdate ?? zooStart),
    ...(nextUpdate === null ? [] : [time(nextUpdate)]),
    ...(entries.length === 0 ? [] : [sequence(Buffer.concat(entries))]),
    ...(parts.extensions === undefined ? [] : [der(0xa0, sequence(...parts.extensions))]),
  );
  return signed(body, key, parts.outerAlgorithm ?? parts.algorithm);
}

/** PEM of an authority's certificate, for a key of any kind; whoever signed it. */
export function zooAuthority(
  name = 'Zoo',
  publicKey: KeyObject = zooKeys.publicKey,
  more: ZooCertificate = {},
): string {
  const certificate = zooCertificate({
    ...more,
    issuer: nameOf(name),
    subject: nameOf(name),
    publicKey,
    extensions: [constraints(truth), usage(0x06)],
  });
  return pem('CERTIFICATE', certificate);
}

export function pem(label: string, content: Buffer): string {
  const lines = content.toString('base64').replace(/.{64}/g, '$&\n').trimEnd();
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
