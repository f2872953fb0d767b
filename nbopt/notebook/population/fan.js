/* The page's half of a population's panel: members as a fan of curves, as points, and as rows.
 *
 * Everything comes in one message a frame. What a hand chooses is shown at once, and told to the kernel.
 */

import { answerFrames } from './../frontend/frames.js';
import { furnish } from './../frontend/furnish.js';
import { count } from './../frontend/numbers.js';
import { curveAt, drawFan, drawStrong } from './curves.js';
import { drawPoints, pointAt, pointsWithin, ring } from './points.js';
import { build, makeTable, written } from './rows.js';
import { drawAxes, hueOf, placeOf, prepare, shades, themeOf } from './scales.js';

/**
 * @typedef {object} Trait In what members differ.
 * @property {string} name
 * @property {string} label
 * @property {string[]} kinds
 * @property {import('./scales.js').Ticks} ticks
 *
 * @typedef {object} Fan What `fan.py` syncs beside what every panel's companion does.
 * @property {number} size
 * @property {Trait[]} kinds
 * @property {DataView} values Float64, of one trait after the other.
 * @property {DataView} places Float32, likewise.
 * @property {string} by The trait that colours members.
 * @property {[string, string][]} metrics Names and labels.
 * @property {string} metric
 * @property {boolean} log_y
 * @property {DataView} steps Float32.
 * @property {DataView} curves Uint16, see curves.js.
 * @property {DataView} drawn Int32.
 * @property {[number, number]} across
 * @property {[number, number]} up
 * @property {import('./scales.js').Ticks} across_ticks
 * @property {import('./scales.js').Ticks} up_ticks
 * @property {DataView} now Float32: the metric's newest value of each.
 * @property {DataView} best Float32: each one's best validation loss.
 * @property {DataView} done Int32: steps.
 * @property {DataView} states Uint8: which of `state_words`.
 * @property {string[]} state_words
 * @property {number[]} chosen
 * @property {{ member: number, text: string }} champion
 * @property {Record<string, string>} said
 *
 * @typedef {import('@anywidget/types').AnyModel<any>} AnyModel
 * @typedef {import('./../frontend/companion.js').Listen} Listen
 */

const FAN = /** @type {[number, number, number, number]} */ ([50, 10, 8, 24]);
const SCATTER = /** @type {[number, number, number, number]} */ ([50, 14, 8, 30]);
const RINGS = 12; // members chosen that have a ring each; of more, the others are pale
const DRAG = 4; // pixels that a pointer moves before it brushes

