import { readdirSync, readFileSync } from 'node:fs';

/** CPU time and memory of process trees, from /proc (proc(5)). Linux only. */

/** A process and all its descendants. A process that ends meanwhile is left out. */
export function processTree(root: number): readonly number[] {
  const parents = new Map(allProcesses().map((pid) => [pid, parentOf(pid)]));
  const tree = [root];
  for (let at = 0; at < tree.length; at++) {
    for (const [pid, parent] of parents) if (parent === tree[at]) tree.push(pid);
  }
  return tree;
}

/**
 * CPU nanoseconds that the threads of these processes have used: the scheduler's own count, not
 * ticks. What a thread used that has ended is not in it; none of the proxies here end theirs.
 */
export function cpuNanoseconds(pids: readonly number[]): number {
  let sum = 0;
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      sum += Number(read(`/proc/${pid}/task/${thread}/schedstat`).split(' ', 1)[0]);
    }
  }
  return sum;
}

/** Resident bytes of these processes; pages that they share count for each. */
export function residentBytes(pids: readonly number[]): number {
  let sum = 0;
  for (const pid of pids) {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/mu.exec(read(`/proc/${pid}/status`))?.[1];
    sum += 1024 * Number(kilobytes ?? 0);
  }
  return sum;
}

/** Milliseconds that all processors of the machine together were busy since its start, in ticks of 10. */
export function machineBusyMs(): number {
  const line = /^cpu +(.*)$/mu.exec(read('/proc/stat'))?.[1] ?? '';
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line
    .split(' ')
    .map(Number);
  return 10 * (user + nice + system + irq + softirq + steal);
}

function allProcesses(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}

/** The fourth field of stat; the second, a name in parentheses, may hold anything. */
function parentOf(pid: number): number {
  const stat = read(`/proc/${pid}/stat`);
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? 0);
}

/** Empty if the process is gone. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
