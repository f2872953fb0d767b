import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { newCellPlugin } from './newCell';
import { statusPlugin } from './status';

const plugins: JupyterFrontEndPlugin<unknown>[] = [statusPlugin, newCellPlugin];

export default plugins;
