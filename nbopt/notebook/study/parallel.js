/* Parallel coordinates: an axis for each value, a line for each trial, and brushes by pointer and keyboard. */

import { brief, number } from './../frontend/numbers.js';
import { ALONE } from './../population/curves.js';
import { build } from './../population/rows.js';
import { byShade, hueOf, prepare } from './../population/scales.js';

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
 *
 * @typedef {object} Lines What is drawn.
 * @property {number} size
 * @property {Axis[]} axes
 * @property {ArrayLike<number>} hues
 * @property {string[]} colours
 * @property {import('./../population/scales.js').Theme} theme
 * @property {((trial: number) => boolean) | null} stands Which trials stand out; null where all do.
 */

const MARGINS = /** @type {[number, number, number, number]} */ ([64, 64, 30, 14]);
const STEP = 0.02; // of an axis: an arrow key
const NEAR_LINE = 9; // pixels from a line to the pointer on it

/**
 * @param {HTMLElement} place
 * @param {Record<string, string>} said
 * @param {() => void} changed Called when the brush was moved.
 */
export function makeParallel(place, said, changed) {
  const canvas = build('canvas', {});
  const over = build('canvas', {});
  const rack = build('div', { className: 'nbopt-par-axes' });
  canvas.setAttribute('role', 'img');
  over.setAttribute('aria-hidden', 'true');
  place.append(canvas, over, rack);
  /** @type {Map<string, Brush>} */
  const brushes = new Map();
  /** @type {Lines | null} */
  let shown = null;
  /** @type {import('./../population/scales.js').Plot | null} */
  let plot = null;

  const put = (/** @type {Axis} */ axis, /** @type {Brush | null} */ brush) => {
    if (brush && !isWhole(brush)) brushes.set(axis.name, brush);
    else brushes.delete(axis.name);
    if (shown) dress(shown.axes);
    changed();
  };
  const endsOf = (/** @type {Axis} */ axis) => {
    const brush = brushes.get(axis.name);
    return brush && 'from' in brush ? brush : { from: 0, to: 1 };
  };

  /** Axes are elements: labelled, and each end of a brush can be focused. */
  const furnishAxes = (/** @type {Axis[]} */ axes) => {
    const key = JSON.stringify(axes.map(axis => [axis.name, axis.label, axis.kinds]));
    if (rack.dataset.key === key) return;
    rack.dataset.key = key;
    for (const name of [...brushes.keys()]) if (!axes.some(axis => axis.name === name)) brushes.delete(name);
    rack.replaceChildren(...axes.map(axis => (axis.kinds.length ? makeChoice(axis) : makeRange(axis))));
  };
  const frameOf = (/** @type {Axis} */ axis) => {
    const box = build('div', { className: 'nbopt-par-axis' });
    box.dataset.axis = axis.name;
    const title = build('span', { className: 'nbopt-par-title', textContent: axis.label, title: axis.label });
    box.append(title);
    return box;
  };
  const makeChoice = (/** @type {Axis} */ axis) => {
    const box = frameOf(axis);
    axis.kinds.forEach((kind, k) => {
      const button = build('button', { type: 'button', className: 'nbopt-par-kind', textContent: kind });
      button.title = said.kind.replace('{name}', axis.label).replace('{option}', kind);
      button.setAttribute('aria-label', button.title);
      button.style.bottom = `${((k + 0.5) / axis.kinds.length) * 100}%`;
      button.addEventListener('click', () => {
        const brush = brushes.get(axis.name);
        const kinds = new Set(brush && 'kinds' in brush ? brush.kinds : []);
        if (!kinds.delete(k)) kinds.add(k);
        put(axis, kinds.size && kinds.size < axis.kinds.length ? { kinds } : null);
      });
      box.append(button);
    });
    return box;
  };
  const makeRange = (/** @type {Axis} */ axis) => {
    const box = frameOf(axis);
    const strip = build('div', { className: 'nbopt-par-strip' });
    const mark = build('i', { className: 'nbopt-par-brush' });
    const searched = build('i', { className: 'nbopt-par-searched' });
    const placeAt = (/** @type {PointerEvent} */ event) => {
      const { top, height } = strip.getBoundingClientRect();
      return Math.min(1, Math.max(0, 1 - (event.clientY - top) / height));
    };
    /** @type {number | null} */
    let start = null;
    strip.addEventListener('pointerdown', event => {
      if (event.button || /** @type {HTMLElement} */ (event.target).tagName === 'SPAN') return;
      start = placeAt(event);
      strip.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    strip.addEventListener('pointermove', event => {
      if (start === null) return;
      const at = placeAt(event);
      if (Math.abs(at - start) > 0.01) put(current(axis), { from: Math.min(start, at), to: Math.max(start, at) });
    });
    strip.addEventListener('pointerup', event => {
      if (start !== null && Math.abs(placeAt(event) - start) <= 0.01) put(current(axis), null);
      start = null;
    });
    strip.addEventListener('pointercancel', () => {
      start = null;
    });
    const knobs = /** @type {const} */ (['from', 'to']).map(end => {
      const knob = build('span', { className: 'nbopt-par-knob', tabIndex: 0 });
      knob.dataset.end = end;
      knob.setAttribute('role', 'slider');
      knob.setAttribute('aria-orientation', 'vertical');
      knob.setAttribute('aria-valuemin', '0');
      knob.setAttribute('aria-valuemax', '100');
      knob.setAttribute('aria-label', said[end].replace('{name}', axis.label));
      let held = false;
      knob.addEventListener('pointerdown', event => {
        held = true;
        knob.setPointerCapture(event.pointerId);
        event.stopPropagation();
      });
      knob.addEventListener('pointermove', event => {
        if (held) put(current(axis), moved(endsOf(axis), end, placeAt(event)));
      });
      for (const type of ['pointerup', 'pointercancel']) {
        knob.addEventListener(type, () => {
          held = false;
        });
      }
      knob.addEventListener('keydown', event => {
        const ends = endsOf(axis);
        const step = event.shiftKey ? 5 * STEP : STEP;
        const to = { ArrowUp: step, ArrowRight: step, ArrowDown: -step, ArrowLeft: -step, PageUp: 0.1, PageDown: -0.1 }[
          event.key
        ];
        if (to !== undefined) put(current(axis), moved(ends, end, ends[end] + to));
        else if (event.key === 'Home') put(current(axis), moved(ends, end, 0));
        else if (event.key === 'End') put(current(axis), moved(ends, end, 1));
        else if ((event.key === 'Escape' && brushes.has(axis.name)) || event.key === 'Delete') put(current(axis), null);
        else return;
        event.preventDefault();
        event.stopPropagation(); // the notebook has keys of its own
      });
      return knob;
    });
    strip.append(searched, mark, ...knobs);
    box.append(strip);
    return box;
  };
  const current = (/** @type {Axis} */ axis) => shown?.axes.find(one => one.name === axis.name) ?? axis;

  /** Put axes where they are, and brushes as they are. */
  const dress = (/** @type {Axis[]} */ axes) => {
    const gap = (place.clientWidth - MARGINS[0] - MARGINS[1]) / Math.max(1, axes.length - 1);
    rack.style.setProperty('--nbopt-par-gap', `${Math.max(40, gap - 6)}px`);
    axes.forEach((axis, k) => {
      const box = /** @type {HTMLElement} */ (rack.children[k]);
      box.style.left = `calc(${MARGINS[0]}px + (100% - ${MARGINS[0] + MARGINS[1]}px) * ${share(k, axes.length)})`;
      const brush = brushes.get(axis.name);
      box.classList.toggle('nbopt-par-brushed', brush !== undefined);
      if (axis.kinds.length) {
        box.querySelectorAll('button').forEach((button, kind) => {
          const isOn = brush !== undefined && 'kinds' in brush && brush.kinds.has(kind);
          button.setAttribute('aria-pressed', String(isOn));
        });
        return;
      }
      const ends = endsOf(axis);
      const [searched, mark] = /** @type {NodeListOf<HTMLElement>} */ (box.querySelectorAll('i'));
      const [low, high] = axis.searched ?? [0, 1];
      Object.assign(searched.style, { bottom: `${100 * low}%`, height: `${Math.max(0, high - low) * 100}%` });
      searched.hidden = !axis.searched;
      Object.assign(mark.style, { bottom: `${100 * ends.from}%`, height: `${100 * (ends.to - ends.from)}%` });
      mark.hidden = brush === undefined;
      for (const knob of /** @type {NodeListOf<HTMLElement>} */ (box.querySelectorAll('.nbopt-par-knob'))) {
        const end = /** @type {'from' | 'to'} */ (knob.dataset.end);
        knob.style.bottom = `${100 * ends[end]}%`;
        knob.setAttribute('aria-valuenow', String(Math.round(100 * ends[end])));
        knob.setAttribute('aria-valuetext', textAt(axis, ends[end]));
      }
    });
  };

  return {
    brushes,
    canvas,
    over,
    /** @param {Lines} lines */
    show(lines) {
      shown = lines;
      furnishAxes(lines.axes);
      dress(lines.axes);
      plot = prepare(canvas, MARGINS);
      if (!plot) return;
      drawLines(plot, lines);
    },
    /** @param {Iterable<number>} trials Those that stand out over all others. */
    mark(trials) {
      const above = prepare(over, MARGINS);
      if (!above || !shown) return;
      const { axes, colours, hues, theme } = shown;
      const marked = [...trials];
      const shadeOf = (/** @type {number} */ trial) => hueOf(hues[trial]);
      const groups = marked.length > ALONE ? byShade(marked, shadeOf) : marked.map(trial => [shadeOf(trial), [trial]]);
      for (const [shade, group] of /** @type {[number, number[]][]} */ (groups)) {
        for (const [colour, width] of /** @type {const} */ ([
          [theme.ground, 5],
          [colours[shade], 2.4]
        ])) {
          above.context.strokeStyle = colour;
          above.context.lineWidth = width;
          above.context.beginPath();
          for (const trial of group) traceLine(above, axes, trial);
          above.context.stroke();
        }
      }
      drawTicks(above, shown);
    },
    /** @param {number} x @param {number} y The trial whose line is nearest; -1 where none is near. */
    at(x, y) {
      return plot && shown ? lineAt(plot, shown, x, y) : -1;
    },
    clear() {
      brushes.clear();
      if (shown) dress(shown.axes);
      changed();
    }
  };
}

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
const isWhole = brush => 'from' in brush && brush.from <= 0 && brush.to >= 1;

/**
 * @param {{ from: number, to: number }} ends
 * @param {'from' | 'to'} end
 * @param {number} at
 */
function moved(ends, end, at) {
  const place = Math.min(1, Math.max(0, at));
  return end === 'from'
    ? { from: Math.min(place, ends.to), to: ends.to }
    : { from: ends.from, to: Math.max(place, ends.from) };
}

/** @type {(k: number, count: number) => number} */
const share = (k, count) => (count > 1 ? k / (count - 1) : 0.5);

/**
 * @param {import('./../population/scales.js').Plot} plot
 * @param {Lines} lines
 */
function drawTicks({ context, left, right, top, bottom }, { axes, theme }) {
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
 * @param {import('./../population/scales.js').Plot} plot
 * @param {Lines} lines
 */
function drawLines(plot, { size, axes, hues, colours, theme, stands }) {
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
  for (const [hue, trials] of byShade(standing, trial => hueOf(hues[trial]))) {
    stroke(trials, colours[hue], size > 400 ? 0.5 : 0.8);
  }
  context.globalAlpha = 1;
}

/**
 * @param {import('./../population/scales.js').Plot} plot
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
 * @param {import('./../population/scales.js').Plot} plot
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
