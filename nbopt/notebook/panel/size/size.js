/**
 * How good models are and how large: two charts and the list of layers. The kernel sends places from 0 to 1 and what is
 * written beside them; what a person asks for is sent back. All text goes in as text.
 *
 * @typedef {[number, string]} Tick
 * @typedef {[string, number, number, string]} Mark Kind, place and what it is.
 * @typedef {[string, [number, number, number, string][]]} Line Its name, and of each point place, value and words.
 * @typedef {{ x: Tick[], y: Tick[], marks: Mark[], front: [number, number][] }} Chart
 * @typedef {{ x: Tick[], y: Tick[], at: number | null, lines: Line[], title: string, name: string }} Sweep
 *
 * @typedef {object} State
 * @property {Chart | {}} chart
 * @property {Sweep | {}} sweep
 * @property {string[][]} layers
 * @property {[string, string][]} axes
 * @property {string} axis
 * @property {[string, string, [string, string][]][]} sweeps What can be swept, and the ways of each.
 * @property {[string, string][]} facts
 * @property {string} note
 * @property {string} busy
 * @property {Record<string, string>} words
 *
 * @typedef {import('@anywidget/types').AnyModel<State>} Model
 */

const SIZE = { width: 480, height: 260 };
const EDGE = { left: 52, right: 10, top: 10, bottom: 38 };
const SMALL = ['was', 'stored', 'beyond']; // kinds of marks
const WAYS = 4; // styles of lines, see size.css

/** @param {{ model: Model, el: HTMLElement }} context */
function render({ model, el }) {
  const words = model.get('words');
  const root = make('div', { className: 'nbopt-size' });
  const bar = make('div', { className: 'nbopt-size-bar' });
  const facts = make('dl', { className: 'nbopt-size-facts' });
  const note = make('p', { className: 'nbopt-size-note' });
  note.setAttribute('role', 'status');
  const [points, curves] = [make('figure', {}), make('figure', {})];
  const charts = make('div', { className: 'nbopt-size-charts' }, points, curves);
  const scroll = make('div', { className: 'nbopt-size-scroll', tabIndex: 0 });
  scroll.setAttribute('role', 'region');
  scroll.setAttribute('aria-label', words.layers);
  const body = make('tbody', {});
  const titles = ['layer', 'kind', 'parameters', 'zeros', 'bits', 'bytes', 'macs', 'lost', 'inputs'].map(
    name => words[name]
  );
  const table = make('table', {}, make('thead', {}, row('th', titles)), body);
  scroll.append(table);
  root.append(bar, facts, note, charts, scroll);
  el.append(root);

  const axis = make('select', {});
  axis.append(...model.get('axes').map(([value, text]) => make('option', { value, textContent: text })));
  axis.addEventListener('change', () => model.send({ do: 'axis', name: axis.value }));
  const [name, by] = [make('select', {}), make('select', {})];
  const fill = () => {
    const found = model.get('sweeps').find(([each]) => each === name.value);
    by.replaceChildren(
      make('option', { value: '', textContent: '–' }),
      ...(found?.[2] ?? []).map(([value, text]) => make('option', { value, textContent: text }))
    );
  };
  name.addEventListener('change', fill);
  const draw = button(words.draw, words.draw_tip, () => model.send({ do: 'sweep', name: name.value, by: by.value }));
  const find = button(words.find, words.find_tip, () => model.send({ do: 'sensitivity' }));
  const samples = make('input', { type: 'number', min: '1', value: '1' });
  const time = button(words.time, words.time_tip, () =>
    model.send({ do: 'time', samples: Math.round(Number(samples.value)) })
  );
  const sweeping = make(
    'span',
    { className: 'nbopt-size-group' },
    labelled(words.sweep, name),
    labelled(words.every, by),
    draw
  );
  const kernels = button(words.kernels, words.kernels_tip, () =>
    model.send({ do: 'kernels', samples: Math.round(Number(samples.value)) })
  );
  bar.append(
    labelled(words.against, axis),
    sweeping,
    make('span', { className: 'nbopt-size-group' }, find),
    make('span', { className: 'nbopt-size-group' }, time, kernels, labelled(words.samples, samples))
  );

  const show = () => {
    axis.value = model.get('axis');
    const sweeps = model.get('sweeps');
    if (name.dataset.key !== JSON.stringify(sweeps)) {
      name.dataset.key = JSON.stringify(sweeps);
      name.replaceChildren(...sweeps.map(([value, text]) => make('option', { value, textContent: text })));
      fill();
    }
    sweeping.hidden = !sweeps.length;
    find.hidden = !sweeps.length;
    const told = model
      .get('facts')
      .flatMap(([term, text]) => [
        make('div', {}, make('dt', { textContent: term }), make('dd', { textContent: text }))
      ]);
    facts.replaceChildren(...told);
    note.textContent = model.get('note') || (model.get('busy') && `${model.get('busy')} …`);
    note.classList.toggle('nbopt-problem', Boolean(model.get('note')));
    const chart = /** @type {Chart} */ (model.get('chart'));
    const label = model.get('axes').find(([each]) => each === axis.value)?.[1] ?? '';
    points.replaceChildren(caption(words.title), ...(chart.marks ? [scatter(chart, label, words)] : [words.empty]));
    const sweep = /** @type {Sweep} */ (model.get('sweep'));
    curves.hidden = !sweep.lines && !sweeps.length;
    const focus = curves.contains(document.activeElement) ? document.activeElement?.getAttribute('aria-label') : null;
    curves.replaceChildren(...(sweep.lines ? [caption(sweep.title), ...lines(sweep, words, model)] : [words.hint]));
    curves.classList.toggle('nbopt-size-hint', !sweep.lines);
    const drawn = /** @type {HTMLElement[]} */ ([...curves.querySelectorAll('[role=button]')]);
    if (focus) drawn.find(point => point.getAttribute('aria-label') === focus)?.focus();
    const layers = model.get('layers');
    body.replaceChildren(...layers.map(cells => row('td', cells)));
    for (const tr of table.rows) {
      for (const [place, cell] of [...tr.cells].entries()) cell.hidden = !layers.some(cells => cells[place]); // not measured yet
    }
  };
  const fields = /** @type {const} */ (['chart', 'sweep', 'layers', 'axis', 'sweeps', 'facts', 'note', 'busy']);
  let frame = 0;
  const later = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      show();
    });
  };
  for (const field of fields) model.on(`change:${field}`, later);
  show();
  return () => {
    for (const field of fields) model.off(`change:${field}`, later);
    if (frame) cancelAnimationFrame(frame);
  };
}

