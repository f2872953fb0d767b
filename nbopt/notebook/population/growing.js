/* The fan while it grows: what was drawn once and has not changed since is kept, and a frame draws what came. */

import { drawFan } from './curves.js';

/**
 * @typedef {import('./scales.js').Plot} Plot
 * @typedef {import('./curves.js').Curves} Curves
 */

/** @returns {(plot: Plot, curves: Curves, colours: string[], chosen: Set<number>) => void} */
export function makeFan() {
  /** @type {HTMLCanvasElement | null} */
  let kept = null;
  let key = '';
  /** @type {Curves | null} */
  let before = null;
  let columns = 0; // from the left, that are kept
  return (plot, curves, colours, chosen) => {
    const { canvas } = plot.context;
    kept ??= canvas.ownerDocument.createElement('canvas');
    const layer = kept.getContext('2d');
    if (!layer || chosen.size) {
      columns = 0; // a hand chooses, and most are pale: that is drawn as a whole
      return drawFan(plot, curves, colours, chosen);
    }
    const look = [canvas.width, canvas.height, plot.right, plot.bottom, colours[0]].join();
    const same = look === key && before ? sameColumns(before, curves) : 0;
    if (!columns || same < columns) {
      [kept.width, kept.height] = [canvas.width, canvas.height]; // clears it too
      columns = 0;
    }
    // What has stood unchanged from one frame to the next is taken to be done; the last stretch is still growing.
    const done = Math.min(same, curves.at.length - 1);
    if (done > columns) {
      layer.setTransform(plot.context.getTransform());
      drawFan({ ...plot, context: layer }, curves, colours, chosen, columns, done);
      columns = done;
    }
    if (columns) {
      plot.context.save();
      plot.context.resetTransform();
      plot.context.drawImage(kept, 0, 0);
      plot.context.restore();
    }
    drawFan(plot, curves, colours, chosen, columns);
    [key, before] = [look, curves];
  };
}

/**
 * How many stretches, from the left, are as they were: of the same runs in the same colours, and in the same places.
 *
 * @param {Curves} before
 * @param {Curves} now
 */
export function sameColumns(before, now) {
  if (!alike(before.drawn, now.drawn) || !alike(before.places, now.places)) return 0;
  const [old, wide] = [before.at.length, now.at.length];
  let same = 0;
  while (same < old && same < wide && before.at[same] === now.at[same]) same += 1;
  for (let row = 0; row < now.drawn.length && same; row += 1) {
    for (let k = 0; k < same; k += 1) if (before.heights[row * old + k] !== now.heights[row * wide + k]) same = k;
  }
  return same;
}

/** @type {(a: ArrayLike<number>, b: ArrayLike<number>) => boolean} */
const alike = (a, b) => a.length === b.length && Array.prototype.every.call(a, (value, k) => value === b[k]);
