/* The strips below controls: what each value would do, in colours, before the hand moves there; and a map of two.
 *
 * The kernel sends cells with their colours and words (strips.py); here they are placed along the slider, read under the
 * pointer and from the keyboard, and clicked.
 */

import { drawBar, drawMap, element } from './cells.js';

/**
 * @typedef {import('./cells.js').Bar} Bar
 *
 * What `Strips.paint` sends; empty for a run that cannot be asked.
 * @typedef {object} Strips
 * @property {Record<string, Bar | null>} [bars] By hyperparameter; null where one is offered.
 * @property {Bar | null} map
 * @property {string[]} pair
 * @property {number} ahead Steps; 0 where nobody said how many.
 * @property {number} share In percent.
 * @property {string[]} numbers The hyperparameters that are numbers.
 *
 * @typedef {import('./companion.js').Model} Model
 * @typedef {import('./companion.js').Listen} Listen
 */

/**
 * @param {Element} panel
 * @param {Model} model
 * @param {Listen} on
 * @param {AbortSignal} gone
 */
export function askWhatIf(panel, model, on, gone) {
  const column = /** @type {HTMLElement | null} */ (panel.querySelector('.nbopt-controls'));
  const strips = () => /** @type {Strips} */ (model.get('strips') ?? {});
  if (!column || !strips().bars) return;
  const says = model.get('says');
  const pane = makePane(column, model, on);
  const place = () => {
    const { bars = {} } = strips();
    for (const old of /** @type {NodeListOf<HTMLElement>} */ (column.querySelectorAll('.nbopt-if'))) {
      if (!Object.hasOwn(bars, String(old.dataset.name))) old.remove();
    }
    for (const [name, bar] of Object.entries(bars)) {
      const control = column.querySelector(`.nbopt-hp-${name}`);
      if (!control) continue;
      const title = says.strips.replace('{name}', model.get('labels')[name] ?? name);
      let strip = /** @type {HTMLElement | null} */ (control.querySelector(':scope > .nbopt-if'));
      if (!strip) {
        strip = element('div', 'nbopt-if');
        strip.dataset.name = name;
        control.append(strip);
      }
      if (bar) {
        drawBar(strip, bar, title, label => model.send({ take: [name], label }));
      } else if (!strip.querySelector('.nbopt-if-offer')) {
        const offer = element('button', 'nbopt-if-offer', says.what_if);
        offer.setAttribute('aria-label', title);
        offer.title = says.tip;
        offer.onclick = () => model.send({ ask: [name] });
        strip.replaceChildren(offer, element('div', 'nbopt-if-says', says.hint));
      }
    }
    pane.show(strips());
  };
  on(panel, 'click', event => {
    const control = /** @type {Element} */ (event.target).closest('.nbopt-ask')?.closest('.nbopt-control');
    const name = control && /nbopt-hp-(\S+)/.exec(control.className)?.[1];
    if (name) model.send(strips().bars?.[name] ? { leave: [name] } : { ask: [name] });
  });
  model.on('change:strips', place);
  let frame = 0;
  const arrived = new MutationObserver(changes => {
    const isControl = (/** @type {any} */ node) => node.querySelector?.('.noUi-handle, input, select');
    if (frame || !changes.some(({ addedNodes }) => [...addedNodes].some(isControl))) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      place();
    });
  });
  arrived.observe(column, { childList: true, subtree: true });
  gone.addEventListener('abort', () => {
    arrived.disconnect();
    model.off('change:strips', place);
  });
  place();
}

/**
 * The button that opens it, and the pane: strips for all in sight or none, how far ahead, in which share of the time,
 * and a map.
 *
 * @param {HTMLElement} column
 * @param {Model} model
 * @param {Listen} on
 */
