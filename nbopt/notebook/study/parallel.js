/* Parallel coordinates: an axis for each value, a line for each trial, and brushes by pointer and keyboard. */

import { build } from './../population/rows.js';
import { prepare } from './../population/scales.js';
import { drawLines, drawMarked, drawTicks, lineAt, MARGINS } from './lines.js';
import { makeRack } from './rack.js';

/** @typedef {import('./lines.js').Lines} Lines */

/**
 * @param {HTMLElement} place
 * @param {Record<string, string>} said
 * @param {() => void} changed Called when the brush was moved.
 */
export function makeParallel(place, said, changed) {
  const canvas = build('canvas', {});
  const over = build('canvas', {});
  canvas.setAttribute('role', 'img');
  over.setAttribute('aria-hidden', 'true');
  place.append(canvas, over);
  const rack = makeRack(place, said, changed);
  /** @type {Lines | null} */
  let shown = null;
  /** @type {import('./../population/scales.js').Plot | null} */
  let plot = null;

  return {
    brushes: rack.brushes,
    canvas,
    over,
    clear: rack.clear,
    /** @param {Lines} lines */
    show(lines) {
      shown = lines;
      rack.show(lines.axes);
      plot = prepare(canvas, MARGINS);
      if (plot) drawLines(plot, lines);
    },
    /** @param {Iterable<number>} trials Those that stand out over all others. */
    mark(trials) {
      const above = prepare(over, MARGINS);
      if (!above || !shown) return;
      drawMarked(above, shown, [...trials]);
      drawTicks(above, shown);
    },
    /** @param {number} x @param {number} y The trial whose line is nearest; -1 where none is near. */
    at(x, y) {
      return plot && shown ? lineAt(plot, shown, x, y) : -1;
    }
  };
}
