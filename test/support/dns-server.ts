import type { Socket as UdpSocket } from 'node:dgram';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer, isIPv6 } from 'node:net';
import type { DnsRecord, Question, Rcode } from './dns-message.ts';
import { readQuestion, writeResponse } from './dns-message.ts';

/** One query as it arrived. */
export interface DnsQuery {
  readonly name: string;
  readonly type: string;
  readonly transport: 'udp' | 'tcp';
  /** Which query for this name and type it is, from 1. */
  readonly count: number;
  /** `address:port` of the asker. */
  readonly from: string;
}

/** What to do with one query. No member at all: the name exists and has no addresses (NODATA). */
export interface DnsReply {
  readonly a?: readonly string[];
  readonly aaaa?: readonly string[];
  /** Seconds. Default 60. */
  readonly ttl?: number;
  /** Another name, looked up in the zone; its records are in the same answer. */
  readonly cname?: string;
  readonly rcode?: Rcode;
  /** Never answer. */
  readonly silent?: boolean;
  /** Milliseconds before the answer. */
  readonly delay?: number;
  /** Over UDP answer only "truncated"; the records come over TCP. */
  readonly truncate?: boolean;
  /** Send exactly this behind the right id. */
  readonly garbage?: Buffer;
  /** Send the answer for another question than was asked. */
  readonly misdirect?: string;
}

/** A reply for every query, one per query of the same type (the last repeats), or a function. */
export type ZoneEntry = DnsReply | readonly DnsReply[] | ((query: DnsQuery) => DnsReply);

/**
 * Names in lower case. `*.wild.test` stands for every name below, `*` for every other name; without
 * either an unknown name is NXDOMAIN. May be changed while the server runs.
 */
export type Zone = Record<string, ZoneEntry>;

export interface DnsServerOptions {
  /** Default 127.0.0.1. */
  readonly address?: string;
  /** Default 0: a free one. */
  readonly port?: number;
  readonly zone: Zone;
}

const MAX_UDP = 512;
/** Bytes. The usual default drops queries when some 250 arrive in one turn of the event loop. */
const RECEIVE_BUFFER = 4 * 1024 * 1024;
const MAX_CNAMES = 64;
const ANY_ATTEMPTS = 10;

/** A scriptable DNS server over UDP and TCP that records every query; closes itself with `await using`. */
export class DnsServer implements AsyncDisposable {
  readonly address: string;
  readonly port: number;
  readonly zone: Zone;
  /** Every query in order of arrival. */
  readonly queries: DnsQuery[] = [];
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #counts = new Map<string, number>();
  readonly #connections = new Set<Socket>();
  readonly #delays = new Set<NodeJS.Timeout>();

