/**
 * The list of runs in a panel. The kernel sends rows; what a person does to one is sent back, and shown once the kernel
 * says that it is so. All text goes in as text.
 *
 * @typedef {object} Row
 * @property {string} id
 * @property {string} name
 * @property {string} colour Of its curves; empty where it is not drawn.
 * @property {boolean} shown
 * @property {boolean} own
 * @property {boolean} star
 * @property {string} state
 * @property {string} told The same in words.
 * @property {string[]} values Of the settings that differ.
 * @property {string} best
 * @property {string} last
 * @property {string} step
 * @property {string} created
 * @property {string[]} can
 * @property {boolean} stored
 *
 * @typedef {object} State
 * @property {Row[]} rows
 * @property {[string, string][]} columns Name and label of the settings that differ.
 * @property {string[]} heads
 * @property {string[][]} diff
 * @property {{ text?: string, ask?: string }} verdict Which of two runs is better, and the button that asks.
 * @property {boolean | null} seeds Whether the mean of repeats is drawn; null where there are none.
 * @property {string} group
 * @property {string} note
 * @property {boolean} halts Whether what it tells of can be stopped.
 * @property {Record<string, string>} words
 *
 * @typedef {import('@anywidget/types').AnyModel<State>} Model
 * @typedef {{ id: string, what: 'rename' | 'delete' | 'close' } | null} Asking
 */

const ALONE = '-';
const SURE = /** @type {const} */ (['close', 'delete']);

/** @param {{ model: Model, el: HTMLElement }} context */
function render({ model, el }) {
  const words = model.get('words');
  /** @type {Map<string, { tr: HTMLTableRowElement, key: string }>} */
  const drawn = new Map();
  /** @type {Asking} */
  let asking = null;
  let compares = false;

  const root = make('div', { className: 'nbopt-runs-view' });
  const note = make('span', {});
  note.setAttribute('role', 'status');
  const halt = act('halt', words.halt, words.halt, () => model.send({ do: 'halt' }));
  const told = make('div', { className: 'nbopt-runs-note' }, note, halt);
  const bar = make('div', { className: 'nbopt-runs-bar' });
  const group = make('select', {});
  const compare = make('button', { type: 'button', textContent: words.compare });
  const scroll = make('div', { className: 'nbopt-runs-scroll', tabIndex: 0 });
  scroll.setAttribute('role', 'region');
  scroll.setAttribute('aria-label', words.title);
  const table = make('table', {});
  const head = make('thead', {});
  const body = make('tbody', {});
  const diff = make('div', { className: 'nbopt-runs-scroll nbopt-runs-diff' });
  table.append(head, body);
  scroll.append(table);
  const seeds = make('input', { type: 'checkbox' });
  const repeats = make('label', {}, seeds, ` ${words.seeds}`);
  bar.append(make('label', {}, `${words.group} `, group), compare);
  root.append(bar, told, scroll, diff);
  el.append(root);

  group.addEventListener('change', () => model.send({ do: 'group', by: group.value }));
  seeds.addEventListener('change', () => model.send({ do: 'seeds', on: seeds.checked }));
  compare.addEventListener('click', () => {
    compares = !compares;
    draw();
  });

  /** @type {(next: Asking) => void} */
  const ask = next => {
    asking = next;
    draw();
    if (next)
      drawn
        .get(next.id)
        ?.tr.querySelector(/** @type {any} */ ('input[type=text], .nbopt-runs-sure'))
        ?.focus();
  };

  const draw = () => {
    const [rows, columns] = [model.get('rows'), model.get('columns')];
    note.textContent = model.get('note');
    told.hidden = !note.textContent;
    halt.hidden = !model.get('halts');
    const titles = [
      '',
      '',
      words.name,
      words.state,
      ...columns.map(([, label]) => label),
      words.best,
      words.last,
      words.step,
      words.created,
      ''
    ];
    if (head.dataset.key !== JSON.stringify(titles)) {
      head.dataset.key = JSON.stringify(titles);
      const cells = titles.map(heading);
      for (const cell of cells.slice(4, -2)) cell.className = 'nbopt-runs-number';
      head.replaceChildren(make('tr', {}, ...cells));
    }
    for (const [place, row] of rows.entries()) {
      const busy = asking?.id === row.id ? asking.what : '';
      const key = JSON.stringify([row, busy, columns.length]);
      const before = drawn.get(row.id);
      if (busy === 'rename' && before?.tr.querySelector('input[type=text]')) continue;
      const tr = before?.key === key ? before.tr : line(row, busy, words, model, ask);
      if (before && before.tr !== tr) swap(before.tr, tr);
      if (body.children[place] !== tr) body.insertBefore(tr, body.children[place] ?? null);
      drawn.set(row.id, { tr, key });
    }
    const known = new Set(rows.map(row => row.id));
    for (const [id, { tr }] of drawn) {
      if (known.has(id)) continue;
      tr.remove();
      drawn.delete(id);
    }
    choose(group, model.get('group'), columns, words);
    if (model.get('seeds') === null) repeats.remove();
    else if (!repeats.isConnected) compare.before(repeats);
    seeds.checked = Boolean(model.get('seeds'));
    compare.setAttribute('aria-expanded', String(compares));
    diff.hidden = !compares;
    if (compares) swapIn(diff, difference(model, words), verdict(model));
  };

  const fields = /** @type {const} */ ([
    'rows',
    'columns',
    'heads',
    'diff',
    'verdict',
    'seeds',
    'group',
    'note',
    'halts'
  ]);
  let frame = 0;
  const later = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      draw();
    });
  };
  for (const field of fields) model.on(`change:${field}`, later);
  draw();
  return () => {
    for (const field of fields) model.off(`change:${field}`, later);
    if (frame) cancelAnimationFrame(frame);
  };
}

