import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';

/**
 * Bring the panel of a run into view: its notebook's tab, and the place in it.
 *
 * A notebook that does not show the panel now, as its output was cleared, is opened all the same.
 */
export function showPanel(
  shell: JupyterFrontEnd.IShell,
  notebooks: INotebookTracker,
  kernel: string,
  run: string
): void {
  const open: NotebookPanel[] = [];
  notebooks.forEach(notebook => {
    if (notebook.sessionContext.session?.kernel?.id === kernel) {
      open.push(notebook);
    }
  });
  const find = (notebook: NotebookPanel): Element | null =>
    notebook.node.querySelector(`.nbopt-panel.nbopt-run-${CSS.escape(run)}`);
  const notebook = open.find(find) ?? open[0];
  if (notebook === undefined) {
    return;
  }
  shell.activateById(notebook.id);
  // A tab that was hidden has no size before the next frame.
  requestAnimationFrame(() => find(notebook)?.scrollIntoView({ block: 'start' }));
}
