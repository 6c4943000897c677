import { parseIp } from '../../src/core/ip.ts';

/** A PROXY header of version 2 for a client at this address; `more`: TLVs behind the addresses. */
export function proxyHeader(
  client: string,
  port: number,
  { more = Buffer.alloc(0) }: { more?: Buffer } = {},
): Buffer {
  const ip = parseIp(client);
  if (ip === null) throw new Error(`${client} is no address`);
  const address = Buffer.alloc(ip.words.length * 4);
  for (const [index, word] of ip.words.entries()) address.writeUInt32BE(word, index * 4);
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(port, 0);
  ports.writeUInt16BE(3128, 2);
  const rest = Buffer.concat([address, Buffer.alloc(address.length, 1), ports, more]);
  const fixed = Buffer.from('\r\n\r\n\0\r\nQUIT\n\x21\x11\0\0', 'latin1');
  if (ip.family === 6) fixed[13] = 0x21;
  fixed.writeUInt16BE(rest.length, 14);
  return Buffer.concat([fixed, rest]);
}
