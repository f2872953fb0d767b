/* The bridge's other end in the browser, and what must be instant there: charts.js, and the column of controls. */

import { watch } from './charts.js';
import { answerFrames } from './frames.js';
import { furnish } from './furnish.js';

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
 * @property {Record<string, string>} words What else a hyperparameter is found by.
 * @property {Record<string, string>} says
 * @property {import('./strips.js').Strips} strips
 * @property {string} undo What Ctrl-Z undoes; '' where there is nothing.
 * @property {string} unit
 * @property {boolean} whole
 * @property {{ ended: boolean, title: string, text: string }} ending
 *
 * @typedef {import('@anywidget/types').AnyModel<State>} Model
 *
 * Listens until the widget goes.
 * @typedef {(target: EventTarget, type: string, handler: (event: any) => unknown, options?: object) => void} Listen
 */

/** @param {{ model: Model, el: HTMLElement }} context */
function render({ model, el }) {
  const stop = new AbortController();
  /** @type {Listen} */
  const on = (target, type, handler, options = {}) =>
    target.addEventListener(type, handler, { ...options, signal: stop.signal });
  const observe = answerFrames(model, on, stop.signal);

  const known = new WeakSet();
  const attach = () => {
    if (stop.signal.aborted) return undefined;
    const panel = el.closest('.nbopt-panel, .nbopt-finder');
    if (!panel) return requestAnimationFrame(attach);
    observe(panel);
    const isOwn = (/** @type {Element} */ figure) => figure.closest('.nbopt-panel, .nbopt-finder') === panel;
    const figures = /** @type {HTMLElement[]} */ ([...panel.querySelectorAll('.nbopt-figure')]).filter(isOwn);
    const isDrawn = (/** @type {Element} */ figure) => figure.querySelector('.plotarea_background') !== null;
    if (figures.length && figures.every(isDrawn) && !known.has(panel)) {
      known.add(panel);
      furnish(panel, model, on, stop.signal);
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
  return () => {
    stop.abort();
    model.off('change:charts', attach);
  };
}

export default { render };