/** @param {{ model: AnyModel, el: HTMLElement }} context */
function render({ model, el }) {
  const stop = new AbortController();
  /** @type {Listen} */
  const on = (target, type, handler, options = {}) =>
    target.addEventListener(type, handler, { ...options, signal: stop.signal });
  const said = model.get('said');
  el.classList.add('nbopt-fan');
  const parts = lay(el, said);
  let chosen = new Set(/** @type {number[]} */ (model.get('chosen')));
  let last = -1; // chosen, where Shift begins
  let hover = -1;
  /** @type {import('./scales.js').Plot | null} */
  let fanPlot = null;
  /** @type {import('./scales.js').Plot | null} */
  let plot = null;
  let seen = read(model);

  const choose = (/** @type {number[]} */ members, /** @type {boolean} */ more) => {
    const next = more ? new Set(chosen) : new Set();
    for (const member of members) {
      if (more && members.length === 1 && next.has(member)) next.delete(member);
      else next.add(member);
    }
    chosen = next;
    last = members.at(-1) ?? -1;
    model.send({ choose: [...chosen].sort((a, b) => a - b) });
    if (members.length) table.reveal(members[0]);
    later();
  };
  const click = (/** @type {number} */ member, /** @type {MouseEvent | KeyboardEvent} */ event) => {
    const more = event.ctrlKey || event.metaKey || event.shiftKey;
    if (member >= 0) choose([member], more && (event instanceof KeyboardEvent ? member !== last : true));
    else if (!more && chosen.size) choose([], false);
  };
  const point = (/** @type {number} */ member, /** @type {MouseEvent | undefined} */ event = undefined) => {
    if (event) tell(parts.tip, el, event, member < 0 ? '' : describe(seen, member, said));
    if (member === hover) return;
    hover = member;
    if (!event) parts.tip.style.display = 'none';
    mark();
    showRows();
  };
  const table = makeTable(parts.table, /** @type {any} */ (said), { choose: click, point: member => point(member) });

  /** What lies over curves and points: it changes with the pointer, and they do not. */
  const mark = () => {
    const theme = themeOf(el);
    const colours = shades(theme.dark);
    const strong = new Set([...chosen, seen.champion, hover].filter(member => member >= 0));
    const over = prepare(parts.fanOver, FAN);
    if (over && seen.size) {
      drawStrong(over, theme, seen.curves, colours, [...strong].slice(0, 200), chosen.size > 20 ? 1.4 : 2.4);
      if (hover >= 0) drawStrong(over, theme, seen.curves, colours, [hover], 3.4);
    }
    const rings = prepare(parts.scatterOver, SCATTER);
    if (rings && seen.size) {
      if (seen.champion >= 0) star(rings, theme, seen.points, seen.champion);
      if (chosen.size <= RINGS) for (const member of chosen) ring(rings, theme, seen.points, member, 6);
      if (hover >= 0) ring(rings, theme, seen.points, hover, 8);
    }
  };
  const showRows = () => {
    const colours = shades(themeOf(el).dark);
    const own = Array.from({ length: seen.size }, (_none, member) => colours[hueOf(seen.points.across[member])]);
    table.show({ size: seen.size, columns: seen.columns, colours: own, chosen, best: seen.champion, hover });
  };
  const draw = () => {
    const theme = themeOf(el);
    const colours = shades(theme.dark);
    fanPlot = prepare(parts.fan, FAN);
    if (fanPlot) {
      drawAxes(fanPlot, theme, model.get('across_ticks'), model.get('up_ticks'));
      drawFan(fanPlot, seen.curves, colours, chosen);
    }
    plot = prepare(parts.scatter, SCATTER);
    if (plot) {
      drawAxes(plot, theme, seen.trait?.ticks ?? [], model.get('up_ticks'));
      drawPoints(plot, seen.points, colours, chosen);
    }
    mark();
    showRows();
    head(parts, model, seen, chosen);
  };
  let frame = 0;
  const later = () => {
    if (frame) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      if (!stop.signal.aborted) draw();
    });
  };
  const take = () => {
    seen = read(model);
    later();
  };
  const follow = () => {
    chosen = new Set(model.get('chosen'));
    take();
  };
  model.on('change:frame', take); // before frames are answered: it draws in the same animation frame
  model.on('change:chosen', follow);
  const observe = answerFrames(model, on, stop.signal);

  for (const [canvas, find, area] of /** @type {const} */ ([
    [parts.fanOver, curveAt, () => /** @type {const} */ ([fanPlot, seen.curves])],
    [parts.scatterOver, pointAt, () => /** @type {const} */ ([plot, seen.points])]
  ])) {
    const at = (/** @type {MouseEvent} */ event) => {
      const [where, what] = area();
      return where ? /** @type {any} */ (find)(where, what, event.offsetX, event.offsetY) : -1;
    };
    on(canvas, 'mousemove', event => point(at(event), event));
    on(canvas, 'mouseleave', event => {
      point(-1, event);
    });
    if (canvas === parts.fanOver) on(canvas, 'click', event => click(at(event), event));
    else
      brush(canvas, parts.brush, on, (event, from, to) => {
        if (!plot) return;
        if (to) choose(pointsWithin(plot, seen.points, from, to), event.ctrlKey || event.metaKey || event.shiftKey);
        else click(at(event), event);
      });
  }
  on(parts.by, 'change', () => model.send({ by: parts.by.value }));
  on(parts.metric, 'change', () => model.send({ metric: parts.metric.value }));
  on(parts.log, 'click', () => model.send({ log: !model.get('log_y') }));
  on(parts.champion, 'click', () => {
    if (seen.champion < 0) return;
    choose([seen.champion], false);
  });
  on(parts.none, 'click', () => choose([], false));
  on(el, 'keydown', event => {
    if (event.key !== 'Escape' || !chosen.size) return;
    choose([], false);
    event.stopPropagation();
  });
  const resized = new ResizeObserver(later);
  for (const canvas of [parts.fan, parts.scatter]) resized.observe(canvas);
  const themed = new MutationObserver(later);
  themed.observe(document.body, { attributes: true, attributeFilter: ['data-jp-theme-name'] });

  const attach = () => {
    if (stop.signal.aborted) return;
    const panel = el.closest('.nbopt-panel');
    if (!panel?.querySelector('.nbopt-controls')) {
      requestAnimationFrame(attach);
      return;
    }
    observe(panel);
    furnish(panel, /** @type {any} */ (model), on, stop.signal);
    later();
  };
  attach();
  later();
  return () => {
    stop.abort();
    resized.disconnect();
    themed.disconnect();
    model.off('change:frame', take);
    model.off('change:chosen', follow);
  };
}

/**
 * @param {HTMLElement} el
 * @param {Record<string, string>} said
 */