function makePane(column, model, on) {
  const says = model.get('says');
  const find = /** @type {HTMLElement} */ (column.querySelector('.nbopt-find'));
  let opener = /** @type {HTMLElement | null} */ (find.querySelector('.nbopt-if-open'));
  let pane = /** @type {HTMLElement | null} */ (column.querySelector('.nbopt-if-pane'));
  if (!opener || !pane) {
    opener = element('button', 'nbopt-if-open', says.what_if);
    opener.title = says.tip;
    opener.setAttribute('aria-expanded', 'false');
    find.append(opener);
    pane = element('div', 'nbopt-if-pane');
    pane.hidden = true;
    pane.innerHTML =
      '<div><button type="button" class="nbopt-if-sight"></button><button type="button" class="nbopt-if-none"></button></div>' +
      '<label><span></span><input type="number" class="nbopt-if-ahead" min="0" max="10000" step="1"></label>' +
      '<label><span></span><input type="number" class="nbopt-if-share" min="1" max="50" step="1"></label>' +
      '<div><span></span><select class="nbopt-if-one"></select><select class="nbopt-if-other"></select></div>' +
      '<div class="nbopt-if-holder"></div>';
    find.after(pane);
  }
  const get = (/** @type {string} */ css) => /** @type {any} */ (/** @type {HTMLElement} */ (pane).querySelector(css));
  const [sight, none, ahead, share] = ['sight', 'none', 'ahead', 'share'].map(name => get(`.nbopt-if-${name}`));
  const [one, other, holder] = ['one', 'other', 'holder'].map(name => get(`.nbopt-if-${name}`));
  sight.textContent = says.sight;
  none.textContent = says.none;
  ahead.previousSibling.textContent = says.ahead;
  ahead.placeholder = says.auto;
  share.previousSibling.textContent = says.share;
  one.previousSibling.textContent = says.map;
  one.setAttribute('aria-label', `${says.map} (1)`);
  other.setAttribute('aria-label', `${says.map} (2)`);
  on(opener, 'click', () => {
    const { hidden } = /** @type {HTMLElement} */ (pane);
    /** @type {HTMLElement} */ (pane).hidden = !hidden;
    /** @type {HTMLElement} */ (opener).setAttribute('aria-expanded', String(hidden));
  });
  on(pane, 'keydown', event => event.stopPropagation());
  on(sight, 'click', () => model.send({ ask: inSight(column) }));
  on(none, 'click', () => {
    model.send({ leave: Object.keys(/** @type {any} */ (model.get('strips')).bars) });
    if (one.value) model.send({ map: null });
  });
  on(ahead, 'change', () => model.send({ ahead: Math.max(0, Math.min(10_000, Math.round(Number(ahead.value) || 0))) }));
  on(share, 'change', () => model.send({ share: Math.max(1, Math.min(50, Number(share.value) || 10)) }));
  const choose = () => {
    const isPair = one.value && other.value && one.value !== other.value;
    model.send({ map: isPair ? [one.value, other.value] : null });
  };
  on(one, 'change', choose);
  on(other, 'change', choose);
  let known = '';
  return {
    /** @param {Strips} strips */
    show(strips) {
      const names = [...new Set([...strips.numbers, ...strips.pair])];
      if (known !== String(names)) {
        known = String(names);
        for (const select of [one, other]) {
          const before = select.value;
          const options = ['', ...names].map(
            name => new Option(name ? (model.get('labels')[name] ?? name) : '–', name)
          );
          select.replaceChildren(...options);
          select.value = before;
        }
      }
      if (strips.pair.length) [one.value, other.value] = strips.pair;
      const active = column.ownerDocument.activeElement;
      if (active !== ahead) ahead.value = strips.ahead ? String(strips.ahead) : '';
      if (active !== share) share.value = String(strips.share);
      if (strips.map) {
        holder.dataset.name = strips.pair.join(', '); // which stand above the map
        const title = says.strips.replace(
          '{name}',
          strips.pair.map(name => model.get('labels')[name] ?? name).join(', ')
        );
        drawMap(holder, strips.map, title, label => model.send({ take: strips.pair, label }));
      } else holder.replaceChildren();
    }
  };
}

/**
 * The hyperparameters whose controls can be seen and moved.
 *
 * @param {Element} column
 */
function inSight(column) {
  const view = column.getBoundingClientRect();
  return [...column.querySelectorAll('.nbopt-control:not(.nbopt-idle, .nbopt-gone)')]
    .filter(control => {
      const { top, bottom, height } = control.getBoundingClientRect();
      return height > 0 && bottom > view.top && top < view.bottom;
    })
    .map(control => /nbopt-hp-(\S+)/.exec(control.className)?.[1] ?? '')
    .filter(Boolean);
}
