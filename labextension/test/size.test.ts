import { describe, expect, test } from 'vitest';

import size, { lines, scatter } from '../../nbopt/notebook/panel/size/size.js';

const words = Object.fromEntries(
  'title against sweep every draw take layers layer kind parameters zeros bits bytes macs lost find time samples front now was full run empty hint'
    .split(' ')
    .map(word => [word, word])
);
words.take = 'Set {name} to {value}';

const CHART = {
  x: [[0.5, '10 kB']] as [number, string][],
  y: [[0.2, '90 %']] as [number, string][],
  marks: [
    ['was', 0.1, 0.2, 'step 1'],
    ['now', 0.6, 0.7, 'step 2']
  ] as [string, number, number, string][],
  front: [
    [0.1, 0.2],
    [0.6, 0.7]
  ] as [number, number][]
};
const SWEEP = {
  x: [[0.25, '8']] as [number, string][],
  y: [[0.5, '90 %']] as [number, string][],
  at: 0.25,
  lines: [
    [
      'magnitude',
      [
        [0.25, 0.9, 8, '8: 97 %'],
        [0.75, 0.1, 2, '2: 11 %']
      ]
    ]
  ] as [string, [number, number, number, string][]][],
  title: 'Accuracy by bits',
  name: 'Bits'
};

/** The drawer as a page shows it, with what it sent. */
function shown(more: object = {}) {
  const state: Record<string, unknown> = {
    chart: {},
    sweep: {},
    layers: [['0', 'Linear', '84', '3.7 %', '8', '90 B', '72', '']],
    axes: [
      ['bytes', 'File size'],
      ['macs', 'Operations']
    ],
    axis: 'bytes',
    sweeps: [
      ['weight_bits', 'Bits', [['bits_layers', 'Layers']]],
      ['sparsity', 'Sparsity', []]
    ],
    facts: [['Accuracy', '97 %']],
    note: '',
    busy: '',
    words,
    ...more
  };
  const heard: Record<string, () => void> = {};
  const sent: unknown[] = [];
  const model = {
    get: (name: string) => state[name],
    send: (message: unknown) => sent.push(message),
    on: (name: string, handler: () => void) => {
      heard[name] = handler;
    },
    off: () => undefined
  };
  document.body.innerHTML = '<div></div>';
  const el = document.body.firstElementChild as HTMLElement;
  size.render({ model: model as never, el });
  const change = async (name: string, value: unknown) => {
    state[name] = value;
    heard[`change:${name}`]();
    await new Promise(requestAnimationFrame);
  };
  const button = (text: string) => [...el.querySelectorAll('button')].find(each => each.textContent === text);
  return { el, sent, change, button };
}

describe('the drawer', () => {
  test('asks for what is chosen', () => {
    const { el, sent, button } = shown();
    const [axis, name, by] = el.querySelectorAll('select');
    axis.value = 'macs';
    axis.dispatchEvent(new Event('change'));
    by.value = 'bits_layers';
    button('draw')?.click();
    name.value = 'sparsity';
    name.dispatchEvent(new Event('change'));
    expect(by.options.length).toBe(1);
    button('draw')?.click();
    button('find')?.click();
    (el.querySelector('input') as HTMLInputElement).value = '16';
    button('time')?.click();
    expect(sent).toEqual([
      { do: 'axis', name: 'macs' },
      { do: 'sweep', name: 'weight_bits', by: 'bits_layers' },
      { do: 'sweep', name: 'sparsity', by: '' },
      { do: 'sensitivity' },
      { do: 'time', samples: 16 }
    ]);
  });

  test('shows what is known, and says what is done or went wrong', async () => {
    const { el, change } = shown();
    expect(el.querySelector('figure')?.textContent).toContain('empty');
    expect(el.querySelectorAll('figure')[1].textContent).toBe('hint');
    await change('chart', CHART);
    expect(el.querySelectorAll('figure circle.nbopt-size-now').length).toBe(2); // and in the key
    await change('busy', 'Sweep');
    expect(el.querySelector('[role=status]')?.textContent).toBe('Sweep …');
    await change('note', 'no data');
    expect(el.querySelector('[role=status]')?.textContent).toBe('no data');
    const seen = (part: string) =>
      [...el.querySelectorAll<HTMLElement>(`${part} > tr > *`)].filter(cell => !cell.hidden);
    expect(seen('tbody').map(cell => cell.textContent)).toEqual(['0', 'Linear', '84', '3.7 %', '8', '90 B', '72']);
    expect(seen('thead').length).toBe(7); // no column of what nobody asked for yet
  });

  test('has nothing to sweep where nothing compresses', () => {
    const { el, button } = shown({ sweeps: [] });
    expect(button('draw')?.parentElement?.hidden).toBe(true);
    expect(el.querySelectorAll('figure')[1].hidden).toBe(true);
    expect(button('find')?.hidden).toBe(true);
    expect(el.querySelectorAll('select').length).toBe(3);
  });

  test('keeps the focus on a point that is drawn again', async () => {
    const { el, change } = shown({ sweep: SWEEP });
    const point = () => el.querySelector('circle[role=button]') as unknown as HTMLElement;
    const before = point();
    before.focus();
    await change('sweep', { ...SWEEP, at: 0.75 });
    expect(point()).not.toBe(before);
    expect(document.activeElement).toBe(point());
  });
});

describe('its charts', () => {
  test('tell in words what they show', () => {
    const svg = (scatter(CHART, 'File size', words) as DocumentFragment).querySelector('svg[role=img]');
    expect(svg?.getAttribute('aria-label')).toBe('title. now: step 2');
  });

  test('a point takes its value, by pointer and by key', () => {
    const sent: unknown[] = [];
    const [, svg] = lines(SWEEP, words, { send: (message: unknown) => sent.push(message) } as never);
    const [, last] = (svg as Element).querySelectorAll('circle[role=button]');
    expect(last.getAttribute('aria-label')).toBe('Set Bits to magnitude 2: 11 %');
    last.dispatchEvent(new MouseEvent('click'));
    last.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', cancelable: true }));
    last.dispatchEvent(new KeyboardEvent('keydown', { key: 'a' }));
    expect(sent).toEqual([
      { do: 'take', value: 2, by: 'magnitude' },
      { do: 'take', value: 2, by: 'magnitude' }
    ]);
  });
});
