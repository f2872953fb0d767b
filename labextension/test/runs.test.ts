import { describe, expect, test } from 'vitest';

import runs from '../../nbopt/notebook/panel/runs/runs.js';

const words = Object.fromEntries(
  'star name state best last step created rename open close delete sure lose keep own group alone all compare setting alike few halt seeds'
    .split(' ')
    .map(word => [word, word])
);

/** The list as a page shows it, with what it sent. */
function shown(rows: object[], more: object = {}) {
  const state: Record<string, unknown> = {
    rows: rows.map(row => ({ ...ROW, ...row })),
    columns: [['lr', 'Learning rate']],
    heads: [],
    diff: [],
    verdict: {},
    seeds: null,
    group: '-',
    note: '',
    halts: false,
    words: { ...words, show: 'Draw {name}', by: 'by {name}' },
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
  runs.render({ model: model as never, el });
  const button = (act: string) => el.querySelector<HTMLButtonElement>(`[data-act="${act}"]`);
  const change = async (name: string, value: unknown) => {
    state[name] = value;
    heard[`change:${name}`]();
    await new Promise(requestAnimationFrame);
  };
  return { el, sent, button, change };
}

const ROW = {
  id: 'a',
  name: '<b>one</b>',
  colour: '',
  shown: false,
  own: false,
  star: false,
  state: 'finished',
  told: 'Finished',
  values: ['0.1'],
  best: '0.5',
  last: '0.6',
  step: '1,200',
  created: 'today',
  can: ['star', 'rename', 'open', 'delete'],
  stored: true
};

describe('the list of runs', () => {
  test('has names as text and heads for its settings', () => {
    const { el } = shown([{}]);
    expect(el.querySelector('td b')).toBeNull();
    expect(el.querySelector('.nbopt-runs-name')?.textContent).toBe('<b>one</b>');
    expect([...el.querySelectorAll('th')].map(head => head.textContent)).toContain('Learning rate');
  });

  test('asks the kernel to draw a run and to give it a star', () => {
    const { el, sent, button } = shown([{}]);
    el.querySelector<HTMLInputElement>('input[type=checkbox]')?.click();
    button('star')?.click();
    expect(sent).toEqual([
      { do: 'show', run: 'a', on: true },
      { do: 'star', run: 'a', on: true }
    ]);
  });

  test('offers to stop what it tells of, where that can be', async () => {
    const { sent, button, change, el } = shown([{}], { note: 'Opening: 3 of 9 steps' });
    expect(el.querySelector('[role=status]')?.textContent).toBe('Opening: 3 of 9 steps');
    expect(button('halt')?.hidden).toBe(true);
    await change('halts', true);
    expect(button('halt')?.hidden).toBe(false);
    button('halt')?.click();
    expect(sent).toEqual([{ do: 'halt' }]);
  });

  test('deletes a run only when it is asked again', () => {
    const { sent, button } = shown([{}]);
    button('delete')?.click();
    expect(sent).toEqual([]);
    button('keep')?.click();
    button('delete')?.click();
    button('sure')?.click();
    expect(sent).toEqual([{ do: 'delete', run: 'a' }]);
  });

  test('closes at once what the store keeps, and asks where it would be lost', () => {
    const kept = shown([{ can: ['close'] }]);
    kept.button('close')?.click();
    expect(kept.sent).toEqual([{ do: 'close', run: 'a' }]);
    const lost = shown([{ can: ['close'], stored: false }]);
    lost.button('close')?.click();
    expect(lost.sent).toEqual([]);
  });

  test('renames by Enter, and not by Escape', () => {
    const { el, sent, button } = shown([{}]);
    const type = (text: string, key: string) => {
      button('rename')?.click();
      const input = el.querySelector('input[type=text]') as HTMLInputElement;
      input.value = text;
      input.dispatchEvent(new KeyboardEvent('keydown', { key }));
    };
    type('two', 'Escape');
    expect(sent).toEqual([]);
    type('two', 'Enter');
    expect(sent).toEqual([{ do: 'rename', run: 'a', name: 'two' }]);
  });

  test('keeps the focus and a name half typed while numbers change', async () => {
    const { el, button, change } = shown([{}, { id: 'b' }]);
    button('star')?.focus();
    await change('rows', [{ ...ROW, step: '1,300' }]);
    expect(el.querySelectorAll('tbody tr')).toHaveLength(1);
    expect(el.textContent).toContain('1,300');
    expect((document.activeElement as HTMLElement).dataset.act).toBe('star');
    button('rename')?.click();
    const input = el.querySelector('input[type=text]') as HTMLInputElement;
    input.value = 'half';
    await change('rows', [{ ...ROW, step: '1,400' }]);
    expect(el.querySelector<HTMLInputElement>('input[type=text]')?.value).toBe('half');
    expect(document.activeElement).toBe(input);
  });

  test('says which run is better once it was asked, and draws means of repeats or not', async () => {
    const { el, sent, button, change } = shown([{}], { heads: ['a', 'b'], diff: [['lr', '1', '2']] });
    [...el.querySelectorAll('button')].find(each => each.textContent === 'compare')?.click();
    expect(button('verdict')).toBeNull();
    await change('verdict', { ask: 'Which?' });
    button('verdict')?.focus();
    await change('diff', [['lr', '1', '3']]);
    expect((document.activeElement as HTMLElement).dataset.act).toBe('verdict');
    button('verdict')?.click();
    await change('verdict', { text: '<b>lr 0.1 is better' });
    expect(el.querySelector('.nbopt-runs-verdict')?.textContent).toBe('<b>lr 0.1 is better');
    await change('seeds', true);
    const seeds = el.querySelector<HTMLInputElement>('.nbopt-runs-bar input');
    expect(seeds?.checked).toBe(true);
    seeds?.click();
    expect(sent).toEqual([{ do: 'verdict' }, { do: 'seeds', on: false }]);
  });

  test('compares settings where there is something to compare', async () => {
    const { el, change } = shown([{}]);
    el.querySelector<HTMLButtonElement>('.nbopt-runs-bar button')?.click();
    expect(el.querySelector('.nbopt-runs-diff')?.textContent).toBe('few');
    await change('heads', ['one', 'two']);
    await change('diff', [['lr', '0.1', '0.2']]);
    expect(el.querySelector('.nbopt-runs-diff tbody')?.textContent).toBe('lr0.10.2');
  });
});
