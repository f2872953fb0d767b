/* What every panel has once it stands in the page: controls with names that fold, keys, a bell, an eye on its kernel. */

import { fold, label } from './column.js';
import { holdFocus } from './focus.js';
import { ringBell, takeKeys, watchKernel } from './header.js';
import { reveal, revealUnfolded } from './reveal.js';
import { askWhatIf } from './strips.js';

/**
 * @param {Element} panel
 * @param {import('./companion.js').Model} model
 * @param {import('./companion.js').Listen} on
 * @param {AbortSignal} gone
 */
export function furnish(panel, model, on, gone) {
  label(panel, model.get('labels'));
  fold(panel, model, on, gone);
  askWhatIf(panel, model, on, gone);
  if (!panel.matches('.nbopt-panel')) return;
  takeKeys(/** @type {HTMLElement} */ (panel), on);
  holdFocus(/** @type {HTMLElement} */ (panel), on);
  watchKernel(panel, model.widget_manager, gone);
  revealUnfolded(panel, on, gone);
  const ring = ringBell(panel, on);
  const tell = () => ring(model.get('ending'));
  tell();
  model.on('change:ending', tell);
  const hear = (/** @type {{ reveal?: string }} */ { reveal: run }) => {
    if (run) reveal(document, run, gone);
  };
  model.on('msg:custom', hear);
  gone.addEventListener('abort', () => {
    model.off('change:ending', tell);
    model.off('msg:custom', hear);
  });
}
