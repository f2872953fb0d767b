/* The bridge's other end in the browser, and what must be instant there: charts.js, and the column of controls.
 *
 * It answers each frame once that has been drawn. A hidden tab draws nothing, a closed one neither, and of a panel that
 * is scrolled away nobody sees it: no answer, and the kernel stops sending.
 */

import { watch } from './charts.js';
import { fold, label } from './column.js';
import { ringBell, takeKeys, watchKernel } from './header.js';
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
 * @property {Record<string, string>} words What else a hyperparameter is found by.
 * @property {{ help: string, nothing: string, undo: string }} says
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

const NEAR = '150px'; // of what is in sight: what is about to be scrolled there

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
        watchKernel(panel, model.widget_manager, stop.signal);
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

export default { render };
