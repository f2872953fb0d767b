/* What the kernel sent of a study, as numbers. */

import { readCurves } from './../population/curves.js';
import { written } from './../population/rows.js';
import { floats } from './../population/scales.js';

/** @typedef {import('@anywidget/types').AnyModel<any>} AnyModel */

/** What `read` looks at: the same of all these is the same picture. */
export const READ = [
  ...['size', 'space', 'given', 'values', 'places', 'grown', 'found', 'found_places', 'x', 'y', 'hues', 'line'],
  ...['across', 'steps', 'curves', 'drawn', 'beside', 'beside_curves', 'done', 'spent', 'states', 'sources', 'champion']
];

/**
 * What the kernel sent, as numbers.
 *
 * @param {AnyModel} model
 */
export function read(model) {
  const size = /** @type {number} */ (model.get('size'));
  const said = model.get('said');
  const space = new Map(model.get('space').map((/** @type {any} */ row) => [row.name, row]));
  const parse = (/** @type {string} */ told, /** @type {string} */ values, /** @type {string} */ places) => {
    const [numbers, spots] = [floats(model.get(values), Float64Array), floats(model.get(places), Float32Array)];
    return model.get(told).map((/** @type {any} */ axis, /** @type {number} */ k) => ({
      ...axis,
      values: numbers.subarray(k * size, (k + 1) * size),
      places: spots.subarray(k * size, (k + 1) * size),
      searched: searchedOf(space.get(axis.name)),
      form: axis.kinds.length ? 'kind' : axis.whole ? 'count' : 'number'
    }));
  };
  const given = parse('given', 'values', 'places');
  const grown = parse('grown', 'found', 'found_places');
  const axes = [...given, ...grown.filter((/** @type {any} */ axis) => !axis.name.startsWith(' '))];
  const find = (/** @type {string} */ name) => [...grown, ...given].find(axis => axis.name === model.get(name));
  const [x, y] = [find('x'), find('y')];
  const hues = floats(model.get('hues'), Float32Array);
  const line = floats(model.get('line'), Float32Array);
  /** @type {import('./../population/rows.js').Column[]} */
  const columns = [...axes.slice(given.length), ...given];
  const own = /** @type {const} */ ([
    [' steps', said.steps, floats(model.get('done'), Float32Array), 'count'],
    [' seconds', said.seconds, floats(model.get('spent'), Float32Array), 'number']
  ]);
  for (const [name, label, values, form] of own) columns.push({ name, label, values, form });
  for (const [name, field] of /** @type {const} */ ([
    ['state', 'states'],
    ['source', 'sources']
  ])) {
    const values = floats(model.get(field), Uint8Array);
    columns.push({ name, label: said[name], values, form: 'kind', kinds: model.get(`${name}_words`) });
  }
  const raw = (/** @type {string[]} */ ...names) => names.map(name => model.get(name));
  return {
    size,
    raw: {
      hues: raw('hues', 'size'),
      curves: raw('steps', 'curves', 'drawn', 'across'),
      places: raw('given', 'grown', 'places', 'found_places')
    },
    all: Array.from({ length: size }, (_none, trial) => trial),
    axes,
    dimensions: given.filter((/** @type {any} */ axis) => space.has(axis.name)).length,
    columns,
    x,
    y,
    champion: /** @type {number} */ (model.get('champion').trial ?? -1),
    points: { across: x?.places ?? [], up: y?.places ?? [], hues },
    line: { x: line.subarray(0, line.length / 2), y: line.subarray(line.length / 2), length: line.length },
    curves: readCurves(model, hues),
    /** @param {number} trial @returns {Record<string, string>} */
    given: trial => Object.fromEntries(given.map((/** @type {any} */ axis) => [axis.name, valueText(axis, trial)]))
  };
}

/** @type {(axis: any, trial: number) => string} */
const valueText = (axis, trial) =>
  Number.isNaN(axis.values[trial]) ? '' : axis.kinds.length ? written(axis, trial) : exactly(axis.values[trial]);

/** @param {number} value Told by as few characters as tell all of it. */
export function exactly(value) {
  const [plain, short] = [String(value), value.toExponential()];
  return plain.length > 8 && short.length < plain.length ? short : plain;
}

/**
 * @param {ReturnType<typeof read>} seen
 * @param {number} trial
 * @param {Record<string, string>} said
 */
export function describe(seen, trial, said) {
  const lines = seen.columns.map(column => `${column.label}: ${written(column, trial)}`);
  return [`${said.member} ${trial}`, ...lines].join('\n');
}

/**
 * @param {ReturnType<typeof read>} seen
 * @param {number} trial
 */
export function briefly(seen, trial) {
  const state = seen.columns.find(column => column.name === 'state');
  const reached = seen.axes.slice(seen.dimensions);
  const told = reached.map(axis => `${axis.label} ${written(/** @type {any} */ (axis), trial)}`);
  return [state ? written(state, trial) : '', ...told].join(' · ');
}

/** @param {any} row */
function searchedOf(row) {
  return row && !row.pinned && row.narrowed && row.at.length === 2 ? row.at : null;
}
