/* The bridge's other end in the browser, and what must be instant there: charts.js, and the column of controls.
 *
 * It answers each frame once that has been drawn. A hidden tab draws nothing, a closed one neither, and of a panel that
 * is scrolled away nobody sees it: no answer, and the kernel stops sending.
 */

import { watch } from './charts.js';
import { ringBell, takeKeys } from './header.js';
import { reveal } from './reveal.js';

/**
 * A chart as the kernel names it: the bqplot mark that holds its curves, their names, and what a screen reader says.
 * @typedef {object} Chart
 * @property {string} lines
 * @property {string[]} names
 * @property {number[]} [raws] The line that each of them smoothes; -1 for none.
 * @property {string} [label]
 * @property {boolean | null} [log] Whether the y axis is logarithmic; null where it may not be.
 * @property {number} [left] Pixels from the figure's left edge to the axis.
 * @property {import('./overlay.js').Overlay} [over]
 *
 * What `bridge.py` syncs.
 * @typedef {object} State
 * @property {number} frame
 * @property {Chart[]} charts
 * @property {Record<string, string[]>} groups The hyperparameters below each title.
 * @property {Record<string, string>} labels
 * @property {string} search
 * @property {string} log What the button says that changes a chart's scale.
 * @property {string} unit
 * @property {boolean} whole
 * @property {{ ended: boolean, title: string, text: string }} ending
 *
 * @typedef {import('@anywidget/types').AnyModel<State>} Model
 *
 * Listens until the widget goes.
 * @typedef {(target: EventTarget, type: string, handler: (event: any) => unknown, options?: object) => void} Listen
 */

const INPUTS = '.noUi-handle, input, select';
const NEAR = '150px'; // of what is in sight: what is about to be scrolled there
const PATIENCE = 250; // milliseconds from the last letter of a search to asking for what it finds

/** @param {{ model: Model, el: HTMLElement }} context */
function render({ model, el }) {
  const stop = new AbortController();
  /** @type {Listen} */
  const on = (target, type, handler, options = {}) =>
    target.addEventListener(type, handler, { ...options, signal: stop.signal });
  let isSeen = true;
  const answer = () =>
    isSeen &&
    // A task after the next animation frame comes when that frame has been painted: the kernel times how long all took.
    requestAnimationFrame(() =>
      setTimeout(() => {
        if (!stop.signal.aborted) model.send({ frame: model.get('frame') });
      })
    );
  model.on('change:frame', answer);
  answer();
  on(document, 'visibilitychange', () => document.hidden || answer());
  const looked = new IntersectionObserver(
    entries => {
      const wasSeen = isSeen;
      isSeen = entries.some(entry => entry.isIntersecting);
      if (isSeen && !wasSeen) answer();
    },
    { rootMargin: NEAR }
  );

  const known = new WeakSet();
  let tell = () => {};
  const attach = () => {
    if (stop.signal.aborted) return undefined;
    const panel = el.closest('.nbopt-panel, .nbopt-finder');
    if (!panel) return requestAnimationFrame(attach);
    looked.observe(panel);
    const isOwn = (/** @type {Element} */ figure) => figure.closest('.nbopt-panel, .nbopt-finder') === panel;
    const figures = /** @type {HTMLElement[]} */ ([...panel.querySelectorAll('.nbopt-figure')]).filter(isOwn);
    const isDrawn = (/** @type {Element} */ figure) => figure.querySelector('.plotarea_background') !== null;
    if (figures.length && figures.every(isDrawn) && !known.has(panel)) {
      known.add(panel);
      label(panel, model.get('labels'));
      fold(panel, model, on, stop.signal);
      if (panel.matches('.nbopt-panel')) {
        takeKeys(/** @type {HTMLElement} */ (panel), on);
        const ring = ringBell(panel, on);
        tell = () => ring(model.get('ending'));
        tell();
        model.on('change:ending', tell);
      }
    }
    figures.forEach((figure, index) => {
      if (known.has(figure) || !isDrawn(figure)) return;
      known.add(figure);
      watch(figure, index, model, on, panel, stop.signal);
    });
    const isComplete = figures.length >= model.get('charts').length && figures.every(figure => known.has(figure));
    return isComplete ? undefined : requestAnimationFrame(attach);
  };
  attach();
  model.on('change:charts', attach); // a chart may come later
  const hear = (/** @type {{ reveal?: string }} */ { reveal: run }) => {
    if (run) reveal(document, run, stop.signal);
  };
  model.on('msg:custom', hear);
  return () => {
    stop.abort();
    looked.disconnect();
    model.off('change:frame', answer);
    model.off('change:charts', attach);
    model.off('change:ending', tell);
    model.off('msg:custom', hear);
  };
}

