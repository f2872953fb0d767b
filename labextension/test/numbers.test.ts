import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

import * as page from '../../nbopt/notebook/frontend/numbers.js';
import * as extension from '../src/numbers';

/** What tests/test_formatting.py holds the kernel to. */
const table: Record<'number' | 'brief' | 'count' | 'speed', [number, string][]> = JSON.parse(
  readFileSync('../tests/numbers.json', 'utf8')
);
const written = (write: (value: number) => string, kind: keyof typeof table) =>
  table[kind].map(([value]) => write(value));
const expected = (kind: keyof typeof table) => table[kind].map(([, text]) => text);

describe('numbers are written as the kernel does', () => {
  test('by the page', () => {
    expect(written(page.number, 'number')).toEqual(expected('number'));
    expect(written(page.brief, 'brief')).toEqual(expected('brief'));
    expect(written(page.count, 'count')).toEqual(expected('count'));
  });

  test('by the extension', () => {
    expect(written(extension.number, 'number')).toEqual(expected('number'));
    expect(written(extension.brief, 'brief')).toEqual(expected('brief'));
    expect(written(extension.count, 'count')).toEqual(expected('count'));
    expect(written(extension.speed, 'speed').map(text => `${text} steps/s`)).toEqual(expected('speed'));
  });

  test('and so is what is no number', () => {
    for (const { number } of [page, extension]) {
      expect([Number.NaN, Infinity, -Infinity].map(number)).toEqual(['nan', 'inf', '-inf']);
    }
  });
});
