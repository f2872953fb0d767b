import { describe, expect, test } from 'vitest';

import { between, nearest, order } from '../../nbopt/notebook/frontend/charts.js';
import { draw, type Overlay, place } from '../../nbopt/notebook/frontend/overlay.js';

describe('the value under the pointer', () => {
  test('lies evenly on a linear scale', () => {
    expect(between({ min: 10, max: 30, log: false }, 0.25)).toBe(15);
  });

  test('lies evenly by ratio on a log scale', () => {
    expect(between({ min: 1e-4, max: 1, log: true }, 0.5)).toBeCloseTo(1e-2, 12);
  });
});

describe('the point read under the pointer', () => {
  const steps = [10, 20, 30, 40];

  test('is the nearest one', () => {
    expect(nearest(steps, [1, 2, 3, 4], 26, 0)).toEqual([3]);
  });

  test('is none beyond where a line begins and ends, but for a hand that trembles', () => {
    expect(nearest(steps, [1, 2, 3, 4], 45, 1)).toEqual([]);
    expect(nearest(steps, [1, 2, 3, 4], 5, 1)).toEqual([]);
    expect(nearest(steps, [1, 2, 3, 4], 41, 1)).toEqual([4]);
    expect(nearest(steps, [1, 2, 3, 4], 9, 1)).toEqual([1]);
  });

  test('is none in a gap', () => {
    expect(nearest(steps, [1, Number.NaN, 3, 4], 20, 1)).toEqual([]);
    expect(nearest(steps, [1, Number.NaN, 3, 4], 29.5, 1)).toEqual([3]);
    expect(nearest(steps, [1, Number.POSITIVE_INFINITY, 3, 4], 15, 1)).toEqual([]);
  });

  test('is the lowest and the highest where a raw line stands for several', () => {
    expect(nearest([10, 10, 20, 20], [3, 1, 7, 5], 12, 0)).toEqual([1, 3]);
    expect(nearest([10, 20, 20, 20], [3, 4, 4, 4], 20, 0)).toEqual([4]); // prolonged by its last point
  });

  test('is none where a curve has none', () => {
    expect(nearest([], [], 3, 1)).toEqual([]);
    expect(nearest(undefined, [], 3, 1)).toEqual([]);
  });
});

test('a box may be drawn from any corner', () => {
  expect(order(7, 3)).toEqual([3, 7]);
  expect(order(3, 7)).toEqual([3, 7]);
});

describe('the notes beside their lines', () => {
  const note = (at: number, ...lines: string[]) => ({ at, lines });

  test('stand in one row where they are far apart, and in rows of their own where they are not', () => {
    const far = place([note(0.1, 'lr 0.1 → 0.2'), note(0.6, 'lr 0.2 → 0.1')], 1000, 4);
    expect(far.map(({ row }) => row)).toEqual([0, 0]);
    const near = place([note(0.1, 'lr 0.1 → 0.2', 'epochs 3 → 4'), note(0.11, 'lr 0.2 → 0.1')], 1000, 4);
    expect(near.map(({ row }) => row)).toEqual([0, 1]); // the newest first
  });

  test('keeps a long note inside, across its line', () => {
    const [long] = place([note(0.45, 'best 0.1121 at step 1,173, no improvement since')], 400, 4);
    const [short] = place([note(0.45, 'a')], 400, 4);
    expect(long.left).toBeGreaterThan(0);
    expect(long.left).toBeLessThan(short.left);
  });

  test('give way to the values of arrows', () => {
    const placed = place([note(0.1, 'lr 0.1 → 0.2'), note(0.6, 'lr 0.2 → 0.1')], 1000, 4, [[110, 140]]);
    expect(placed.map(({ row, note: { at } }) => [at, row])).toEqual([
      [0.6, 0],
      [0.1, 1]
    ]);
  });

  test('never cover one another, nor leave the chart; those without room are left out', () => {
    const wanted = Array.from({ length: 40 }, (_, k) => note(k / 40, 'optimizer adam → sgd', 'lr 0.1 → 0.2'));
    const placed = place(wanted, 500, 8);
    expect(placed.length).toBeGreaterThan(3);
    expect(placed[0].note).toBe(wanted[39]);
    const boxes = placed.map(({ left, row, note: { lines } }) => ({
      left,
      right: left + 6.1 * 20 + 6,
      row,
      end: row + lines.length
    }));
    for (const one of boxes) {
      expect(one.left >= 0 && one.right <= 500 && one.end <= 8).toBe(true);
      for (const other of boxes) {
        const apart =
          one.right <= other.left || other.right <= one.left || one.end <= other.row || other.end <= one.row;
        expect(one === other || apart).toBe(true);
      }
    }
  });
});

test('what lies over a chart stands at its part of the width, and is drawn anew each time', () => {
  const layer = document.createElement('div');
  const over: Overlay = {
    marks: [[0.25, 'lr 0.1 → 0.2\nepochs 3 → 4']],
    pin: 0.5,
    best: [0.4, 'best 0.1 at step 40'],
    stale: [0.4, 0.9],
    arrows: [[0.05, true, 'red', '2.3']],
    tells: true,
    bottom: false
  };
  for (let time = 0; time < 2; time++) draw(layer, over, 800, 270);
  const found = [...layer.children].map(part => [part.className, (part as HTMLElement).style.left, part.textContent]);
  expect(found).toEqual([
    ['nbopt-over-stale', '40%', ''],
    ['nbopt-over-mark', '25%', ''],
    ['nbopt-over-best', '40%', ''],
    ['nbopt-over-pin', '50%', ''],
    ['nbopt-over-note', '203px', 'lr 0.1 → 0.2\nepochs 3 → 4'],
    ['nbopt-over-note', '323px', 'best 0.1 at step 40'],
    ['nbopt-over-up', '5%', '2.3']
  ]);
  const corners: [number, number][] = [
    [0, 0.5],
    [1, 0.25],
    [1, 0]
  ];
  draw(layer, { ...over, bands: [['#009e73', corners]] });
  const band = layer.querySelector<HTMLElement>('.nbopt-over-band');
  expect(band?.style.getPropertyValue('--nbopt-colour')).toBe('#009e73');
  expect(band?.style.clipPath).toBe('polygon(0.000% 50.000%, 100.000% 25.000%, 100.000% 0.000%)');
  draw(layer, { ...over, marks: [], pin: null, best: null, stale: null, tells: false }, 800, 270);
  expect([...layer.children].map(part => part.textContent)).toEqual(['']); // the arrow alone
});