/**
 * @param {Row} row
 * @param {string} busy What is asked about it: a new name, or whether it is to go.
 * @param {Record<string, string>} words
 * @param {Model} model
 * @param {(next: Asking) => void} ask
 */
export function line(row, busy, words, model, ask) {
  const tr = make('tr', {});
  tr.dataset.run = row.id;
  tr.dataset.state = row.state;
  if (row.own) tr.classList.add('nbopt-runs-own');
  const box = make('input', { type: 'checkbox', checked: row.shown, disabled: row.own });
  box.setAttribute('aria-label', words.show.replace('{name}', row.name));
  box.dataset.act = 'show';
  box.addEventListener('change', () => model.send({ do: 'show', run: row.id, on: box.checked }));
  const swatch = make('span', { className: 'nbopt-runs-swatch' });
  swatch.style.background = row.colour || 'transparent';

  const star = act('star', row.star ? '★' : '☆', `${words.star}: ${row.name}`, () =>
    model.send({ do: 'star', run: row.id, on: !row.star })
  );
  star.setAttribute('aria-pressed', String(row.star));
  star.disabled = !row.can.includes('star');

  const state = make('span', { className: 'nbopt-runs-state', textContent: row.told });
  const cells = [
    make('td', {}, box, swatch),
    make('td', {}, star),
    naming(row, busy, words, model, ask),
    make('td', {}, state),
    ...[...row.values, row.best, row.last, row.step].map(text => make('td', { className: 'nbopt-runs-number' }, text)),
    make('td', {}, row.created),
    doing(row, busy, words, model, ask)
  ];
  tr.append(...cells);
  return tr;
}

/** @type {typeof line} */
function naming(row, busy, words, model, ask) {
  const td = make('td', { className: 'nbopt-runs-name' });
  if (busy !== 'rename') {
    const name = make('span', { textContent: row.name, title: row.name });
    td.append(name);
    if (row.own) td.append(make('small', { textContent: ` ${words.own}` }));
    if (row.can.includes('rename')) name.addEventListener('dblclick', () => ask({ id: row.id, what: 'rename' }));
    return /** @type {any} */ (td);
  }
  const input = make('input', { type: 'text', value: row.name, maxLength: 200 });
  input.setAttribute('aria-label', words.rename);
  input.addEventListener('keydown', event => {
    event.stopPropagation(); // the notebook has shortcuts of one letter
    if (event.key === 'Enter') {
      if (input.value.trim()) model.send({ do: 'rename', run: row.id, name: input.value });
      input.remove();
      ask(null);
    } else if (event.key === 'Escape') {
      input.remove();
      ask(null);
    }
  });
  td.append(input);
  return /** @type {any} */ (td);
}

