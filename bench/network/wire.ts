/** What load and origin say to each other. The origin tells requests apart by their first bytes. */

/** A small exchange in a tunnel that carries anything: these bytes go there and come back. */
export const ping = Buffer.from(`echo ${'.'.repeat(200)}\n`);

/** Asks for bytes. */
export function pullRequest(bytes: number): string {
  return `pull ${bytes}\n`;
}

/** Announces bytes; when all have come the origin answers with `pushed`. */
export function pushRequest(bytes: number): string {
  return `push ${bytes}\n`;
}

export const pushed = Buffer.from('pushed\n');

const page = 'x'.repeat(128);

/** The answer to every GET. */
export const httpAnswer = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${page.length}\r\n\r\n${page}`;

/** The path of a page of so many bytes. */
export function bulkPath(bytes: number): string {
  return `/bytes/${bytes}`;
}

/** The head of that page. */
export function bulkHead(bytes: number): string {
  return `HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ${bytes}\r\n\r\n`;
}

/** The end of every request head, and so what the origin counts. */
export const headEnd = '\r\n\r\n';

/** A server's first flight in TLS 1.3: a ServerHello (RFC 8446 §4.1.3) and a record of ciphertext. */
export const serverFlight: Buffer = Buffer.concat([
  record(0x16, serverHello()),
  record(0x17, Buffer.alloc(1200, 0xab)),
]);

function serverHello(): Buffer {
  const supportedVersions = Buffer.from('002b00020304', 'hex');
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 0x5a),
    Buffer.from([0, 0x13, 0x01, 0, 0, supportedVersions.length]),
    supportedVersions,
  ]);
  return Buffer.concat([Buffer.from([2, 0, 0, body.length]), body]);
}

function record(type: number, payload: Buffer): Buffer {
  const header = Buffer.from([type, 3, 3, payload.length >> 8, payload.length & 0xff]);
  return Buffer.concat([header, payload]);
}
