/* The lines of trials across parallel axes. */

import { ALONE } from './../population/curves.js';
import { byShade, hueOf } from './../population/scales.js';

/**
 * @typedef {import('./brushes.js').Axis} Axis
 * @typedef {import('./../population/scales.js').Plot} Plot
 *
 * @typedef {object} Lines What is drawn.
 * @property {number} size
 * @property {Axis[]} axes
 * @property {ArrayLike<number>} hues
 * @property {number} best The trial whose colour is drawn over the others; -1 where there is none.
 * @property {string[]} colours
 * @property {import('./../population/scales.js').Theme} theme
 * @property {((trial: number) => boolean) | null} stands Which trials stand out; null where all do.
 */

export const MARGINS = /** @type {[number, number, number, number]} */ ([64, 64, 40, 14]);
const NEAR_LINE = 9; // pixels from a line to the pointer on it

/** @type {(k: number, count: number) => number} */
export const share = (k, count) => (count > 1 ? k / (count - 1) : 0.5);

/**
 * @param {Plot} plot
 * @param {Lines} lines
 */
export function drawTicks({ context, left, right, top, bottom }, { axes, theme }) {
  context.font = `11px ${theme.font}`;
  context.fillStyle = theme.soft;
  context.lineJoin = 'round';
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  axes.forEach((axis, k) => {
    const x = Math.round(left + share(k, axes.length) * (right - left)) + 0.5;
    context.strokeStyle = theme.soft;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, top);
    context.lineTo(x, bottom);
    context.stroke();
    if (axis.kinds.length) return; // its buttons tell
    for (const [place, text] of axis.ticks) {
      const y = bottom + place * (top - bottom);
      context.strokeStyle = theme.ground; // readable over whatever lines
      context.lineWidth = 4;
      context.strokeText(text, x - 11, y);
      context.fillText(text, x - 11, y);
    }
  });
}

/**
 * @param {Plot} plot
 * @param {Lines} lines
 */
export function drawLines(plot, { size, axes, hues, best, colours, theme, stands }) {
  const { context } = plot;
  const [standing, pale] = [/** @type {number[]} */ ([]), /** @type {number[]} */ ([])];
  for (let trial = 0; trial < size; trial += 1) (stands && !stands(trial) ? pale : standing).push(trial);
  context.lineJoin = 'round';
  context.lineWidth = size > 400 ? 0.7 : size > 60 ? 1 : 1.4;
  const stroke = (/** @type {number[]} */ trials, /** @type {string} */ colour, /** @type {number} */ alpha) => {
    if (!trials.length) return;
    context.globalAlpha = alpha;
    context.strokeStyle = colour;
    context.beginPath();
    for (const trial of trials) traceLine(plot, axes, trial);
    context.stroke();
  };
  stroke(pale, theme.line, size > 400 ? 0.5 : 0.8);
  // Many share a way between two axes, which would be all of the worst where those came last.
  const top = best < 0 ? undefined : hueOf(hues[best]);
  for (const [hue, trials] of byShade(standing, trial => hueOf(hues[trial]), top)) {
    stroke(trials, colours[hue], size > 400 ? 0.5 : 0.8);
  }
  context.globalAlpha = 1;
}

/**
 * Trials that stand out over all others.
 *
 * @param {Plot} plot
 * @param {Lines} lines
 * @param {number[]} trials
 */
export function drawMarked(plot, { axes, colours, hues, theme }, trials) {
  const { context } = plot;
  const shadeOf = (/** @type {number} */ trial) => hueOf(hues[trial]);
  const groups = trials.length > ALONE ? byShade(trials, shadeOf) : trials.map(trial => [shadeOf(trial), [trial]]);
  for (const [shade, group] of /** @type {[number, number[]][]} */ (groups)) {
    for (const [colour, width] of /** @type {const} */ ([
      [theme.ground, 5],
      [colours[shade], 2.4]
    ])) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      for (const trial of group) traceLine(plot, axes, trial);
      context.stroke();
    }
  }
}

/**
 * @param {Plot} plot
 * @param {Axis[]} axes
 * @param {number} trial
 */
function traceLine({ context, left, right, top, bottom }, axes, trial) {
  let isDown = false;
  for (let k = 0; k < axes.length; k += 1) {
    const place = axes[k].places[trial];
    if (Number.isNaN(place)) {
      isDown = false;
      continue;
    }
    const x = left + share(k, axes.length) * (right - left);
    const y = bottom + place * (top - bottom);
    if (isDown) context.lineTo(x, y);
    else context.moveTo(x, y);
    isDown = true;
  }
}

/**
 * @param {Plot} plot
 * @param {Lines} lines
 * @param {number} x
 * @param {number} y
 */
export function lineAt({ left, right, top, bottom }, { size, axes }, x, y) {
  const along = ((x - left) / (right - left)) * (axes.length - 1);
  const k = Math.min(axes.length - 2, Math.max(0, Math.floor(along)));
  if (axes.length < 2 || along < -0.1 || along > axes.length - 0.9) return -1;
  const part = Math.min(1, Math.max(0, along - k));
  let [best, found] = [NEAR_LINE, -1];
  for (let trial = 0; trial < size; trial += 1) {
    const place = axes[k].places[trial] * (1 - part) + axes[k + 1].places[trial] * part;
    const distance = Math.abs(bottom + place * (top - bottom) - y);
    if (distance < best) [best, found] = [distance, trial];
  }
  return found;
}
