import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker } from '@jupyterlab/notebook';

/** What a widget in an output dispatches to have a cell put below its own; `takeaway.js` does. */
const EVENT = 'nbopt:new-cell';

/**
 * Puts what a panel hands over into a new cell below the panel's.
 */
export const newCellPlugin: JupyterFrontEndPlugin<void> = {
  id: 'nbopt:new-cell',
  description: 'Puts what a panel hands over into a new cell below it.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (_: JupyterFrontEnd, notebooks: INotebookTracker): void => {
    document.addEventListener(EVENT, event => {
      if (addCell(notebooks, event)) {
        event.preventDefault(); // tells the panel that it is done
      }
    });
  }
};

function addCell(notebooks: INotebookTracker, event: Event): boolean {
  const { detail, target } = event as CustomEvent<unknown>;
  if (!isContent(detail) || !(target instanceof Node)) {
    return false;
  }
  const notebook = notebooks.find(({ node }) => node.contains(target))?.content;
  const place = notebook?.widgets.findIndex(({ node }) => node.contains(target)) ?? -1;
  if (!notebook?.model || notebook.model.readOnly || place < 0) {
    return false;
  }
  notebook.model.sharedModel.insertCell(place + 1, { cell_type: detail.type, source: detail.source });
  notebook.activeCellIndex = place + 1;
  return true;
}

function isContent(value: unknown): value is { source: string; type: 'code' | 'markdown' } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'source' in value &&
    typeof value.source === 'string' &&
    'type' in value &&
    (value.type === 'code' || value.type === 'markdown')
  );
}
