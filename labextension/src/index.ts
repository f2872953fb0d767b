import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { statusPlugin } from './status';

const plugins: JupyterFrontEndPlugin<unknown>[] = [statusPlugin];

export default plugins;
