/* The bridge's other end in the browser, and what must be instant there: read-out under the pointer, box zoom.
 * A click without a drag picks a point, for the kernel to go back to.
 *
 * It answers each frame once that has been drawn. A hidden tab draws nothing, a closed one neither: no answer, and the
 * kernel stops sending. Curves and scales are read from bqplot's own models; nothing is sent twice.
 */

/**
 * A chart as the kernel names it: the bqplot mark that holds its curves, their names, and what a screen reader says.
 * @typedef {{ lines: string, names: string[], label?: string }} Chart
 *
 * What `bridge.py` syncs.
 * @typedef {object} State
 * @property {number} frame
 * @property {Chart[]} charts
 * @property {Record<string, string[]>} groups The hyperparameters below each title.
 * @property {Record<string, string>} labels
 * @property {string} search
 * @property {{ x: number, text: string }[]} marks
 * @property {string} unit
 * @property {boolean} whole
 *
 * @typedef {import('@anywidget/types').AnyModel<State>} Model
 * @typedef {{ min: number, max: number, log: boolean }} Range
 * @typedef {{ x: Range, y: Range, xs: ArrayLike<number>[], ys: ArrayLike<number>[] }} Drawn
 * @typedef {{ x: number, y: number }} Place
 *
 * Listens until the widget goes.
 * @typedef {(target: EventTarget, type: string, handler: (event: any) => unknown, options?: object) => void} Listen
 */

import { brief, count } from './numbers.js';

const INPUTS = '.noUi-handle, input, select';
const PATIENCE = 250; // milliseconds from the last letter of a search to asking for what it finds

/** @type {Record<string, number>} */
const KEYS = { '+': 0.5, '=': 0.5, '-': 2 };

