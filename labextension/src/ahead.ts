import type { INotebookTracker } from '@jupyterlab/notebook';

/**
 * Have the page load what typesets formulas, half a megabyte of scripts.
 *
 * The widgets of a panel ask for it, as names beside inputs may hold formulas. So it is loaded once a kernel has made a
 * run, and not when a person waits for the panel.
 */
export function loadTypesetter(notebooks: INotebookTracker): void {
  void notebooks.currentWidget?.content.rendermime.latexTypesetter?.typeset(document.createElement('div'));
}
