/* Parts of axes that a hand has brushed: which trials lie there, and to what the space is narrowed by them. */

import { brief, number } from './../frontend/numbers.js';

/**
 * @typedef {object} Axis
 * @property {string} name
 * @property {string} label
 * @property {string[]} kinds
 * @property {import('./../population/scales.js').Ticks} ticks
 * @property {number} low
 * @property {number} high
 * @property {boolean} log
 * @property {boolean} whole
 * @property {ArrayLike<number>} places Of the trials, from 0 to 1; NaN where one has none.
 * @property {[number, number] | null} searched From where to where it is searched.
 *
 * @typedef {{ from: number, to: number } | { kinds: Set<number> }} Brush Places of an axis, or numbers of options.
 */

/**
 * Which trials lie within all brushes; null where there is none.
 *
 * @param {Map<string, Brush>} brushes
 * @param {Axis[]} axes
 * @returns {((trial: number) => boolean) | null}
 */
export function within(brushes, axes) {
  const tests = axes.flatMap(axis => {
    const brush = brushes.get(axis.name);
    if (!brush) return [];
    const { places } = axis;
    if ('from' in brush) return [(/** @type {number} */ k) => places[k] >= brush.from && places[k] <= brush.to];
    return [(/** @type {number} */ k) => brush.kinds.has(Math.round(places[k] * axis.kinds.length - 0.5))];
  });
  return tests.length ? trial => tests.every(test => test(trial)) : null;
}

/**
 * What the space is to be narrowed to: the brushes on its axes; where there are only others, what lies within those.
 *
 * @param {Map<string, Brush>} brushes
 * @param {Axis[]} axes Those of the space first.
 * @param {number} dimensions How many these are.
 * @param {number} size
 * @returns {Record<string, [number, number] | { kinds: number[] }>}
 */
export function narrowed(brushes, axes, dimensions, size) {
  const own = axes.slice(0, dimensions);
  /** @type {Record<string, [number, number] | { kinds: number[] }>} */
  const found = {};
  for (const axis of own) {
    const brush = brushes.get(axis.name);
    if (brush)
      found[axis.name] = 'from' in brush ? [brush.from, brush.to] : { kinds: [...brush.kinds].sort((a, b) => a - b) };
  }
  const isIn = within(brushes, axes);
  if (Object.keys(found).length || !isIn) return found;
  for (const axis of own) {
    const places = Array.from({ length: size }, (_none, k) => k)
      .filter(isIn)
      .map(k => axis.places[k]);
    const known = places.filter(place => !Number.isNaN(place));
    if (!known.length) continue;
    if (axis.kinds.length) {
      const kinds = new Set(known.map(place => Math.round(place * axis.kinds.length - 0.5)));
      found[axis.name] = { kinds: [...kinds].sort((a, b) => a - b) };
    } else found[axis.name] = [Math.min(...known), Math.max(...known)];
  }
  return found;
}

/**
 * The value at a place of an axis, in words.
 *
 * @param {Axis} axis
 * @param {number} place
 */
export function textAt(axis, place) {
  const { low, high, log, whole } = axis;
  const value = log ? low * (high / low) ** place : low + place * (high - low);
  return whole ? number(Math.round(value)) : brief(value);
}

/** @param {Brush} brush */
export const isWhole = brush => 'from' in brush && brush.from <= 0 && brush.to >= 1;

/**
 * @param {{ from: number, to: number }} ends
 * @param {'from' | 'to'} end
 * @param {number} at
 */
export function moved(ends, end, at) {
  const place = Math.min(1, Math.max(0, at));
  return end === 'from'
    ? { from: Math.min(place, ends.to), to: ends.to }
    : { from: ends.from, to: Math.max(place, ends.from) };
}
