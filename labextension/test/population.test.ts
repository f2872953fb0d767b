import { describe, expect, test, vi } from 'vitest';

import { curveAt } from '../../nbopt/notebook/population/curves.js';
import { makeFan, sameColumns } from '../../nbopt/notebook/population/growing.js';
import { pointAt, pointsWithin } from '../../nbopt/notebook/population/points.js';
import { compare, makeTable, ROW } from '../../nbopt/notebook/population/rows.js';
import { hueOf, placeOf, shades } from '../../nbopt/notebook/population/scales.js';
import { makeChooser } from '../../nbopt/notebook/population/standing.js';

const plot = { context: null as never, left: 0, right: 100, top: 0, bottom: 100 };

describe('a fan', () => {
  const curves = {
    at: Float32Array.from([0, 0.5, 1]),
    heights: Uint16Array.from([0, 0, 0, 65534, 65535, 65534]), // the second was not measured in the middle
    drawn: Int32Array.from([7, 3]),
    places: [0]
  };

  test('finds the curve under the pointer, between what was measured too', () => {
    expect(curveAt(plot, curves, 25, 97)).toBe(7);
    expect(curveAt(plot, curves, 50, 4)).toBe(3);
    expect(curveAt(plot, curves, 50, 50)).toBe(-1);
    const beside = { ...curves, heights: Uint16Array.from([32767, 32767, 32767]), drawn: Int32Array.from([9]) };
    expect(curveAt(plot, { ...curves, beside }, 50, 50)).toBe(9);
    expect(curveAt(plot, { ...curves, beside }, 25, 97)).toBe(7);
  });

  test('keeps what is chosen as it is where the kernel says the same', () => {
    const chooser = makeChooser({ get: () => [], send: () => {} } as never, vi.fn(), vi.fn());
    chooser.choose([3, 5], false);
    const { chosen } = chooser;
    chooser.follow([5, 3]);
    expect(chooser.chosen).toBe(chosen);
    chooser.follow([3, 6]);
    expect([...chooser.chosen]).toEqual([3, 6]);
  });
});

describe('a fan that grows', () => {
  const fanOf = (columns: number, members = 50, last = 0) => ({
    at: Float32Array.from({ length: columns }, (_none, k) => k / 100),
    heights: Uint16Array.from({ length: columns * members }, (_none, k) =>
      k % columns === columns - 1 ? last : 100 * (k % columns)
    ),
    drawn: Int32Array.from({ length: members }, (_none, k) => k),
    places: Array.from({ length: members }, (_none, k) => k / members)
  });

  test('knows how far it is as it was', () => {
    const before = fanOf(10, 5, 7);
    expect(sameColumns(before, fanOf(10, 5, 7))).toBe(10);
    expect(sameColumns(before, fanOf(12, 5))).toBe(9); // the last stretch grew on
    expect(sameColumns(before, { ...fanOf(10, 5, 7), drawn: Int32Array.from([4, 3, 2, 1, 0]) })).toBe(0);
    expect(sameColumns(before, { ...fanOf(10, 5, 7), at: before.at.map(at => at / 2) })).toBe(1); // other axis
  });

  test('draws what came and not the rest again', () => {
    let drawn = 0;
    const nothing = () => undefined;
    const names = 'save restore beginPath rect clip moveTo stroke setTransform resetTransform getTransform drawImage';
    const canvas = document.createElement('canvas');
    const own = {
      canvas,
      lineTo: () => (drawn += 1),
      ...Object.fromEntries(names.split(' ').map(name => [name, nothing]))
    };
    vi.spyOn(HTMLCanvasElement.prototype, 'getContext').mockReturnValue(own as never);
    const draw = makeFan();
    const plotted = (columns: number) => {
      drawn = 0;
      draw({ ...plot, context: own as never }, fanOf(columns), ['red'], new Set());
      return drawn;
    };
    const whole = plotted(60);
    expect(whole).toBe(50 * 59);
    plotted(60); // what stood still is kept
    expect(plotted(61)).toBeLessThan(50 * 4);
    expect(plotted(62)).toBeLessThan(50 * 4);
  });
});

describe('a scatter', () => {
  const points = { across: [0, 0.5, 1], up: [0.5, 2, Number.NaN] };

  test('finds the point under the pointer, at the edge where it lies off the scale', () => {
    expect(pointAt(plot, points, 3, 52)).toBe(0);
    expect(pointAt(plot, points, 50, 1)).toBe(1);
    expect(pointAt(plot, points, 100, 50)).toBe(-1);
  });

  test('finds those in a rectangle, however it was drawn', () => {
    expect(pointsWithin(plot, points, [60, 60], [-1, -1])).toEqual([0, 1]);
  });
});