function lay(el, said) {
  el.innerHTML = `
    <button type="button" class="nbopt-champion"><span></span></button>
    <div class="nbopt-fan-charts">
      <figure>
        <figcaption><select></select><span></span><button type="button" class="nbopt-fan-log"></button></figcaption>
        <div><canvas role="img"></canvas><canvas aria-hidden="true"></canvas><p></p></div>
      </figure>
      <figure>
        <figcaption><span></span><select></select></figcaption>
        <div><canvas role="img"></canvas><canvas aria-hidden="true"></canvas><i class="nbopt-zoom-box"></i></div>
      </figure>
    </div>
    <div class="nbopt-fan-rows"><div class="nbopt-fan-count"><span role="status"></span><button type="button"></button></div></div>
    <div class="nbopt-tip"></div>`;
  const all = (/** @type {string} */ what) => /** @type {any[]} */ ([...el.querySelectorAll(what)]);
  const [fan, fanOver, scatter, scatterOver] = all('canvas');
  const [metric, by] = all('select');
  metric.setAttribute('aria-label', said.metric);
  by.setAttribute('aria-label', said.by);
  const [log] = all('.nbopt-fan-log');
  log.textContent = said.log;
  const [none] = all('.nbopt-fan-count button');
  none.textContent = said.none;
  return {
    champion: /** @type {HTMLButtonElement} */ (all('.nbopt-champion')[0]),
    by: /** @type {HTMLSelectElement} */ (by),
    metric: /** @type {HTMLSelectElement} */ (metric),
    log: /** @type {HTMLButtonElement} */ (log),
    captions: /** @type {HTMLElement[]} */ (all('figcaption > span')),
    empty: /** @type {HTMLElement} */ (all('figure p')[0]),
    count: /** @type {HTMLElement} */ (all('.nbopt-fan-count span')[0]),
    none: /** @type {HTMLButtonElement} */ (none),
    table: /** @type {HTMLElement} */ (all('.nbopt-fan-rows')[0]),
    tip: /** @type {HTMLElement} */ (all('.nbopt-tip')[0]),
    brush: /** @type {HTMLElement} */ (all('.nbopt-zoom-box')[0]),
    fan: /** @type {HTMLCanvasElement} */ (fan),
    fanOver: /** @type {HTMLCanvasElement} */ (fanOver),
    scatter: /** @type {HTMLCanvasElement} */ (scatter),
    scatterOver: /** @type {HTMLCanvasElement} */ (scatterOver)
  };
}

/**
 * What the kernel sent, as numbers.
 *
 * @param {AnyModel} model
 */
export function read(model) {
  const size = /** @type {number} */ (model.get('size'));
  const traits = /** @type {Trait[]} */ (model.get('kinds'));
  const which = Math.max(
    0,
    traits.findIndex(trait => trait.name === model.get('by'))
  );
  const values = floats(model.get('values'), Float64Array);
  const places = floats(model.get('places'), Float32Array);
  const [low, high] = model.get('across');
  const at = floats(model.get('steps'), Float32Array).map(step => (step - low) / (high - low));
  const across = places.subarray(which * size, (which + 1) * size);
  const now = floats(model.get('now'), Float32Array);
  const states = floats(model.get('states'), Uint8Array);
  const label = model.get('metrics').find((/** @type {string[]} */ [name]) => name === model.get('metric'))?.[1] ?? '';
  const said = model.get('said');
  /** @type {import('./rows.js').Column[]} */
  const columns = traits
    .map((trait, k) => ({
      ...trait,
      values: values.subarray(k * size, (k + 1) * size),
      form: /** @type {any} */ (trait.kinds.length ? 'kind' : 'number')
    }))
    .filter(({ name }) => name !== 'member');
  columns.push({ name: ' now', label, values: now, form: 'number' });
  const best = floats(model.get('best'), Float32Array);
  if (!best.every(Number.isNaN)) columns.push({ name: ' best', label: said.best, values: best, form: 'number' });
  columns.push({ name: ' steps', label: said.step, values: floats(model.get('done'), Int32Array), form: 'count' });
  columns.push({ name: ' state', label: said.state, values: states, form: 'kind', kinds: model.get('state_words') });
  return {
    size,
    label,
    trait: traits[which],
    columns,
    champion: /** @type {number} */ (model.get('champion').member ?? -1),
    points: { across, up: Array.from(now, value => placeOf(value, model.get('up'), model.get('log_y'))) },
    curves: {
      at,
      heights: floats(model.get('curves'), Uint16Array),
      drawn: floats(model.get('drawn'), Int32Array),
      places: across
    }
  };
}

/**
 * @template {Float64Array | Float32Array | Uint16Array | Int32Array | Uint8Array} T
 * @param {DataView | undefined} view
 * @param {{ new (buffer: ArrayBuffer): T }} kind
 * @returns {T}
 */
function floats(view, kind) {
  if (!view) return new kind(new ArrayBuffer(0));
  const { buffer, byteOffset, byteLength } = view;
  return new kind(/** @type {ArrayBuffer} */ (buffer.slice(byteOffset, byteOffset + byteLength)));
}

