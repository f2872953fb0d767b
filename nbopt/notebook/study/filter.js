/* What somebody types to see some trials only: words, and comparisons such as lr<0.01. */

import { written } from './../population/rows.js';

/** @typedef {import('./../population/rows.js').Column} Column */

const COMPARED = /^(.+?)(<=|>=|<|>|=)(.+)$/;

/**
 * @param {string} text
 * @param {Column[]} columns
 * @returns {((trial: number) => boolean) | null} Whether a trial matches; null where nothing is asked for.
 */
export function sieve(text, columns) {
  const terms = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
  if (!terms.length) return null;
  const tests = terms.map(term => compared(term, columns) ?? spoken(term, columns));
  return trial => tests.every(test => test(trial));
}

/**
 * @param {string} term
 * @param {Column[]} columns
 * @returns {((trial: number) => boolean) | null}
 */
function compared(term, columns) {
  const [, name, sign, value] = COMPARED.exec(term) ?? [];
  const column = name && columns.find(each => [each.name, each.label].some(one => bare(one) === bare(name)));
  if (!column) return null;
  const limit = Number(value);
  if (column.form === 'kind' || Number.isNaN(limit)) {
    return trial => sign === '=' && written(column, trial).toLowerCase() === value;
  }
  const { values } = column;
  /** @type {Record<string, (trial: number) => boolean>} */
  const tests = {
    '<': trial => values[trial] < limit,
    '<=': trial => values[trial] <= limit,
    '>': trial => values[trial] > limit,
    '>=': trial => values[trial] >= limit,
    '=': trial => written(column, trial) === value || values[trial] === limit
  };
  return tests[sign];
}

/**
 * @param {string} word
 * @param {Column[]} columns
 */
function spoken(word, columns) {
  const kinds = columns.filter(column => column.form === 'kind');
  return (/** @type {number} */ trial) =>
    String(trial) === word || kinds.some(column => written(column, trial).toLowerCase().includes(word));
}

/** @param {string} name */
const bare = name => name.trim().toLowerCase().replace(/[ _-]/g, '');
