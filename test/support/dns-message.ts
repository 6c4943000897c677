import { parseIp } from '../../src/core/ip.ts';

/**
 * Just enough of RFC 1035 to answer one question at a time. Written for tests: it trusts what
 * c-ares and curl send, and writes what the zone says, sound or not.
 */
export const typeNumbers = { A: 1, CNAME: 5, AAAA: 28 } as const;
export const rcodeNumbers = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
} as const;

export type RecordType = 'A' | 'AAAA' | 'CNAME';
export type Rcode = keyof typeof rcodeNumbers;

export interface Question {
  readonly id: number;
  /** Lower case, without the trailing dot. */
  readonly name: string;
  /** `A`, `AAAA`, or the number of another type. */
  readonly type: string;
  /** The question section as sent, to be echoed. */
  readonly section: Buffer;
}

export interface DnsRecord {
  readonly name: string;
  readonly type: RecordType;
  /** Seconds. */
  readonly ttl: number;
  /** An address, or the name that a CNAME points to. */
  readonly data: string;
}

const HEADER = 12;
const CLASS_IN = 1;
const FLAGS = { response: 0x8000, truncated: 0x0200, recursion: 0x0180 };

/** Null if the message holds no readable question. */
export function readQuestion(message: Buffer): Question | null {
  const labels: string[] = [];
  let at = HEADER;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > 63) return null;
    at += 1 + length;
    if (length === 0) break;
    labels.push(message.toString('latin1', at - length, at));
  }
  if (message.length < at + 4) return null;
  const type = message.readUInt16BE(at);
  return {
    id: message.readUInt16BE(0),
    name: labels.join('.').toLowerCase(),
    type: type === typeNumbers.A ? 'A' : type === typeNumbers.AAAA ? 'AAAA' : String(type),
    section: message.subarray(HEADER, at + 4),
  };
}

export function writeResponse(
  question: Question,
  rcode: Rcode,
  records: readonly DnsRecord[],
  truncated: boolean,
): Buffer {
  const header = Buffer.alloc(HEADER);
  header.writeUInt16BE(question.id, 0);
  header.writeUInt16BE(
    FLAGS.response | FLAGS.recursion | (truncated ? FLAGS.truncated : 0) | rcodeNumbers[rcode],
    2,
  );
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  return Buffer.concat([header, question.section, ...records.map(writeRecord)]);
}

function writeRecord(record: DnsRecord): Buffer {
  const data = record.type === 'CNAME' ? writeName(record.data) : writeAddress(record.data);
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(typeNumbers[record.type], 0);
  fixed.writeUInt16BE(CLASS_IN, 2);
  fixed.writeUInt32BE(record.ttl, 4);
  fixed.writeUInt16BE(data.length, 8);
  return Buffer.concat([writeName(record.name), fixed, data]);
}

function writeName(name: string): Buffer {
  const labels = name === '' ? [] : name.split('.');
  const parts = labels.map((label) => {
    const bytes = Buffer.from(label, 'latin1');
    return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  });
  return Buffer.concat([...parts, Buffer.from([0])]);
}

function writeAddress(text: string): Buffer {
  const ip = parseIp(text);
  if (ip === null) throw new TypeError(`${text} is not an IP address`);
  const bytes = Buffer.alloc(ip.words.length * 4);
  ip.words.forEach((word, i) => {
    bytes.writeUInt32BE(word, i * 4);
  });
  return bytes;
}
