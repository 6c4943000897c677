import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { importsOf, scan } from './source-text.ts';

describe('scan', () => {
  const cases = [
    ['a // b', 'a     '],
    ['a /* b\n c */ d', 'a     \n      d'],
    ["x = 'it // is' + y", "x = '        ' + y"],
    ["'a\\'b' + c", "'    ' + c"],
    ['x = 4 / 2; // two', 'x = 4 / 2;       '],
    ['f(/[/]\\/"/, y)', 'f(/      /, y)'],
    ['return /a b/;', 'return /   /;'],
    // biome-ignore-start lint/suspicious/noTemplateCurlyInString: these are sources
    ['`a${b}c${`d`}e` + f', '` ${b} ${` `} ` + f'],
    ['`a ${{ b: 1 }.b} // c`; d', '`  ${{ b: 1 }.b}     `; d'],
    // biome-ignore-end lint/suspicious/noTemplateCurlyInString: these are sources
    ['#!/bin/sh {\nx', '           \nx'],
  ] as const;
  for (const [source, code] of cases) {
    test(JSON.stringify(source), () => assert.equal(scan(source).code, code));
  }

  test('keeps strings where they are asked for', () => {
    assert.equal(scan("f('a'); // 'b'").withStrings, "f('a');       ");
  });

  test('says that it is lost', () => {
    assert.throws(() => scan('f() {'), /lost its way/);
  });
});

describe('importsOf', () => {
  const cases = [
    ["import type { A } from './a.ts';", [['./a.ts', true, []]]],
    ["import { a, type B, c as d } from './a.ts';", [['./a.ts', false, ['a', 'c']]]],
    ["import {\n  a,\n  b,\n} from './a.ts';", [['./a.ts', false, ['a', 'b']]]],
    ["import process from 'node:process';", [['node:process', false, ['default']]]],
    ["import * as net from 'node:net';", [['node:net', false, ['*']]]],
    ["import './a.ts';", [['./a.ts', false, []]]],
    ["export { a } from './a.ts';", [['./a.ts', false, ['a']]]],
    ["export type { A } from './a.ts';", [['./a.ts', true, []]]],
    ["const load = () => import('./a.ts');", [['./a.ts', false, ['*']]]],
    ["new Worker(new URL('./a.ts', import.meta.url));", [['./a.ts', false, ['*']]]],
    ["// import { a } from './a.ts';\nexport const text = 'from';", []],
  ] as const;
  for (const [source, expected] of cases) {
    test(JSON.stringify(source), () => {
      const found = importsOf(source).map((one) => [one.specifier, one.typeOnly, one.values]);
      assert.deepEqual(found, expected);
    });
  }

  test('refuses an import whose module is worked out at run time', () => {
    assert.throws(() => importsOf('import(name);'), /not written out/);
  });
});
