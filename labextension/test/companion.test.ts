import { describe, expect, test } from 'vitest';

import { between, nearest, order, short } from '../../nbopt/notebook/companion.js';

describe('the value under the pointer', () => {
  test('lies evenly on a linear scale', () => {
    expect(between({ min: 10, max: 30, log: false }, 0.25)).toBe(15);
  });

  test('lies evenly by ratio on a log scale', () => {
    expect(between({ min: 1e-4, max: 1, log: true }, 0.5)).toBeCloseTo(1e-2, 12);
  });
});

describe('the point read under the pointer', () => {
  const steps = [0, 10, 20, 30];

  test('is the nearest one', () => {
    expect(nearest(steps, [1, 2, 3, 4], 16)).toBe(3);
  });

  test('is never one that was not measured', () => {
    expect(nearest(steps, [1, 2, Number.NaN, 4], 20)).toBe(2);
  });

  test('is null where a curve has none', () => {
    expect(nearest([], [], 3)).toBeNull();
    expect(nearest(undefined, [], 3)).toBeNull();
  });
});

test('a box may be drawn from any corner', () => {
  expect(order(7, 3)).toEqual([3, 7]);
  expect(order(3, 7)).toEqual([3, 7]);
});

test('numbers are shown with four digits, without trailing zeros', () => {
  expect([0.123456, 1200, 0.5].map(short)).toEqual(['0.1235', '1200', '0.5']);
});
