import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { reasons } from '../../src/core/reasons.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { renderMetrics } from '../../src/observe/render-metrics.ts';
import { agentNamed } from './records.ts';

const healthy = { healthy: true, failures: 0, dropped: 0 };
const demo = agentNamed('demo');

/** Series → value of what Prometheus would read. */
async function scrape(...workers: Metrics[]): Promise<Map<string, number>> {
  const snapshots = workers.map((worker) => structuredClone(worker.snapshot()));
  const text = await renderMetrics(snapshots);
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    samples.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

describe('the metrics of one worker', () => {
  const metrics = new Metrics({ healthy: false, failures: 3, dropped: 2 });
  metrics.connectionOpened();
  metrics.connectionOpened();
  metrics.connectionClosed();
  metrics.tunnelOpened();
  metrics.decision(demo, 'allow', undefined);
  metrics.decision(demo, 'allow', undefined);
  metrics.decision(demo, 'allow', 'connect_refused');
  metrics.decision(demo, 'block', 'host_not_allowed');
  metrics.decision(undefined, 'block', 'no_credentials');
  metrics.identityFailure('bad_credentials', 'at_once');
  metrics.identityFailure('bad_credentials', 'none');
  metrics.identityFailure('bad_credentials', 'none');
  metrics.finished(10, 2000);
  metrics.finished(5, 1);
  metrics.request('http');
  metrics.reload('ok');
  metrics.reload('failed');
  metrics.reload('failed');
  metrics.policy('3f9c2a71b0de');

  const expected: [series: string, value: number][] = [
    ['sallyport_connections_active', 1],
    ['sallyport_connections_total', 2],
    ['sallyport_tunnels_active', 1],
    ['sallyport_decisions_total{agent="demo",verdict="allow",reason=""}', 2],
    ['sallyport_decisions_total{agent="demo",verdict="allow",reason="connect_refused"}', 1],
    ['sallyport_decisions_total{agent="demo",verdict="block",reason="host_not_allowed"}', 1],
    ['sallyport_decisions_total{agent="",verdict="block",reason="no_credentials"}', 1],
    ['sallyport_identity_failures_total{reason="bad_credentials",answer="at_once"}', 1],
    ['sallyport_identity_failures_total{reason="bad_credentials",answer="none"}', 2],
    ['sallyport_bytes_total{direction="up"}', 15],
    ['sallyport_bytes_total{direction="down"}', 2001],
    ['sallyport_requests_total{scheme="http"}', 1],
    ['sallyport_requests_total{scheme="https"}', 0],
    ['sallyport_reloads_total{result="ok"}', 1],
    ['sallyport_reloads_total{result="failed"}', 2],
    ['sallyport_policy_info{digest="3f9c2a71b0de"}', 1],
    ['sallyport_log_writable', 0],
    ['sallyport_log_failures_total', 3],
    ['sallyport_log_dropped_total', 2],
  ];
  for (const [series, value] of expected) {
    test(`${series} is ${value}`, async () => {
      assert.equal((await scrape(metrics)).get(series), value);
    });
  }

  test('have a series for no decision that was not made', async () => {
    const series = [...(await scrape(metrics)).keys()];
    assert.equal(series.filter((name) => name.startsWith('sallyport_decisions_total')).length, 4);
  });

  test('name the counts of open things for /connections, too', () => {
    assert.deepEqual([metrics.connectionsActive, metrics.tunnelsActive], [1, 1]);
  });
});

describe('a duration', () => {
  const cases: [ms: number, firstBucket: string][] = [
    [0, '0.001'],
    [1, '0.001'],
    [1.1, '0.0025'],
    [5000, '5'],
    [10_000, '10'],
    [10_001, '+Inf'],
  ];
  for (const [ms, firstBucket] of cases) {
    test(`of ${ms} ms counts from le="${firstBucket}" up`, async () => {
      const metrics = new Metrics(healthy);
      metrics.dns(ms);
      metrics.dial(ms);
      const series = await scrape(metrics);
      for (const name of ['sallyport_dns_seconds', 'sallyport_dial_seconds']) {
        const buckets = [...series].filter(([key]) => key.startsWith(`${name}_bucket`));
        const [first] = buckets.find(([, value]) => value === 1) ?? [];
        assert.equal(first, `${name}_bucket{le="${firstBucket}"}`);
        assert.deepEqual(
          buckets.map(([, value]) => value),
          buckets.map(([, value]) => value).toSorted((a, b) => a - b),
        );
        assert.equal(series.get(`${name}_count`), 1);
        assert.equal(series.get(`${name}_sum`), ms / 1000);
      }
    });
  }
});

describe('several workers', () => {
  test('are added up; the log is writable only if it is for all', async () => {
    const one = new Metrics(healthy);
    const two = new Metrics({ healthy: false, failures: 1, dropped: 0 });
    for (const worker of [one, two]) {
      worker.decision(demo, 'allow', undefined);
      worker.tunnelOpened();
      worker.dns(3);
      worker.policy('3f9c2a71b0de');
    }
    two.policy('aaaaaaaaaaaa');
    const series = await scrape(one, two);
    assert.equal(series.get('sallyport_tunnels_active'), 2);
    assert.equal(series.get('sallyport_dns_seconds_bucket{le="0.005"}'), 2);
    assert.equal(
      series.get('sallyport_decisions_total{agent="demo",verdict="allow",reason=""}'),
      2,
    );
    assert.equal(series.get('sallyport_log_writable'), 0);
    assert.equal(series.get('sallyport_policy_info{digest="3f9c2a71b0de"}'), 1);
    assert.equal(series.get('sallyport_policy_info{digest="aaaaaaaaaaaa"}'), 1);
  });

  test('share one process', async () => {
    const series = await scrape(new Metrics(healthy), new Metrics(healthy));
    const rss = series.get('process_resident_memory_bytes') ?? 0;
    assert.ok(rss > 1e6 && rss < 2 * process.memoryUsage.rss());
    assert.ok((series.get('process_open_fds') ?? 0) > 3);
    assert.ok((series.get('process_cpu_seconds_total') ?? 0) > 0);
  });
});

describe('the number of series', () => {
  test('stays bounded however many agents come and go', async () => {
    const metrics = new Metrics(healthy);
    for (let i = 0; i < 10_050; i++) {
      metrics.decision(agentNamed(`agent-${i}`), 'block', 'host_not_allowed');
    }
    const decisions = [...(await scrape(metrics))].filter(([name]) =>
      name.startsWith('sallyport_decisions_total'),
    );
    assert.equal(decisions.length, 10_001);
    const rest =
      'sallyport_decisions_total{agent="_other",verdict="block",reason="host_not_allowed"}';
    assert.equal(new Map(decisions).get(rest), 50);
  });

  test('has room for every reason', async () => {
    const metrics = new Metrics(healthy);
    for (const reason of Object.keys(reasons)) {
      metrics.decision(demo, 'block', reason as keyof typeof reasons);
    }
    const series = await scrape(metrics);
    for (const reason of Object.keys(reasons)) {
      const name = `sallyport_decisions_total{agent="demo",verdict="block",reason="${reason}"}`;
      assert.equal(series.get(name), 1);
    }
  });
});
