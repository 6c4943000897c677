import { isAgentId } from '../core/agent-id.ts';
import { parseRange } from './entry-form.ts';
import {
  type Complaint,
  expected,
  type FieldValues,
  fieldsOf,
  listOf,
  notEmpty,
  oneOf,
  parsed,
  type Reader,
  type Report,
  readFields,
  text,
} from './fields.ts';
import {
  isUnix,
  type ListenSetting,
  parseListenAddress,
  type TlsSetting,
} from './listen-address.ts';
import type { Position } from './problem.ts';
import type { YamlNode } from './yaml.ts';

/** sun_path of Linux holds 108 bytes and ends with a NUL (unix(7)); a temporary name is longer than the final one. */
const longestSocketPath = 90;
/** Nobody but the owner. */
const defaultMode = 0o600;

const tlsFields = {
  cert: text,
  key: text,
  'client-ca': text,
  'client-certificate': oneOf(['optional', 'required']),
  'client-crl': text,
};

const listenFields = {
  address: parsed(parseListenAddress),
  unix: parsed(parseSocketPath),
  mode: parsed(parseMode),
  agent: parsed(parseAgentId),
  tls: fieldsOf(tlsFields, '{cert: FILE, key: FILE, client-ca: FILE}'),
  'proxy-protocol': notEmpty(listOf(parsed(parseRange), 'ranges', '[10.0.0.0/24]')),
};

type Fields = FieldValues<typeof listenFields>;
type TlsFields = FieldValues<typeof tlsFields>;

/** One item of `listen`: `HOST:PORT`, or a map with `address` or `unix`. */
export const readListen: Reader<ListenSetting> = (node, name, report) => {
  if (node.kind === 'scalar') return plain(node, name, report);
  if (node.kind !== 'map') {
    return expected(node, name, 'HOST:PORT or a map', 'Write 127.0.0.1:3128.', report);
  }
  const fields = readFields(node, listenFields, report);
  const { keys, at } = fields;
  if (keys.has('unix')) return readUnix(fields, report);
  if (!keys.has('address')) {
    const message = `${name}: \`address\` is missing`;
    report(at, 'missing-key', message, 'Write {address: 0.0.0.0:3130, tls: {…}}.');
  }
  refuse(keys.get('mode'), 'mode', '`unix`', report);
  const { address, tls, agent } = fields.values;
  const asked = tls === undefined ? null : readTls(tls, name, report);
  if (address === undefined || asked === undefined) return undefined;
  const proxyProtocol = fields.values['proxy-protocol'] ?? [];
  return { at: address, tls: asked, agent: agent ?? null, proxyProtocol };
};

/** What makes two listeners the same; null where nothing does: every port 0 is a port of its own. */
export function listenKey({ at }: ListenSetting): string | null {
  if (isUnix(at)) return at.path;
  return at.port === 0 ? null : `${at.host}:${at.port}`;
}

function plain(node: YamlNode, name: string, report: Report): ListenSetting | undefined {
  const at = parsed(parseListenAddress)(node, name, report);
  return at === undefined ? undefined : { at, tls: null, agent: null, proxyProtocol: [] };
}

function readUnix({ keys, values }: Fields, report: Report): ListenSetting | undefined {
  for (const key of ['address', 'tls', 'proxy-protocol']) {
    refuse(keys.get(key), key, '`address`', report);
  }
  const path = values.unix;
  if (path === undefined) return undefined;
  const mode = values.mode ?? defaultMode;
  return { at: { path, mode }, tls: null, agent: values.agent ?? null, proxyProtocol: [] };
}

function refuse(at: Position | undefined, key: string, with_: string, report: Report): void {
  if (at === undefined) return;
  const message = `\`${key}\` belongs to a listener with ${with_}`;
  report(at, 'conflicting-keys', message, 'Leave one of them out.');
}

function readTls(
  { values, keys, at }: TlsFields,
  name: string,
  report: Report,
): TlsSetting | undefined {
  for (const file of ['cert', 'key']) {
    if (keys.has(file)) continue;
    const message = `${name}: \`tls\` has no \`${file}\``;
    report(at, 'missing-key', message, 'Write tls: {cert: FILE, key: FILE}.');
  }
  for (const key of ['client-certificate', 'client-crl']) {
    const place = keys.get(key);
    if (place === undefined || keys.has('client-ca')) continue;
    const message = `${name}: \`${key}\` without \`client-ca\``;
    report(place, 'missing-key', message, 'Name the authority: client-ca: certs/ca.crt.');
  }
  const { cert, key } = values;
  if (cert === undefined || key === undefined) return undefined;
  return {
    cert,
    key,
    clientCa: values['client-ca'] ?? null,
    required: values['client-certificate'] === 'required',
    crl: values['client-crl'] ?? null,
  };
}

function parseSocketPath(path: string): { value: string } | Complaint {
  const short = Buffer.byteLength(path) <= longestSocketPath;
  if (short && path.includes('/') && !path.endsWith('/') && !path.includes('\0')) {
    return { value: path };
  }
  return {
    code: 'bad-setting',
    message: short
      ? 'this is not the path of a socket'
      : `the path has more than ${longestSocketPath} bytes, which a socket's cannot`,
    hint: 'Write /run/sallyport/demo.sock.',
  };
}

/** Octal, as chmod takes it; YAML's own idea of the number 0660 does not count. */
function parseMode(mode: string): { value: number } | Complaint {
  if (/^0[0-7]{3}$/u.test(mode)) return { value: Number.parseInt(mode, 8) };
  return {
    code: 'bad-setting',
    message: 'these are not permission bits',
    hint: 'Write 0600 (the owner), 0660 (and the group) or 0666 (everyone).',
  };
}

function parseAgentId(id: string): { value: string } | Complaint {
  if (isAgentId(id)) return { value: id };
  return {
    code: 'bad-setting',
    message: 'this is not the id of an agent',
    hint: 'Write the id as it stands in the allowlists.',
  };
}
