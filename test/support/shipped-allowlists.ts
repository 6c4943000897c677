import fs from 'node:fs';
import path from 'node:path';

const directory = path.resolve(import.meta.dirname, '../../allowlists');

/** Name → text of the allowlist files as they are shipped, but for the agent. */
export function shippedAllowlists(): Record<string, string> {
  const names = fs.readdirSync(directory).filter((name) => name.endsWith('.yaml'));
  return Object.fromEntries(
    names.map((name) => [name, fs.readFileSync(path.join(directory, name), 'utf8')]),
  );
}
