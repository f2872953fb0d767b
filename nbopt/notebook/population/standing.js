/* How a picture of many runs stands in its panel: drawn anew once a screen frame where anything changed, and furnished. */

import { answerFrames } from './../frontend/frames.js';
import { furnish } from './../frontend/furnish.js';

/**
 * @typedef {import('@anywidget/types').AnyModel<any>} AnyModel
 * @typedef {import('./../frontend/companion.js').Listen} Listen
 *
 * @typedef {object} Standing
 * @property {AbortController} stop Ends all that it listens to.
 * @property {Listen} on
 * @property {() => void} later Have it drawn with the next screen frame.
 * @property {() => void} leave
 */

/**
 * @param {AnyModel} model
 * @param {HTMLElement} el
 * @param {string} waits What of the panel has to stand before it is furnished.
 * @param {() => void} take Reads what the kernel sent.
 * @param {() => void} draw
 * @param {() => boolean} escaped What Escape does, wherever in the panel the focus is that has no such key; whether it did.
 * @returns {Standing}
 */
export function stand(model, el, waits, take, draw, escaped) {
  const stop = new AbortController();
  /** @type {Listen} */
  const on = (target, type, handler, options = {}) =>
    target.addEventListener(type, handler, { ...options, signal: stop.signal });
  let frame = 0;
  const later = () => {
    if (frame) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      if (!stop.signal.aborted) draw();
    });
  };
  const hear = () => {
    take();
    later();
  };
  model.on('change:frame', hear); // before frames are answered: it draws in the same animation frame
  const observe = answerFrames(model, on, stop.signal);
  const resized = new ResizeObserver(later);
  for (const canvas of el.querySelectorAll('canvas')) resized.observe(canvas);
  const themed = new MutationObserver(later);
  themed.observe(document.body, { attributes: true, attributeFilter: ['data-jp-theme-name'] });
  const attach = () => {
    if (stop.signal.aborted) return;
    const panel = el.closest('.nbopt-panel');
    if (!panel?.querySelector(waits)) {
      requestAnimationFrame(attach);
      return;
    }
    observe(panel);
    furnish(panel, /** @type {any} */ (model), on, stop.signal);
    on(panel, 'keydown', event => {
      const isOurs = event.target === panel || el.contains(event.target);
      if (event.key === 'Escape' && isOurs && escaped()) event.stopPropagation();
    });
    later();
  };
  attach();
  later();
  const leave = () => {
    stop.abort();
    resized.disconnect();
    themed.disconnect();
    model.off('change:frame', hear);
  };
  return { stop, on, later, leave };
}

/**
 * Which runs are chosen: one by a click, several with Ctrl or Shift.
 *
 * @param {AnyModel} model
 * @param {(member: number) => void} reveal
 * @param {() => void} later
 */
export function makeChooser(model, reveal, later) {
  let chosen = new Set(/** @type {number[]} */ (model.get('chosen')));
  let last = -1; // chosen, where Shift begins
  const choose = (/** @type {number[]} */ members, /** @type {boolean} */ more) => {
    const next = more ? new Set(chosen) : new Set();
    for (const member of members) {
      if (more && members.length === 1 && next.has(member)) next.delete(member);
      else next.add(member);
    }
    chosen = next;
    last = members.at(-1) ?? -1;
    model.send({ choose: [...chosen].sort((a, b) => a - b) });
    if (members.length) reveal(members[0]);
    later();
  };
  const click = (/** @type {number} */ member, /** @type {MouseEvent | KeyboardEvent} */ event) => {
    const more = event.ctrlKey || event.metaKey || event.shiftKey;
    if (member >= 0) choose([member], more && (event instanceof KeyboardEvent ? member !== last : true));
    else if (!more && chosen.size) choose([], false);
  };
  return {
    get chosen() {
      return chosen;
    },
    /** @returns {boolean} Whether there were any. */
    none() {
      if (!chosen.size) return false;
      choose([], false);
      return true;
    },
    /** @param {number[]} members As the kernel has them; where they are the same, so is the set, and nothing is drawn anew. */
    follow(members) {
      if (members.length === chosen.size && members.every(member => chosen.has(member))) return;
      chosen = new Set(members);
      later();
    },
    choose,
    click
  };
}

/**
 * Tells what is drawn from other things than the last time: a picture costs most where it is put on the screen.
 *
 * @returns {(name: string, ...inputs: unknown[]) => boolean} Whether any of the inputs is another one now.
 */
export function makeMemory() {
  /** @type {Map<string, unknown[]>} */
  const known = new Map();
  return (name, ...inputs) => {
    const before = known.get(name);
    known.set(name, inputs);
    return !before || inputs.some((input, k) => input !== before[k]);
  };
}