/** @type {typeof line} */
function doing(row, busy, words, model, ask) {
  const td = make('td', { className: 'nbopt-runs-acts' });
  const what = SURE.find(name => name === busy);
  if (what) {
    const sure = act('sure', words[what], `${words[what]}: ${row.name}`, () => {
      model.send({ do: what, run: row.id });
      ask(null);
    });
    sure.classList.add('nbopt-runs-sure');
    const keep = act('keep', words.keep, `${words.keep}: ${row.name}`, () => ask(null));
    td.append(what === 'delete' ? words.sure : words.lose, sure, keep);
    return /** @type {any} */ (td);
  }
  for (const name of row.can) {
    if (name === 'star') continue;
    td.append(
      act(name, words[name], `${words[name]}: ${row.name}`, () => {
        if (name === 'rename' || name === 'delete' || (name === 'close' && !row.stored))
          ask({ id: row.id, what: name });
        else model.send({ do: name, run: row.id });
      })
    );
  }
  return /** @type {any} */ (td);
}

/**
 * @param {HTMLSelectElement} select
 * @param {string} chosen
 * @param {[string, string][]} columns
 * @param {Record<string, string>} words
 */
export function choose(select, chosen, columns, words) {
  const isListed = chosen === ALONE || chosen === '' || columns.some(([name]) => name === chosen);
  const names = isListed ? columns : [...columns, [chosen, chosen]];
  const key = JSON.stringify(names);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    const options = [
      [ALONE, words.alone],
      ['', words.all],
      ...names.map(([name, label]) => [name, words.by.replace('{name}', label)])
    ];
    select.replaceChildren(...options.map(([value, textContent]) => make('option', { value, textContent })));
  }
  if (select.value !== chosen) select.value = chosen;
}

/**
 * @param {Model} model
 * @param {Record<string, string>} words
 */
function difference(model, words) {
  const [heads, rows] = [model.get('heads'), model.get('diff')];
  if (heads.length < 2) return make('p', {}, words.few);
  if (!rows.length) return make('p', {}, words.alike);
  const head = make('thead', {}, make('tr', {}, ...[words.setting, ...heads].map(heading)));
  const lines = rows.map(([name, ...values]) =>
    make('tr', {}, make('th', { scope: 'row' }, name), ...values.map(value => make('td', {}, value)))
  );
  return make('table', {}, head, make('tbody', {}, ...lines));
}

/** @param {Model} model */
function verdict(model) {
  const { text, ask } = model.get('verdict');
  const told = make('p', { className: 'nbopt-runs-verdict' }, text ?? '');
  told.setAttribute('role', 'status');
  if (ask) told.append(act('verdict', ask, ask, () => model.send({ do: 'verdict' })));
  told.hidden = !(text || ask);
  return told;
}

/**
 * Put other contents in a place; a button that had the focus has it again.
 *
 * @param {HTMLElement} place
 * @param {...HTMLElement} children
 */
function swapIn(place, ...children) {
  const focus = /** @type {HTMLElement | null} */ (place.ownerDocument.activeElement);
  const name = focus && place.contains(focus) ? focus.dataset.act : undefined;
  place.replaceChildren(...children);
  if (name) /** @type {HTMLElement | null} */ (place.querySelector(`[data-act="${name}"]`))?.focus();
}

/** @param {string} text */
const heading = text => (text ? make('th', { scope: 'col' }, text) : make('td', {}));

/**
 * Put one row in the place of another; what had the focus has it again.
 *
 * @param {HTMLElement} old
 * @param {HTMLElement} next
 */
function swap(old, next) {
  const focus = /** @type {HTMLElement | null} */ (old.ownerDocument.activeElement);
  const name = focus && old.contains(focus) ? focus.dataset.act : undefined;
  old.replaceWith(next);
  if (name) /** @type {HTMLElement | null} */ (next.querySelector(`[data-act="${name}"]`))?.focus();
}

/**
 * @param {string} name
 * @param {string} text
 * @param {string} label For a screen reader.
 * @param {() => void} handler
 */
function act(name, text, label, handler) {
  const button = make('button', { type: 'button', textContent: text, title: label });
  button.setAttribute('aria-label', label);
  button.dataset.act = name;
  button.addEventListener('click', handler);
  return button;
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Partial<HTMLElementTagNameMap[K]>} traits
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
function make(tag, traits, ...children) {
  const made = Object.assign(document.createElement(tag), traits);
  made.append(...children);
  return made;
}

export default { render };
