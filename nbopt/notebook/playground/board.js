/* The board: a field of values with contour lines, points or paths on it; and a network with its weights.
 *
 * Everything comes as bytes and is drawn to two canvases, once a frame; then the frame is answered. A hidden tab draws
 * nothing and answers nothing, and the kernel stops sending.
 */

/**
 * What `board.py` syncs; the DataViews hold bytes, 16-bit words or 32-bit floats, as is said there.
 * @typedef {object} State
 * @property {number} frame
 * @property {DataView} field
 * @property {number} side
 * @property {number[]} levels
 * @property {[number, number, number, number]} reach
 * @property {DataView} points
 * @property {number[]} layers
 * @property {DataView} units
 * @property {DataView} weights
 * @property {DataView} paths
 * @property {number[]} lengths
 * @property {number[]} target
 * @property {string[]} tones
 * @property {string[]} hues
 * @property {{ field?: string, network?: string }} texts
 *
 * @typedef {import('@anywidget/types').AnyModel<State>} Model
 * @typedef {{ ground: string, text: string, soft: string, line: string, font: string }} Look
 * @typedef {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} Context
 * @typedef {(value: number) => number} Scale
 * @typedef {[number, number]} Point
 */

const UNIT = 10; // points along each side of a unit's picture
const NODE = 30; // and how large it is drawn

/** @param {{ model: Model, el: HTMLElement }} context */
function render({ model, el }) {
  const stop = new AbortController();
  el.classList.add('nbopt-board');
  const [net, field] = ['network', 'field'].map(name => {
    const canvas = el.ownerDocument.createElement('canvas');
    canvas.className = `nbopt-board-${name}`;
    canvas.setAttribute('role', 'img');
    el.append(canvas);
    return canvas;
  });
  let due = false;
  const draw = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      if (stop.signal.aborted) return;
      const look = lookOf(el);
      net.hidden = !model.get('layers').length;
      if (!net.hidden) drawNetwork(net, model, look);
      drawField(field, model, look);
      model.send({ frame: model.get('frame') });
    });
  };
  const tell = () => {
    const texts = model.get('texts');
    field.setAttribute('aria-label', texts.field ?? '');
    net.setAttribute('aria-label', texts.network ?? '');
  };
  model.on('change:frame', draw);
  model.on('change:texts', tell);
  el.ownerDocument.addEventListener('visibilitychange', draw, { signal: stop.signal });
  const resized = new ResizeObserver(draw);
  resized.observe(net);
  resized.observe(field);
  tell();
  draw();
  label(el, stop.signal);
  return () => {
    stop.abort();
    resized.disconnect();
    model.off('change:frame', draw);
    model.off('change:texts', tell);
  };
}

/**
 * ipywidgets gives sliders no name for a screen reader, and tells it a position where a value is meant.
 *
 * @param {HTMLElement} el
 * @param {AbortSignal} signal
 */
function label(el, signal) {
  const root = el.closest('.nbopt-playground');
  const sliders = root ? root.querySelectorAll('.nbopt-inputs .widget-hslider') : [];
  if (![...sliders].every(slider => slider.querySelector('.noUi-handle')) || !root) {
    if (!signal.aborted) requestAnimationFrame(() => label(el, signal));
    return;
  }
  for (const slider of sliders) {
    const [handle, readout] = [slider.querySelector('.noUi-handle'), slider.querySelector('.widget-readout')];
    if (!handle || !readout) continue;
    const text = slider.querySelector('.widget-label')?.textContent ?? '';
    handle.setAttribute('aria-label', text);
    readout.setAttribute('aria-label', text);
    readout.setAttribute('role', 'textbox');
    const tell = () => handle.setAttribute('aria-valuetext', readout.textContent ?? '');
    /** @type {any} */ (slider.querySelector('.noUi-target')).noUiSlider?.on('update', tell);
    tell();
  }
}

/**
 * The theme's colours, as it is now: it may be changed while the board is open.
 *
 * @param {HTMLElement} el
 * @returns {Look}
 */
function lookOf(el) {
  const style = getComputedStyle(el);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return {
    ground: colour('--nbopt-ground'),
    text: colour('--nbopt-text'),
    soft: colour('--nbopt-soft'),
    line: colour('--nbopt-line'),
    font: style.fontFamily
  };
}

/** @type {Map<string, Uint8ClampedArray>} */
const known = new Map();

/** @type {CanvasRenderingContext2D | undefined} */
let probe;

