import { mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pino from 'pino';
import { systemClock } from '../src/core/clock.ts';
import { newId } from '../src/core/ulid.ts';
import { EgressLineFormatter } from '../src/observe/egress-line.ts';
import type { EgressRecord } from '../src/observe/egress-log.ts';
import { FileEgressLog } from '../src/observe/file-egress-log.ts';
import { buildPolicy } from '../src/policy/build.ts';
import type { Axis } from './support/axis.ts';
import { entrySpec, policySpec } from './support/inputs.ts';
import { measure, type Operation } from './support/micro.ts';

const node = 'bench-host/0';
const policy = buildPolicy(policySpec([entrySpec('registry.npm.example', 12)]));
const agent = policy.agents.get('bench');

const record: EgressRecord = {
  event: 'open',
  id: newId(Date.now()),
  agent,
  verdict: 'allow',
  scheme: 'https',
  host: 'registry.npm.example',
  port: 443,
  method: 'CONNECT',
  status: 200,
  entry: 'registries.yaml:12',
  group: 'registry/npm',
  policy: policy.digest,
  token: 'sha256:0123456789ab',
  client: '10.20.0.7:51234',
  address: '93.184.215.14:443',
  ms: 12.3,
  dnsMs: 0.1,
  dialMs: 11.8,
};

/** One line of the egress log: formatted, and in the hands of the kernel. */
export const logLine: Axis = {
  name: 'log-line',
  about: 'one line of the egress log: formatted, and written before the answer goes out',
  async run({ quick }) {
    const directory = mkdtempSync(path.join(tmpdir(), 'sallyport-bench-'));
    const log = openLog(path.join(directory, 'egress.jsonl'));
    try {
      const lineLength = formatLine()(0).length;
      const rows = Object.entries(operations(directory, log)).map(([what, operation]) => {
        const { ns, bytes } = measure(operation, quick);
        return { what, ns, garbage: bytes };
      });
      return {
        tables: [
          {
            title: `One line of the egress log (${lineLength} bytes), CPU ns`,
            columns: [
              { key: 'what', label: 'what' },
              { key: 'ns', label: 'CPU ns' },
              { key: 'garbage', label: 'garbage B' },
            ],
            rows,
            notes: [
              '"written" is one write(2) per line to a file, done when the call returns. "put off" rides along with the next line or at the end of the turn, here in batches of 64 KiB.',
            ],
          },
        ],
      };
    } finally {
      log.close();
      rmSync(directory, { recursive: true });
    }
  },
};

function operations(directory: string, log: FileEgressLog): Record<string, Operation> {
  const fd = openSync(path.join(directory, 'stringified.jsonl'), 'a');
  const dest = path.join(directory, 'pino.jsonl');
  const destination = pino.destination({ dest, sync: true });
  const logger = pino({ base: null }, destination);
  const plain = plainRecord();
  return {
    'Sallyport, formatted': formatLine(),
    'JSON.stringify, formatted': () => JSON.stringify(plain),
    'Sallyport, formatted and written': () => mustBe(log.write(record)),
    'Sallyport, formatted and put off': () => log.writeLater(record),
    'JSON.stringify, written': () => writeSync(fd, `${JSON.stringify(plain)}\n`),
    'pino to a synchronous destination': () => logger.info(plain),
  };
}

function formatLine(): (turn: number) => string {
  const formatter = new EgressLineFormatter(node);
  const now = Date.now();
  return (turn) => formatter.format(record, now + turn, turn + 1);
}

function openLog(file: string): FileEgressLog {
  const complain = (message: string): never => {
    throw new Error(message);
  };
  const observer = { failed: complain, recovered: complain };
  return new FileEgressLog({ path: file, clock: systemClock, node, observer });
}

/** The same fields, flat, as a general JSON writer would be given them. */
function plainRecord(): Record<string, unknown> {
  const { agent: _, ...fields } = record;
  return {
    time: new Date().toISOString(),
    ...fields,
    agent: agent?.id,
    owner: agent?.owner,
    purpose: agent?.purpose,
    node,
    seq: 1,
  };
}

function mustBe(written: boolean): boolean {
  if (!written) throw new Error('the line was not written');
  return written;
}
