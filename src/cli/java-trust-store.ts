import { createHash, X509Certificate } from 'node:crypto';
import { noProxy, type ProxyAddress } from './proxy-exports.ts';

/** By custom: it hides nothing, as nothing in the file is secret. */
const storePassword = 'changeit';

const magic = 0xfeedfeed;
const version = 2;
/** Tag of an entry that is a certificate to trust. */
const trustedCertificate = 2;

/**
 * A Java key store of the type JKS with certificates to trust, which every JDK reads. The format is that
 * of `sun.security.provider.JavaKeyStore` in OpenJDK, which is its only definition: big-endian numbers,
 * texts with their length in front, and at the end a SHA-1 over password and content, that tells a
 * broken file from a whole one.
 *
 * @param pems one certificate each
 * @param now when the entries say they were made, milliseconds since the Unix epoch
 */
export function javaTrustStore(pems: readonly string[], now: number): Buffer {
  const entries = pems.map((pem, index) => entry(`sallyport-${index}`, pem, now));
  const content = Buffer.concat([uint32(magic), uint32(version), uint32(pems.length), ...entries]);
  const digest = createHash('sha1')
    .update(Buffer.from(storePassword, 'utf16le').swap16())
    .update('Mighty Aphrodite')
    .update(content)
    .digest();
  return Buffer.concat([content, digest]);
}

/**
 * Options of a Java virtual machine, as JAVA_TOOL_OPTIONS has them: what it trusts and, as it reads no
 * HTTPS_PROXY, where the proxy is. The credential is not among them: Java prints this variable at every
 * start, and its own clients would not read it from there.
 */
export function javaOptions(store: string, { scheme, host, port }: ProxyAddress): string {
  const options = [
    `javax.net.ssl.trustStore=${store}`,
    `javax.net.ssl.trustStorePassword=${storePassword}`,
  ];
  // Java speaks no TLS to a proxy.
  if (scheme === 'http') {
    for (const name of ['http', 'https']) {
      options.push(`${name}.proxyHost=${host}`, `${name}.proxyPort=${port}`);
    }
    const direct = noProxy.split(',').map((at) => (at.includes(':') ? `[${at}]` : at));
    options.push(`http.nonProxyHosts=${direct.join('|')}`);
  }
  return options.map((option) => quoted(`-D${option}`)).join(' ');
}

/** There are no escapes: each kind of quote stands within the other one. */
function quoted(option: string): string {
  return /[\s'"]/u.test(option) ? `'${option.replaceAll("'", `'"'"'`)}'` : option;
}

function entry(alias: string, pem: string, now: number): Buffer {
  const { raw } = new X509Certificate(pem);
  const made = Buffer.alloc(8);
  made.writeBigUInt64BE(BigInt(Math.floor(now)));
  const head = [uint32(trustedCertificate), text(alias), made, text('X.509'), uint32(raw.length)];
  return Buffer.concat([...head, raw]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Of ASCII. */
function text(value: string): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(value.length);
  return Buffer.concat([length, Buffer.from(value, 'latin1')]);
}
