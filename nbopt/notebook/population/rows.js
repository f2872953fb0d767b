/* The table: a row for each member, of which only those in sight are there. */

import { brief, count, number } from './../frontend/numbers.js';

export const ROW = 24; // pixels
const SPARE = 6; // rows beyond those in sight
const RESORT = 1000; // milliseconds between two times that rows change their places by themselves

/**
 * @typedef {object} Column
 * @property {string} name
 * @property {string} label
 * @property {ArrayLike<number>} values
 * @property {'number' | 'count' | 'kind'} form
 * @property {string[]} [kinds] What the values of a 'kind' stand for.
 *
 * @typedef {object} Table What is shown.
 * @property {number} size How many members there are.
 * @property {Column[]} columns
 * @property {string[]} colours Of the members.
 * @property {Set<number>} chosen
 * @property {number} best
 * @property {number} hover
 * @property {((member: number) => boolean) | null} [keep] Whether a row is shown; another function is another choice.
 *
 * @typedef {object} Deeds What a hand does.
 * @property {(member: number, event: MouseEvent | KeyboardEvent) => void} choose
 * @property {(member: number) => void} point
 */

/**
 * @param {HTMLElement} place
 * @param {{ title: string, member: string, best: string, order: string }} words
 * @param {Deeds} deeds
 */
export function makeTable(place, words, deeds) {
  const scroll = build('div', { className: 'nbopt-members', tabIndex: -1 });
  const table = build('table', {});
  const [head, body] = [build('thead', {}), build('tbody', {})];
  table.setAttribute('role', 'grid');
  table.setAttribute('aria-label', words.title);
  table.setAttribute('aria-multiselectable', 'true');
  table.append(head, body);
  scroll.append(table);
  place.append(scroll);

  const [above, below] = [gap(), gap()]; // in the place of rows out of sight

  /** @type {Table} */
  let shown = { size: 0, columns: [], colours: [], chosen: new Set(), best: -1, hover: -1 };
  /** @type {number[]} */
  let order = [];
  let sorted = { by: '', down: false };
  let sortedAt = 0;
  let current = 0; // the member whose row the Tab key leads to

  const sort = () => {
    const column = shown.columns.find(one => one.name === sorted.by);
    order = Array.from({ length: shown.size }, (_none, k) => k);
    if (shown.keep) order = order.filter(shown.keep);
    if (column) order.sort((a, b) => compare(column.values[a], column.values[b], sorted.down) || a - b);
    sortedAt = performance.now();
  };

  const heads = () => {
    const key = JSON.stringify(shown.columns.map(column => [column.name, column.label, sorted]));
    if (head.dataset.key === key) return;
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.sort;
    head.dataset.key = key;
    const cells = [{ name: '', label: words.member }, ...shown.columns].map(({ name, label }) => {
      const cell = build('th', { scope: 'col' });
      const button = build('button', {
        type: 'button',
        textContent: label,
        title: words.order.replace('{name}', label)
      });
      button.dataset.sort = name;
      const isBy = sorted.by === name;
      cell.setAttribute('aria-sort', isBy ? (sorted.down ? 'descending' : 'ascending') : 'none');
      button.addEventListener('click', () => {
        sorted = { by: name, down: isBy && !sorted.down };
        sort();
        draw();
        scroll.scrollTop = 0;
      });
      cell.append(button);
      return cell;
    });
    const row = build('tr', {});
    row.append(...cells);
    head.replaceChildren(row);
    if (focused !== undefined) /** @type {HTMLElement} */ (head.querySelector(`[data-sort="${focused}"]`))?.focus();
  };

  const draw = () => {
    heads();
    table.setAttribute('aria-rowcount', String(order.length + 1));
    const first = Math.max(0, Math.floor(scroll.scrollTop / ROW) - SPARE);
    const last = Math.min(order.length, first + Math.ceil((scroll.clientHeight || 240) / ROW) + 2 * SPARE);
    const focused = Number(/** @type {HTMLElement | null} */ (document.activeElement)?.dataset.member ?? -1);
    const hadFocus = body.contains(document.activeElement);
    const wanted = [];
    for (let place = first; place < last; place += 1) wanted.push(order[place]);
    if (!wanted.includes(current)) current = wanted[Math.min(SPARE, wanted.length - 1)] ?? 0;
    /** @type {Map<number, HTMLTableRowElement>} */
    const before = new Map();
    for (const row of body.querySelectorAll('tr[data-member]')) {
      before.set(Number(/** @type {HTMLElement} */ (row).dataset.member), /** @type {HTMLTableRowElement} */ (row));
    }
    const rows = wanted.map((member, k) =>
      fill(before.get(member) ?? build('tr', {}), member, first + k, shown, current)
    );
    above.style.height = `${first * ROW}px`;
    below.style.height = `${(order.length - last) * ROW}px`;
    arrange(body, [above, ...rows, below]);
    if (hadFocus && !body.contains(document.activeElement)) {
      (rows.find(row => Number(row.dataset.member) === focused) ?? scroll).focus({ preventScroll: true });
    }
  };

  const memberOf = (/** @type {Event} */ event) => {
    const row = /** @type {HTMLElement} */ (event.target).closest?.('tr[data-member]');
    return row ? Number(/** @type {HTMLElement} */ (row).dataset.member) : -1;
  };
  body.addEventListener('click', event => {
    const member = memberOf(event);
    if (member < 0) return;
    current = member;
    deeds.choose(member, event);
  });
  body.addEventListener('mousemove', event => deeds.point(memberOf(event)));
  body.addEventListener('mouseleave', () => deeds.point(-1));
  body.addEventListener('keydown', event => {
    const member = memberOf(event);
    const move = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity }[event.key];
    if (member < 0 || (move === undefined && event.key !== 'Enter' && event.key !== ' ')) return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has keys of its own
    if (move === undefined) {
      deeds.choose(member, event);
      return;
    }
    const place = Math.min(order.length - 1, Math.max(0, order.indexOf(member) + move));
    focus(order[place]);
    if (event.shiftKey) deeds.choose(order[place], event);
    else deeds.point(order[place]);
  });
  let frame = 0;
  scroll.addEventListener('scroll', () => {
    if (frame) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      draw();
    });
  });

  /** @param {number} member */
  const reveal = member => {
    const top = order.indexOf(member) * ROW;
    const room = scroll.clientHeight - ROW; // below the heads
    if (top < scroll.scrollTop) scroll.scrollTop = top;
    else if (top + ROW > scroll.scrollTop + room) scroll.scrollTop = top + ROW - room;
    draw();
  };
  /** @param {number} member */
  const focus = member => {
    current = member;
    reveal(member);
    /** @type {HTMLElement | null} */ (body.querySelector(`[data-member="${member}"]`))?.focus({ preventScroll: true });
  };

  return {
    /** @param {Table} table */
    show(table) {
      const isOther = table.size !== shown.size || table.keep !== shown.keep;
      shown = table;
      const isOld = (sorted.by || table.keep) && performance.now() - sortedAt > RESORT;
      if (isOther || isOld) sort();
      draw();
    },
    reveal
  };
}

