import * as grpc from '@grpc/grpc-js';
import type { KeyedCertificate } from './certificates.ts';

/** What goes over the wire, as JSON: what a message is made of is nothing to a proxy. */
export interface Message {
  readonly text: string;
}

export const serialize = (value: Message): Buffer => Buffer.from(JSON.stringify(value));
export const deserialize = (bytes: Buffer): Message => JSON.parse(bytes.toString()) as Message;

function method(path: string, requestStream: boolean, responseStream: boolean) {
  return {
    path,
    requestStream,
    responseStream,
    requestSerialize: serialize,
    requestDeserialize: deserialize,
    responseSerialize: serialize,
    responseDeserialize: deserialize,
  } as const;
}

/** `Erase` is of another service, which no entry allows. */
export const echoService = {
  unary: method('/lab.Echo/Unary', false, false),
  serverStream: method('/lab.Echo/ServerStream', false, true),
  clientStream: method('/lab.Echo/ClientStream', true, false),
  both: method('/lab.Echo/Both', true, true),
  fail: method('/lab.Echo/Fail', false, false),
  failLate: method('/lab.Echo/FailLate', false, true),
  silent: method('/lab.Echo/Silent', false, false),
  erase: method('/lab.Admin/Erase', false, false),
} satisfies grpc.ServiceDefinition;

type Unary = grpc.ServerUnaryCall<Message, Message>;
type Answer = grpc.sendUnaryData<Message>;

/** A server of gRPC behind TLS, which keeps what it is called, and what was taken back. */
export class GrpcEcho implements AsyncDisposable {
  readonly calls: string[] = [];
  readonly cancelled: string[] = [];
  readonly #server = new grpc.Server();

  /** @param address `ip:port` */
  static async start(address: string, certificate: KeyedCertificate): Promise<GrpcEcho> {
    const echo = new GrpcEcho();
    echo.#addService();
    const pair = {
      cert_chain: Buffer.from(certificate.cert),
      private_key: Buffer.from(certificate.key),
    };
    await new Promise<void>((resolve, reject) => {
      const credentials = grpc.ServerCredentials.createSsl(null, [pair]);
      echo.#server.bindAsync(address, credentials, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
    return echo;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
    await Promise.resolve();
  }

  #addService(): void {
    this.#server.addService(echoService, {
      unary: (call: Unary, answer: Answer) => {
        this.#seen('unary', call);
        const metadata = new grpc.Metadata();
        metadata.set('x-echo', call.metadata.get('x-tag').join());
        metadata.set('x-echo-bin', Buffer.from(call.metadata.get('x-tag-bin')[0] ?? ''));
        call.sendMetadata(metadata);
        const trailer = new grpc.Metadata();
        trailer.set('x-trailer', 'at the end');
        answer(null, call.request, trailer);
      },
      serverStream: (call: grpc.ServerWritableStream<Message, Message>) => {
        this.#seen('serverStream', call);
        const count = Number(call.request.text);
        for (let at = 0; at < count; at++) call.write({ text: `${at}` });
        if (count > 0) call.end();
        else call.write({ text: 'one of endlessly many' });
      },
      clientStream: (call: grpc.ServerReadableStream<Message, Message>, answer: Answer) => {
        this.#seen('clientStream', call);
        let length = 0;
        call.on('data', ({ text }: Message) => {
          length += text.length;
        });
        call.on('end', () => answer(null, { text: `${length}` }));
      },
      both: (call: grpc.ServerDuplexStream<Message, Message>) => {
        this.#seen('both', call);
        call.on('data', ({ text }: Message) => call.write({ text: `${text}!` }));
        call.on('end', () => call.end());
      },
      fail: (call: Unary, answer: Answer) => {
        this.#seen('fail', call);
        const metadata = new grpc.Metadata();
        metadata.set('x-why', 'it was never there');
        const { NOT_FOUND: code } = grpc.status;
        answer({ code, details: 'not found: ä', metadata });
      },
      failLate: (call: grpc.ServerWritableStream<Message, Message>) => {
        this.#seen('failLate', call);
        call.write({ text: 'so far so good' });
        const details = 'and no further';
        const code = grpc.status.DATA_LOSS;
        call.emit('error', Object.assign(new Error(details), { code, details }));
      },
      silent: (call: Unary) => this.#seen('silent', call),
      erase: (call: Unary, answer: Answer) => {
        this.#seen('erase', call);
        answer(null, call.request);
      },
    });
  }

  #seen(name: string, call: { on(event: 'cancelled', listener: () => void): unknown }): void {
    this.calls.push(name);
    call.on('cancelled', () => this.cancelled.push(name));
  }
}