/**
 * ipywidgets gives sliders no name for a screen reader, and tells it a position where a value is meant.
 *
 * @param {Element} panel
 * @param {Record<string, string>} labels
 */
function label(panel, labels) {
  for (const [name, text] of Object.entries(labels)) {
    for (const input of panel.querySelectorAll(`.nbopt-hp-${name} :is(${INPUTS})`)) {
      input.setAttribute('aria-label', text);
    }
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
 * Groups of controls open and close by their title, and a search shows what matches, wherever it is. The kernel makes
 * the controls of a group when it is first opened or found something in; what comes then is named and searched too.
 *
 * @param {Element} panel
 * @param {Model} model
 * @param {Listen} on
 * @param {AbortSignal} gone
 */
export function fold(panel, model, on, gone) {
  const column = panel.querySelector('.nbopt-controls');
  if (!column) return;
  /** @type {Map<string, Element>} */
  const groups = new Map();
  const request = (/** @type {string} */ name) => {
    if (groups.get(name)?.childElementCount === 1) model.send({ open: name }); // the title alone
  };
  for (const group of column.querySelectorAll('.nbopt-group')) {
    const title = /** @type {HTMLElement} */ (group.querySelector('.nbopt-group-title'));
    const name = title.textContent ?? '';
    groups.set(name, group);
    const tell = () => title.setAttribute('aria-expanded', String(!group.classList.contains('nbopt-folded')));
    const toggle = () => {
      if (!group.classList.toggle('nbopt-folded')) request(name);
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
  const search =
    /** @type {HTMLInputElement | null} */ (column.querySelector('.nbopt-search')) ??
    panel.ownerDocument.createElement('input');
  if (!search.isConnected) {
    search.className = 'nbopt-search';
    search.type = 'search';
    search.placeholder = model.get('search');
    search.setAttribute('aria-label', model.get('search'));
    column.prepend(search);
  }
  const hits = () => found(search.value, model.get('labels'));
  const sift = () => {
    const names = hits();
    column.classList.toggle('nbopt-searching', search.value.trim() !== '');
    for (const name of Object.keys(model.get('labels'))) {
      column.querySelector(`.nbopt-hp-${name}`)?.classList.toggle('nbopt-unmatched', !names.has(name));
    }
  };
  let timer = 0;
  on(search, 'keydown', event => event.stopPropagation()); // the notebook has shortcuts of one letter
  on(search, 'input', () => {
    sift();
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      if (gone.aborted || search.value.trim() === '') return;
      const names = hits();
      for (const [name, members] of Object.entries(model.get('groups'))) {
        if (members.some(member => names.has(member))) request(name);
      }
    }, PATIENCE);
  });
  let frame = 0;
  const arrived = new MutationObserver(changes => {
    if (frame || !changes.some(({ addedNodes }) => [...addedNodes].some(bearsInput))) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      label(panel, model.get('labels'));
      sift();
    });
  });
  arrived.observe(column, { childList: true, subtree: true });
  gone.addEventListener('abort', () => arrived.disconnect());
}

/** @param {Node} node */
function bearsInput(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return false;
  const element = /** @type {Element} */ (node);
  return element.matches(INPUTS) || element.querySelector(INPUTS) !== null;
}

/**
 * The hyperparameters whose name or label has `text` in it.
 *
 * @param {string} text
 * @param {Record<string, string>} labels
 */
export function found(text, labels) {
  const wanted = text.trim().toLowerCase();
  const hits = Object.entries(labels).filter(
    ([name, title]) => name.includes(wanted.replace(/ /g, '_')) || title.toLowerCase().includes(wanted)
  );
  return new Set(hits.map(([name]) => name));
}

export default { render };