  constructor(udp: UdpSocket, tcp: Server, zone: Zone) {
    const bound = udp.address();
    this.address = bound.address;
    this.port = bound.port;
    this.zone = zone;
    this.#udp = udp;
    this.#tcp = tcp;
    udp.on('message', (message, peer) => {
      const from = `${peer.address}:${peer.port}`;
      this.#receive(message, 'udp', from, (reply) => {
        udp.send(reply, peer.port, peer.address, () => {});
      });
    });
    tcp.on('connection', (socket) => this.#accept(socket));
  }

  /** As `SystemResolver` and `Resolver.setServers` take it. */
  get server(): string {
    return isIPv6(this.address) ? `[${this.address}]:${this.port}` : `${this.address}:${this.port}`;
  }

  /** The types asked for one name, in order: `['A', 'AAAA']`. */
  asked(name: string): string[] {
    return this.queries.filter((query) => query.name === name).map((query) => query.type);
  }

  async close(): Promise<void> {
    for (const delay of this.#delays) clearTimeout(delay);
    for (const socket of this.#connections) socket.destroy();
    const closed = [once(this.#udp, 'close'), once(this.#tcp, 'close')];
    this.#udp.close();
    this.#tcp.close();
    await Promise.all(closed);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** RFC 1035 §4.2.2: each message behind its length in two bytes. */
  #accept(socket: Socket): void {
    this.#connections.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#connections.delete(socket));
    const from = `${socket.remoteAddress}:${socket.remotePort}`;
    let input: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      input = Buffer.concat([input, chunk]);
      while (input.length >= 2 && input.length >= 2 + input.readUInt16BE(0)) {
        const end = 2 + input.readUInt16BE(0);
        this.#receive(input.subarray(2, end), 'tcp', from, (reply) => {
          const length = Buffer.alloc(2);
          length.writeUInt16BE(reply.length);
          socket.write(Buffer.concat([length, reply]));
        });
        input = input.subarray(end);
      }
    });
  }

  #receive(
    message: Buffer,
    transport: 'udp' | 'tcp',
    from: string,
    send: (reply: Buffer) => void,
  ): void {
    const question = readQuestion(message);
    if (question === null) return;
    const { name, type } = question;
    const count = (this.#counts.get(`${name} ${type}`) ?? 0) + 1;
    this.#counts.set(`${name} ${type}`, count);
    const query: DnsQuery = { name, type, transport, count, from };
    this.queries.push(query);
    const reply = this.#find(query);
    if (reply.silent === true) return;
    const bytes = this.#write(question, query, reply);
    if (reply.delay === undefined) send(bytes);
    else this.#later(reply.delay, () => send(bytes));
  }

  #later(ms: number, act: () => void): void {
    const delay = setTimeout(() => {
      this.#delays.delete(delay);
      act();
    }, ms);
    this.#delays.add(delay);
  }

  #find(query: DnsQuery): DnsReply {
    const entry = this.#entry(query.name);
    if (entry === undefined) return { rcode: 'NXDOMAIN' };
    if (typeof entry === 'function') return entry(query);
    if (!isSequence(entry)) return entry;
    return entry[Math.min(query.count, entry.length) - 1] ?? {};
  }

  #entry(name: string): ZoneEntry | undefined {
    if (Object.hasOwn(this.zone, name)) return this.zone[name];
    for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
      const wildcard = `*${name.slice(dot)}`;
      if (Object.hasOwn(this.zone, wildcard)) return this.zone[wildcard];
    }
    return this.zone['*'];
  }

  #write(question: Question, query: DnsQuery, reply: DnsReply): Buffer {
    if (reply.garbage !== undefined) {
      const id = Buffer.alloc(2);
      id.writeUInt16BE(question.id);
      return Buffer.concat([id, reply.garbage]);
    }
    const records = this.#records(query, reply);
    const rcode = reply.rcode ?? 'NOERROR';
    const asked = reply.misdirect === undefined ? question : rename(question, reply.misdirect);
    const whole = writeResponse(asked, rcode, records, false);
    const short = query.transport === 'udp' && (reply.truncate === true || whole.length > MAX_UDP);
    return short ? writeResponse(asked, rcode, [], true) : whole;
  }

  /** The records of a query, CNAMEs followed through the zone (loops too, up to a bound). */
  #records(query: DnsQuery, first: DnsReply): DnsRecord[] {
    const records: DnsRecord[] = [];
    let name = query.name;
    let reply = first;
    for (let hops = 0; hops < MAX_CNAMES; hops++) {
      const ttl = reply.ttl ?? 60;
      const type = query.type === 'AAAA' ? 'AAAA' : 'A';
      const addresses =
        (query.type === 'A' ? reply.a : query.type === 'AAAA' ? reply.aaaa : []) ?? [];
      for (const data of addresses) records.push({ name, type, ttl, data });
      if (reply.cname === undefined) break;
      records.push({ name, type: 'CNAME', ttl, data: reply.cname });
      name = reply.cname;
      reply = this.#find({ ...query, name });
    }
    return records;
  }
}

export async function startDnsServer(options: DnsServerOptions): Promise<DnsServer> {
  const address = options.address ?? '127.0.0.1';
  for (let attempt = 1; ; attempt++) {
    const udp = createSocket({
      type: isIPv6(address) ? 'udp6' : 'udp4',
      recvBufferSize: RECEIVE_BUFFER,
    });
    udp.bind(options.port ?? 0, address);
    await once(udp, 'listening');
    const tcp = createServer();
    try {
      tcp.listen((udp.address() as AddressInfo).port, address);
      await once(tcp, 'listening');
      return new DnsServer(udp, tcp, options.zone);
    } catch (error) {
      // The port that UDP got may be taken for TCP: take another one, unless it was asked for.
      udp.close();
      if (options.port !== undefined || attempt === ANY_ATTEMPTS) throw error;
    }
  }
}

function isSequence(entry: ZoneEntry): entry is readonly DnsReply[] {
  return Array.isArray(entry);
}

/** The same question with another name of the same length in its section. */
function rename(question: Question, name: string): Question {
  const labels = name.split('.').map((label) => String.fromCharCode(label.length) + label);
  const tail = question.section.subarray(question.section.length - 4);
  return { ...question, section: Buffer.concat([Buffer.from(`${labels.join('')}\0`), tail]) };
}
