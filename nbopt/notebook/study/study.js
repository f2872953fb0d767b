/* The page's half of a study's panel: curves of all trials, points, parallel coordinates, rows, and the space.
 *
 * Everything comes in one message a frame. What a hand chooses or brushes is shown at once; the kernel is told what it is
 * to do.
 */

import { count } from './../frontend/numbers.js';
import { brush } from './../population/brush.js';
import { ALONE, curveAt, drawFan, drawStrong } from './../population/curves.js';
import { drawPoints, pointAt, pointsWithin, ring } from './../population/points.js';
import { makeTable } from './../population/rows.js';
import { drawAxes, hueOf, prepare, shades, themeOf } from './../population/scales.js';
import { makeChooser, makeMemory, stand } from './../population/standing.js';
import { offer, tell, write } from './../population/words.js';
import { narrowed, within } from './brushes.js';
import { sieve } from './filter.js';
import { layStudy } from './layout.js';
import { makeParallel } from './parallel.js';
import { briefly, describe, READ, read } from './seen.js';
import { makeSpace } from './space.js';

/** @typedef {import('@anywidget/types').AnyModel<any>} AnyModel */

const FAN = /** @type {[number, number, number, number]} */ ([50, 10, 8, 24]);
const SCATTER = /** @type {[number, number, number, number]} */ ([50, 14, 8, 30]);
const FEW = 200; // trials chosen that are drawn over the others
/** What is written about, beside what `read` tells. */
const WORDS = ['acts', 'total', 'space', 'by', 'log_y', 'measure', 'grown', 'given'];
const TICKS = ['across_ticks', 'up_ticks'];
const RINGS = 12; // trials chosen that have a ring each; of more, the others are pale

