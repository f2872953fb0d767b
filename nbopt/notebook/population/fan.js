/* The page's half of a population's panel: members as a fan of curves, as points, and as rows.
 *
 * Everything comes in one message a frame. What a hand chooses is shown at once, and told to the kernel.
 */

import { count } from './../frontend/numbers.js';
import { brush } from './brush.js';
import { curveAt, drawStrong, readCurves } from './curves.js';
import { makeFan } from './growing.js';
import { drawPoints, pointAt, pointsWithin, ring } from './points.js';
import { makeTable, written } from './rows.js';
import { drawAxes, floats, hueOf, placeOf, prepare, shades, themeOf } from './scales.js';
import { makeChooser, stand } from './standing.js';
import { offer, tell, write } from './words.js';

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
 * @property {DataView} beside Int32: those chosen that are not among them.
 * @property {DataView} beside_curves Uint16.
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
 */

const FAN = /** @type {[number, number, number, number]} */ ([50, 10, 8, 24]);
const SCATTER = /** @type {[number, number, number, number]} */ ([50, 14, 8, 30]);
const RINGS = 12; // members chosen that have a ring each; of more, the others are pale

/** @param {{ model: AnyModel, el: HTMLElement }} context */
function render({ model, el }) {
  const said = model.get('said');
  el.classList.add('nbopt-fan');
  const parts = lay(el, said);
  let hover = -1;
  /** @type {import('./scales.js').Plot | null} */
  let fanPlot = null;
  /** @type {import('./scales.js').Plot | null} */
  let plot = null;
  let seen = read(model);
  const drawCurves = makeFan();

  const point = (/** @type {number} */ member, /** @type {MouseEvent | undefined} */ event = undefined) => {
    if (member !== hover) {
      hover = member;
      mark();
      showRows();
    }
    // Last, since it asks where things are, which has the browser lay out all that was written before.
    if (event) tell(parts.tip, el, event, member < 0 ? '' : describe(seen, member, said));
    else parts.tip.style.display = 'none';
  };

  /** What lies over curves and points: it changes with the pointer, and they do not. */
  const mark = () => {
    const theme = themeOf(el);
    const colours = shades(theme.dark);
    const { chosen } = chooser;
    const strong = new Set([...chosen, seen.champion, hover].filter(member => member >= 0));
    const over = prepare(parts.fanOver, FAN);
    if (over && seen.size) {
      drawStrong(over, theme, seen.curves, colours, [...strong].slice(0, 200), chosen.size > 20 ? 1.4 : 2.4);
      if (hover >= 0) drawStrong(over, theme, seen.curves, colours, [hover], 3.4);
    }
    const rings = prepare(parts.scatterOver, SCATTER);
    if (rings && seen.size) {
      if (seen.champion >= 0) ring(rings, theme, seen.points, seen.champion, 7);
      if (chosen.size <= RINGS) for (const member of chosen) ring(rings, theme, seen.points, member, 6);
      if (hover >= 0) ring(rings, theme, seen.points, hover, 8);
    }
  };
  const showRows = () => {
    const colours = shades(themeOf(el).dark);
    const own = Array.from({ length: seen.size }, (_none, member) => colours[hueOf(seen.points.across[member])]);
    const { chosen } = chooser;
    table.show({ size: seen.size, columns: seen.columns, colours: own, chosen, best: seen.champion, hover });
  };
  const draw = () => {
    const theme = themeOf(el);
    const colours = shades(theme.dark);
    fanPlot = prepare(parts.fan, FAN);
    if (fanPlot) {
      drawAxes(fanPlot, theme, model.get('across_ticks'), model.get('up_ticks'));
      drawCurves(fanPlot, seen.curves, colours, chooser.chosen);
    }
    plot = prepare(parts.scatter, SCATTER);
    if (plot) {
      drawAxes(plot, theme, seen.trait?.ticks ?? [], model.get('up_ticks'));
      drawPoints(plot, seen.points, colours, chooser.chosen);
    }
    mark();
    showRows();
    head(parts, model, seen, chooser.chosen);
  };
  const take = () => {
    seen = read(model);
  };
  const { on, later, leave } = stand(model, el, '.nbopt-controls', take, draw, () => chooser.none());
  const chooser = makeChooser(model, member => table.reveal(member), later);
  const table = makeTable(parts.table, /** @type {any} */ (said), {
    choose: chooser.click,
    point: member => point(member)
  });
  const follow = () => {
    take();
    chooser.follow(model.get('chosen'));
  };
  model.on('change:chosen', follow);

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
    if (canvas === parts.fanOver) on(canvas, 'click', event => chooser.click(at(event), event));
    else
      brush(canvas, parts.brush, on, (event, from, to) => {
        if (!plot) return;
        const more = event.ctrlKey || event.metaKey || event.shiftKey;
        if (to) chooser.choose(pointsWithin(plot, seen.points, from, to), more);
        else chooser.click(at(event), event);
      });
  }
  on(parts.by, 'change', () => model.send({ by: parts.by.value }));
  on(parts.metric, 'change', () => model.send({ metric: parts.metric.value }));
  on(parts.log, 'click', () => model.send({ log: !model.get('log_y') }));
  on(parts.champion, 'click', () => {
    if (seen.champion >= 0) chooser.choose([seen.champion], false);
  });
  on(parts.none, 'click', () => chooser.none());
  return () => {
    leave();
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
    curves: readCurves(model, across)
  };
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

/**
 * @param {ReturnType<typeof read>} seen
 * @param {number} member
 * @param {Record<string, string>} said
 */
function describe(seen, member, said) {
  const lines = seen.columns.map(column => `${column.label}: ${written(column, member)}`);
  return [`${said.member} ${member}`, ...lines].join('\n');
}

export default { render };
