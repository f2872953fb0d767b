/* Bringing a panel into view that has just been made. */

const LONGEST_WAIT = 8000; // milliseconds that its charts are given to be drawn

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