/** @param {{ model: Model, el: HTMLElement }} context */
function render({ model, el }) {
  const stop = new AbortController();
  /** @type {Listen} */
  const on = (target, type, handler, options = {}) =>
    target.addEventListener(type, handler, { ...options, signal: stop.signal });
  const answer = () =>
    // A task after the next animation frame comes when that frame has been painted: the kernel times how long all took.
    requestAnimationFrame(() =>
      setTimeout(() => {
        if (!stop.signal.aborted) model.send({ frame: model.get('frame') });
      })
    );
  model.on('change:frame', answer);
  answer();
  on(document, 'visibilitychange', () => document.hidden || answer());

  const known = new WeakSet();
  const attach = () => {
    if (stop.signal.aborted) return undefined;
    const panel = el.closest('.nbopt-panel, .nbopt-finder');
    if (!panel) return requestAnimationFrame(attach);
    const figures = /** @type {HTMLElement[]} */ ([...panel.querySelectorAll('.nbopt-figure')]);
    const isDrawn = (/** @type {Element} */ figure) => figure.querySelector('.plotarea_background') !== null;
    if (figures.length && figures.every(isDrawn) && !known.has(panel)) {
      known.add(panel);
      label(panel, model.get('labels'));
      fold(panel, model, on, stop.signal);
    }
    figures.forEach((figure, index) => {
      if (known.has(figure) || !isDrawn(figure)) return;
      known.add(figure);
      watch(figure, index, model, on, panel);
    });
    const isComplete = figures.length >= model.get('charts').length && figures.every(figure => known.has(figure));
    return isComplete ? undefined : requestAnimationFrame(attach);
  };
  attach();
  model.on('change:charts', attach); // a chart may come later
  return () => {
    stop.abort();
    model.off('change:frame', answer);
    model.off('change:charts', attach);
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

/**
 * @param {HTMLElement} figure
 * @param {number} index
 * @param {Model} model
 * @param {Listen} on
 * @param {Element} panel
 */
function watch(figure, index, model, on, panel) {
  const tip = panel.ownerDocument.createElement('div');
  tip.className = 'nbopt-tip';
  const box = panel.ownerDocument.createElement('div');
  box.className = 'nbopt-zoom-box';
  const hair = panel.ownerDocument.createElement('div');
  hair.className = 'nbopt-hair';
  figure.style.position = 'relative';
  figure.append(hair, box, tip);
  figure.tabIndex = 0;
  figure.setAttribute('role', 'img');
  figure.setAttribute('aria-label', model.get('charts')[index]?.label ?? '');

  /** @type {Place | null} */
  let drag = null;
  const area = () => /** @type {Element} */ (figure.querySelector('.plotarea_background')).getBoundingClientRect();
  const inside = (/** @type {PointerEvent} */ event, /** @type {DOMRect} */ rect) =>
    event.clientX >= rect.left &&
    event.clientX <= rect.right &&
    event.clientY >= rect.top &&
    event.clientY <= rect.bottom;
  const hide = () => {
    for (const part of [tip, hair]) part.style.display = 'none';
  };
  const send = (/** @type {{ x: number[] | null, y: number[] | null }} */ zoom) =>
    model.send({ zoom: { chart: index, ...zoom } });

  on(figure, 'pointermove', async event => {
    const rect = area();
    if (drag) return stretch(box, figure, drag, event, rect);
    if (!inside(event, rect)) return hide();
    const chart = await read(model, index);
    const x = between(chart.x, (event.clientX - rect.left) / rect.width);
    show({ tip, hair, figure, rect, event, chart, x, model, names: model.get('charts')[index].names });
  });
  on(figure, 'pointerleave', hide);
  on(figure, 'pointerdown', event => {
    if (event.button !== 0 || !inside(event, area())) return;
    drag = { x: event.clientX, y: event.clientY };
    figure.setPointerCapture(event.pointerId);
    event.preventDefault();
    figure.focus({ preventScroll: true });
    hide();
  });
  on(figure, 'pointerup', async event => {
    if (!drag) return;
    const [from, rect] = [drag, area()];
    drag = null;
    box.style.display = 'none';
    const [x0, x1] = order(from.x, event.clientX).map(v => clamp((v - rect.left) / rect.width));
    const [y0, y1] = order(from.y, event.clientY).map(v => clamp((v - rect.top) / rect.height));
    const chart = await read(model, index);
    if ((x1 - x0) * rect.width < 5) {
      if (Math.abs(from.y - event.clientY) < 5) model.send({ pick: between(chart.x, x0) });
      return;
    }
    const tall = (y1 - y0) * rect.height >= 5;
    send({
      x: [between(chart.x, x0), between(chart.x, x1)],
      y: tall ? [between(chart.y, 1 - y1), between(chart.y, 1 - y0)] : null
    });
  });
  on(figure, 'pointercancel', () => {
    drag = null;
    box.style.display = 'none';
  });
  on(figure, 'dblclick', () => {
    model.send({ pick: null });
    send({ x: null, y: null });
  });
  on(figure, 'keydown', async event => {
    const { x } = await read(model, index);
    const width = x.max - x.min;
    if (event.key in KEYS) {
      const middle = (x.min + x.max) / 2;
      const half = (width * KEYS[event.key]) / 2;
      send({ x: [middle - half, middle + half], y: null });
    } else if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') {
      const shift = (event.key === 'ArrowLeft' ? -width : width) / 4;
      send({ x: [x.min + shift, x.max + shift], y: null });
    } else if (event.key === '0' || event.key === 'Escape') {
      send({ x: null, y: null });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/**
 * A chart as it stands: its scales, and its curves as bqplot holds them.
 *
 * @param {Model} model
 * @param {number} index
 * @returns {Promise<Drawn>}
 */
async function read(model, index) {
  /** @type {import('@anywidget/types').AnyModel} */
  const lines = await model.widget_manager.get_model(model.get('charts')[index].lines);
  const scales = lines.get('scales');
  const range = (/** @type {import('@anywidget/types').AnyModel} */ scale) => ({
    min: scale.get('min'),
    max: scale.get('max'),
    log: scale.get('_model_name') === 'LogScaleModel'
  });
  return { x: range(scales.x), y: range(scales.y), xs: lines.get('x'), ys: lines.get('y') };
}

/**
 * The value at a part of a range, on its scale.
 *
 * @param {Range} range
 * @param {number} part From 0 to 1.
 */
export function between({ min, max, log }, part) {
  return log ? Math.exp(Math.log(min) + part * (Math.log(max) - Math.log(min))) : min + part * (max - min);
}

/**
 * @param {object} what
 * @param {HTMLElement} what.tip
 * @param {HTMLElement} what.hair
 * @param {HTMLElement} what.figure
 * @param {DOMRect} what.rect
 * @param {PointerEvent} what.event
 * @param {Drawn} what.chart
 * @param {number} what.x
 * @param {Model} what.model
 * @param {string[]} what.names
 */
function show({ tip, hair, figure, rect, event, chart, x, model, names }) {
  const outer = figure.getBoundingClientRect();
  const rows = [`${model.get('unit')} ${model.get('whole') ? count(x) : brief(x)}`];
  names.forEach((name, row) => {
    const found = name && nearest(chart.xs[row], chart.ys[row], x);
    if (found || found === 0) rows.push(`${name} ${brief(found)}`);
  });
  const reach = (6 / rect.width) * (chart.x.max - chart.x.min);
  for (const mark of model.get('marks')) if (Math.abs(mark.x - x) <= reach) rows.push(mark.text);
  tip.textContent = rows.join('\n');
  tip.style.display = hair.style.display = 'block';
  const left = event.clientX - outer.left;
  hair.style.left = `${left}px`;
  hair.style.top = `${rect.top - outer.top}px`;
  hair.style.height = `${rect.height}px`;
  const flip = left + 12 + tip.offsetWidth > outer.width;
  tip.style.left = flip ? 'auto' : `${left + 12}px`;
  tip.style.right = flip ? `${outer.width - left + 12}px` : 'auto';
  tip.style.top = `${rect.top - outer.top + 6}px`;
}

/**
 * The value of the finite point nearest to x; null where a curve has none.
 *
 * @param {ArrayLike<number> | undefined} xs
 * @param {ArrayLike<number>} ys
 * @param {number} x
 * @returns {number | null}
 */
export function nearest(xs, ys, x) {
  /** @type {number | null} */
  let best = null;
  let distance = Infinity;
  for (let k = 0; xs && k < xs.length; k++) {
    const d = Math.abs(xs[k] - x);
    if (d < distance && Number.isFinite(ys[k])) [best, distance] = [ys[k], d];
  }
  return best;
}

/**
 * @param {HTMLElement} box
 * @param {HTMLElement} figure
 * @param {Place} from
 * @param {PointerEvent} event
 * @param {DOMRect} rect
 */
function stretch(box, figure, from, event, rect) {
  const outer = figure.getBoundingClientRect();
  const [x0, x1] = order(from.x, event.clientX).map(v => Math.min(Math.max(v, rect.left), rect.right) - outer.left);
  let [y0, y1] = order(from.y, event.clientY).map(v => Math.min(Math.max(v, rect.top), rect.bottom) - outer.top);
  if (y1 - y0 < 5) [y0, y1] = [rect.top - outer.top, rect.bottom - outer.top];
  Object.assign(box.style, {
    display: 'block',
    left: `${x0}px`,
    top: `${y0}px`,
    width: `${x1 - x0}px`,
    height: `${y1 - y0}px`
  });
}

/** @type {(a: number, b: number) => [number, number]} */
export const order = (a, b) => (a < b ? [a, b] : [b, a]);
/** @type {(v: number) => number} */
const clamp = v => Math.min(1, Math.max(0, v));

export default { render };
