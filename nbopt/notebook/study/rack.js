/* Parallel axes as elements: labelled, brushed by pointer and keyboard. */

import { build } from './../population/rows.js';
import { isWhole, moved, textAt } from './brushes.js';
import { MARGINS, share } from './lines.js';

/**
 * @typedef {import('./brushes.js').Axis} Axis
 * @typedef {import('./brushes.js').Brush} Brush
 */

const STEP = 0.02; // of an axis: an arrow key

/**
 * @param {HTMLElement} place
 * @param {Record<string, string>} said
 * @param {() => void} changed Called when a brush was moved.
 */
export function makeRack(place, said, changed) {
  const rack = build('div', { className: 'nbopt-par-axes' });
  place.append(rack);
  /** @type {Map<string, Brush>} */
  const brushes = new Map();
  /** @type {Axis[]} */
  let shown = [];

  const put = (/** @type {Axis} */ axis, /** @type {Brush | null} */ brush) => {
    if (brush && !isWhole(brush)) brushes.set(axis.name, brush);
    else brushes.delete(axis.name);
    dress(shown);
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
  const current = (/** @type {Axis} */ axis) => shown.find(one => one.name === axis.name) ?? axis;

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
    /** @param {Axis[]} axes */
    show(axes) {
      shown = axes;
      furnishAxes(axes);
      dress(axes);
    },
    clear() {
      brushes.clear();
      dress(shown);
      changed();
    }
  };
}
