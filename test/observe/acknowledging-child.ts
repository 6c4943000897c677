/** Writes to the log named by its argument until it is killed; prints each id only once its line was accepted. */
import fs from 'node:fs';
import { systemClock } from '../../src/core/clock.ts';
import { FileEgressLog } from '../../src/observe/file-egress-log.ts';
import { agentNamed } from './records.ts';

const path = process.argv[2];
if (path === undefined) throw new Error('usage: acknowledging-child.ts FILE');
const observer = { failed: () => process.exit(1), recovered: () => undefined };
const log = new FileEgressLog({ path, clock: systemClock, node: 'child/0', observer });
const agent = agentNamed('demo');

function writeSome(from: number): void {
  for (let i = from; i < from + 20; i++) {
    if (log.write({ event: 'open', id: `c-${i}`, agent, verdict: 'allow' }))
      fs.writeSync(2, `c-${i}\n`);
    log.writeLater({ event: 'close', id: `c-${i}`, agent, verdict: 'allow' });
  }
  setImmediate(writeSome, from + 20);
}

writeSome(0);
