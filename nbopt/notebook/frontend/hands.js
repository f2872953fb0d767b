/* What hands do to controls beside moving them: reset, undo, and give up what was begun. */

/**
 * @typedef {import('./companion.js').Model} Model
 * @typedef {import('./companion.js').Listen} Listen
 */

const BOX = '.nbopt-control .nbopt-box input';
const TYPED = 'input:not([type=checkbox], [type=radio])';

/** @param {Element} target */
const nameOf = target => /nbopt-hp-(\S+)/.exec(target.closest('.nbopt-control')?.className ?? '')?.[1];

/**
 * A double click resets, on a name, a slider or a check box.
 *
 * @param {Element} panel
 * @param {Model} model
 * @param {Listen} on
 */
export function act(panel, model, on) {
  /** What a text box held before somebody began to type. @type {WeakMap<EventTarget, string>} */
  const before = new WeakMap();
  /** The slider under a finger, and where it was. @type {{ slider: any, at: unknown } | null} */
  let drag = null;

  const reset = (/** @type {Event} */ event, /** @type {string} */ selector) => {
    const target = /** @type {Element} */ (event.target);
    const name = target.closest(selector) && nameOf(target);
    if (name) model.send({ reset: name });
  };
  const [flag, slider] = ['.nbopt-control .widget-checkbox', '.nbopt-control .widget-hslider'];
  on(panel, 'dblclick', event => reset(event, `.nbopt-label, ${slider}, ${flag}`));
  const again = (/** @type {any} */ event) => {
    if (event.detail < 2 || !event.target.closest(flag)) return;
    event.preventDefault(); // the second click of a double click would only take back the first
    event.stopPropagation();
  };
  on(panel, 'click', again, { capture: true });
  on(panel, 'click', event => reset(event, '.nbopt-reset'));
  on(panel, 'click', ({ target }) => {
    const name = target.closest('.nbopt-which') && nameOf(target);
    if (name) model.send({ which: name });
  });

  on(panel, 'beforeinput', ({ target }) => {
    if (target.matches(TYPED) && !before.has(target)) before.set(target, target.value);
  });
  for (const type of ['change', 'focusout']) on(panel, type, ({ target }) => before.delete(target));
  for (const type of ['mousedown', 'touchstart']) {
    on(
      panel,
      type,
      ({ target }) => {
        const slider = target.closest('.nbopt-control .noUi-target')?.noUiSlider;
        drag = slider ? { slider, at: slider.get() } : null;
      },
      { capture: true }
    );
  }
  const isTyping = (/** @type {HTMLInputElement} */ input) => before.has(input) && before.get(input) !== input.value;
  const done = (/** @type {KeyboardEvent} */ event) => {
    event.preventDefault();
    event.stopPropagation();
  };
  const press = (/** @type {any} */ event) => {
    const { target, key } = event;
    if (key.toLowerCase() === 'z' && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey) {
      if (isTyping(target)) return; // the browser takes back letters
      model.send({ undo: true });
      done(event);
    } else if (key === 'Escape' && drag?.slider.target.querySelector('.noUi-active')) {
      drag.slider.set(drag.at);
      panel.ownerDocument.documentElement.dispatchEvent(new MouseEvent('mouseup', { bubbles: true }));
      drag = null;
      done(event);
    } else if (key === 'Escape' && target.matches(BOX)) {
      if (isTyping(target)) target.value = before.get(target);
      before.delete(target);
      if (target.closest('.nbopt-control').querySelector('.nbopt-problem')) model.send({ restore: nameOf(target) });
      done(event);
    }
  };
  on(panel, 'keydown', press, { capture: true }); // ipywidgets keeps the keys of a text box to itself
}
