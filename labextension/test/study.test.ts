import { describe, expect, test, vi } from 'vitest';

import { byShade, HUES, hueOf } from '../../nbopt/notebook/population/scales.js';
import { narrowed, textAt, within } from '../../nbopt/notebook/study/brushes.js';
import { sieve } from '../../nbopt/notebook/study/filter.js';
import { lineAt } from '../../nbopt/notebook/study/lines.js';
import { makeParallel } from '../../nbopt/notebook/study/parallel.js';
import { exactly } from '../../nbopt/notebook/study/seen.js';

const axis = { low: 0, high: 1, log: false, whole: false, kinds: [] as string[], ticks: [], searched: null };
const axes = [
  { ...axis, name: 'lr', label: 'Learning rate', low: 1e-4, high: 1, log: true, places: [0, 0.5, 1] },
  { ...axis, name: 'act', label: 'Activation', kinds: ['relu', 'tanh'], places: [0.25, 0.75, 0.25] },
  { ...axis, name: 'val_loss', label: 'Val loss', places: [0.1, 0.2, Number.NaN] }
];
const lines = { size: 3, axes, hues: [0, 0, 0], best: -1, colours: [], theme: null as never, stands: null };

test('a value is told whole, by few characters', () => {
  expect([0.1, 512, 0.0023981943, 2.8560292e-6, 0.00001, 123456789, 4e21].map(exactly)).toEqual([
    '0.1',
    '512',
    '0.0023981943',
    '2.8560292e-6',
    '0.00001',
    '123456789',
    '4e+21'
  ]);
});

test('trials that are nowhere yet have a colour of their own, and are drawn below the others', () => {
  const places = [0.5, Number.NaN, 0, Number.NaN];
  expect(byShade([0, 1, 2, 3], trial => hueOf(places[trial]))).toEqual([
    [HUES, [1, 3]],
    [0, [2]],
    [32, [0]]
  ]);
});

test('colours like that of the best trial are drawn over the others', () => {
  const places = [0, 0.2, 0.9, Number.NaN];
  const order = (top: number) => byShade([0, 1, 2, 3], trial => hueOf(places[trial]), top).map(([, own]) => own[0]);
  expect(order(hueOf(0))).toEqual([3, 2, 1, 0]);
  expect(order(hueOf(1))).toEqual([3, 0, 1, 2]);
});

describe('a filter', () => {
  const columns = [
    { name: 'lr', label: 'Learning rate', values: [0.001, 0.01, 0.1], form: 'number' as const },
    { name: 'state', label: 'State', values: [0, 1, 1], form: 'kind' as const, kinds: ['Training', 'Complete'] }
  ];
  const kept = (text: string) => [0, 1, 2].filter(sieve(text, columns) ?? (() => true));

  test('compares by name or label, and finds words', () => {
    expect(kept('lr<0.01')).toEqual([0]);
    expect(kept('learning-rate>=1e-2')).toEqual([1, 2]);
    expect(kept('lr=0.01')).toEqual([1]);
    expect(kept('state=complete lr>0.05')).toEqual([2]);
    expect(kept('compl')).toEqual([1, 2]);
    expect(kept('2')).toEqual([2]);
    expect(kept('  ')).toEqual([0, 1, 2]);
    expect(kept('depth<3')).toEqual([]);
  });
});

describe('parallel coordinates', () => {
  vi.spyOn(HTMLCanvasElement.prototype, 'getContext').mockReturnValue(null); // nothing is drawn here

  function shown() {
    document.body.innerHTML = '<div></div>';
    const place = document.body.firstElementChild as HTMLElement;
    const changed = vi.fn();
    const said = { from: '{name}: from', to: '{name}: to', kind: '{name}: {option}' };
    const parallel = makeParallel(place, said, changed);
    parallel.show(lines);
    const knob = (name: string, end: string) =>
      place.querySelector(`[data-axis="${name}"] [data-end="${end}"]`) as HTMLElement;
    const press = (target: HTMLElement, key: string) =>
      target.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
    return { place, changed, parallel, knob, press };
  }

  test('are brushed by the arrows, and tell the value', () => {
    const { changed, parallel, knob, press } = shown();
    const from = knob('lr', 'from');
    expect(from.getAttribute('aria-label')).toBe('Learning rate: from');
    expect(from.getAttribute('aria-valuetext')).toBe('1e-4');
    for (let k = 0; k < 5; k += 1) press(from, 'PageUp');
    expect(changed).toHaveBeenCalledTimes(5);
    expect(from.getAttribute('aria-valuetext')).toBe('0.01');
    expect([0, 1, 2].filter(within(parallel.brushes, axes) ?? (() => true))).toEqual([1, 2]);
    press(knob('lr', 'to'), 'Home'); // no lower than the other end
    expect(knob('lr', 'to').getAttribute('aria-valuetext')).toBe('0.01');
    press(from, 'Delete');
    expect(parallel.brushes.size).toBe(0);
  });

  test('are brushed by options', () => {
    const { place, parallel } = shown();
    const [relu] = place.querySelectorAll('[data-axis="act"] button') as NodeListOf<HTMLButtonElement>;
    expect(relu?.getAttribute('aria-label')).toBe('Activation: relu');
    relu?.click();
    expect(relu?.getAttribute('aria-pressed')).toBe('true');
    expect([0, 1, 2].filter(within(parallel.brushes, axes) ?? (() => true))).toEqual([0, 2]);
    expect(narrowed(parallel.brushes, axes, 2, 3)).toEqual({ act: { kinds: [0] } });
    relu?.click();
    expect(within(parallel.brushes, axes)).toBeNull();
  });

  test('narrow to what trials have that are brushed by what they reached', () => {
    const brushes = new Map([['val_loss', { from: 0, to: 0.5 }]]);
    expect(narrowed(brushes, axes, 2, 3)).toEqual({ lr: [0, 0.5], act: { kinds: [0, 1] } });
  });

  test('find the line under the pointer', () => {
    const plot = { context: null as never, left: 0, right: 200, top: 0, bottom: 100 };
    expect(lineAt(plot, lines, 0, 99)).toBe(0);
    expect(lineAt(plot, lines, 50, 100 - 62.5)).toBe(1);
    expect(lineAt(plot, lines, 100, 50)).toBe(-1);
  });

  test('write whole numbers as such', () => {
    const width = { ...axis, name: 'width', label: 'Width', low: 8, high: 64, log: true, whole: true, places: [] };
    expect(textAt(width, 0.5)).toBe('23');
  });
});
