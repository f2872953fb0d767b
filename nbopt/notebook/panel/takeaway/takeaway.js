/**
 * The menu of what can be taken away from a panel. The kernel writes it; here it is downloaded, copied, or handed to
 * JupyterLab's extension, which puts it into a new cell.
 *
 * @typedef {object} State
 * @property {[string, string, string][]} items Name, title, explanation.
 * @property {Record<string, string>} words
 * @property {string} note
 *
 * @typedef {object} Taken What the kernel sends.
 * @property {string} what
 * @property {'download' | 'copy' | 'cell'} how
 * @property {string} name
 * @property {string} mime
 * @property {string} text Of a PNG, an SVG.
 * @property {string} cell
 * @property {'code' | 'markdown'} kind
 *
 * @typedef {import('@anywidget/types').AnyModel<State>} Model
 */

const WAYS = /** @type {const} */ (['download', 'copy', 'cell']);
const SHARP = 2; // pixels of a PNG for one of its SVG

/** @param {{ model: Model, el: HTMLElement }} context */
function render({ model, el }) {
  const words = model.get('words');
  const root = document.createElement('div');
  root.className = 'nbopt-takeaway';
  const note = document.createElement('p');
  note.setAttribute('role', 'status');
  const table = document.createElement('table');
  for (const [what, title, told] of model.get('items')) {
    const row = table.insertRow();
    const head = document.createElement('th');
    head.scope = 'row';
    head.textContent = title;
    row.append(head);
    const ways = row.insertCell();
    for (const how of WAYS) {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = words[how];
      button.setAttribute('aria-label', `${words[how]}: ${title}`);
      button.dataset.take = `${what}-${how}`;
      button.addEventListener('click', () => {
        note.textContent = '';
        model.send({ take: what, how });
      });
      ways.append(button);
    }
    row.insertCell().textContent = told;
  }
  root.append(table, note);
  el.append(root);

  const say = () => {
    if (model.get('note')) note.textContent = model.get('note');
  };
  const hear = async (/** @type {Taken} */ taken) => {
    try {
      note.textContent = await give(taken, el, words);
    } catch (error) {
      note.textContent = words.failed.replace('{error}', String(error));
    }
  };
  model.on('change:note', say);
  model.on('msg:custom', hear);
  say();
  return () => {
    model.off('change:note', say);
    model.off('msg:custom', hear);
  };
}

/**
 * Do with something what was asked for; return what to say of it.
 *
 * @param {Taken} taken
 * @param {HTMLElement} el
 * @param {Record<string, string>} words
 */
export async function give(taken, el, words) {
  if (taken.how === 'cell') {
    if (addCell(el, taken)) return words.added;
    await copy(new Blob([taken.cell], { type: 'text/plain' }), taken.cell);
    return words.none;
  }
  const isPicture = taken.mime === 'image/png';
  const blob = isPicture ? await toPng(taken.text) : new Blob([taken.text], { type: taken.mime });
  if (taken.how === 'download') {
    download(blob, taken.name);
    return words.downloaded.replace('{name}', taken.name);
  }
  await copy(blob, isPicture ? '' : taken.text);
  return words.copied;
}

/**
 * Ask whoever knows the notebook to put a cell below this one; return whether somebody did.
 *
 * @param {HTMLElement} el
 * @param {{ cell: string, kind: string }} content
 */
export function addCell(el, { cell, kind }) {
  const detail = { source: cell, type: kind };
  const event = new CustomEvent('nbopt:new-cell', { bubbles: true, cancelable: true, composed: true, detail });
  return !el.dispatchEvent(event);
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function download(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * @param {Blob} blob
 * @param {string} text The same, where it is text.
 */
async function copy(blob, text) {
  if (!text) return navigator.clipboard.write([new ClipboardItem({ [blob.type]: blob })]);
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea'); // a page that is not served securely
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  if (!done) throw new Error('copy');
}

/**
 * @param {string} svg
 * @returns {Promise<Blob>}
 */
async function toPng(svg) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth * SHARP;
  canvas.height = image.naturalHeight * SHARP;
  canvas.getContext('2d')?.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    canvas.toBlob(blob => (blob ? resolve(blob) : reject(new Error('PNG'))), 'image/png');
  });
}

export default { render };
