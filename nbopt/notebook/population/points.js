/* The scatter: a point for each member, where it lies in one hyperparameter and in what is measured. */

import { hueOf } from './scales.js';

const NEAR_POINT = 12; // pixels from a point to the pointer on it

/**
 * @typedef {import('./scales.js').Plot} Plot
 * @typedef {import('./scales.js').Theme} Theme
 * @typedef {object} Points
 * @property {ArrayLike<number>} across The place of each member, from 0 to 1.
 * @property {ArrayLike<number>} up Likewise; above 1 what is off the scale, NaN what was not measured.
 * @property {ArrayLike<number>} [hues] Their places among the colours; by default, the axis is the colour bar.
 */

/**
 * @param {Plot} plot
 * @param {Points} points
 * @param {string[]} colours
 * @param {Set<number>} chosen Those that stand out; all, where there are none.
 * @param {Iterable<number>} members Those that are drawn; by default all.
 */
export function drawPoints(plot, points, colours, chosen, members = Array.from(points.across, (_none, k) => k)) {
  const { context } = plot;
  const radius = points.across.length > 400 ? 2 : points.across.length > 60 ? 3.2 : 4.5;
  /** @type {Map<string, number[]>} One path for each look: a fill costs more than its points. */
  const looks = new Map();
  for (const member of members) {
    const pale = chosen.size && !chosen.has(member) ? 0.3 : 0.95;
    const look = `${pale} ${colours[hueOf((points.hues ?? points.across)[member])]}`;
    const alike = looks.get(look);
    if (alike) alike.push(member);
    else looks.set(look, [member]);
  }
  for (const [look, alike] of looks) {
    const [pale, colour] = [look.slice(0, look.indexOf(' ')), look.slice(look.indexOf(' ') + 1)];
    context.globalAlpha = Number(pale);
    context.fillStyle = colour;
    context.beginPath();
    for (const member of alike) {
      const [x, y, isAbove] = spotOf(plot, points, member);
      if (Number.isNaN(y)) continue;
      context.moveTo(isAbove ? x : x + radius, isAbove ? y - radius : y);
      if (isAbove) {
        context.lineTo(x + radius, y + radius);
        context.lineTo(x - radius, y + radius);
      } else context.arc(x, y, radius, 0, 2 * Math.PI);
    }
    context.fill();
  }
  context.globalAlpha = 1;
  if (points.hues) return;
  // The colour bar is the axis.
  const steps = colours.length;
  for (let k = 0; k < steps; k += 1) {
    context.fillStyle = colours[k];
    const from = plot.left + (k / steps) * (plot.right - plot.left);
    context.fillRect(from, plot.bottom + 1, (plot.right - plot.left) / steps + 0.5, 5);
  }
}

/**
 * A ring around a point.
 *
 * @param {Plot} plot
 * @param {Theme} theme
 * @param {Points} points
 * @param {number} member
 * @param {number} radius
 */
export function ring(plot, theme, points, member, radius) {
  const [x, y] = spotOf(plot, points, member);
  if (Number.isNaN(y)) return;
  const { context } = plot;
  context.strokeStyle = theme.text;
  context.lineWidth = 1.6;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.stroke();
}

/**
 * The member whose point is nearest; -1 where none is near.
 *
 * @param {Plot} plot
 * @param {Points} points
 * @param {number} x
 * @param {number} y
 */
export function pointAt(plot, points, x, y) {
  let [best, found] = [NEAR_POINT, -1];
  for (let member = 0; member < points.across.length; member += 1) {
    const [px, py] = spotOf(plot, points, member);
    const distance = Math.hypot(px - x, py - y);
    if (distance < best) [best, found] = [distance, member];
  }
  return found;
}

/**
 * The members whose points lie in a rectangle.
 *
 * @param {Plot} plot
 * @param {Points} points
 * @param {[number, number]} from
 * @param {[number, number]} to
 */
export function pointsWithin(plot, points, [x0, y0], [x1, y1]) {
  const found = [];
  for (let member = 0; member < points.across.length; member += 1) {
    const [x, y] = spotOf(plot, points, member);
    if (x >= Math.min(x0, x1) && x <= Math.max(x0, x1) && y >= Math.min(y0, y1) && y <= Math.max(y0, y1)) {
      found.push(member);
    }
  }
  return found;
}

/**
 * @param {Plot} plot
 * @param {Points} points
 * @param {number} member
 * @returns {[number, number, boolean]} Where it is drawn, and whether it lies off the scale.
 */
export function spotOf({ left, right, top, bottom }, { across, up }, member) {
  const isAbove = up[member] > 1;
  const place = Math.min(1, Math.max(0, up[member]));
  return [left + across[member] * (right - left), bottom + place * (top - bottom), isAbove];
}
