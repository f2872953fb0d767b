import { beforeEach, describe, expect, test, vi } from 'vitest';

import { askWhatIf } from '../../nbopt/notebook/frontend/strips.js';

const says = { what_if: 'What if?', strips: 'What if: {name}', hint: 'hint', sight: 'All', none: 'None', auto: 'auto' };
const bar = (best = 0) => ({
  cells: [
    ['0.001', -0.8, false, best === 0, 'lr 0.001: 0.4 ± 0.1 after 9 steps', 0],
    ['0.01', 0, true, best === 1, 'lr 0.01: 0.5 ± 0.1 after 9 steps', 0.5],
    ['0.1', 0.5, false, best === 2, 'lr 0.1: 0.9 ± 0.1 after 9 steps', 1]
  ],
  says: 'lr 0.001: 0.4 ± 0.1 after 9 steps',
  busy: false,
  stale: false
});

describe('strips below controls', () => {
  let sent: unknown[];
  let change: (strips: object) => void;
  const $ = (css: string) => document.querySelector<HTMLElement>(css) as HTMLElement;
  const cells = () => [...document.querySelectorAll<HTMLElement>('.nbopt-if-bar button')];
  const line = () => $('.nbopt-hp-lr .nbopt-if-says').textContent;

  beforeEach(() => {
    document.body.innerHTML = `<div class="nbopt-panel"><div class="nbopt-controls"><div class="nbopt-find"></div>
      <div class="nbopt-control nbopt-hp-lr"><div class="nbopt-about"><button class="nbopt-ask"></button></div></div>
      </div></div>`;
    sent = [];
    const strips = { bars: { lr: null }, map: null, pair: [], ahead: 0, share: 10, numbers: ['lr', 'momentum'] };
    const state: Record<string, unknown> = { strips, says, labels: { lr: 'Learning rate', momentum: 'Momentum' } };
    const heard: (() => void)[] = [];
    const model = {
      get: (name: string) => state[name],
      send: (message: unknown) => sent.push(message),
      on: (_name: string, callback: () => void) => heard.push(callback)
    };
    change = more => {
      state.strips = { ...strips, ...more };
      for (const callback of heard) callback();
    };
    const on = (target: EventTarget, type: string, handler: EventListener) => target.addEventListener(type, handler);
    askWhatIf($('.nbopt-panel'), model as never, on, new AbortController().signal);
  });

  test('the first is offered, and asked for by a click there or in the help', () => {
    $('.nbopt-if-offer').click();
    $('.nbopt-ask').click();
    expect(sent).toEqual([{ ask: ['lr'] }, { ask: ['lr'] }]);
    change({ bars: { lr: bar() } });
    $('.nbopt-ask').click();
    expect(sent[2]).toEqual({ leave: ['lr'] });
  });

  test('cells lie along the slider, are coloured, marked, and clicked', () => {
    change({ bars: { lr: bar() } });
    expect(cells().map(cell => [cell.style.left, cell.style.width])).toEqual([
      ['0%', '25%'],
      ['25%', '50%'],
      ['75%', '25%']
    ]);
    expect(cells()[0].classList).toContain('nbopt-if-best');
    expect(cells()[1].classList).toContain('nbopt-if-now');
    cells()[2].click();
    expect(sent).toEqual([{ take: ['lr'], label: '0.1' }]);
  });

  test('what a cell says is read under the pointer and from the keyboard, and stays with news', () => {
    change({ bars: { lr: bar() } });
    expect(line()).toBe('0.001: 0.4 ± 0.1 after 9 steps');
    cells()[2].dispatchEvent(new Event('pointerover', { bubbles: true }));
    expect(line()).toBe('0.1: 0.9 ± 0.1 after 9 steps');
    $('.nbopt-if-bar').dispatchEvent(new Event('pointerleave'));
    expect(line()).toBe('0.001: 0.4 ± 0.1 after 9 steps');
    expect(cells().map(cell => cell.tabIndex)).toEqual([-1, 0, -1]);
    cells()[1].focus();
    cells()[1].dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
    expect(document.activeElement).toBe(cells()[2]);
    change({ bars: { lr: bar(2) } });
    expect(document.activeElement).toBe(cells()[2]);
    expect([line(), cells()[2].tabIndex]).toEqual(['0.1: 0.9 ± 0.1 after 9 steps', 0]);
  });

  test('a control that comes later gets its strip, and one that is left loses it', async () => {
    change({ bars: { lr: bar(), momentum: bar() } });
    $('.nbopt-controls').insertAdjacentHTML('beforeend', '<div class="nbopt-control nbopt-hp-momentum"><input></div>');
    await vi.waitFor(() => expect($('.nbopt-hp-momentum .nbopt-if-bar')).not.toBeNull());
    change({ bars: { lr: null } });
    expect($('.nbopt-hp-momentum .nbopt-if')).toBeNull();
    expect($('.nbopt-hp-lr .nbopt-if-offer')).not.toBeNull();
  });

  test('the pane says how far ahead, in which share, and of which two there is a map', () => {
    $('.nbopt-if-open').click();
    expect($('.nbopt-if-pane').hidden).toBe(false);
    const set = (css: string, value: string) => {
      ($(css) as HTMLInputElement).value = value;
      $(css).dispatchEvent(new Event('change'));
    };
    set('.nbopt-if-ahead', '40');
    set('.nbopt-if-share', '400');
    set('.nbopt-if-one', 'lr');
    set('.nbopt-if-other', 'momentum');
    $('.nbopt-if-none').click();
    expect(sent).toEqual([
      { ahead: 40 },
      { share: 50 },
      { map: null },
      { map: ['lr', 'momentum'] },
      { leave: ['lr'] },
      { map: null }
    ]);
    const cell = ['0.01, 0.9', 0.4, false, true, 'both', 0, 1];
    change({
      pair: ['lr', 'momentum'],
      map: { cells: [cell], says: '', busy: true, stale: false, rows: ['0.01'], columns: ['0', '0.9'] }
    });
    $('.nbopt-if-map button').click();
    expect(sent[6]).toEqual({ take: ['lr', 'momentum'], label: '0.01, 0.9' });
    expect($('.nbopt-if-map').textContent).toContain('0.9');
  });
});
