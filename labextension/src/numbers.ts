/** How numbers are written here: as nbopt/formatting.py writes them in the kernel. */

/** As briefly as it can be read back: 0.001, 3e-4, 64. */
export function number(value: number): string {
  if (Number.isNaN(value)) {
    return 'nan';
  }
  if (!Number.isFinite(value)) {
    return value > 0 ? 'inf' : '-inf';
  }
  const size = Math.abs(value);
  if (size === 0 || (size >= 1e-3 && size < 1e5)) {
    return String(Number(value.toPrecision(6)));
  }
  const [mantissa, exponent] = value.toExponential(5).split('e');
  return `${Number(mantissa)}e${Number(exponent)}`;
}

/** A measurement, with four digits. */
export function brief(value: number): string {
  return number(Number(value.toPrecision(4)));
}

/** What is counted, as steps: 1,290. */
export function count(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** The figure of a speed, without its unit. */
export function speed(value: number): string {
  return value >= 10 ? count(value) : number(Number(value.toPrecision(2)));
}
