/* A panel's keys, word of its run's end, and the end of its kernel. */

/** @type {Record<string, string[]>} What a key presses: the first of these buttons that can be pressed. */
const ACTS = {
  ' ': ['.nbopt-pause', '.nbopt-start'],
  s: ['.nbopt-step'],
  b: ['.nbopt-branch']
};
const OWN_KEYS =
  'input, textarea, select, button, a, summary, [role="button"], [role="grid"], .noUi-handle, [contenteditable]';

/**
 * Press what a key stands for, if the panel has the focus and nothing in it that has keys itself.
 *
 * @param {Element} panel
 * @param {KeyboardEvent} event
 * @returns {boolean} Whether the key was meant for the panel.
 */
export function press(panel, event) {
  const target = /** @type {Element} */ (event.target);
  const free = target.closest?.('.nbopt-panel') === panel && !target.closest(OWN_KEYS);
  if (!free || !(event.key in ACTS) || event.ctrlKey || event.metaKey || event.altKey) return false;
  const buttons = ACTS[event.key].map(name => /** @type {HTMLButtonElement | null} */ (panel.querySelector(name)));
  if (!event.repeat) buttons.find(button => button && !button.disabled)?.click();
  return true;
}

/**
 * Have a panel take its keys. The notebook has shortcuts of one letter, `b` among them: those come later.
 *
 * @param {HTMLElement} panel
 * @param {(target: EventTarget, type: string, handler: (event: any) => unknown, options?: object) => void} on
 */
export function takeKeys(panel, on) {
  panel.tabIndex = 0;
  panel.setAttribute('role', 'group');
  panel.setAttribute('aria-label', panel.querySelector('.nbopt-name')?.textContent ?? '');
  const handle = (/** @type {KeyboardEvent} */ event) => {
    if (!press(panel, event)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  on(panel.ownerDocument.defaultView ?? window, 'keydown', handle, { capture: true });
}

/**
 * Have the bell tell of the end, by a notification and the title of the browser's tab, if somebody asked it to.
 *
 * @param {Element} panel
 * @param {(target: EventTarget, type: string, handler: (event: any) => unknown, options?: object) => void} on
 * @returns {(ending: { ended: boolean, title: string, text: string }) => void} To be called when the run's state changed.
 */
export function ringBell(panel, on) {
  const bell = panel.querySelector('.nbopt-bell');
  let wanted = false;
  let ended = true;
  let mark = '';
  if (bell) {
    on(bell, 'click', () => {
      wanted = !wanted;
      bell.setAttribute('aria-pressed', String(wanted));
      bell.firstElementChild?.classList.toggle('fa-bell', wanted);
      bell.firstElementChild?.classList.toggle('fa-bell-o', !wanted);
      if (wanted && 'Notification' in window && Notification.permission === 'default') {
        Notification.requestPermission();
      }
    });
  }
  on(window, 'focus', () => {
    if (mark && document.title.startsWith(mark)) document.title = document.title.slice(mark.length);
    mark = '';
  });
  return ending => {
    if (ending.ended && !ended && wanted) {
      if ('Notification' in window && Notification.permission === 'granted') {
        new Notification(ending.title, { body: ending.text });
      }
      if (!document.hasFocus()) {
        mark = `${ending.title} · `;
        document.title = mark + document.title;
      }
    }
    ended = ending.ended;
  };
}

const GONE = ['restarting', 'autorestarting', 'terminating', 'dead'];

/**
 * Mark a panel once its kernel is gone, for good: another kernel knows nothing of it.
 *
 * JupyterLab's widgets learn of a restart that somebody asked for, and not of a kernel that died.
 *
 * @param {Element} panel
 * @param {any} manager The page's widget manager; others than JupyterLab's have no kernel to watch.
 * @param {AbortSignal} gone
 */
export function watchKernel(panel, manager, gone) {
  const told = manager?.kernel?.statusChanged;
  if (!told) return;
  const hear = (/** @type {unknown} */ _kernel, /** @type {string} */ status) => {
    if (GONE.includes(status)) panel.classList.add('nbopt-disconnected');
  };
  told.connect(hear);
  gone.addEventListener('abort', () => told.disconnect(hear));
}
