import { describe, expect, test } from 'vitest';

import { contour, drawPaths, floatsOf, mix, wordsOf } from '../../nbopt/notebook/playground/board.js';

describe('contour lines', () => {
  test('a plane is cut in a straight line across all rows', () => {
    const side = 5;
    const values = Array.from({ length: side * side }, (_, k) => k % side);
    const pieces = contour(values, side, 1.5);
    expect(pieces).toHaveLength(side - 1);
    expect(pieces.flat().every(([column]) => column === 1.5)).toBe(true);
  });

  test('a hill is closed: every end is the end of two pieces', () => {
    const side = 9;
    const values = Array.from({ length: side * side }, (_, k) => {
      const [x, y] = [(k % side) - 4, Math.floor(k / side) - 4];
      return 20 - x * x - y * y;
    });
    const ends = new Map<string, number>();
    for (const [x, y] of contour(values, side, 11).flat()) {
      const key = `${x.toFixed(6)} ${y.toFixed(6)}`;
      ends.set(key, (ends.get(key) ?? 0) + 1);
    }
    expect(ends.size).toBeGreaterThan(8);
    expect([...ends.values()].every(count => count === 2)).toBe(true);
  });

  test('a flat field has none', () => {
    expect(contour(new Uint16Array(16).fill(3), 4, 3)).toEqual([]);
  });
});

test('bytes are read wherever they begin', () => {
  const bytes = new Uint8Array(17);
  bytes.set(new Uint8Array(new Float32Array([0.5, -2]).buffer), 1);
  expect([...floatsOf(new DataView(bytes.buffer, 1, 8))]).toEqual([0.5, -2]);
  bytes.set(new Uint8Array(new Uint16Array([7, 65535]).buffer), 3);
  expect([...wordsOf(new DataView(bytes.buffer, 3, 4))]).toEqual([7, 65535]);
});

test('where racers are is drawn over all ways: one may run along another', () => {
  const drawn: string[] = [];
  const note = (name: string) => () => drawn.push(name);
  const ctx = {
    beginPath: () => 0,
    moveTo: () => 0,
    stroke: () => 0,
    fill: () => 0,
    lineTo: note('way'),
    arc: note('racer')
  };
  const state = {
    paths: new DataView(new Float32Array([0, 0, 1, 1, 0, 0, 2, 2]).buffer),
    lengths: [2, 2, 0],
    hues: ['red', 'blue', 'green'],
    target: []
  };
  const model = { get: (name: keyof typeof state) => state[name] };
  const same = (place: number) => place;
  drawPaths(ctx as never, model as never, {} as never, same as never, same as never);
  expect(drawn).toEqual(['way', 'way', 'way', 'way', 'racer', 'racer']);
});

test('colours are mixed channel by channel', () => {
  expect(mix([0, 100, 200], [100, 100, 0], 0.25)).toEqual([25, 100, 150]);
});