/**
 * @param {ReturnType<typeof lay>} parts
 * @param {AnyModel} model
 * @param {ReturnType<typeof read>} seen
 * @param {Set<number>} chosen
 */
function head(parts, model, seen, chosen) {
  const said = model.get('said');
  offer(
    parts.by,
    model.get('kinds').map((/** @type {Trait} */ trait) => [trait.name, trait.label]),
    model.get('by')
  );
  offer(parts.metric, model.get('metrics'), model.get('metric'));
  parts.log.setAttribute('aria-pressed', String(model.get('log_y')));
  const { text } = model.get('champion');
  write(/** @type {HTMLElement} */ (parts.champion.firstElementChild), text || said.nobody);
  parts.champion.disabled = !text;
  const words = [said.fan.replace('{count}', count(seen.size)), said.scatter.replace('{metric}', seen.label)];
  const spoken = [`${seen.label} ${words[0]}`, `${words[1]} ${seen.trait?.label ?? ''}`];
  parts.captions.forEach((caption, k) => {
    write(caption, words[k]);
  });
  [parts.fan, parts.scatter].forEach((canvas, k) => {
    const label = `${spoken[k]}. ${text}`;
    if (canvas.getAttribute('aria-label') !== label) canvas.setAttribute('aria-label', label);
  });
  write(parts.empty, seen.curves.at.length ? '' : said.empty);
  const told = chosen.size
    ? said.some.replace('{count}', count(chosen.size)).replace('{size}', count(seen.size))
    : said.hint;
  write(parts.count, told);
  parts.none.hidden = !chosen.size;
}

/** @type {(place: HTMLElement, text: string) => void} */
const write = (place, text) => {
  if (place.textContent !== text) place.textContent = text;
};

/**
 * @param {HTMLSelectElement} select
 * @param {[string, string][]} options
 * @param {string} value
 */
function offer(select, options, value) {
  const key = JSON.stringify(options);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    select.replaceChildren(...options.map(([name, textContent]) => build('option', { value: name, textContent })));
  }
  if (select.value !== value) select.value = value;
}

/**
 * @param {ReturnType<typeof read>} seen
 * @param {number} member
 * @param {Record<string, string>} said
 */
function describe(seen, member, said) {
  const lines = seen.columns.map(column => `${column.label}: ${written(column, member)}`);
  return [`${said.member} ${member}`, ...lines].join('\n');
}

/**
 * @param {HTMLElement} tip
 * @param {HTMLElement} el
 * @param {MouseEvent} event
 * @param {string} text
 */
function tell(tip, el, event, text) {
  tip.style.display = text ? 'block' : 'none';
  if (!text) return;
  tip.textContent = text;
  const { left, top, width } = el.getBoundingClientRect();
  const x = event.clientX - left + 14;
  tip.style.left = `${Math.max(0, x + tip.offsetWidth > width ? x - tip.offsetWidth - 28 : x)}px`;
  tip.style.top = `${event.clientY - top + 12}px`;
}

/**
 * @param {import('./scales.js').Plot} plot
 * @param {import('./scales.js').Theme} theme
 * @param {import('./points.js').Points} points
 * @param {number} member
 */
function star(plot, theme, points, member) {
  ring(plot, theme, points, member, 7);
}

/**
 * Drag a rectangle; without one, it is a click.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLElement} box
 * @param {Listen} on
 * @param {(event: MouseEvent, from: [number, number], to: [number, number] | null) => void} done
 */
function brush(canvas, box, on, done) {
  /** @type {[number, number] | null} */
  let from = null;
  const isFar = (/** @type {PointerEvent} */ event) =>
    from !== null && Math.hypot(event.offsetX - from[0], event.offsetY - from[1]) > DRAG;
  on(canvas, 'pointerdown', event => {
    if (event.button) return;
    from = [event.offsetX, event.offsetY];
    canvas.setPointerCapture(event.pointerId);
  });
  on(canvas, 'pointermove', event => {
    if (!from || !isFar(event)) return;
    const [x, y] = from;
    Object.assign(box.style, {
      display: 'block',
      left: `${Math.min(x, event.offsetX)}px`,
      top: `${Math.min(y, event.offsetY)}px`,
      width: `${Math.abs(event.offsetX - x)}px`,
      height: `${Math.abs(event.offsetY - y)}px`
    });
  });
  const end = (/** @type {PointerEvent} */ event) => {
    box.style.display = 'none';
    if (!from) return;
    const start = from;
    const to = isFar(event) ? /** @type {[number, number]} */ ([event.offsetX, event.offsetY]) : null;
    from = null;
    if (event.type === 'pointerup') done(event, start, to);
  };
  on(canvas, 'pointerup', end);
  on(canvas, 'pointercancel', end);
}

export default { render };
