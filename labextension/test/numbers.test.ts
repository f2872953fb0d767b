import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

import { brief, count, number } from '../../nbopt/notebook/frontend/numbers.js';

/** What tests/test_formatting.py holds the kernel to. */
const table: Record<'number' | 'brief' | 'count', [number, string][]> = JSON.parse(
  readFileSync('../tests/numbers.json', 'utf8')
);

test.each(Object.entries(table))('%s writes as the kernel does', (kind, cases) => {
  const write = { number, brief, count }[kind as keyof typeof table];
  expect(cases.map(([value]) => write(value))).toEqual(cases.map(([, text]) => text));
});

test('what is no number is written as Python does', () => {
  expect([Number.NaN, Infinity, -Infinity].map(number)).toEqual(['nan', 'inf', '-inf']);
});