/**
 * A chart of models, the Pareto front as a line of steps.
 *
 * @param {Chart} chart
 * @param {string} label
 * @param {Record<string, string>} words
 */
export function scatter(chart, label, words) {
  const svg = frame(chart, label);
  svg.setAttribute('role', 'img');
  const told = chart.marks
    .filter(([kind]) => !SMALL.includes(kind))
    .map(([kind, , , text]) => `${words[kind]}: ${text}`);
  svg.setAttribute('aria-label', `${words.title}. ${told.join('; ')}`);
  const steps = chart.front.flatMap(([x, y], k) => (k ? [`H${across(x)}`, `V${up(y)}`] : [`M${across(x)} ${up(y)}`]));
  svg.append(shape('path', { class: 'nbopt-size-front', d: `${steps.join('')}H${SIZE.width - EDGE.right}` }));
  for (const [kind, x, y, text] of chart.marks) {
    const mark = shape('circle', {
      class: `nbopt-size-${kind}`,
      cx: across(x),
      cy: up(y),
      r: SMALL.includes(kind) ? 3 : 6
    });
    mark.append(shape('title', {}, `${words[kind]}: ${text}`));
    svg.append(mark);
  }
  const kinds = ['now', 'was', 'stored', 'beyond', 'full', 'run'].filter(kind =>
    chart.marks.some(([each]) => each === kind)
  );
  const keys = [...kinds, 'front'].map(kind => key(`nbopt-size-${kind}`, words[kind]));
  const whole = document.createDocumentFragment();
  whole.append(make('div', { className: 'nbopt-size-keys' }, ...keys), svg);
  return whole;
}

/**
 * A chart of scores by a number's values; a point takes its value.
 *
 * @param {Sweep} sweep
 * @param {Record<string, string>} words
 * @param {Model} model
 */
