import { afterEach, describe, expect, test, vi } from 'vitest';

import { fold, found } from '../../nbopt/notebook/frontend/column.js';
import { act } from '../../nbopt/notebook/frontend/hands.js';

describe('the column of controls', () => {
  const labels = { lr: 'Learning rate', mixup: 'Mixup', micro_batch: 'Micro-batch' };
  const groups = { Optimizer: ['lr'], 'Augmentation & more': ['mixup'], Batches: ['micro_batch'] };
  const words = { lr: 'learning_rate eta', mixup: '', micro_batch: 'grad_accumulation' };
  const says = { help: 'Help: {name}', nothing: 'Nothing: {text}', undo: 'Undo' };
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
    const state: Record<string, unknown> = { labels, groups, words, says, undo: '', search: 'Find a control' };
    const sent: unknown[] = [];
    const model = { get: (name: string) => state[name], send: (message: unknown) => sent.push(message), on: () => {} };
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
    expect(sent).toEqual([{ find: ['mixup'] }]);
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

  test('is searched by name, label, what others call it and group, with blanks for underscores', () => {
    const names = (text: string) => [...found(text, labels, groups, words)];
    expect(names(' LEARN ')).toEqual(['lr']);
    expect(names('micro b')).toEqual(['micro_batch']);
    expect(names('grad-acc')).toEqual(['micro_batch']);
    expect(names('eta')).toEqual(['lr']);
    expect(names('augmentation')).toEqual(['mixup']);
    expect(names('')).toHaveLength(3);
  });

  test('says when a search finds nothing, and no more when it does', () => {
    const { search } = column();
    const note = document.querySelector('.nbopt-nothing');
    seek(search, 'momentun');
    expect(note?.textContent).toBe('Nothing: momentun');
    seek(search, 'mixup');
    expect(note?.textContent).toBe('');
  });

  test('has a help for each control, told to a screen reader', () => {
    column();
    const button = document.querySelector<HTMLButtonElement>('.nbopt-hp-lr > .nbopt-help');
    expect(button?.getAttribute('aria-label')).toBe('Help: Learning rate');
    button?.click();
    expect(button?.getAttribute('aria-expanded')).toBe('true');
    expect(document.querySelector('.nbopt-hp-lr')?.classList.contains('nbopt-told')).toBe(true);
  });
});

describe('hands on a control', () => {
  /** A control with a number's box and a slider, and what was told of it. */
  function control() {
    document.body.innerHTML = `<div class="nbopt-panel"><div class="nbopt-control nbopt-hp-lr nbopt-long">
      <div><label class="nbopt-label">Learning rate</label><button class="nbopt-reset">Reset</button><button class="nbopt-which">Which</button></div>
      <div class="widget-hslider"><b>o</b></div><div class="nbopt-box"><input value="0.1"></div></div>
      <input type="checkbox">
      <div class="nbopt-control nbopt-hp-flag"><div class="widget-checkbox"><label><input type="checkbox">Flag</label>
      </div></div></div>`;
    const sent: unknown[] = [];
    const panel = document.querySelector('.nbopt-panel') as Element;
    const on = (target: EventTarget, type: string, handler: EventListener, options = {}) =>
      target.addEventListener(type, handler, options);
    act(panel, { send: (message: unknown) => sent.push(message) } as never, on);
    return { sent, panel, box: document.querySelector('.nbopt-box input') as HTMLInputElement };
  }
  const type = (box: HTMLInputElement, text: string) => {
    box.dispatchEvent(new Event('beforeinput', { bubbles: true }));
    box.value = text;
  };
  const press = (target: Element, key: string, more = {}) =>
    target.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, ...more }));

  test('a double click on label or slider resets, and so does a button', () => {
    const { sent } = control();
    for (const part of ['.nbopt-label', '.widget-hslider b', 'input']) {
      document.querySelector(part)?.dispatchEvent(new MouseEvent('dblclick', { bubbles: true }));
    }
    expect(sent).toEqual([{ reset: 'lr' }, { reset: 'lr' }]);
    document.querySelector<HTMLElement>('.nbopt-reset')?.click();
    expect(sent).toHaveLength(3);
    document.querySelector<HTMLElement>('.nbopt-which')?.click();
    expect(sent[3]).toEqual({ which: 'lr' });
  });

  test('a double click on a check box or its name resets, and moves it once', () => {
    const { sent } = control();
    const box = document.querySelector<HTMLInputElement>('.nbopt-hp-flag input');
    let moved = 0;
    box?.addEventListener('click', () => moved++);
    for (const target of [box, document.querySelector('.nbopt-hp-flag label')]) {
      const was = box?.checked;
      target?.dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true, detail: 1 }));
      target?.dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true, detail: 2 }));
      target?.dispatchEvent(new MouseEvent('dblclick', { bubbles: true }));
      expect(box?.checked).toBe(!was);
    }
    expect(moved).toBe(2);
    expect(sent).toEqual([{ reset: 'flag' }, { reset: 'flag' }]);
  });

  test('Ctrl-Z undoes, but not while a text is edited', () => {
    const { sent, box, panel } = control();
    press(panel.querySelector('[type=checkbox]') as Element, 'z', { ctrlKey: true });
    box.focus();
    press(box, 'z', { metaKey: true });
    expect(sent).toEqual([{ undo: true }, { undo: true }]);
    type(box, '0.15');
    press(box, 'z', { ctrlKey: true });
    box.dispatchEvent(new Event('change', { bubbles: true }));
    press(box, 'Z', { ctrlKey: true, shiftKey: true });
    press(box, 'z');
    expect(sent).toHaveLength(2);
    press(box, 'z', { ctrlKey: true });
    expect(sent).toHaveLength(3);
  });

  test('Escape puts back what a box held, and what was refused', () => {
    const { sent, box } = control();
    box.focus();
    type(box, '0.15');
    press(box, 'Escape');
    expect([box.value, sent]).toEqual(['0.1', []]);
    type(box, 'fast');
    box.dispatchEvent(new Event('change', { bubbles: true }));
    document.querySelector('.nbopt-label')?.insertAdjacentHTML('afterend', '<span class="nbopt-problem">no</span>');
    press(box, 'Escape');
    expect(sent).toEqual([{ restore: 'lr' }]);
  });
});
