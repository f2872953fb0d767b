/* The column beside the pictures: what is done to the trials chosen, and to the space. */

import { build } from './../population/rows.js';
import { write } from './../population/words.js';

/**
 * @typedef {object} Row A dimension, as `view.py` tells of it.
 * @property {string} name
 * @property {string} label
 * @property {string} range
 * @property {string} pinned
 * @property {boolean} narrowed
 * @property {number[]} at
 *
 * @typedef {object} Shown
 * @property {Row[]} space
 * @property {number} total
 * @property {number[]} chosen
 * @property {string} told What the only one chosen is and reached.
 * @property {Record<string, string>} values Of the only one chosen.
 * @property {Record<string, string>} acts What cannot be done, with the reason; '' of what can.
 */

/**
 * @param {HTMLElement} place
 * @param {Record<string, string>} said
 * @param {(message: object) => void} send
 */
export function makeSpace(place, said, send) {
  place.innerHTML = `
    <section class="nbopt-trial"><b></b><div></div><p></p></section>
    <section class="nbopt-space"><header><b></b><label><span></span><input inputmode="numeric"></label></header><div></div>
    <p></p></section>`;
  const [card, space] = /** @type {HTMLElement[]} */ ([...place.querySelectorAll('section')]);
  const [title, told] = /** @type {HTMLElement[]} */ ([...card.querySelectorAll('b, div')]);
  const row = /** @type {HTMLElement} */ (card.querySelector('p'));
  const [head] = /** @type {HTMLElement[]} */ ([...space.querySelectorAll('b')]);
  const [total, list, foot] = /** @type {[HTMLInputElement, HTMLElement, HTMLElement]} */ ([
    space.querySelector('input'),
    space.querySelector('div'),
    space.querySelector('p')
  ]);
  head.textContent = said.space;
  /** @type {HTMLElement} */ (space.querySelector('label span')).textContent = said.trials;
  total.title = said.set_tip;
  const typed = () => Object.fromEntries([...inputs()].map(input => [input.dataset.name, input.value]));
  const inputs = () => /** @type {NodeListOf<HTMLInputElement>} */ (list.querySelectorAll('input'));
  const button = (/** @type {string} */ name, /** @type {() => void} */ act) => {
    const made = build('button', { type: 'button', textContent: said[name], title: said[`${name}_tip`] });
    made.dataset.act = name;
    made.addEventListener('click', act);
    return made;
  };
  /** @type {Record<string, HTMLButtonElement>} */
  const buttons = {
    end: button('end', () => send({ end: true })),
    rest: button('rest', () => send({ rest: true })),
    onward: button('onward', () => send({ rest: false })),
    promote: button('promote', () => send({ clone: {} })),
    clone: button('clone', () => send({ clone: typed() })),
    add: button('add', () => send({ add: typed() }))
  };
  row.append(buttons.rest, buttons.onward, buttons.end, buttons.promote);
  foot.append(buttons.add, buttons.clone);
  const ask = () => total.value !== total.dataset.now && send({ trials: total.value });
  total.addEventListener('change', ask);
  for (const part of [card, space]) {
    part.addEventListener('keydown', event => {
      if (event.key !== 'Escape') event.stopPropagation(); // the notebook has keys of its own
    });
  }

  const lay = (/** @type {Row[]} */ rows) => {
    const key = JSON.stringify(rows.map(each => [each.name, each.label]));
    if (list.dataset.key === key) return;
    list.dataset.key = key;
    list.replaceChildren(
      ...rows.map(({ name, label }) => {
        const made = build('div', { className: 'nbopt-dimension' });
        made.dataset.name = name;
        const input = build('input', { type: 'text', placeholder: said.open, spellcheck: false });
        input.dataset.name = name;
        input.setAttribute('aria-label', said.value.replace('{name}', label));
        const pin = button('pin', () => send({ pin: { [name]: input.value } }));
        const widen = button('widen', () => send({ widen: name }));
        for (const each of [pin, widen]) {
          each.title = each.title.replace('{name}', label);
          each.setAttribute('aria-label', each.title);
        }
        input.addEventListener('input', () => {
          pin.disabled = !input.value.trim();
        });
        made.append(build('b', { textContent: label, title: name }), pin, widen, build('span', {}), input);
        return made;
      })
    );
  };
  let filled = '';

  return {
    /** @param {Shown} shown */
    show({ space: rows, total: count, chosen, told: words, values, acts }) {
      lay(rows);
      const many = said[chosen.length > 1 ? 'many' : chosen.length ? 'one' : 'all'];
      write(title, many.replace('{number}', String(chosen[0])).replace('{count}', String(chosen.length)));
      write(told, words);
      for (const [name, made] of Object.entries(buttons)) {
        const reason = acts[name] ?? '';
        made.disabled = reason !== '';
        made.title = reason || said[`${name}_tip`];
      }
      if (total.dataset.now !== String(count)) {
        total.dataset.now = String(count);
        total.value = String(count);
      }
      const fill = JSON.stringify(values);
      rows.forEach(({ name, range, pinned, narrowed }, k) => {
        const made = list.children[k];
        const [span, input] = /** @type {[HTMLElement, HTMLInputElement]} */ ([
          made.querySelector('span'),
          made.querySelector('input')
        ]);
        const [pin, widen] = made.querySelectorAll('button');
        write(span, pinned ? said.pinned.replace('{value}', pinned) : range);
        span.title = span.textContent ?? '';
        made.classList.toggle('nbopt-narrowed', narrowed);
        if (fill !== filled) input.value = values[name] ?? '';
        pin.disabled = !input.value.trim();
        widen.disabled = !narrowed;
      });
      filled = fill;
    }
  };
}
