import { afterEach, describe, expect, test, vi } from 'vitest';

import { fold, found } from '../../nbopt/notebook/frontend/companion.js';

describe('the column of controls', () => {
  const labels = { lr: 'Learning rate', mixup: 'Mixup', micro_batch: 'Micro-batch' };
  const groups = { Optimizer: ['lr'], 'Augmentation & more': ['mixup'], Batches: ['micro_batch'] };
  const stop = new AbortController();
  afterEach(() => vi.useRealTimers());

  /** A column whose first group stands open, with its controls, as a page builds it. */
  function column() {
    document.body.innerHTML = `<div class="nbopt-panel"><div class="nbopt-controls">${Object.keys(groups)
      .map(
        (title, index) => `<div class="nbopt-group ${index ? 'nbopt-folded' : ''}">
          <div class="widget-html"><div class="nbopt-group-title">${title.replace('&', '&amp;')}</div></div>
          ${index ? '' : '<div class="nbopt-control nbopt-hp-lr"><input></div>'}</div>`
      )
      .join('')}</div></div>`;
    const state: Record<string, unknown> = { labels, groups, search: 'Find a control' };
    const sent: unknown[] = [];
    const model = { get: (name: string) => state[name], send: (message: unknown) => sent.push(message) };
    const on = (target: EventTarget, type: string, handler: EventListener) => target.addEventListener(type, handler);
    fold(document.querySelector('.nbopt-panel') as Element, model as never, on, stop.signal);
    const titles = [...document.querySelectorAll<HTMLElement>('.nbopt-group-title')];
    return { sent, titles, search: document.querySelector('.nbopt-search') as HTMLInputElement };
  }

  function seek(search: HTMLInputElement, text: string) {
    search.value = text;
    search.dispatchEvent(new Event('input'));
  }

  test('asks for a group when it is opened, by mouse or keyboard, and not when it is closed', () => {
    const { sent, titles } = column();
    titles[1].click();
    titles[1].click();
    expect(sent).toEqual([{ open: 'Augmentation & more' }]);
    titles[2].dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }));
    expect(sent).toEqual([{ open: 'Augmentation & more' }, { open: 'Batches' }]);
    expect(titles[2].getAttribute('aria-expanded')).toBe('true');
  });

  test('asks for nothing that is there', () => {
    const { sent, titles } = column();
    titles[0].click();
    titles[0].click();
    expect(sent).toEqual([]);
  });

  test('asks for what a search finds once the typing rests', () => {
    vi.useFakeTimers();
    const { sent, search } = column();
    seek(search, 'm');
    seek(search, 'mi');
    seek(search, 'Mix');
    expect(sent).toEqual([]);
    vi.runAllTimers();
    expect(sent).toEqual([{ open: 'Augmentation & more' }]);
    seek(search, 'micro b');
    seek(search, '');
    vi.runAllTimers();
    expect(sent).toHaveLength(1);
  });

  test('names and sifts what comes later', async () => {
    const { search } = column();
    seek(search, 'mixup');
    const group = document.querySelectorAll('.nbopt-group')[1];
    group.insertAdjacentHTML('beforeend', '<div class="nbopt-control nbopt-hp-mixup"><select></select></div>');
    group.insertAdjacentHTML('beforeend', '<div class="nbopt-control nbopt-hp-micro_batch"><input></div>');
    await vi.waitFor(() => expect(group.querySelector('select')?.getAttribute('aria-label')).toBe('Mixup'));
    const unmatched = [...document.querySelectorAll('.nbopt-unmatched')].map(element => element.className);
    expect(unmatched).toEqual([
      'nbopt-control nbopt-hp-lr nbopt-unmatched',
      'nbopt-control nbopt-hp-micro_batch nbopt-unmatched'
    ]);
  });

  test('is searched by name and by label, with blanks for underscores', () => {
    expect(found(' LEARN ', labels)).toEqual(new Set(['lr']));
    expect(found('micro b', labels)).toEqual(new Set(['micro_batch']));
    expect(found('', labels).size).toBe(3);
  });
});
