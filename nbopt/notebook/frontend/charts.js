/* What must be instant on a chart: the read-out under the pointer, and the box drawn to zoom in. A click without a drag
 * picks a point, for the kernel to go back to; a double click fits the chart to what it shows.
 *
 * Curves and scales are read from bqplot's own models; nothing is sent twice.
 */

import { brief, count } from './numbers.js';
import { draw } from './overlay.js';

/**
 * @typedef {import('./companion.js').Model} Model
 * @typedef {import('./companion.js').Chart} Chart
 * @typedef {import('./companion.js').Listen} Listen
 * @typedef {{ min: number, max: number, log: boolean }} Range
 * @typedef {{ x: Range, y: Range, xs: ArrayLike<number>[], ys: ArrayLike<number>[] }} Drawn
 * @typedef {{ x: number, y: number }} Place
 */

/** @type {Record<string, number>} */
const KEYS = { '+': 0.5, '=': 0.5, '-': 2 };

/**
 * @param {HTMLElement} figure
 * @param {number} index
 * @param {Model} model
 * @param {Listen} on
 * @param {Element} panel
 * @param {AbortSignal} gone
 */
export function watch(figure, index, model, on, panel, gone) {
  const tip = panel.ownerDocument.createElement('div');
  tip.className = 'nbopt-tip';
  const box = panel.ownerDocument.createElement('div');
  box.className = 'nbopt-zoom-box';
  const hair = panel.ownerDocument.createElement('div');
  hair.className = 'nbopt-hair';
  figure.style.position = 'relative';
  const layer = panel.ownerDocument.createElement('div');
  layer.className = 'nbopt-over';
  figure.append(layer, hair, box, tip);
  cover(figure, layer, index, model, on, gone);
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
  /** @type {PointerEvent | null} */
  let resting = null;
  const hide = () => {
    resting = null;
    for (const part of [tip, hair]) part.style.display = 'none';
  };
  const send = (/** @type {{ x: number[] | null, y: number[] | null }} */ zoom) =>
    model.send({ zoom: { chart: index, ...zoom } });
  const tell = async () => {
    const event = resting;
    if (!event) return undefined;
    const rect = area();
    if (!inside(event, rect)) return hide();
    const chart = await read(model, index);
    if (event !== resting) return undefined; // it has moved on
    const x = between(chart.x, (event.clientX - rect.left) / rect.width);
    return show({ tip, hair, figure, rect, event, chart, x, model, told: model.get('charts')[index] });
  };

  on(figure, 'pointermove', event => {
    if (drag) return stretch(box, figure, drag, event, area());
    resting = event;
    return tell();
  });
  model.on('change:frame', tell); // the curves change below a pointer that rests
  gone.addEventListener('abort', () => model.off('change:frame', tell));
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
 * Keeps what lies over a figure up to date, and the button that changes its scale.
 *
 * @param {HTMLElement} figure
 * @param {HTMLElement} layer
 * @param {number} index
 * @param {Model} model
 * @param {Listen} on
 * @param {AbortSignal} gone
 */
function cover(figure, layer, index, model, on, gone) {
  const button = figure.ownerDocument.createElement('button');
  button.className = 'nbopt-log-axis';
  button.textContent = model.get('log');
  on(button, 'click', () => model.send({ chart: index, log: button.ariaPressed !== 'true' }));
  let drawn = '';
  let [width, height] = [0, 0]; // told by the observer: to ask would have the whole page laid out, each time
  const update = () => {
    const { over, log, left } = model.get('charts')[index] ?? {};
    if (left) layer.style.left = `${left}px`;
    if (typeof log === 'boolean') {
      if (!button.isConnected) figure.parentElement?.append(button);
      if (button.ariaPressed !== String(log)) button.ariaPressed = String(log);
    }
    const wanted = `${width} ${height} ${JSON.stringify(over)}`;
    if (!over || !width || wanted === drawn) return;
    drawn = wanted;
    draw(layer, over, width, height);
  };
  update();
  model.on('change:charts', update);
  const sized = new ResizeObserver(([{ contentRect }]) => {
    [width, height] = [contentRect.width, contentRect.height];
    update();
  });
  sized.observe(layer);
  gone.addEventListener('abort', () => {
    model.off('change:charts', update);
    sized.disconnect();
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
 * @param {Chart} what.told
 */
function show({ tip, hair, figure, rect, event, chart, x, model, told }) {
  const outer = figure.getBoundingClientRect();
  const rows = [`${model.get('unit')} ${model.get('whole') ? count(x) : brief(x)}`];
  const reach = (6 / rect.width) * (chart.x.max - chart.x.min);
  told.names.forEach((name, row) => {
    const found = name ? nearest(chart.xs[row], chart.ys[row], x, reach) : [];
    if (!found.length) return;
    const raw = told.raws ? nearest(chart.xs[told.raws[row]], chart.ys[told.raws[row]], x, reach).map(brief) : [];
    const bold = brief(found[0]);
    rows.push(`${name} ${bold}${raw.length && raw.join() !== bold ? ` (${[...new Set(raw)].join(' … ')})` : ''}`);
  });
  const part = (event.clientX - rect.left) / rect.width;
  for (const [at, text] of told.over?.marks ?? []) {
    if (Math.abs(at - part) * rect.width <= 6) rows.push(text);
  }
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
 * The values of the line's point nearest to x, in order: a raw line may have two at one place, its lowest and highest.
 * None where the line has none: before it, beyond it, and where it is broken off.
 *
 * @param {ArrayLike<number> | undefined} xs In order.
 * @param {ArrayLike<number>} ys
 * @param {number} x
 * @param {number} reach How far a line's end, or a point by itself, may lie off.
 * @returns {number[]}
 */
export function nearest(xs, ys, x, reach) {
  if (!xs?.length) return [];
  let next = 0;
  while (next < xs.length && xs[next] < x) next++;
  const isKnown = (/** @type {number} */ k) => k >= 0 && k < xs.length && Number.isFinite(ys[k]);
  const [left, right] = [next - 1, next];
  const isBetween = isKnown(left) && isKnown(right);
  const found = [left, right].filter(k => isKnown(k) && (isBetween || Math.abs(xs[k] - x) <= reach));
  if (!found.length) return [];
  const best = found.reduce((a, b) => (Math.abs(xs[b] - x) < Math.abs(xs[a] - x) ? b : a));
  const alike = [best - 1, best, best + 1].filter(k => isKnown(k) && xs[k] === xs[best]).map(k => ys[k]);
  return [...new Set(alike)].sort((a, b) => a - b);
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