/**
 * Any CSS colour as three numbers.
 *
 * @param {string} colour
 * @returns {ArrayLike<number>}
 */
function rgb(colour) {
  let found = known.get(colour);
  if (!found) {
    probe ??= contextOf(document.createElement('canvas'));
    probe.fillStyle = '#fff';
    probe.fillStyle = colour;
    probe.fillRect(0, 0, 1, 1);
    found = probe.getImageData(0, 0, 1, 1).data.slice(0, 3);
    known.set(colour, found);
  }
  return found;
}

/**
 * @template {HTMLCanvasElement | OffscreenCanvas} Canvas
 * @param {Canvas} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 * @returns {Canvas extends OffscreenCanvas ? OffscreenCanvasRenderingContext2D : CanvasRenderingContext2D}
 */
function contextOf(canvas, settings) {
  const context = /** @type {any} */ (canvas.getContext('2d', settings));
  if (!context) throw new Error('This browser draws no canvas.');
  return context;
}

/** @type {(from: ArrayLike<number>, to: ArrayLike<number>, share: number) => number[]} */
export const mix = (from, to, share) => [0, 1, 2].map(k => from[k] + share * (to[k] - from[k]));

/** @type {Map<string, Uint32Array>} */
const palettes = new Map();

/**
 * A colour for each value 0 to 255, as pixels hold it: from one tone over the ground to the other; or, of one tone,
 * from it to the ground.
 *
 * @param {string[]} tones
 * @param {string} ground
 * @param {number} strength
 * @returns {Uint32Array}
 */
function palette([low, high], ground, strength) {
  const key = [low, high, ground, strength].join();
  let found = palettes.get(key);
  if (!found) {
    const pixels = new Uint8ClampedArray(4 * 256);
    for (let value = 0; value < 256; value++) {
      const away = high ? value / 127.5 - 1 : value / 255 - 1;
      const colour = mix(rgb(ground), rgb(away < 0 ? low : high), strength * Math.abs(away));
      pixels.set([...colour, 255], 4 * value);
    }
    found = new Uint32Array(pixels.buffer);
    palettes.set(key, found);
  }
  return found;
}

/** @type {Map<number, { ctx: OffscreenCanvasRenderingContext2D, image: ImageData, pixels: Uint32Array }>} */
const sheets = new Map();

/**
 * A small picture of values; it holds until the next one of this size.
 *
 * @param {Uint8Array | Uint16Array} values
 * @param {number} side
 * @param {Uint32Array} colours
 */
function paint(values, side, colours) {
  let sheet = sheets.get(side);
  if (!sheet) {
    const ctx = contextOf(new OffscreenCanvas(side, side), { willReadFrequently: true });
    const image = new ImageData(side, side);
    sheet = { ctx, image, pixels: new Uint32Array(image.data.buffer) };
    sheets.set(side, sheet);
  }
  const { ctx, image, pixels } = sheet;
  const shift = values.BYTES_PER_ELEMENT === 2 ? 8 : 0;
  for (let k = 0; k < pixels.length; k++) pixels[k] = colours[values[k] >> shift];
  ctx.putImageData(image, 0, 0);
  return ctx.canvas;
}

/** @type {(view: DataView) => Uint8Array} */
const bytesOf = view => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
/** @type {(view: DataView) => Uint16Array} */
export const wordsOf = view => new Uint16Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
/** @type {(view: DataView) => Float32Array} */
export const floatsOf = view => new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));

/**
 * Fit a canvas to where it stands and to the screen; return what draws on it, in CSS pixels.
 *
 * @param {HTMLCanvasElement} canvas
 */
function fit(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = window.devicePixelRatio || 1;
  const [w, h] = [width, height].map(v => Math.max(1, Math.round(v * scale)));
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const ctx = contextOf(canvas);
  ctx.setTransform(w / Math.max(1, width), 0, 0, h / Math.max(1, height), 0, 0);
  ctx.clearRect(0, 0, width, height);
  return { ctx, width, height };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Model} model
 * @param {Look} look
 */