export function lines(sweep, words, model) {
  const svg = frame(sweep, sweep.name);
  svg.setAttribute('role', 'group');
  svg.setAttribute('aria-label', sweep.title);
  if (sweep.at !== null) {
    const x = across(sweep.at);
    svg.append(shape('line', { class: 'nbopt-size-at', x1: x, x2: x, y1: EDGE.top, y2: SIZE.height - EDGE.bottom }));
  }
  const named = sweep.lines.filter(([name]) => name);
  for (const [place, [name, points]] of sweep.lines.entries()) {
    const way = `nbopt-size-way${place % WAYS}`;
    const path = points.map(([x, y], k) => `${k ? 'L' : 'M'}${across(x)} ${up(y)}`).join('');
    svg.append(shape('path', { class: `nbopt-size-line ${way}`, d: path }));
    for (const [x, y, value, text] of points) {
      const point = shape('circle', { class: way, cx: across(x), cy: up(y), r: 4, tabindex: 0, role: 'button' });
      const label = words.take.replace('{name}', sweep.name).replace('{value}', `${name} ${text}`.trim());
      point.setAttribute('aria-label', label);
      point.append(shape('title', {}, label));
      const take = () => model.send({ do: 'take', value, by: name });
      point.addEventListener('click', take);
      point.addEventListener('keydown', event => {
        if (/** @type {KeyboardEvent} */ (event).key !== 'Enter' && /** @type {KeyboardEvent} */ (event).key !== ' ')
          return;
        event.preventDefault();
        event.stopPropagation();
        take();
      });
      svg.append(point);
    }
  }
  const keys = named.map(([name], place) => key(`nbopt-size-way${place % WAYS}`, name));
  return [make('div', { className: 'nbopt-size-keys' }, ...keys), svg];
}

/**
 * @param {{ x: Tick[], y: Tick[] }} axes
 * @param {string} label
 */
function frame({ x, y }, label) {
  const svg = shape('svg', { viewBox: `0 0 ${SIZE.width} ${SIZE.height}` });
  const [bottom, right] = [SIZE.height - EDGE.bottom, SIZE.width - EDGE.right];
  for (const [at, text] of y) {
    svg.append(shape('line', { class: 'nbopt-size-grid', x1: EDGE.left, x2: right, y1: up(at), y2: up(at) }));
    svg.append(shape('text', { x: EDGE.left - 6, y: up(at) + 4, 'text-anchor': 'end' }, text));
  }
  for (const [at, text] of x) {
    svg.append(shape('text', { x: across(at), y: bottom + 16, 'text-anchor': 'middle' }, text));
  }
  svg.append(shape('line', { class: 'nbopt-size-axis', x1: EDGE.left, x2: right, y1: bottom, y2: bottom }));
  svg.append(shape('text', { x: right, y: bottom + 33, 'text-anchor': 'end', class: 'nbopt-size-name' }, label));
  return svg;
}

/** @param {number} place */
const across = place => round(EDGE.left + place * (SIZE.width - EDGE.left - EDGE.right));

/** @param {number} place */
const up = place => round(SIZE.height - EDGE.bottom - place * (SIZE.height - EDGE.top - EDGE.bottom));

/** @param {number} value */
const round = value => Math.round(value * 10) / 10;

/**
 * @param {string} style
 * @param {string} text
 */
function key(style, text) {
  const swatch = shape('svg', { viewBox: '0 0 14 10', class: 'nbopt-size-swatch' });
  swatch.append(shape('circle', { class: style, cx: 7, cy: 5, r: 4 }));
  return make('span', {}, /** @type {any} */ (swatch), text);
}

/** @param {string} text */
const caption = text => make('figcaption', { textContent: text });

/**
 * @param {string} text
 * @param {HTMLElement} field
 */
const labelled = (text, field) => make('label', {}, `${text} `, field);

/**
 * @param {string} text
 * @param {string} title
 * @param {() => void} act
 */
function button(text, title, act) {
  const made = make('button', { type: 'button', textContent: text, title });
  made.addEventListener('click', act);
  return made;
}

/**
 * @param {'td' | 'th'} kind
 * @param {string[]} texts
 */
function row(kind, texts) {
  const cells = texts.map((textContent, place) =>
    make(kind, { textContent, className: place > 1 ? 'nbopt-size-number' : '' })
  );
  return make('tr', {}, ...cells);
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Partial<HTMLElementTagNameMap[Tag]>} fields
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
function make(tag, fields, ...children) {
  const made = Object.assign(document.createElement(tag), fields);
  made.append(...children);
  return made;
}

/**
 * @param {string} tag
 * @param {Record<string, string | number>} fields
 * @param {string} [text]
 */
function shape(tag, fields, text) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(fields)) made.setAttribute(name, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

export default { render };