describe('axes and colours', () => {
  test('have a place for what is positive on a log scale alone', () => {
    expect(placeOf(0.1, [0.01, 1], true)).toBeCloseTo(0.5);
    expect(placeOf(0, [0.01, 1], true)).toBeNaN();
    expect(placeOf(3, [1, 5], false)).toBe(0.5);
  });

  test('leave out what is lost on the ground', () => {
    expect(shades(false)[0]).toBe('rgb(68 1 84)');
    expect(shades(true).at(-1)).toBe('rgb(253 231 37)');
    expect(new Set([...shades(true), ...shades(false)]).size).toBeGreaterThan(100);
    expect([hueOf(-1), hueOf(2)]).toEqual([0, 63]);
  });
});

describe('the table of members', () => {
  const words = { title: 'Members', member: 'Member', best: '', order: 'Sort by {name}' };
  const losses = Array.from({ length: 5000 }, (_none, k) => (k === 10 ? Number.NaN : (k * 7919) % 5000));

  function shown(size = 5000) {
    document.body.innerHTML = '<div></div>';
    const place = document.body.firstElementChild as HTMLElement;
    const chosen: number[] = [];
    const table = makeTable(place, words, { choose: member => chosen.push(member), point: () => undefined });
    const columns = [{ name: 'loss', label: 'Loss', values: losses, form: 'number' as const }];
    table.show({ size, columns, colours: [], chosen: new Set([2]), best: 1, hover: -1 });
    const rows = () => [...place.querySelectorAll<HTMLElement>('tr[data-member]')];
    return { place, chosen, rows, table, columns };
  }

  test('has only the rows in sight, and room for all', () => {
    const { place, rows } = shown();
    expect(rows().length).toBeLessThan(40);
    const gaps = [...place.querySelectorAll<HTMLElement>('.nbopt-members-gap')].map(gap =>
      parseInt(gap.style.height, 10)
    );
    expect(gaps[0] + gaps[1] + rows().length * ROW).toBe(5000 * ROW);
    expect(rows()[1].textContent).toContain('★');
    expect(rows()[2].getAttribute('aria-selected')).toBe('true');
  });

  test('sorts by a column either way, with what is no number at the end', () => {
    const { place, rows } = shown();
    const sort = () => place.querySelector<HTMLElement>('[data-sort="loss"]')?.click();
    sort();
    expect(rows()[0].dataset.member).toBe(String(losses.indexOf(0)));
    sort();
    expect(rows()[0].dataset.member).toBe(String(losses.indexOf(4999)));
    expect([3, Number.NaN, 1].sort((a, b) => compare(a, b, true))).toEqual([3, 1, Number.NaN]);
  });

  test('is walked and chosen from by keys, which the notebook does not see', () => {
    const { place, rows, chosen } = shown();
    let seen = 0;
    document.body.addEventListener('keydown', () => {
      seen += 1;
    });
    rows()[0].focus();
    const press = (key: string) =>
      document.activeElement?.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
    press('ArrowDown');
    press('ArrowDown');
    expect((document.activeElement as HTMLElement).dataset.member).toBe('2');
    press('Enter');
    expect(chosen).toEqual([2]);
    press('End');
    expect((document.activeElement as HTMLElement).dataset.member).toBe('4999');
    expect(place.querySelectorAll('tr[tabindex="0"]').length).toBe(1);
    expect(seen).toBe(0);
  });

  test('keeps the focus on a row while others come, and has it itself once the row goes', () => {
    const { place, rows, table, columns } = shown(20);
    const show = (size: number, keep: ((member: number) => boolean) | null) =>
      table.show({ size, columns, colours: [], chosen: new Set(), best: 1, hover: -1, keep });
    const [, row] = rows();
    row.focus();
    let left = 0;
    row.addEventListener('blur', () => {
      left += 1;
    });
    show(30, null);
    expect([rows()[1], document.activeElement, left]).toEqual([row, row, 0]);
    expect(rows().map(each => Number(each.dataset.member))).toEqual([...rows().keys()]);
    show(30, member => member > 5);
    expect(document.activeElement).toBe(place.querySelector('.nbopt-members'));
  });
});
