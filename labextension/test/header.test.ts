import { beforeEach, describe, expect, test, vi } from 'vitest';

import { holdFocus } from '../../nbopt/notebook/frontend/focus.js';
import { press, ringBell, takeKeys } from '../../nbopt/notebook/frontend/header.js';

const on = (target: EventTarget, type: string, handler: EventListener, options?: AddEventListenerOptions) =>
  target.addEventListener(type, handler, options);

function panel(state: 'running' | 'paused'): HTMLElement {
  const off = (...states: string[]) => (states.includes(state) ? '' : 'disabled');
  document.body.innerHTML = `<div class="nbopt-panel" tabindex="0"><span class="nbopt-name">digits</span>
    <button class="nbopt-start" ${off('paused')}></button><button class="nbopt-pause" ${off('running')}></button>
    <button class="nbopt-step" ${off('paused')}></button><button class="nbopt-branch"></button>
    <button class="nbopt-bell"><i class="fa-bell-o"></i></button>
    <input><div class="noUi-handle" tabindex="0"></div><div class="nbopt-figure" tabindex="0"></div></div>`;
  return document.querySelector('.nbopt-panel') as HTMLElement;
}

function clicks(root: HTMLElement): string[] {
  const found: string[] = [];
  for (const button of root.querySelectorAll('button')) {
    button.addEventListener('click', () => found.push(button.className));
  }
  return found;
}

const key = (name: string, more = {}) =>
  new KeyboardEvent('keydown', { key: name, bubbles: true, cancelable: true, ...more });

describe('a key in the panel', () => {
  test('pauses, goes on, steps and branches, and reaches no shortcut of the notebook', () => {
    for (const [state, space] of [
      ['running', 'nbopt-pause'],
      ['paused', 'nbopt-start']
    ] as const) {
      const root = panel(state);
      const found = clicks(root);
      const notebook = vi.fn();
      document.addEventListener('keydown', notebook, { capture: true });
      const gone = new AbortController();
      takeKeys(root, (target, type, handler, options) =>
        on(target, type, handler, { ...options, signal: gone.signal })
      );
      for (const name of [' ', 's', 'b']) root.dispatchEvent(key(name));
      expect(found).toEqual([space, ...(state === 'paused' ? ['nbopt-step'] : []), 'nbopt-branch']);
      expect(notebook).not.toHaveBeenCalled();
      root.dispatchEvent(key('x'));
      expect(notebook).toHaveBeenCalledOnce();
      document.removeEventListener('keydown', notebook, { capture: true });
      gone.abort();
    }
  });

  test('is left to inputs, buttons and sliders, and to others with a modifier', () => {
    const root = panel('paused');
    const found = clicks(root);
    for (const name of ['input', 'button', '.noUi-handle']) {
      const event = key('b');
      Object.defineProperty(event, 'target', { value: root.querySelector(name) });
      expect(press(root, event)).toBe(false);
    }
    const event = key('s', { ctrlKey: true });
    Object.defineProperty(event, 'target', { value: root });
    expect(press(root, event)).toBe(false);
    const figure = key('b');
    Object.defineProperty(figure, 'target', { value: root.querySelector('.nbopt-figure') });
    expect(press(root, figure)).toBe(true);
    expect(found).toEqual(['nbopt-branch']);
  });
});

describe('the focus', () => {
  test('is in the panel before the notebook hears of a press, and stays as a button goes', () => {
    const root = panel('paused');
    holdFocus(root, on);
    const heard: unknown[] = [];
    root.addEventListener('mousedown', () => heard.push(document.activeElement));
    const start = root.querySelector('.nbopt-start') as HTMLButtonElement;
    start.dispatchEvent(new MouseEvent('mousedown', { bubbles: true, shiftKey: true }));
    start.focus();
    start.dispatchEvent(new MouseEvent('mousedown', { bubbles: true }));
    expect(heard).toEqual([root, start]);
    start.dispatchEvent(new FocusEvent('focusout', { bubbles: true })); // the window is another one now
    expect(document.activeElement).toBe(start);
    start.disabled = true;
    start.dispatchEvent(new FocusEvent('focusout', { bubbles: true }));
    expect(document.activeElement).toBe(root);
  });

  test('of a list of options keeps its keys, and leaves those with a modifier to the notebook', () => {
    const root = panel('paused');
    holdFocus(root, on);
    const list = root.appendChild(document.createElement('select'));
    const notebook: string[] = [];
    const gone = new AbortController();
    document.addEventListener('keydown', event => notebook.push(event.key), { signal: gone.signal });
    for (const name of ['ArrowDown', 'd']) list.dispatchEvent(key(name));
    list.dispatchEvent(key('s', { ctrlKey: true }));
    root.dispatchEvent(key('x'));
    gone.abort();
    expect(notebook).toEqual(['s', 'x']);
  });
});

describe('the bell', () => {
  const told: unknown[] = [];
  const ask = vi.fn();
  beforeEach(() => {
    told.length = 0;
    ask.mockClear();
    document.title = 'notebook';
    class Spoken {
      static permission = 'default';
      static requestPermission() {
        ask();
        Spoken.permission = 'granted';
      }
      constructor(title: string, { body }: { body: string }) {
        told.push([title, body]);
      }
    }
    vi.stubGlobal('Notification', Spoken);
    vi.spyOn(document, 'hasFocus').mockReturnValue(false);
  });
  const at = (ended: boolean) => ({ ended, title: 'digits: Finished', text: 'all 3 epochs done' });

  test('is silent, and asks for nothing, unless somebody wants it', () => {
    const ring = ringBell(panel('running'), on as never);
    ring(at(false));
    ring(at(true));
    expect(told).toEqual([]);
    expect(document.title).toBe('notebook');
    expect(ask).not.toHaveBeenCalled();
  });

  test('tells once, in a notification and in the title of the tab until that is looked at', () => {
    const root = panel('running');
    const ring = ringBell(root, on as never);
    ring(at(false));
    (root.querySelector('.nbopt-bell') as HTMLElement).click();
    expect(ask).toHaveBeenCalledOnce();
    ring(at(true));
    ring(at(true));
    expect(told).toEqual([['digits: Finished', 'all 3 epochs done']]);
    expect(document.title).toBe('digits: Finished · notebook');
    window.dispatchEvent(new Event('focus'));
    expect(document.title).toBe('notebook');
  });

  test('says nothing of a run that had ended before the page was opened', () => {
    const root = panel('paused');
    const ring = ringBell(root, on as never);
    (root.querySelector('.nbopt-bell') as HTMLElement).click();
    ring(at(true));
    expect(told).toEqual([]);
  });
});
