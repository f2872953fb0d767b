/* A rectangle that a pointer drags over a picture. */

/** @typedef {import('./../frontend/companion.js').Listen} Listen */

const DRAG = 4; // pixels that a pointer moves before it brushes

/**
 * Drag a rectangle; without one, it is a click.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLElement} box
 * @param {Listen} on
 * @param {(event: MouseEvent, from: [number, number], to: [number, number] | null) => void} done
 */
export function brush(canvas, box, on, done) {
  /** @type {[number, number] | null} */
  let from = null;
  const isFar = (/** @type {PointerEvent} */ event) =>
    from !== null && Math.hypot(event.offsetX - from[0], event.offsetY - from[1]) > DRAG;
  on(canvas, 'pointerdown', event => {
    if (event.button) return;
    from = [event.offsetX, event.offsetY];
    canvas.setPointerCapture(event.pointerId);
  });
  on(canvas, 'pointermove', event => {
    if (!from || !isFar(event)) return;
    const [x, y] = from;
    Object.assign(box.style, {
      display: 'block',
      left: `${Math.min(x, event.offsetX)}px`,
      top: `${Math.min(y, event.offsetY)}px`,
      width: `${Math.abs(event.offsetX - x)}px`,
      height: `${Math.abs(event.offsetY - y)}px`
    });
  });
  const end = (/** @type {PointerEvent} */ event) => {
    box.style.display = 'none';
    if (!from) return;
    const start = from;
    const to = isFar(event) ? /** @type {[number, number]} */ ([event.offsetX, event.offsetY]) : null;
    from = null;
    if (event.type === 'pointerup') done(event, start, to);
  };
  on(canvas, 'pointerup', end);
  on(canvas, 'pointercancel', end);
}
