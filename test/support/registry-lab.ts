import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ClientLab, type ClientOptions, type ClientRun, describeRun } from './client-lab.ts';
import { type EgressLine, type EgressPattern, linesLike } from './egress-lines.ts';
import type { Sites, WebRequest } from './web-origin.ts';

/** One run of a client, and the requests that reached the registry during it. */
export interface RegistryRun extends ClientRun {
  readonly reached: readonly WebRequest[];
}

/**
 * Real clients in front of a registry that would take anything, and between them the proxy with one
 * group of the allowlists as they are shipped. What is refused, the group has refused.
 */
export class RegistryLab {
  /** Where the registry was made from. */
  readonly directory: string;
  readonly #lab: ClientLab;
  readonly #group: string;

  private constructor(lab: ClientLab, group: string, directory: string) {
    this.#lab = lab;
    this.#group = group;
    this.directory = directory;
  }

  /**
   * @param group all that the agent may reach
   * @param makeSites is given an empty directory; its sites have the names that the group has
   */
  static async start(group: string, makeSites: (directory: string) => Sites): Promise<RegistryLab> {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-registry-'));
    const sites = makeSites(directory);
    const lab = await ClientLab.start({ sites, allow: [{ group }], inspected: true });
    return new RegistryLab(lab, group, directory);
  }

  /** An empty home directory for the clients. */
  get home(): string {
    return this.#lab.home;
  }

  async run(
    command: string,
    args: readonly string[],
    options: ClientOptions = {},
  ): Promise<RegistryRun> {
    const { requests } = this.#lab.web;
    const before = requests.length;
    const run = await this.#lab.run(command, args, options);
    return { ...run, reached: requests.slice(before) };
  }

  /**
   * Fails unless the client ended well, the group let through everything that it asked for, and these
   * requests are in the log.
   *
   * @param requests `GET host/path`
   */
  assertFetched(run: RegistryRun, requests: readonly string[]): void {
    assert.equal(run.status, 0, describeRun(run));
    // Some clients show their credential to the proxy only when it is asked for.
    const blocked = linesLike(run.lines, { event: 'block' });
    const unexpected = blocked.filter(({ reason }) => reason !== 'no_credentials');
    assert.deepEqual(unexpected, [], describeRun(run));
    const opened = linesLike(run.lines, { event: 'open' });
    for (const line of opened) this.#assertEntry(line, run);
    const seen = opened.map(({ method, host, path: at }) => `${method} ${host}${at}`);
    for (const request of requests) assert.ok(seen.includes(request), describeRun(run));
  }

  /**
   * Fails unless the client showed `said`, the log has a line that blocks such a request by an entry of
   * the group, and neither it nor any other request that could write reached the registry. The client
   * may end as it likes: some tell of an error and count it as none.
   */
  assertRefused(run: RegistryRun, refused: EgressPattern, said: string | RegExp): void {
    const output = run.stdout + run.stderr;
    const shown = typeof said === 'string' ? output.includes(said) : said.test(output);
    assert.ok(shown, `${String(said)} is not in\n${describeRun(run)}`);
    const [line] = linesLike(run.lines, { event: 'block', agent: 'demo', ...refused });
    assert.ok(line !== undefined, describeRun(run));
    this.#assertEntry(line, run);
    assertOnlyRead(run);
    const passed = run.reached.filter(({ method, host, url }) => {
      return method === line.method && host === line.host && url.split('?', 1)[0] === line.path;
    });
    assert.deepEqual(passed, [], describeRun(run));
  }

  async stop(): Promise<void> {
    await this.#lab.stop();
    fs.rmSync(this.directory, { recursive: true });
  }

  #assertEntry(line: EgressLine, run: RegistryRun): void {
    assert.equal(line.group, this.#group, describeRun(run));
    assert.match(line.entry ?? '', /^(?:registries|code-hosts)\.yaml:\d+$/);
  }
}

/** Fails if the registry was asked for more than to be read. */
export function assertOnlyRead(run: RegistryRun): void {
  const writes = run.reached.filter(({ method }) => method !== 'GET' && method !== 'HEAD');
  assert.deepEqual(writes, [], describeRun(run));
}
