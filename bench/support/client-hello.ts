import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect } from 'node:tls';

/**
 * The first bytes that a TLS client sends: a whole ClientHello as OpenSSL writes it today, by the
 * client that Node is.
 */
export async function captureClientHello(
  servername: string,
  options: ConnectionOptions = {},
): Promise<Buffer> {
  const written = Promise.withResolvers<Buffer>();
  const wire = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      written.resolve(chunk);
      done();
    },
  });
  const client = connect({ socket: wire, servername, ...options });
  client.on('error', () => undefined);
  const hello = Buffer.from(await written.promise);
  client.destroy();
  if (!client.closed) await once(client, 'close');
  return hello;
}
