/* What lies over a chart's curves: where something was changed, the best step, the point picked, what is off the scale.
 *
 * Plain elements over the figure, placed in parts of its width: nothing is measured, and a chart that grows takes them
 * along. Only texts are laid out, where they would cover one another.
 */

/**
 * Places are parts of the chart's width, from 0 to 1.
 * @typedef {object} Overlay
 * @property {[number, string][]} marks
 * @property {number | null} pin
 * @property {[number, string] | null} best
 * @property {[number, number] | null} stale From and to where no validation was better.
 * @property {[number, boolean, string, string][]} arrows Where, whether up, colour and value.
 * @property {boolean} tells Whether there is room for texts.
 * @property {boolean} bottom Whether they stand at the bottom.
 * @property {[string, [number, number][]][]} [bands] Colour and corners of areas, in parts of width and height.
 *
 * @typedef {{ at: number, lines: string[] }} Note
 * @typedef {{ left: number, row: number, note: Note }} Placed
 */

const LETTER = 6.1; // pixels, on the average, in the size of the notes
const ROW = 15;
const LINES = 8; // of a note; a mark that tells more is read under the pointer
const NOTES = 8;
const HALF = 6; // of an arrow, in pixels
const LAST = 0.8; // of the width: beyond, an arrow's value stands to its left

/**
 * Brings the elements over a figure up to date.
 *
 * @param {HTMLElement} layer
 * @param {Overlay} over
 * @param {number} width The layer's, in pixels.
 * @param {number} height
 */
export function draw(layer, over, width, height) {
  const pieces = [];
  for (const [colour, corners] of over.bands ?? []) {
    const part = piece('band', 0);
    part.style.setProperty('--nbopt-colour', colour);
    part.style.clipPath = `polygon(${corners.map(([x, y]) => `${percent(x)} ${percent(y)}`).join(', ')})`;
    pieces.push(part);
  }
  if (over.stale && over.stale[1] > over.stale[0]) {
    const part = piece('stale', over.stale[0]);
    part.style.width = percent(over.stale[1] - over.stale[0]);
    pieces.push(part);
  }
  for (const [at] of over.marks) pieces.push(piece('mark', at));
  if (over.best) pieces.push(piece('best', over.best[0]));
  if (over.pin !== null) pieces.push(piece('pin', over.pin));
  if (over.tells) {
    const rows = Math.max(1, Math.floor(height / ROW / 2));
    const beside = over.arrows.filter(([, up]) => up !== over.bottom).map(arrow => reach(arrow, width));
    for (const { left, row, note } of place(notes(over), width, rows, beside)) {
      const part = piece('note', 0, note.lines.join('\n'));
      part.style.left = `${left}px`;
      part.style[over.bottom ? 'bottom' : 'top'] = `${4 + ROW * row}px`;
      pieces.push(part);
    }
  }
  for (const arrow of over.arrows) {
    const [at, up, colour, value] = arrow;
    const [from, to] = reach(arrow, width);
    // Of two beside each other, the farther one is told.
    const isHidden = over.arrows.some(
      other =>
        other !== arrow &&
        other[1] === up &&
        Math.abs(Number(other[3])) > Math.abs(Number(value)) &&
        reach(other, width)[0] < to &&
        from < reach(other, width)[1]
    );
    const part = piece(up ? 'up' : 'down', at, over.tells && !isHidden ? value : '');
    part.style.setProperty('--nbopt-colour', colour);
    if (at > LAST) part.classList.add('nbopt-leftward');
    if (at * width < HALF) part.style.left = `${HALF}px`;
    isHidden ? pieces.unshift(part) : pieces.push(part);
  }
  layer.replaceChildren(...pieces);
}

/**
 * From where to where an arrow and its value reach, in pixels.
 *
 * @param {Overlay['arrows'][number]} arrow
 * @param {number} width
 * @returns {[number, number]}
 */
function reach([at, , , value], width) {
  const [x, length] = [Math.max(at * width, HALF), 11 + LETTER * value.length];
  return at > LAST ? [x - length, x + 6] : [x - 6, x + length];
}

/** @param {Overlay} over */
function notes(over) {
  /** @type {Note[]} */
  const found = over.marks.slice(-NOTES).map(([at, text]) => {
    const lines = text.split('\n');
    return { at, lines: lines.length > LINES ? [...lines.slice(0, LINES - 1), `… (${lines.length})`] : lines };
  });
  if (over.best?.[1]) found.unshift({ at: over.best[0], lines: [over.best[1]] });
  return found;
}

/**
 * Finds rows for notes beside their lines, the newest first: none covers another, and those that find no room are left
 * out. They stand to the right of their line, or to its left where the chart ends; a long one across it.
 *
 * @param {Note[]} wanted In order.
 * @param {number} width Pixels.
 * @param {number} rows
 * @param {[number, number][]} [first] What of the first row is taken.
 * @returns {Placed[]}
 */
export function place(wanted, width, rows, first = []) {
  /** @type {[number, number][][]} */
  const taken = Array.from({ length: rows }, (_row, k) => (k ? [] : [...first]));
  /** @type {Placed[]} */
  const placed = [];
  for (const note of [...wanted].reverse()) {
    const length = LETTER * Math.max(...note.lines.map(line => line.length)) + 6;
    const at = note.at * width;
    const right = at + 3 + length <= width || at < width / 2;
    const left = Math.max(0, Math.min(right ? at + 3 : at - 3 - length, width - length));
    const isFree = (/** @type {number} */ row) =>
      row + note.lines.length <= rows &&
      note.lines.every((_line, k) => taken[row + k].every(([from, to]) => left + length <= from || to <= left));
    const row = taken.findIndex((_row, k) => isFree(k));
    if (row < 0) continue;
    for (let k = 0; k < note.lines.length; k++) taken[row + k].push([left, left + length]);
    placed.push({ left, row, note });
  }
  return placed;
}

/** @type {(kind: string, at: number, text?: string) => HTMLElement} */
function piece(kind, at, text = '') {
  const part = document.createElement('div');
  part.className = `nbopt-over-${kind}`;
  part.style.left = percent(at);
  part.textContent = text;
  return part;
}

/** @type {(part: number) => string} */
const percent = part => `${(100 * part).toFixed(3)}%`;
