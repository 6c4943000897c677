/**
 * `node grpc-client.ts HOST CALL`: makes one call as a program of an agent would that knows nothing of
 * a proxy, and prints what came of it as JSON.
 */
import * as grpc from '@grpc/grpc-js';
import { deserialize, echoService, type Message, serialize } from './grpc-echo.ts';

const [host = '', call = ''] = process.argv.slice(2);
const client = new grpc.Client(host, grpc.credentials.createSsl());

/** What a caller learns. */
export interface Outcome {
  readonly messages: string[];
  readonly head: Readonly<Record<string, string>>;
  readonly trailers: Readonly<Record<string, string>>;
  readonly code: number;
  readonly details: string;
}

type Watched = grpc.ClientUnaryCall | grpc.ClientReadableStream<Message>;
type Answered = (error: grpc.ServiceError | null, value?: Message) => void;

function plain(metadata: grpc.Metadata): Record<string, string> {
  return Object.fromEntries(
    Object.entries(metadata.getMap()).map(([name, value]) => [name, value.toString()]),
  );
}

/** Resolves with what came until the status. */
function outcome(watched: Watched, messages: string[]): Promise<Outcome> {
  let head: Record<string, string> = {};
  watched.on('metadata', (metadata: grpc.Metadata) => {
    head = plain(metadata);
  });
  return new Promise((resolve) => {
    watched.on('status', ({ code, details, metadata }: grpc.StatusObject) => {
      resolve({ messages, head, trailers: plain(metadata), code, details });
    });
  });
}

/** One answer. */
function single(start: (answered: Answered) => Watched): Promise<Outcome> {
  const messages: string[] = [];
  const watched = start((_error, value) => {
    if (value !== undefined) messages.push(value.text);
  });
  return outcome(watched, messages);
}

function tagged(): grpc.Metadata {
  const metadata = new grpc.Metadata();
  metadata.set('x-tag', 'a tag');
  metadata.set('x-tag-bin', Buffer.from('ä'));
  return metadata;
}

function unary(name: keyof typeof echoService, text: string, options = {}): Promise<Outcome> {
  const { path } = echoService[name];
  return single((answered) =>
    client.makeUnaryRequest(path, serialize, deserialize, { text }, tagged(), options, answered),
  );
}

function stream(
  readable: grpc.ClientReadableStream<Message>,
  each: (count: number) => void = () => {},
): Promise<Outcome> {
  const messages: string[] = [];
  readable.on('data', ({ text }: Message) => each(messages.push(text)));
  readable.on('error', () => {});
  return outcome(readable, messages);
}

function answers(name: 'serverStream' | 'failLate', text: string) {
  return client.makeServerStreamRequest(echoService[name].path, serialize, deserialize, { text });
}

/** Each message goes once the answer to the one before it is here. */
function turns(count: number): Promise<Outcome> {
  const both = client.makeBidiStreamRequest(echoService.both.path, serialize, deserialize);
  both.write({ text: '1' });
  return stream(both, (got) => {
    if (got === count) both.end();
    else both.write({ text: `${got + 1}` });
  });
}

function cancelled(): Promise<Outcome> {
  const endless = answers('serverStream', '0');
  return stream(endless, () => endless.cancel());
}

/** 500 messages of 1000 characters, and one answer. */
function messages(): Promise<Outcome> {
  const { path } = echoService.clientStream;
  const length: string[] = [];
  const writable = client.makeClientStreamRequest(path, serialize, deserialize, (_error, value) => {
    if (value !== undefined) length.push(value.text);
  });
  for (let at = 0; at < 500; at++) writable.write({ text: 'x'.repeat(1000) });
  writable.end();
  return outcome(writable, length);
}

const calls: Readonly<Record<string, () => Promise<unknown>>> = {
  unary: () => unary('unary', 'hello'),
  large: () => unary('unary', 'x'.repeat(3_000_000)),
  many: () => Promise.all(Array.from({ length: 100 }, (_, at) => unary('unary', `${at}`))),
  fail: () => unary('fail', ''),
  erase: () => unary('erase', 'all'),
  eraseAfter: async () => [
    await unary('unary', 'one'),
    await unary('erase', 'all'),
    await unary('unary', 'two'),
  ],
  silent: () => unary('silent', '', { deadline: Date.now() + 500 }),
  serverStream: () => stream(answers('serverStream', '500')),
  failLate: () => stream(answers('failLate', '')),
  clientStream: messages,
  both: () => turns(20),
  cancel: cancelled,
};

console.log(JSON.stringify(await calls[call]?.()));
client.close();
