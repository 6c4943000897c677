/**
 * Loaded into every process that runs a test file (`--import`): a file that does not end would hold
 * up the whole run, because node's runner limits the time of tests, but not that of files, and a
 * handle that a failed test leaves open keeps its file alive.
 */

/** Set inside the namespace of `enterNamespace`; its value is never read. */
export const namespaceMarker = 'SALLYPORT_TEST_NAMESPACE';

/** Set by node's test runner in the processes of test files. */
const runnerMarker = 'NODE_TEST_CONTEXT';

/** Milliseconds for one file: several times what the slowest needs. */
const deadline = 400_000;

/** Milliseconds more for the process around a namespace, so that the one within can say what kept it. */
const grace = 2000;

if (process.env[runnerMarker] !== undefined) {
  const inside = process.env[namespaceMarker] !== undefined;
  setTimeout(
    () => {
      const kept = process.getActiveResourcesInfo().join(', ');
      console.error(`${process.argv[1]} did not end within ${deadline} ms, kept by: ${kept}`);
      process.exit(1);
    },
    inside ? deadline : deadline + grace,
  ).unref();
}
