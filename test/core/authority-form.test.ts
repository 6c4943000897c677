import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  formatAuthority,
  parseAbsoluteForm,
  parseAuthority,
  parseHostPort,
  pathProblem,
  type Target,
} from '../../src/core/authority-form.ts';
import { canonicalHostname } from '../../src/core/hostname.ts';
import { targetProblems } from '../../src/core/target-problem.ts';
import cases from '../cases/targets.json' with { type: 'json' };

interface TargetCase {
  readonly id: string;
  readonly text: string;
  readonly host?: string;
  readonly port?: number;
  readonly problem?: string;
}

const titleOf = ({ id, text }: TargetCase) => `${id}: ${JSON.stringify(text.slice(0, 80))}`;

function assertTarget(parsed: Target | string, expected: TargetCase): void {
  if (expected.problem !== undefined) {
    assert.equal(parsed, targetProblems[expected.problem as keyof typeof targetProblems]);
    return;
  }
  assert.ok(typeof parsed === 'object', `refused: ${String(parsed)}`);
  assert.equal(parsed.host, expected.host);
  assert.equal(parsed.port, expected.port);
  assert.equal(parsed.ip?.text ?? null, isIP(parsed.host) === 0 ? null : parsed.host);
}

/** Authorities that are nearly right, rightly made or noise. */
const authorityText = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.string({
      unit: fc.constantFrom(...'aAzZ019._-:[]%@xn/?#*\\ \0é'),
      maxLength: 24,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.domain(), fc.nat(70_000)).map(([host, port]) => `${host}:${port}`),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.ipV4(), fc.nat(70_000)).map(([host, port]) => `${host}:${port}`),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.ipV6(), fc.nat(70_000)).map(([host, port]) => `[${host}]:${port}`),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 400 }) },
);

describe('parseAuthority', () => {
  for (const row of cases.authority) {
    it(titleOf(row), () => assertTarget(parseAuthority(row.text), row));
  }

  it('takes no byte in a host but letters, digits, hyphen, underscore and dot', () => {
    for (let code = 0; code <= 0xff; code++) {
      const byte = String.fromCharCode(code);
      const accepted = typeof parseAuthority(`a${byte}b.test:443`) === 'object';
      assert.equal(accepted, /^[A-Za-z0-9._-]$/.test(byte), `byte 0x${code.toString(16)}`);
    }
  });

  it('takes no byte in a port but digits', () => {
    for (let code = 0; code <= 0xff; code++) {
      const byte = String.fromCharCode(code);
      const accepted = typeof parseAuthority(`a.test:4${byte}3`) === 'object';
      assert.equal(accepted, /^[0-9]$/.test(byte), `byte 0x${code.toString(16)}`);
    }
  });

  it('never throws, and reads back what it accepted', () => {
    fc.assert(
      fc.property(authorityText, (text) => {
        const target = parseAuthority(text);
        if (typeof target === 'string') return;
        assert.deepEqual(parseAuthority(formatAuthority(target)), target);
      }),
      { numRuns: 5000 },
    );
  });

  it('accepts nothing that a URL parser reads as another host', () => {
    fc.assert(
      fc.property(authorityText, (text) => {
        const target = parseAuthority(text);
        // The mapped form is the one that RFC 5952 and the URL standard write differently.
        if (typeof target === 'string' || target.host.startsWith('::ffff:')) return;
        const url = URL.parse(`http://${formatAuthority(target)}/`);
        // Runtimes differ in which A-labels they decode; those of ours that they refuse are no danger.
        if (url === null) return assert.match(target.host, /xn--/);
        assert.equal(url.hostname, target.ip?.family === 6 ? `[${target.host}]` : target.host);
        assert.equal(Number(url.port || 80), target.port);
      }),
      { numRuns: 5000 },
    );
  });

  it('takes for a name only what is canonical, and never an address', () => {
    fc.assert(
      fc.property(authorityText, (text) => {
        const target = parseAuthority(text);
        if (typeof target === 'string' || target.ip !== null) return;
        assert.equal(canonicalHostname(target.host), target.host);
        assert.equal(isIP(target.host), 0);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('parseHostPort', () => {
  for (const row of cases.hostPort) {
    it(titleOf(row), () => assertTarget(parseHostPort(row.text, 80), row));
  }

  it('agrees with parseAuthority wherever a port is given', () => {
    fc.assert(
      fc.property(authorityText, (text) => {
        const target = parseAuthority(text);
        if (target !== targetProblems.noPort) assert.deepEqual(parseHostPort(text, 443), target);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('parseAbsoluteForm', () => {
  for (const row of cases.absolute as (TargetCase & { method: string; path?: string })[]) {
    it(`${row.method} ${titleOf(row)}`, () => {
      const parsed = parseAbsoluteForm(row.text, row.method);
      assertTarget(typeof parsed === 'string' ? parsed : parsed.target, row);
      if (typeof parsed === 'object') assert.equal(parsed.path, row.path);
    });
  }

  it('judges the authority as parseHostPort does', () => {
    for (const row of cases.authority) {
      if (/[/?#]/.test(row.text)) continue;
      const parsed = parseAbsoluteForm(`http://${row.text}/`, 'GET');
      const target = typeof parsed === 'string' ? parsed : parsed.target;
      const tooLong = row.problem === 'tooLong';
      assert.deepEqual(target, tooLong ? targetProblems.tooLong : parseHostPort(row.text, 80));
    }
  });

  it('never throws, and what it accepts is one URL for everybody', () => {
    const url = fc.tuple(
      fc.constantFrom('http://', 'HTTP://', 'http:/', 'https://'),
      authorityText,
      fc.string({ unit: fc.constantFrom(...'/a.%2F?#\\;é \n'), maxLength: 12 }),
    );
    fc.assert(
      fc.property(url, fc.constantFrom('GET', 'OPTIONS'), (parts, method) => {
        const parsed = parseAbsoluteForm(parts.join(''), method);
        if (typeof parsed === 'string') return;
        assert.match(parsed.path, /^(?:\*|\/[!-~]*)$/);
        assert.doesNotMatch(parsed.path, /#|^[^?]*\\/);
        const again = `http://${formatAuthority(parsed.target)}${parsed.path.replace(/^\*$/, '')}`;
        assert.deepEqual(parseAbsoluteForm(again, method), parsed);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('pathProblem', () => {
  it('passes visible ASCII but for the fragment sign and, before the query, the backslash', () => {
    for (let code = 0; code <= 0xff; code++) {
      const byte = String.fromCharCode(code);
      const visible = code > 0x20 && code < 0x7f && byte !== '#';
      assert.equal(
        pathProblem(`/a${byte}b`) === null,
        visible && byte !== '\\',
        `0x${code.toString(16)}`,
      );
      assert.equal(pathProblem(`/a?${byte}b`) === null, visible, `0x${code.toString(16)}`);
    }
  });

  it('wants a slash in front', () => {
    for (const path of ['', '*', 'a', '?a']) {
      assert.equal(pathProblem(path), targetProblems.pathStart);
    }
  });
});
