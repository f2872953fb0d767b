/* A panel's focus: what has it in a panel keeps its keys, which would otherwise do something to the notebook's cells. */

/**
 * @param {HTMLElement} panel
 * @param {import('./companion.js').Listen} on
 */
export function holdFocus(panel, on) {
  const take = () => panel.focus({ preventScroll: true });
  // Before the notebook hears of it, which would focus itself and then the cell, and have the browser find the styles of
  // all that is in them each time. With Shift, it would select all cells up to this one.
  const come = () => {
    if (!panel.contains(panel.ownerDocument.activeElement)) take();
  };
  on(panel, 'mousedown', come, { capture: true });
  on(panel, 'focusout', ({ target, relatedTarget }) => {
    if (!relatedTarget && (target.disabled || target.hidden)) take();
  });
  on(panel, 'keydown', event => {
    // Arrows and letters choose an option, and are no commands.
    if (event.target.matches('select') && !event.ctrlKey && !event.metaKey) event.stopPropagation();
  });
}
