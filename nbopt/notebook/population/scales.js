/* What the pictures of a population share: colours of members, axes, the theme. */

/**
 * @typedef {{ ground: string, text: string, soft: string, line: string, accent: string, font: string, dark: boolean }} Theme
 * @typedef {{ context: CanvasRenderingContext2D, left: number, right: number, top: number, bottom: number }} Plot
 * @typedef {[number, string][]} Ticks Places from 0 to 1 on an axis, and what stands there.
 */

// viridis, by Smith and van der Walt (2015): even steps for the eye, also where red and green look alike.
const VIRIDIS = [
  [68, 1, 84],
  [72, 36, 117],
  [65, 68, 135],
  [53, 95, 141],
  [42, 120, 142],
  [33, 145, 140],
  [34, 168, 132],
  [68, 191, 112],
  [122, 209, 81],
  [189, 223, 38],
  [253, 231, 37]
];
const REACH = { light: [0, 0.86], dark: [0.26, 1] }; // the part of it that stands out on such a ground

export const HUES = 64;

/**
 * The colours of members, from the least value to the greatest.
 *
 * @param {boolean} dark
 * @returns {string[]}
 */
export function shades(dark) {
  const [from, to] = REACH[dark ? 'dark' : 'light'];
  return Array.from({ length: HUES }, (_none, k) => {
    const at = (from + (k / (HUES - 1)) * (to - from)) * (VIRIDIS.length - 1);
    const [low, part] = [Math.min(Math.floor(at), VIRIDIS.length - 2), at % 1];
    const mix = VIRIDIS[low].map((value, k) =>
      Math.round(value + (at >= VIRIDIS.length - 1 ? 1 : part) * (VIRIDIS[low + 1][k] - value))
    );
    return `rgb(${mix.join(' ')})`;
  });
}

/** @param {number} place NaN where a run has none: its colour comes after those of places. */
export const hueOf = place =>
  Number.isNaN(place) ? HUES : Math.min(HUES - 1, Math.max(0, Math.round(place * (HUES - 1))));

/**
 * What is drawn as one path, by its colour: a stroke costs more than its points. First what has no place.
 *
 * @template T
 * @param {T[]} lines
 * @param {(line: T) => number} shadeOf
 * @param {number} top The colour that comes last, over the others; those like it come shortly before.
 * @returns {[number, T[]][]}
 */
export function byShade(lines, shadeOf, top = HUES - 1) {
  /** @type {T[][]} */
  const groups = Array.from({ length: HUES + 1 }, () => []);
  for (const line of lines) groups[shadeOf(line)].push(line);
  const order = [...groups.keys()].sort((one, other) => Math.abs(other - top) - Math.abs(one - top));
  order.unshift(...order.splice(order.indexOf(HUES), 1));
  return order.flatMap(shade =>
    groups[shade].length ? /** @type {[number, T[]][]} */ ([[shade, groups[shade]]]) : []
  );
}

/**
 * The theme's colours as they are now: it may be changed while the panel is open.
 *
 * @param {HTMLElement} el
 * @returns {Theme}
 */
export function themeOf(el) {
  const style = getComputedStyle(el);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return {
    ground: colour('--nbopt-ground'),
    text: colour('--nbopt-text'),
    soft: colour('--nbopt-soft'),
    line: colour('--nbopt-line'),
    accent: colour('--nbopt-accent'),
    font: style.fontFamily,
    dark: el.closest('[data-jp-theme-light="false"]') !== null
  };
}

/**
 * Clear a canvas, as sharp as the screen is, and return where a plot goes; nothing of a canvas that is not seen.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {[number, number, number, number]} margins Left, right, top, bottom.
 * @returns {Plot | null}
 */
export function prepare(canvas, [left, right, top, bottom]) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const context = canvas.getContext('2d');
  if (!context || width < left + right + 20 || height < top + bottom + 20) return null;
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, left, right: width - right, top, bottom: height - bottom };
}

/**
 * Lines across, numbers beside and below.
 *
 * @param {Plot} plot
 * @param {Theme} theme
 * @param {Ticks} across
 * @param {Ticks} up
 */
export function drawAxes({ context, left, right, top, bottom }, theme, across, up) {
  context.font = `11px ${theme.font}`;
  context.strokeStyle = theme.line;
  context.fillStyle = theme.soft;
  context.lineWidth = 1;
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  for (const [place, text] of up) {
    const y = Math.round(bottom + place * (top - bottom)) + 0.5;
    context.beginPath();
    context.moveTo(left, y);
    context.lineTo(right, y);
    context.stroke();
    context.fillText(text, left - 6, y);
  }
  context.textAlign = 'center';
  context.textBaseline = 'top';
  let end = Number.NEGATIVE_INFINITY;
  for (const [place, text] of across) {
    const half = context.measureText(text).width / 2;
    const x = Math.min(left + place * (right - left), context.canvas.clientWidth - half - 1);
    if (x - half < end + 6) continue;
    end = x + half;
    context.fillText(text, x, bottom + 8);
  }
}

/**
 * The place of a value on an axis, from 0 to 1 and beyond; NaN where it has none.
 *
 * @param {number} value
 * @param {[number, number]} reach
 * @param {boolean} log
 */
export function placeOf(value, [low, high], log) {
  if (log) return value > 0 ? Math.log(value / low) / Math.log(high / low) : Number.NaN;
  return (value - low) / (high - low);
}

/**
 * The numbers that came as bytes.
 *
 * @template {Float64Array | Float32Array | Uint16Array | Int32Array | Uint8Array} T
 * @param {DataView | undefined} view
 * @param {{ new (buffer: ArrayBuffer): T }} kind
 * @returns {T}
 */
export function floats(view, kind) {
  if (!view) return new kind(new ArrayBuffer(0));
  const { buffer, byteOffset, byteLength } = view;
  return new kind(/** @type {ArrayBuffer} */ (buffer.slice(byteOffset, byteOffset + byteLength)));
}
