import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IConsoleTracker } from '@jupyterlab/console';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { loadTypesetter } from './ahead';
import { showPanel } from './panels';
import { RunsModel } from './runsModel';
import { RunsStatusItem } from './statusItem';

/**
 * Shows the runs of all open kernels in the status bar.
 */
export const statusPlugin: JupyterFrontEndPlugin<void> = {
  id: 'nbopt:status',
  description: 'Shows the training runs of all open kernels in the status bar.',
  autoStart: true,
  optional: [INotebookTracker, IConsoleTracker, IStatusBar, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    notebooks: INotebookTracker | null,
    consoles: IConsoleTracker | null,
    statusBar: IStatusBar | null,
    translator: ITranslator | null
  ): void => {
    // Where there is no status bar the model still answers the kernels: nobody would otherwise take
    // the comm they open, and the application would report that as an error.
    const model = new RunsModel(() => notebooks && loadTypesetter(notebooks));
    for (const tracker of [notebooks, consoles]) {
      tracker?.forEach(panel => {
        model.track(panel.sessionContext);
      });
    }
    notebooks?.widgetAdded.connect((_, panel) => model.track(panel.sessionContext));
    consoles?.widgetAdded.connect((_, panel) => model.track(panel.sessionContext));
    statusBar?.registerStatusItem(statusPlugin.id, {
      item: new RunsStatusItem(model, (translator ?? nullTranslator).load('nbopt'), row => {
        if (notebooks) {
          showPanel(app.shell, notebooks, row.kernel, row.id);
        }
      }),
      align: 'left',
      rank: 100,
      isActive: () => model.rows.length > 0,
      activeStateChanged: model.stateChanged
    });
  }
};
