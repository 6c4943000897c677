import type { TestEvent } from 'node:test/reporters';

/** A reporter of node's test runner that names the files in which something failed, one a line. */
async function* failedFiles(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const failed = new Set<string>();
  for await (const event of events) {
    if (event.type !== 'test:fail' || event.data.file === undefined) continue;
    if (failed.has(event.data.file)) continue;
    failed.add(event.data.file);
    yield `${event.data.file}\n`;
  }
}

// node's runner takes a reporter only as a default export.
// biome-ignore lint/style/noDefaultExport: see above
export default failedFiles;
