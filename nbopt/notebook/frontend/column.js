/* The column of controls in the browser: names for screen readers, groups that fold, the search, and what keys do. */

import { act } from './hands.js';

/**
 * @typedef {import('./companion.js').Model} Model
 * @typedef {import('./companion.js').Listen} Listen
 */

const INPUTS = '.noUi-handle, input, select';
const PATIENCE = 250; // milliseconds from the last letter of a search to asking for what it finds

/**
 * ipywidgets gives sliders no name for a screen reader, and tells it a position where a value is meant.
 *
 * @param {Element} panel
 * @param {Record<string, string>} labels
 */
export function label(panel, labels) {
  for (const [name, text] of Object.entries(labels)) {
    for (const input of panel.querySelectorAll(`.nbopt-hp-${name} :is(${INPUTS})`)) {
      input.setAttribute('aria-label', text);
    }
  }
  for (const named of panel.querySelectorAll('.nbopt-preset-list, .nbopt-preset')) {
    const input = named.querySelector('input, select');
    input?.setAttribute('aria-label', named.querySelector('.widget-label')?.textContent ?? '');
  }
  for (const slider of panel.querySelectorAll('.widget-hslider')) {
    const [handle, readout] = [slider.querySelector('.noUi-handle'), slider.querySelector('.widget-readout')];
    if (!handle || !readout || readout.getAttribute('role') === 'textbox') continue;
    const text = handle.getAttribute('aria-label') ?? slider.querySelector('.widget-label')?.textContent ?? '';
    handle.setAttribute('aria-label', text);
    readout.setAttribute('aria-label', text);
    readout.setAttribute('role', 'textbox');
    const target = /** @type {any} */ (slider.querySelector('.noUi-target'));
    target.noUiSlider?.on('update', () => {
      handle.setAttribute('aria-valuetext', readout.textContent ?? '');
    });
  }
}

/**
 * Each control gets a question mark that opens its help, for keyboard and finger.
 *
 * @param {Element} column
 * @param {Model} model
 */
function explain(column, model) {
  for (const control of column.querySelectorAll('.nbopt-control:not(:has(> .nbopt-help))')) {
    const button = control.ownerDocument.createElement('button');
    const name = /nbopt-hp-(\S+)/.exec(control.className)?.[1] ?? '';
    button.type = 'button';
    button.className = 'nbopt-help';
    button.textContent = '?';
    button.setAttribute('aria-label', model.get('says').help.replace('{name}', model.get('labels')[name] ?? name));
    button.setAttribute('aria-expanded', 'false');
    button.onclick = () => button.setAttribute('aria-expanded', String(control.classList.toggle('nbopt-told')));
    control.append(button);
  }
}

/**
 * Groups of controls open and close by their title, and a search shows what matches, wherever it is. The kernel makes
 * the controls of a group when it is first opened, and those that a search finds; what comes then is named and searched
 * too.
 *
 * @param {Element} panel
 * @param {Model} model
 * @param {Listen} on
 * @param {AbortSignal} gone
 */
