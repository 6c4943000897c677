/** What the READMEs say about names, against the code that has them. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { commands } from '../src/cli/program.ts';
import { configSetting, type Setting, settingsTable } from '../src/config/settings-table.ts';
import { reasons } from '../src/core/reasons.ts';
import { EgressLineFormatter } from '../src/observe/egress-line.ts';
import { fullRecord } from './observe/records.ts';
import { Installation } from './support/command.ts';

const root = path.dirname(import.meta.dirname);
const readme = read('README.md');

describe('README.md', () => {
  test('the settings are those of the table, word for word', () => {
    const expected = Object.entries<Setting<unknown>>(settingsTable).map(([name, setting]) => [
      code(name),
      code(setting.flag),
      code(setting.variable),
      code(setting.default),
      setting.help,
    ]);
    const { flag, variable, help } = configSetting;
    const rows = tableUnder(readme, 'setting');
    assert.deepEqual(rows, [
      ['(the file itself)', code(flag), code(variable), '', help],
      ...expected,
    ]);
  });

  test('the reasons are those of the catalogue, in its order, with its statuses', () => {
    const rows = tableUnder(readme, 'reason').map(([reason, status]) => [reason, status]);
    const expected = Object.entries(reasons).map(([reason, info], index) => {
      const shown = rows[index]?.[1] ?? '';
      const first = info.status === 0 ? 'cut' : String(info.status);
      return [code(reason), shown === first || shown.startsWith(`${first}, `) ? shown : first];
    });
    assert.deepEqual(rows, expected);
  });

  test('the fields of the log are in the order of a line', () => {
    const line = new EgressLineFormatter('host/0').format(fullRecord, 0, 1);
    const rows = tableUnder(readme, 'field').map(([field]) => field);
    assert.deepEqual(rows, Object.keys(JSON.parse(line)).map(code));
  });

  test('the log lines shown have the fields of the table', () => {
    const fields = tableUnder(readme, 'field').map(([field]) => field);
    const lines = readme.split('\n').filter((line) => line.startsWith('{"time":'));
    assert.equal(lines.length, 2);
    for (const line of lines) {
      const shown = Object.keys(JSON.parse(line)).map(code);
      assert.deepEqual(
        shown,
        fields.filter((field) => shown.includes(field ?? '')),
      );
    }
  });

  test('the commands of the table are all that there are', () => {
    const names = tableUnder(readme, 'command').map(
      ([cell]) => /sallyport (\w+)/.exec(cell ?? '')?.[1],
    );
    assert.deepEqual(
      [...new Set(names)],
      commands.map(({ name }) => name),
    );
  });

  for (const [cell, what] of tableUnder(readme, 'command')) {
    const words = (cell ?? '').replaceAll('`', '').split(' ');
    const command = words.slice(1).filter((word) => /^[a-z]+$/.test(word));
    test(`${command.join(' ')} has the options that are named`, async () => {
      using installation = new Installation();
      const { status, stdout } = await installation.run([...command, '--help']);
      assert.equal(status, 0);
      const options = `${cell} ${what}`.match(/--[a-z-]+/g) ?? [];
      for (const option of options) assert.ok(stdout.includes(option), `${option} in:\n${stdout}`);
    });
  }

  test('every command in the text exists', () => {
    const known = commands.map(({ name }) => name);
    const used = [...readme.matchAll(/\bsallyport(?: --|`? --) ([a-z]+)|`sallyport ([a-z]+)/g)];
    assert.ok(used.length > 5);
    for (const [text, run, quoted] of used) {
      assert.ok(known.includes(run ?? quoted ?? ''), text);
    }
  });
});

describe('src/README.md', () => {
  const map = read('src/README.md');

  test('names every file of src, and no other', () => {
    const named = [...map.matchAll(/^\| `([a-z0-9/-]+\.ts)` +\|/gm)].map(([, file]) => file ?? '');
    const there = globSync('**/*.ts', { cwd: path.join(root, 'src') });
    assert.deepEqual(named.toSorted(), there.toSorted());
  });
});

for (const file of ['README.md', 'src/README.md']) {
  describe(`links of ${file}`, () => {
    const text = read(file).replaceAll(/^```.*?^```/gms, '');
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      test(target ?? '', () => {
        const [to = '', anchor] = (target ?? '').split('#');
        if (/^[a-z]+:/.test(to)) return;
        const at = to === '' ? file : path.join(path.dirname(file), to);
        assert.ok(existsSync(path.join(root, at)), `there is no ${at}`);
        if (anchor !== undefined) assert.ok(anchorsOf(read(at)).includes(anchor), `no #${anchor}`);
      });
    }
  });
}

function read(file: string): string {
  return readFileSync(path.join(root, file), 'utf8');
}

/** A cell of a table that shows code; an empty one if there is none. */
function code(text: string | undefined): string {
  return text === undefined || text === '' ? '' : `\`${text}\``;
}

/** Rows of the table whose first column is headed so. */
function tableUnder(text: string, heading: string): string[][] {
  const lines = text.split('\n');
  const starts = lines.flatMap((line, index) => (line.startsWith(`| ${heading} |`) ? [index] : []));
  assert.equal(starts.length, 1, `one table of each ${heading}`);
  const rows = lines.slice((starts[0] ?? 0) + 2);
  const end = rows.findIndex((line) => !line.startsWith('|'));
  return rows.slice(0, end).map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  );
}

/** GitHub's anchors: lower case, no punctuation, dashes for spaces. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    (title ?? '')
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}
