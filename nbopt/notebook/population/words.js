/* Text in a panel: written where it changed, offered to choose from, told beside the pointer. */

import { build } from './rows.js';

/** @type {(place: HTMLElement, text: string) => void} */
export const write = (place, text) => {
  if (place.textContent !== text) place.textContent = text;
};

/**
 * @param {HTMLSelectElement} select
 * @param {[string, string][]} options
 * @param {string} value
 */
export function offer(select, options, value) {
  const key = JSON.stringify(options);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    select.replaceChildren(...options.map(([name, textContent]) => build('option', { value: name, textContent })));
  }
  if (select.value !== value) select.value = value;
}

/**
 * @param {HTMLElement} tip
 * @param {HTMLElement} el
 * @param {MouseEvent} event
 * @param {string} text
 */
export function tell(tip, el, event, text) {
  tip.style.display = text ? 'block' : 'none';
  if (!text) return;
  tip.textContent = text;
  const { left, top, width } = el.getBoundingClientRect();
  const x = event.clientX - left + 14;
  tip.style.left = `${Math.max(0, x + tip.offsetWidth > width ? x - tip.offsetWidth - 28 : x)}px`;
  tip.style.top = `${event.clientY - top + 12}px`;
}
