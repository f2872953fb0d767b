/* The fan: a curve for each member. */

import { byShade, floats, hueOf } from './scales.js';

const NONE = 65535; // where a curve was not measured
const TOP = 65534;
const NEAR_CURVE = 14; // pixels from a curve to the pointer on it
const STRIDES = { pale: 4, standing: 2 }; // of the points of a curve among many: nobody sees the others, and each costs
export const ALONE = 20; // lines that stand out, each on a ground of its own; of more, those of a colour together

/**
 * @typedef {import('./scales.js').Plot} Plot
 * @typedef {import('./scales.js').Theme} Theme
 * @typedef {object} Curves
 * @property {Float32Array} at Where they were measured, from 0 to 1.
 * @property {Uint16Array} heights Of one curve after the other, from 0 to `TOP`; `NONE` where it was not measured.
 * @property {Int32Array} drawn The members' numbers.
 * @property {ArrayLike<number>} places The place of each member among the colours, from 0 to 1.
 * @property {Curves} [beside] Of those chosen that are not among these: they are there to stand out.
 */

/**
 * @param {Plot} plot
 * @param {Curves} curves
 * @param {string[]} colours
 * @param {Set<number>} chosen Those that stand out; all, where there are none.
 * @param {number} [from] The first stretch that is drawn, with the way to it.
 * @param {number} [to] The one after the last.
 */
export function drawFan(plot, curves, colours, chosen, from = 0, to = curves.at.length) {
  const { context } = plot;
  const count = curves.drawn.length;
  clip(plot);
  context.lineJoin = 'round';
  context.lineWidth = count > 400 ? 0.8 : count > 60 ? 1.1 : 1.6;
  /** @type {[number[], number[]]} */
  const [rest, standing] = [[], []];
  curves.drawn.forEach((member, row) => {
    (chosen.size && !chosen.has(member) ? rest : standing).push(row);
  });
  for (const [rows, alpha, stride] of /** @type {const} */ ([
    [rest, 0.16, count > 400 ? STRIDES.pale : 1],
    [standing, count > 400 ? 0.6 : 0.85, count > 400 ? STRIDES.standing : 1]
  ])) {
    context.globalAlpha = alpha;
    for (const [shade, group] of byShade(rows, row => hueOf(curves.places[curves.drawn[row]]))) {
      context.strokeStyle = colours[shade];
      context.beginPath();
      for (const row of group) trace(plot, curves, row, stride, from, to);
      context.stroke();
    }
  }
  context.globalAlpha = 1;
  context.restore();
}

/**
 * Draw some curves so that they stand out.
 *
 * @param {Plot} plot
 * @param {Theme} theme
 * @param {Curves} curves
 * @param {string[]} colours
 * @param {Iterable<number>} members
 * @param {number} width
 */
export function drawStrong(plot, theme, curves, colours, members, width) {
  const { context } = plot;
  clip(plot);
  context.lineJoin = 'round';
  const found = [...members].flatMap(member => {
    const part = [curves, curves.beside].find(one => one?.drawn.includes(member));
    return part ? [{ part, row: part.drawn.indexOf(member), shade: hueOf(curves.places[member]) }] : [];
  });
  const groups = found.length > ALONE ? byShade(found, line => line.shade) : found.map(line => [line.shade, [line]]);
  for (const [shade, lines] of /** @type {[number, typeof found][]} */ (groups)) {
    for (const [colour, more] of /** @type {const} */ ([
      [theme.ground, 3],
      [colours[shade], 0]
    ])) {
      context.strokeStyle = colour;
      context.lineWidth = width + more;
      context.beginPath();
      for (const { part, row } of lines) trace(plot, part, row);
      context.stroke();
    }
  }
  context.restore();
}

/**
 * What the kernel sent of curves.
 *
 * @param {import('@anywidget/types').AnyModel<any>} model
 * @param {ArrayLike<number>} places
 * @returns {Curves}
 */
export function readCurves(model, places) {
  const [low, high] = model.get('across');
  const at = floats(model.get('steps'), Float32Array).map(step => (step - low) / (high - low));
  const part = (/** @type {string} */ curves, /** @type {string} */ drawn) => ({
    at,
    heights: floats(model.get(curves), Uint16Array),
    drawn: floats(model.get(drawn), Int32Array),
    places
  });
  return { ...part('curves', 'drawn'), beside: part('beside_curves', 'beside') };
}

/**
 * The member whose curve is nearest to a point; -1 where none is near.
 *
 * @param {Plot} plot
 * @param {Curves} curves
 * @param {number} x
 * @param {number} y
 */
export function curveAt(plot, curves, x, y) {
  return nearest(plot, curves, x, y)[1];
}

/** @type {(plot: Plot, curves: Curves, x: number, y: number) => [number, number]} How near, and whose. */
function nearest(plot, { at, heights, drawn, beside }, x, y) {
  const wanted = (x - plot.left) / (plot.right - plot.left);
  let [best, found] = beside ? nearest(plot, beside, x, y) : [NEAR_CURVE, -1];
  const next = at.findIndex(place => place >= wanted);
  const first = next < 0 ? at.length - 1 : next;
  if (wanted > at[first] + 0.02) return [best, found];
  for (let row = 0; row < drawn.length; row += 1) {
    const begin = row * at.length;
    let k = first;
    while (k < at.length && heights[begin + k] === NONE) k += 1;
    if (k === at.length) continue;
    let from = first - 1;
    while (from >= 0 && heights[begin + from] === NONE) from -= 1;
    if (from < 0) from = k;
    const [low, height] = [heights[begin + from], heights[begin + k]];
    const part = at[k] > at[from] ? Math.min(1, Math.max(0, (wanted - at[from]) / (at[k] - at[from]))) : 0;
    const place = (low + part * (height - low)) / TOP;
    const distance = Math.abs(plot.bottom + place * (plot.top - plot.bottom) - y);
    if (distance < best) [best, found] = [distance, drawn[row]];
  }
  return [best, found];
}

/** @param {Plot} plot */
function clip({ context, left, right, top, bottom }) {
  context.save();
  context.beginPath();
  context.rect(left, top - 3, right - left + 3, bottom - top + 4);
  context.clip();
}

/**
 * @param {Plot} plot
 * @param {Curves} curves
 * @param {number} row
 * @param {number} stride
 * @param {number} [from]
 * @param {number} [to]
 */
function trace({ context, left, right, top, bottom }, curves, row, stride = 1, from = 0, to = curves.at.length) {
  const { at, heights } = curves;
  let points = 0;
  const [last, end] = [to - 1, at.length - 1];
  const begin = from ? lastMeasured(curves, row, from) : 0;
  for (let k = begin; k <= last; k += k + stride <= last ? stride : Math.max(1, last - k)) {
    const height = heights[row * at.length + k];
    if (height === NONE) continue;
    const x = left + at[k] * (right - left);
    const y = bottom + (height / TOP) * (top - bottom);
    if (points) context.lineTo(x, y);
    else context.moveTo(x, y);
    points += 1;
    if (points === 1 && k === end) context.lineTo(x - 5, y); // measured once: a dash
  }
}

/**
 * The last stretch before a place in which a curve was measured; the place itself where there is none.
 *
 * @param {Curves} curves
 * @param {number} row
 * @param {number} from
 */
function lastMeasured({ at, heights }, row, from) {
  let k = from - 1;
  while (k >= 0 && heights[row * at.length + k] === NONE) k -= 1;
  return k < 0 ? from : k;
}