/**
 * @param {HTMLTableRowElement} row
 * @param {number} member
 * @param {number} place
 * @param {Table} shown
 * @param {number} current
 */
function fill(row, member, place, shown, current) {
  const texts = shown.columns.map(column => written(column, member));
  const isChosen = shown.chosen.has(member);
  const key = JSON.stringify([texts, shown.colours[member], member === shown.best]);
  row.dataset.member = String(member);
  row.tabIndex = member === current ? 0 : -1;
  row.setAttribute('aria-rowindex', String(place + 2));
  row.setAttribute('aria-selected', String(isChosen));
  row.className = member === shown.hover ? 'nbopt-members-at' : '';
  if (row.dataset.key === key) return row;
  row.dataset.key = key;
  const name = build('td', { className: 'nbopt-members-name' });
  const swatch = build('i', {});
  swatch.style.background = shown.colours[member];
  name.append(swatch, String(member), member === shown.best ? ' ★' : '');
  row.replaceChildren(name, ...texts.map(text => build('td', { textContent: text })));
  return row;
}

/**
 * @param {Column} column
 * @param {number} member
 */
export function written(column, member) {
  const value = column.values[member];
  if (column.form === 'kind') return column.kinds?.[value] ?? '';
  if (Number.isNaN(value)) return '–';
  if (column.form === 'count') return count(value);
  return Number.isInteger(value) ? number(value) : brief(value);
}

/**
 * Numbers in order, those that are none at the end in either direction.
 *
 * @param {number} a
 * @param {number} b
 * @param {boolean} down
 */
export function compare(a, b, down) {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return down ? b - a : a - b;
}

function gap() {
  const row = build('tr', { className: 'nbopt-members-gap' });
  row.setAttribute('aria-hidden', 'true');
  return row;
}

/**
 * Have these rows in this order. Those that are there already stay, and one of them the focus: without it, others are told
 * of that while the table is empty, and what scrolls is at its top from then on.
 *
 * @param {HTMLElement} body
 * @param {HTMLElement[]} rows
 */
function arrange(body, rows) {
  const wanted = new Set(rows);
  for (const row of /** @type {HTMLElement[]} */ ([...body.children])) if (!wanted.has(row)) row.remove();
  let there = body.firstElementChild;
  for (const row of rows) {
    if (row === there) there = there.nextElementSibling;
    else body.insertBefore(row, there);
  }
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Partial<HTMLElementTagNameMap[K]>} traits
 * @returns {HTMLElementTagNameMap[K]}
 */
export function build(tag, traits) {
  return Object.assign(document.createElement(tag), traits);
}
