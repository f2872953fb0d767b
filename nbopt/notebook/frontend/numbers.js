/* How numbers are written in the browser: as formatting.py writes them in the kernel. */

/**
 * As briefly as it can be read back: 0.001, 3e-4, 64.
 *
 * @param {number} value
 */
export function number(value) {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  const size = Math.abs(value);
  if (size === 0 || (size >= 1e-3 && size < 1e5)) return String(Number(value.toPrecision(6)));
  const [mantissa, exponent] = value.toExponential(5).split('e');
  return `${Number(mantissa)}e${Number(exponent)}`;
}

/**
 * A measurement, with four digits.
 *
 * @param {number} value
 */
export const brief = value => number(Number(value.toPrecision(4)));

/**
 * What is counted, as steps: 1,290.
 *
 * @param {number} value
 */
export const count = value => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',');
