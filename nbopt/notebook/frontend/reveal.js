/* Bringing into view what has just been made: a panel, or what a button below the charts unfolds. */

const LONGEST_WAIT = 8000; // milliseconds that its charts are given to be drawn
const UNFOLDING = 3000; // milliseconds that a drawer is given to be filled

/**
 * @param {Document} page
 * @param {string} run Its id.
 * @param {AbortSignal} gone
 */
export function reveal(page, run, gone) {
  const end = performance.now() + LONGEST_WAIT;
  const look = () => {
    const panel = page.querySelector(`.nbopt-panel.nbopt-run-${CSS.escape(run)}`);
    if (panel?.querySelector('.plotarea_background')) panel.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
    else if (!gone.aborted && performance.now() < end) requestAnimationFrame(look);
  };
  look();
}

/**
 * Scroll as far as is needed once a drawer is unfolded, unless a hand scrolls itself.
 *
 * @param {Element} panel
 * @param {import('./companion.js').Listen} on
 * @param {AbortSignal} gone
 */
export function revealUnfolded(panel, on, gone) {
  const footer = panel.querySelector(':scope > .nbopt-footer');
  if (!footer) return;
  let until = 0;
  on(footer, 'click', event => {
    if (/** @type {Element} */ (event.target).closest('.nbopt-drawer')) until = performance.now() + UNFOLDING;
  });
  on(document, 'wheel', () => {
    until = 0;
  });
  const grown = new ResizeObserver(() => {
    if (performance.now() < until) footer.scrollIntoView({ block: 'nearest' });
  });
  grown.observe(footer);
  gone.addEventListener('abort', () => grown.disconnect());
}
