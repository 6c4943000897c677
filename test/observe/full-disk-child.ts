/**
 * Run inside a mount namespace with a small file system: fills it through two logs in one file
 * (two workers), makes room again, and prints what happened as JSON.
 */
import fs from 'node:fs';
import path from 'node:path';
import { systemClock } from '../../src/core/clock.ts';
import { FileEgressLog } from '../../src/observe/file-egress-log.ts';
import { agentNamed } from './records.ts';

const directory = process.argv[2];
if (directory === undefined) throw new Error('usage: full-disk-child.ts DIRECTORY');
const file = path.join(directory, 'egress.jsonl');
const ballast = path.join(directory, 'ballast');
const messages: string[] = [];
const observer = {
  failed: (message: string) => messages.push(message),
  recovered: (message: string) => messages.push(message),
};
const logs = ['disk/0', 'disk/1'].map(
  (node) => new FileEgressLog({ path: file, clock: systemClock, node, observer }),
);

const agent = agentNamed('demo');
const acknowledged: string[] = [];
let refused = 0;
let attempt = 0;

function writeOne(log: FileEgressLog): boolean {
  const id = `attempt-${attempt++}`;
  const accepted = log.write({
    event: 'open',
    id,
    agent,
    verdict: 'allow',
    path: `/${'é'.repeat(attempt % 97)}`,
  });
  if (accepted) acknowledged.push(id);
  else refused++;
  return accepted;
}

fs.writeFileSync(ballast, Buffer.alloc(30 * 1024 + 77));
for (const log of logs) log.write({ event: 'start' });
while (logs.some(writeOne));
const healthyWhenFull = logs.map((log) => log.healthy);
const atTheEnd = fs.readFileSync(file).at(-1);
for (const log of logs) log.writeLater({ event: 'close', id: 'waiting', agent, verdict: 'allow' });
fs.unlinkSync(ballast);
const acceptedAgain = logs.map(writeOne);
for (const log of logs) log.close();

console.log(
  JSON.stringify({
    acknowledged,
    refused,
    healthyWhenFull,
    atTheEnd,
    acceptedAgain,
    messages,
    log: fs.readFileSync(file, 'utf8'),
  }),
);