export function fold(panel, model, on, gone) {
  const column = panel.querySelector('.nbopt-controls');
  if (!column) return;
  for (const group of column.querySelectorAll('.nbopt-group')) {
    const title = /** @type {HTMLElement} */ (group.querySelector('.nbopt-group-title'));
    const tell = () => title.setAttribute('aria-expanded', String(!group.classList.contains('nbopt-folded')));
    const toggle = () => {
      const isOpen = !group.classList.toggle('nbopt-folded');
      if (isOpen && group.querySelectorAll(':scope > :not(.nbopt-group)').length === 1)
        model.send({ open: title.textContent ?? '' });
      tell();
    };
    title.setAttribute('role', 'button');
    title.tabIndex = 0;
    tell();
    on(title, 'click', toggle);
    on(title, 'keydown', event => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      event.stopPropagation();
      toggle();
    });
  }
  const { search, nothing } = findings(column, model, on, gone);
  const hits = () => found(search.value, model.get('labels'), model.get('groups'), model.get('words'));
  const sift = () => {
    const names = hits();
    column.classList.toggle('nbopt-searching', search.value.trim() !== '');
    for (const name of Object.keys(model.get('labels'))) {
      column.querySelector(`.nbopt-hp-${name}`)?.classList.toggle('nbopt-unmatched', !names.has(name));
    }
    nothing.textContent = names.size ? '' : model.get('says').nothing.replace('{text}', search.value.trim());
  };
  let timer = 0;
  on(search, 'keydown', event => event.stopPropagation()); // the notebook has shortcuts of one letter
  on(search, 'input', () => {
    sift();
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      if (gone.aborted || search.value.trim() === '') return;
      const missing = [...hits()].filter(name => !column.querySelector(`.nbopt-hp-${name}`));
      if (missing.length) model.send({ find: missing });
    }, PATIENCE);
  });
  explain(column, model);
  act(panel, model, on);
  let frame = 0;
  const arrived = new MutationObserver(changes => {
    if (frame || !changes.some(({ addedNodes }) => [...addedNodes].some(bearsInput))) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      label(panel, model.get('labels'));
      explain(column, model);
      sift();
    });
  });
  arrived.observe(column, { childList: true, subtree: true });
  gone.addEventListener('abort', () => arrived.disconnect());
}

/**
 * The row above the controls: the search, and a button that undoes; and below it the place for what is not found.
 *
 * @param {Element} column
 * @param {Model} model
 * @param {Listen} on
 * @param {AbortSignal} gone
 */
function findings(column, model, on, gone) {
  if (!column.querySelector('.nbopt-find')) {
    const row = column.ownerDocument.createElement('div');
    row.className = 'nbopt-find';
    row.innerHTML = '<input type="search" class="nbopt-search"><button type="button" class="nbopt-undo">↶</button>';
    const note = column.ownerDocument.createElement('div');
    note.className = 'nbopt-nothing';
    note.setAttribute('role', 'status');
    column.prepend(row, note);
  }
  const search = /** @type {HTMLInputElement} */ (column.querySelector('.nbopt-search'));
  const undo = /** @type {HTMLButtonElement} */ (column.querySelector('.nbopt-undo'));
  search.placeholder = model.get('search');
  search.setAttribute('aria-label', model.get('search'));
  undo.setAttribute('aria-label', model.get('says').undo);
  const offer = () => {
    undo.disabled = !model.get('undo');
    undo.title = [model.get('says').undo, model.get('undo')].filter(Boolean).join(': ');
  };
  model.on('change:undo', offer);
  gone.addEventListener('abort', () => model.off('change:undo', offer));
  offer();
  on(undo, 'click', () => model.send({ undo: true }));
  return { search, nothing: /** @type {HTMLElement} */ (column.querySelector('.nbopt-nothing')) };
}

/** @param {Node} node */
function bearsInput(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return false;
  const element = /** @type {Element} */ (node);
  return element.matches(INPUTS) || element.querySelector(INPUTS) !== null;
}

/**
 * The hyperparameters that `text` names: by name or label, what others call them, an option, or the title of their group.
 *
 * @param {string} text
 * @param {Record<string, string>} labels
 * @param {Record<string, string[]>} groups
 * @param {Record<string, string>} words
 */
export function found(text, labels, groups, words) {
  const wanted = text.trim().toLowerCase();
  const joined = wanted.replace(/[ -]/g, '_');
  const titled = new Set(
    Object.entries(groups)
      .filter(([title]) => title.toLowerCase().includes(wanted))
      .flatMap(([, members]) => members)
  );
  const hits = Object.entries(labels).filter(
    ([name, title]) =>
      titled.has(name) ||
      name.includes(joined) ||
      title.toLowerCase().includes(wanted) ||
      (words[name] ?? '')
        .toLowerCase()
        .replace(/-/g, '_')
        .split(' ')
        .some(word => word.includes(joined))
  );
  return new Set(hits.map(([name]) => name));
}
