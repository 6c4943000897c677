import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { HostsFile, parseHosts } from '../../src/upstream/hosts-file.ts';
import { ManualClock } from '../support/manual-clock.ts';

function addressesOf(text: string, name: string): string[] | null {
  return (
    parseHosts(text)
      .get(name)
      ?.map((ip) => ip.text) ?? null
  );
}

describe('parseHosts', () => {
  const cases: readonly [title: string, text: string, name: string, expected: string[] | null][] = [
    ['one name', '10.0.0.1 one.test', 'one.test', ['10.0.0.1']],
    ['aliases', '10.0.0.1\tone.test  two.test three', 'three', ['10.0.0.1']],
    ['leading space, CRLF', '  10.0.0.1 one.test\r\n', 'one.test', ['10.0.0.1']],
    ['comment behind', '10.0.0.1 one.test # two.test', 'two.test', null],
    ['comment glued on', '10.0.0.1 one.test#x', 'one.test', ['10.0.0.1']],
    ['commented line', '#10.0.0.1 one.test', 'one.test', null],
    ['upper case', '10.0.0.1 One.TEST', 'one.test', ['10.0.0.1']],
    ['exact match only', '10.0.0.1 one.test', 'sub.one.test', null],
    ['no search list', '10.0.0.1 one', 'one.test', null],
    ['several lines', '10.0.0.2 a\n10.0.0.1 a', 'a', ['10.0.0.2', '10.0.0.1']],
    ['A before AAAA', '::1 a\n127.0.0.1 a', 'a', ['127.0.0.1', '::1']],
    ['same address twice', '::1 a\n0:0::1 a', 'a', ['::1']],
    ['octal form', '010.0.0.1 a', 'a', null],
    ['short form', '127.1 a', 'a', null],
    ['zone id', 'fe80::1%lo0 a', 'a', null],
    ['no address', 'a b', 'b', null],
    ['address alone', '10.0.0.1', '10.0.0.1', null],
    ['name of a property', '10.0.0.1 a', 'constructor', null],
  ];
  for (const [title, text, name, expected] of cases) {
    it(title, () => assert.deepEqual(addressesOf(text, name), expected));
  }

  it('takes any text without throwing, and no name without an address', () => {
    const line = fc.oneof(fc.string(), fc.constantFrom('10.0.0.1 a', '::1 a b # c', '\0', '# x'));
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        for (const addresses of parseHosts(lines.join('\n')).values()) {
          assert.ok(addresses.length > 0);
        }
      }),
    );
  });
});

describe('HostsFile', () => {
  it('is read again when it appears, changes, is replaced and vanishes', (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'hosts-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const path = join(directory, 'hosts');
    const clock = new ManualClock();
    const hosts = new HostsFile(path, clock);
    const look = (): string | undefined => {
      clock.advance(1000);
      return hosts.lookup('a')?.[0]?.text;
    };
    assert.equal(look(), undefined);
    writeFileSync(path, '10.0.0.1 a\n');
    assert.equal(look(), '10.0.0.1');
    writeFileSync(path, '10.0.0.22 a\n');
    assert.equal(look(), '10.0.0.22');
    writeFileSync(`${path}.new`, '10.0.0.33 a\n');
    renameSync(`${path}.new`, path);
    assert.equal(look(), '10.0.0.33');
    rmSync(path);
    assert.equal(look(), undefined);
  });

  it('is looked at once a second at most', (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'hosts-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const path = join(directory, 'hosts');
    const clock = new ManualClock();
    const hosts = new HostsFile(path, clock);
    assert.equal(hosts.lookup('a'), null);
    writeFileSync(path, '10.0.0.1 a\n');
    clock.advance(999);
    assert.equal(hosts.lookup('a'), null);
    clock.advance(1);
    assert.equal(hosts.lookup('a')?.[0]?.text, '10.0.0.1');
  });
});