/** @param {{ model: AnyModel, el: HTMLElement }} context */
function render({ model, el }) {
  const said = model.get('said');
  const parts = layStudy(el, said);
  let hover = -1;
  /** @type {import('./../population/scales.js').Plot | null} */
  let fanPlot = null;
  /** @type {import('./../population/scales.js').Plot | null} */
  let plot = null;
  let seen = read(model);
  /** @type {((trial: number) => boolean) | null} What the brush and the filter leave. */
  let keep = null;
  let brushed = 0; // how often a brush was moved
  let theme = themeOf(el);
  let colours = [...shades(theme.dark), theme.line];
  const differs = makeMemory();

  /** Take up anew which trials brush and filter leave. */
  const sift = () => {
    const inside = within(parallel.brushes, seen.axes);
    const typed = sieve(parts.filter.value, seen.columns);
    keep = inside && typed ? trial => inside(trial) && typed(trial) : (inside ?? typed);
    later();
  };
  const point = (/** @type {number} */ trial, /** @type {MouseEvent | undefined} */ event = undefined) => {
    if (trial !== hover) {
      hover = trial;
      mark();
      showRows();
    }
    // Last, since it asks where things are, which has the browser lay out all that was written before.
    if (event) tell(parts.tip, el, event, trial < 0 ? '' : describe(seen, trial, said));
    else parts.tip.style.display = 'none';
  };
  /** What lies over the pictures: it changes with the pointer and with what is chosen, and they do not. */
  const mark = () => {
    const few = chosenFew();
    const strong = [...new Set([...few, seen.champion, hover])].filter(trial => trial >= 0 && trial < seen.size);
    fanPlot = prepare(parts.fanOver, FAN);
    if (fanPlot) {
      drawAxes(fanPlot, theme, model.get('across_ticks'), model.get('up_ticks'));
      drawStrong(fanPlot, theme, seen.curves, colours, strong, few.length > ALONE ? 1.4 : 2.4);
      if (hover >= 0) drawStrong(fanPlot, theme, seen.curves, colours, [hover], 3.4);
    }
    plot = prepare(parts.scatterOver, SCATTER);
    if (plot) {
      drawAxes(plot, theme, seen.x?.ticks ?? [], seen.y?.ticks ?? []);
      drawLine(plot, theme, seen.line);
      drawPoints(plot, seen.points, colours, new Set(), few);
      if (seen.champion >= 0) ring(plot, theme, seen.points, seen.champion, 7);
      if (few.length <= RINGS) for (const trial of few) ring(plot, theme, seen.points, trial, 6);
      if (hover >= 0) ring(plot, theme, seen.points, hover, 8);
    }
    markLines();
  };
  const markLines = () => parallel.mark(hover >= 0 ? [...chosenFew(), hover] : chosenFew());
  /** Those that are drawn over the others; of many that are chosen, the pictures below make the others pale. */
  const chosenFew = () => (chooser.chosen.size > FEW ? [] : [...chooser.chosen]);
  const showRows = () => {
    const own = Array.from(seen.points.hues, place => colours[hueOf(place)]);
    const { chosen } = chooser;
    table.show({ size: seen.size, columns: seen.columns, colours: own, chosen, best: seen.champion, hover, keep });
  };
  const parallel = makeParallel(parts.parallel, said, () => {
    brushed += 1;
    sift();
  });
  const standing = () => (chooser.chosen.size > FEW ? chooser.chosen : new Set(keep ? seen.all.filter(keep) : []));
  /** @type {{ canvas: HTMLCanvasElement, inputs: () => unknown[], draw: () => void }[]} */
  const layers = [
    {
      canvas: parallel.canvas,
      inputs: () => [...seen.raw.places, model.get('space'), seen.champion, brushed],
      draw: () => {
        const { chosen } = chooser;
        const stands = chosen.size > FEW ? (/** @type {number} */ trial) => chosen.has(trial) : keep;
        const best = seen.champion < seen.size ? seen.champion : -1;
        parallel.show({ size: seen.size, axes: seen.axes, hues: seen.points.hues, best, colours, theme, stands });
        markLines();
      }
    },
    {
      canvas: parts.scatter,
      inputs: () => [...seen.raw.places, model.get('x'), model.get('y')],
      draw: () => {
        const below = prepare(parts.scatter, SCATTER);
        if (below) drawPoints(below, seen.points, colours, standing());
      }
    },
    {
      canvas: parts.fan,
      inputs: () => seen.raw.curves,
      draw: () => {
        const below = prepare(parts.fan, FAN);
        if (below) drawFan(below, seen.curves, colours, standing());
      }
    }
  ];
  let turn = 0;
  /** Of what is to be drawn anew, one picture a screen frame, each in its turn: what a hand does is not to wait for all. */
  const draw = () => {
    theme = themeOf(el);
    colours = [...shades(theme.dark), theme.line]; // that of trials that are nowhere yet comes last
    const { chosen } = chooser;
    // A few that are chosen are drawn over the others, which are only made pale; of many, the others are drawn anew.
    const many = chosen.size > FEW ? chosen : null;
    el.classList.toggle('nbopt-dimmed', chosen.size > 0 && !many);
    const look = [keep, many, theme.ground, theme.dark, ...seen.raw.hues];
    for (let k = 0; k < layers.length; k += 1) {
      const place = (turn + k) % layers.length;
      const { canvas, inputs, draw: paint } = layers[place];
      if (!differs(`layer ${place}`, ...look, ...inputs(), sizeOf(canvas))) continue;
      paint();
      turn = place + 1;
      later();
      break;
    }
    // What costs little, each where it tells something else than before.
    const sizes = [theme.ground, theme.dark, ...layers.map(({ canvas }) => sizeOf(canvas))];
    if (differs('over', seen, chosen, ...sizes, ...all(TICKS))) mark();
    if (differs('rows', seen, chosen, keep, ...sizes)) showRows();
    if (differs('words', seen, chosen, keep, brushed, ...all(WORDS))) {
      showSpace();
      head();
    }
  };
  const all = (/** @type {string[]} */ names) => names.map(name => model.get(name));
  const showSpace = () => {
    const { chosen } = chooser;
    const only = chosen.size === 1 ? [...chosen][0] : -1;
    space.show({
      space: model.get('space'),
      total: model.get('total'),
      chosen: [...chosen],
      told: only < 0 || only >= seen.size ? '' : briefly(seen, only),
      values: only < 0 || only >= seen.size ? {} : seen.given(only),
      acts: model.get('acts')
    });
  };
  const head = () => {
    const { text } = model.get('champion');
    write(parts.champion, text || said.nobody);
    parts.best.disabled = !text;
    /** @type {[string, string][]} */
    const options = [...model.get('grown'), ...model.get('given')].map(({ name, label }) => [name, label]);
    for (const [select, value] of /** @type {const} */ ([
      [parts.by, 'by'],
      [parts.x, 'x'],
      [parts.y, 'y']
    ])) {
      offer(select, options, model.get(value));
    }
    parts.log.setAttribute('aria-pressed', String(model.get('log_y')));
    const words = said.fan.replace('{count}', count(seen.size));
    write(parts.fanTitle, `${model.get('measure')} ${words}`);
    const held = seen.line.length ? (seen.x?.name.startsWith(' ') ? said.held : said.front) : '';
    write(parts.held, held);
    name(parts.fan, `${model.get('measure')} ${words}. ${text}`);
    name(parts.scatter, `${seen.y?.label} ${said.against} ${seen.x?.label}. ${held}. ${text}`);
    name(parallel.canvas, `${said.parallel}: ${seen.axes.map(axis => axis.label).join(', ')}`);
    write(parts.empty, seen.curves.at.length ? '' : said.empty);
    const size = count(seen.size);
    const inside = within(parallel.brushes, seen.axes);
    const some = (/** @type {string} */ words, /** @type {number} */ number) =>
      words.replace('{count}', count(number)).replace('{size}', size);
    write(parts.brushed, inside ? some(said.within, seen.all.filter(inside).length) : said.brush_hint);
    parts.narrow.disabled = !inside;
    parts.clear.disabled = !inside;
    const { chosen } = chooser;
    const told = chosen.size ? some(said.some, chosen.size) : keep && some(said.found, seen.all.filter(keep).length);
    write(parts.count, told || said.hint);
    parts.none.hidden = !chosen.size;
  };
  const take = () => {
    if (!differs('read', ...all(READ))) return;
    seen = read(model);
    if (keep && differs('data', ...seen.raw.places, model.get('states'))) sift();
  };
  const { on, later, leave } = stand(model, el, '.nbopt-header', take, draw, () => chooser.none());
  const space = makeSpace(parts.side, said, message => model.send(message));
  const chooser = makeChooser(model, trial => table.reveal(trial), later);
  const table = makeTable(parts.table, /** @type {any} */ (said), {
    choose: chooser.click,
    point: trial => point(trial)
  });
  const follow = () => {
    take();
    chooser.follow(model.get('chosen'));
  };
  model.on('change:chosen', follow);

  /** @type {[HTMLCanvasElement, (x: number, y: number) => number][]} */
  const places = [
    [parts.fanOver, (x, y) => (fanPlot ? curveAt(fanPlot, seen.curves, x, y) : -1)],
    [parts.scatterOver, (x, y) => (plot ? pointAt(plot, seen.points, x, y) : -1)],
    [parallel.over, (x, y) => parallel.at(x, y)]
  ];
  for (const [canvas, find] of places) {
    const at = (/** @type {MouseEvent} */ event) => find(event.offsetX, event.offsetY);
    on(canvas, 'mousemove', event => point(at(event), event));
    on(canvas, 'mouseleave', event => point(-1, event));
    if (canvas !== parts.scatterOver) on(canvas, 'click', event => chooser.click(at(event), event));
    else
      brush(canvas, parts.box, on, (event, from, to) => {
        if (!plot) return;
        const more = event.ctrlKey || event.metaKey || event.shiftKey;
        if (to) chooser.choose(pointsWithin(plot, seen.points, from, to), more);
        else chooser.click(at(event), event);
      });
  }
  on(parts.by, 'change', () => model.send({ by: parts.by.value }));
  on(parts.x, 'change', () => model.send({ x: parts.x.value }));
  on(parts.y, 'change', () => model.send({ y: parts.y.value }));
  on(parts.log, 'click', () => model.send({ log: !model.get('log_y') }));
  on(parts.best, 'click', () => {
    if (seen.champion >= 0) chooser.choose([seen.champion], false);
  });
  on(parts.none, 'click', () => chooser.none());
  on(parts.filter, 'input', sift);
  on(parts.filter, 'keydown', event => event.stopPropagation()); // the notebook has shortcuts of one letter
  on(parts.clear, 'click', () => parallel.clear());
  on(parts.narrow, 'click', () => {
    model.send({ narrow: narrowed(parallel.brushes, seen.axes, seen.dimensions, seen.size) });
  });
  return () => {
    leave();
    model.off('change:chosen', follow);
  };
}

/** @type {(canvas: HTMLElement) => string} */
const sizeOf = canvas => `${canvas.clientWidth} ${canvas.clientHeight} ${window.devicePixelRatio}`;

/** @type {(canvas: HTMLElement, text: string) => void} */
const name = (canvas, text) => {
  if (canvas.getAttribute('aria-label') !== text) canvas.setAttribute('aria-label', text);
};

/**
 * The best so far, or the front, over the points.
 *
 * @param {import('./../population/scales.js').Plot} plot
 * @param {import('./../population/scales.js').Theme} theme
 * @param {{ x: Float32Array, y: Float32Array }} line
 */
function drawLine({ context, left, right, top, bottom }, theme, { x, y }) {
  for (const [colour, width] of /** @type {const} */ ([
    [theme.ground, 5],
    [theme.accent, 2.4]
  ])) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    x.forEach((at, k) => {
      context.lineTo(left + at * (right - left), bottom + y[k] * (top - bottom));
    });
    context.stroke();
  }
}

export default { render };
