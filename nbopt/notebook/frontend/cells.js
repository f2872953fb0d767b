/* The cells of a strip below a control, or of a map of two hyperparameters: coloured, marked, read, clicked. */

/**
 * A value as it is written, from -1 for better to 1 for worse, whether it is the present one, whether the best, what
 * there is to read, and where it lies: on the slider, from 0 to 1; on a map, the row and the column.
 * @typedef {[string, number, boolean, boolean, string, number, number?]} Cell
 *
 * @typedef {{ cells: Cell[], says: string, busy: boolean, stale: boolean, rows?: string[], columns?: string[] }} Bar
 */

const [BETTER, WORSE] = ['#0072b2', '#d55e00']; // of Okabe and Ito: told apart without red and green

/**
 * The cells along a slider, each from half way to its neighbours.
 *
 * @param {HTMLElement} strip
 * @param {Bar} bar
 * @param {string} title
 * @param {(label: string) => void} take
 */
export function drawBar(strip, bar, title, take) {
  const edges = bar.cells.map((cell, index) => (index ? (bar.cells[index - 1][5] + cell[5]) / 2 : 0));
  drawCells(strip, 'nbopt-if-bar', bar, title, take, (button, _cell, index) => {
    const [left, right] = [edges[index], edges[index + 1] ?? 1];
    button.style.left = partWide(left);
    button.style.width = partWide(right - left);
    if (right > left) button.style.setProperty('--nbopt-at', partWide((bar.cells[index][5] - left) / (right - left)));
  });
}

/**
 * The cells of a map: the first hyperparameter downwards, the second to the right.
 *
 * @param {HTMLElement} holder
 * @param {Bar} bar
 * @param {string} title
 * @param {(label: string) => void} take
 */
export function drawMap(holder, bar, title, take) {
  const { rows = [], columns = [] } = bar;
  const box = drawCells(holder, 'nbopt-if-map', bar, title, take, (button, [, , , , , row, col = 0]) => {
    button.style.gridArea = `${row + 1} / ${col + 2}`;
  });
  box.style.gridTemplateColumns = `auto repeat(${columns.length}, minmax(0, 1fr))`;
  const sides = [
    ...rows.map((text, row) => ({ text, area: `${row + 1} / 1` })),
    ...columns.map((text, col) => ({ text, area: `${rows.length + 1} / ${col + 2}` }))
  ];
  for (const old of box.querySelectorAll('span')) old.remove();
  for (const { text, area } of sides) {
    const side = element('span', '', text);
    side.style.gridArea = area;
    box.append(side);
  }
}

/**
 * Brings buttons up to date, one for each cell, and keeps the one in focus. Returns what holds them.
 *
 * @param {HTMLElement} holder
 * @param {string} css
 * @param {Bar} bar
 * @param {string} title
 * @param {(label: string) => void} take
 * @param {(button: HTMLElement, cell: Cell, index: number) => void} put
 */
function drawCells(holder, css, bar, title, take, put) {
  let box = /** @type {HTMLElement | null} */ (holder.querySelector(`.${css}`));
  if (!box) {
    box = element('div', css);
    holder.replaceChildren(box, element('div', 'nbopt-if-says'));
    readable(holder, box);
  }
  box.setAttribute('role', 'toolbar');
  box.setAttribute('aria-label', title);
  box.setAttribute('aria-busy', String(bar.busy));
  holder.dataset.says = bar.says;
  holder.dataset.stale = String(bar.stale);
  const buttons = /** @type {HTMLElement[]} */ ([...box.querySelectorAll('button')]);
  for (const extra of buttons.splice(bar.cells.length)) extra.remove();
  while (buttons.length < bar.cells.length) {
    const made = element('button', 'nbopt-if-cell');
    box.append(made);
    buttons.push(made);
  }
  const kept = Math.max(
    buttons.findIndex(button => button.tabIndex === 0 && button === button.ownerDocument.activeElement),
    bar.cells.findIndex(cell => cell[2]),
    0
  );
  bar.cells.forEach((cell, index) => {
    const [label, shade, isPresent, isBest, text] = cell;
    const button = buttons[index];
    button.tabIndex = index === kept ? 0 : -1;
    button.setAttribute('aria-label', text);
    button.classList.toggle('nbopt-if-now', isPresent);
    button.classList.toggle('nbopt-if-best', isBest);
    button.classList.toggle('nbopt-if-noise', !shade && !isPresent);
    button.style.background = shadeOf(shade);
    button.onclick = () => take(label);
    put(button, cell, index);
  });
  readOut(holder);
  return box;
}

/** @param {number} shade */
function shadeOf(shade) {
  if (!shade) return 'var(--nbopt-grey)';
  return `color-mix(in srgb, ${shade < 0 ? BETTER : WORSE} ${Math.round(Math.abs(shade) * 100)}%, var(--nbopt-ground))`;
}

/**
 * What a cell says is read below while a pointer is over it or it has the focus; arrows go from one to the next.
 *
 * @param {HTMLElement} holder
 * @param {HTMLElement} box
 */
function readable(holder, box) {
  for (const type of ['pointerover', 'pointerleave', 'focusin', 'focusout']) {
    box.addEventListener(type, event => readOut(holder, type, /** @type {HTMLElement} */ (event.target)));
  }
  box.addEventListener('keydown', event => {
    const cells = /** @type {HTMLElement[]} */ ([...box.querySelectorAll('button')]);
    const at = cells.indexOf(/** @type {HTMLElement} */ (event.target));
    const to = {
      ArrowLeft: at - 1,
      ArrowUp: at - 1,
      ArrowRight: at + 1,
      ArrowDown: at + 1,
      Home: 0,
      End: cells.length - 1
    }[event.key];
    event.stopPropagation(); // the notebook has keys of its own
    if (to === undefined || !cells[to]) return;
    event.preventDefault();
    cells.forEach((cell, index) => {
      cell.tabIndex = index === to ? 0 : -1;
    });
    cells[to].focus();
  });
}

/**
 * @param {HTMLElement} holder
 * @param {string} [type] Of the event that led here.
 * @param {HTMLElement} [target]
 */
function readOut(holder, type, target) {
  if (type === 'pointerover' || type === 'focusin') holder.querySelector('[data-read]')?.removeAttribute('data-read');
  if (type === 'pointerover' || type === 'focusin') target?.closest('button')?.setAttribute('data-read', '');
  else if (type) holder.querySelector('[data-read]')?.removeAttribute('data-read');
  const read = holder.querySelector('[data-read]') ?? holder.querySelector('button:focus-visible');
  const line = /** @type {HTMLElement} */ (holder.querySelector('.nbopt-if-says'));
  const text = read?.getAttribute('aria-label') ?? holder.dataset.says ?? '';
  const name = `${holder.dataset.name ?? ''} `; // which stands above the strip
  const shown = text.startsWith(name) ? text.slice(name.length) : text;
  if (line.textContent !== shown) line.textContent = shown;
  line.title = text;
}

/** @param {number} part */
const partWide = part => `${Math.round(part * 1e4) / 100}%`;

/**
 * @param {string} tag
 * @param {string} css
 * @param {string} [text]
 */
export function element(tag, css, text = '') {
  const made = document.createElement(tag);
  made.className = css;
  made.textContent = text;
  if (tag === 'button') /** @type {HTMLButtonElement} */ (made).type = 'button';
  return made;
}