function drawField(canvas, model, look) {
  const { ctx, width, height } = fit(canvas);
  const [left, right, bottom, top] = model.get('reach');
  const side = model.get('side');
  const values = wordsOf(model.get('field'));
  if (values.length !== side * side) return;
  const tones = model.get('tones');
  ctx.imageSmoothingQuality = 'high';
  const half = 0.5 / (side - 1); // values stand at the middle of a pixel, the outermost on the edge
  const image = paint(values, side, palette(tones, look.ground, tones.length > 1 ? 0.48 : 0.6));
  ctx.drawImage(image, -half * width, -half * height, (1 + 2 * half) * width, (1 + 2 * half) * height);
  /** @type {Scale} */
  const x = v => ((v - left) / (right - left)) * width;
  /** @type {Scale} */
  const y = v => ((top - v) / (top - bottom)) * height;
  const levels = model.get('levels');
  ctx.strokeStyle = look.text;
  ctx.globalAlpha = levels.length > 1 ? 0.22 : 0.9;
  ctx.lineWidth = levels.length > 1 ? 1 : 1.6;
  const [dx, dy] = [width / (side - 1), height / (side - 1)];
  for (const level of levels) {
    ctx.beginPath();
    for (const [from, to] of contour(values, side, level)) {
      ctx.moveTo(from[0] * dx, from[1] * dy);
      ctx.lineTo(to[0] * dx, to[1] * dy);
    }
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
  ctx.drawImage(layerOfPoints(canvas, model, look, x, y), 0, 0, width, height);
  drawPaths(ctx, model, look, x, y);
}

/** @type {WeakMap<HTMLCanvasElement, { points: DataView, key: string, layer: OffscreenCanvas }>} */
const drawn = new WeakMap();

/**
 * The points on a layer of their own, drawn anew only where something about them changed.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Model} model
 * @param {Look} look
 * @param {Scale} x
 * @param {Scale} y
 */
function layerOfPoints(canvas, model, look, x, y) {
  const points = model.get('points');
  const key = [canvas.width, canvas.height, look.ground].join();
  const sheet = drawn.get(canvas);
  if (sheet?.points === points && sheet.key === key) return sheet.layer;
  const layer = new OffscreenCanvas(canvas.width, canvas.height);
  const ctx = contextOf(layer);
  ctx.setTransform(contextOf(canvas).getTransform());
  drawPoints(ctx, floatsOf(points), model.get('tones'), look, x, y);
  drawn.set(canvas, { points, key, layer });
  return layer;
}

/**
 * The pieces of a contour line, by marching squares.
 *
 * @param {ArrayLike<number>} values Row after row.
 * @param {number} side Values in a row, and rows.
 * @param {number} level
 * @returns {[Point, Point][]} In columns and rows.
 */
export function contour(values, side, level) {
  const cut = (/** @type {number} */ a, /** @type {number} */ b) => (level - a) / (b - a);
  /** @type {[Point, Point][]} */
  const pieces = [];
  for (let row = 0; row < side - 1; row++) {
    for (let column = 0; column < side - 1; column++) {
      const at = row * side + column;
      const [a, b, c, d] = [values[at], values[at + 1], values[at + side + 1], values[at + side]];
      const [overA, overB, overC, overD] = [a > level, b > level, c > level, d > level];
      if (overA === overB && overB === overC && overC === overD) continue;
      /** @type {Point[]} */
      const ends = [];
      if (overA !== overB) ends.push([column + cut(a, b), row]);
      if (overB !== overC) ends.push([column + 1, row + cut(b, c)]);
      if (overD !== overC) ends.push([column + cut(d, c), row + 1]);
      if (overA !== overD) ends.push([column, row + cut(a, d)]);
      for (let k = 0; k + 1 < ends.length; k += 2) pieces.push([ends[k], ends[k + 1]]);
    }
  }
  return pieces;
}

/**
 * Round and square tell the classes apart, filled and hollow training and validation.
 *
 * @param {Context} ctx
 * @param {Float32Array} points
 * @param {string[]} tones
 * @param {Look} look
 * @param {Scale} x
 * @param {Scale} y
 */
function drawPoints(ctx, points, tones, look, x, y) {
  /** @type {(px: number, py: number, r: number, square: number) => void} */
  const shape = (px, py, r, square) => {
    ctx.beginPath();
    if (square) ctx.rect(px - 0.88 * r, py - 0.88 * r, 1.76 * r, 1.76 * r);
    else ctx.arc(px, py, r, 0, 2 * Math.PI);
  };
  for (const held of [1, 0]) {
    for (let k = 0; k < points.length; k += 4) {
      if (points[k + 3] !== held) continue;
      const colour = tones[points[k + 2]];
      shape(x(points[k]), y(points[k + 1]), held ? 2.9 : 4, points[k + 2]);
      ctx.fillStyle = held ? look.ground : colour;
      ctx.strokeStyle = held ? colour : look.ground;
      ctx.lineWidth = held ? 1.6 : 1;
      ctx.fill();
      ctx.stroke();
    }
  }
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {Model} model
 * @param {Look} look
 * @param {Scale} x
 * @param {Scale} y
 */
export function drawPaths(ctx, model, look, x, y) {
  const places = floatsOf(model.get('paths'));
  const target = model.get('target');
  ctx.lineJoin = 'round';
  if (target.length) {
    ctx.strokeStyle = look.text;
    ctx.lineWidth = 2;
    const [px, py] = [x(target[0]), y(target[1])];
    ctx.beginPath();
    for (const side of [-1, 1]) {
      ctx.moveTo(px - 6, py - 6 * side);
      ctx.lineTo(px + 6, py + 6 * side);
    }
    ctx.stroke();
  }
  let end = 0;
  const ways = model.get('lengths').map((length, index) => {
    end += length;
    return { from: end - length, end, colour: model.get('hues')[index] };
  });
  for (const { from, end, colour } of ways) {
    ctx.beginPath();
    for (let k = from; k < end; k++) ctx.lineTo(x(places[2 * k]), y(places[2 * k + 1]));
    ctx.strokeStyle = look.ground;
    ctx.lineWidth = 4.5;
    ctx.stroke();
    ctx.strokeStyle = colour;
    ctx.lineWidth = 2.2;
    ctx.stroke();
  }
  for (const { from, end, colour } of ways) {
    if (end === from) continue;
    ctx.beginPath(); // over all ways: one may run along another
    ctx.arc(x(places[2 * end - 2]), y(places[2 * end - 1]), 6, 0, 2 * Math.PI);
    ctx.fillStyle = colour;
    ctx.strokeStyle = look.ground;
    ctx.lineWidth = 2;
    ctx.fill();
    ctx.stroke();
  }
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Model} model
 * @param {Look} look
 */
function drawNetwork(canvas, model, look) {
  const { ctx, width, height } = fit(canvas);
  const layers = model.get('layers');
  const tones = model.get('tones');
  const weights = floatsOf(model.get('weights'));
  const units = bytesOf(model.get('units'));
  const margin = NODE / 2 + 22;
  const gap = Math.min(NODE + 12, height / Math.max(...layers));
  const size = Math.min(NODE, gap - 4);
  /** @type {(layer: number, unit: number) => Point} */
  const place = (layer, unit) => [
    margin + (layer / (layers.length - 1)) * (width - 2 * margin),
    height / 2 + (unit - (layers[layer] - 1) / 2) * gap
  ];
  let at = 0;
  for (let layer = 1; layer < layers.length; layer++) {
    for (let to = 0; to < layers[layer]; to++) {
      for (let from = 0; from < layers[layer - 1]; from++) {
        drawWeight(ctx, weights[at++], place(layer - 1, from), place(layer, to), tones);
      }
    }
  }
  const colours = palette(tones, look.ground, 0.9);
  ctx.fillStyle = look.soft;
  ctx.font = `12px ${look.font}`;
  ctx.textBaseline = 'middle';
  let unit = 0;
  layers.forEach((count, layer) => {
    for (let k = 0; k < count; k++, unit++) {
      const [px, py] = place(layer, k);
      ctx.drawImage(
        paint(units.subarray(unit * UNIT * UNIT, (unit + 1) * UNIT * UNIT), UNIT, colours),
        px - size / 2,
        py - size / 2,
        size,
        size
      );
      ctx.strokeStyle = look.soft;
      ctx.lineWidth = 1;
      ctx.strokeRect(px - size / 2, py - size / 2, size, size);
      if (layer) continue;
      ctx.textAlign = 'right';
      ctx.fillText(k ? 'x₂' : 'x₁', px - size / 2 - 6, py);
    }
  });
}

/**
 * A weight's width and strength tell its size, its colour the sign.
 *
 * @param {CanvasRenderingContext2D} ctx
 * @param {number} weight
 * @param {Point} from
 * @param {Point} to
 * @param {string[]} tones
 */
function drawWeight(ctx, weight, [x0, y0], [x1, y1], tones) {
  const size = Math.tanh(Math.abs(weight) / 1.5) || 0;
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.bezierCurveTo((x0 + x1) / 2, y0, (x0 + x1) / 2, y1, x1, y1);
  ctx.strokeStyle = tones[weight > 0 ? 1 : 0];
  ctx.lineWidth = 0.5 + 4 * size;
  ctx.globalAlpha = 0.2 + 0.75 * size;
  ctx.stroke();
  ctx.globalAlpha = 1;
}

export default { render };
