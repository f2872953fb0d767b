import { afterEach, describe, expect, test, vi } from 'vitest';

import takeaway, { addCell, give } from '../../nbopt/notebook/panel/takeaway/takeaway.js';

const words = {
  download: 'Download',
  copy: 'Copy',
  cell: 'New cell',
  downloaded: 'Downloaded {name}.',
  copied: 'Copied.',
  added: 'Added.',
  none: 'None.',
  failed: 'Not allowed: {error}'
};
const taken = {
  what: 'csv',
  how: 'copy',
  name: 'a.csv',
  mime: 'text/csv',
  text: 'step',
  cell: 'x = 1',
  kind: 'code'
} as const;

afterEach(() => {
  vi.unstubAllGlobals();
  document.body.innerHTML = '';
});

/** A clipboard, and what was put there. */
function clipboard() {
  const written: string[] = [];
  vi.stubGlobal('navigator', { clipboard: { writeText: async (text: string) => written.push(text) } });
  return written;
}

describe('what is taken away', () => {
  test('is asked for by a button for each way', () => {
    const sent: unknown[] = [];
    const state: Record<string, unknown> = { words, note: '', items: [['csv', 'Curves <b>', 'All']] };
    const model = {
      get: (name: string) => state[name],
      send: (message: unknown) => sent.push(message),
      on: () => undefined,
      off: () => undefined
    };
    const el = document.body.appendChild(document.createElement('div'));
    takeaway.render({ model: model as never, el });
    const buttons = [...el.querySelectorAll('button')];
    expect(buttons.map(button => button.getAttribute('aria-label'))).toEqual([
      'Download: Curves <b>',
      'Copy: Curves <b>',
      'New cell: Curves <b>'
    ]);
    buttons[0].click();
    expect(sent).toEqual([{ take: 'csv', how: 'download' }]);
    expect(el.querySelector('b')).toBeNull();
  });

  test('is copied as it is', async () => {
    const written = clipboard();
    expect(await give(taken, document.body, words)).toBe('Copied.');
    expect(written).toEqual(['step']);
  });

  test('goes into a cell where somebody adds it, and is copied where nobody does', async () => {
    const written = clipboard();
    const el = document.body.appendChild(document.createElement('div'));
    expect(await give({ ...taken, how: 'cell' }, el, words)).toBe('None.');
    expect(written).toEqual(['x = 1']);
    let detail: unknown;
    const answer = (event: Event) => {
      detail = (event as CustomEvent).detail;
      event.preventDefault();
    };
    document.addEventListener('nbopt:new-cell', answer);
    expect(await give({ ...taken, how: 'cell' }, el, words)).toBe('Added.');
    expect(detail).toEqual({ source: 'x = 1', type: 'code' });
    document.removeEventListener('nbopt:new-cell', answer);
    expect(addCell(el, taken)).toBe(false);
    expect(written).toHaveLength(1);
  });
});
