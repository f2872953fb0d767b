import { type Popup, showPopup } from '@jupyterlab/statusbar';
import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import * as React from 'react';

import { RunsList } from './runsList';
import type { IRunRow, RunsModel } from './runsModel';

/**
 * The status bar item: how many runs are training; a click opens the list of them.
 */
export class RunsStatusItem extends VDomRenderer<RunsModel> {
  constructor(
    model: RunsModel,
    private readonly _trans: TranslationBundle,
    private readonly _show: (row: IRunRow) => void
  ) {
    super(model);
    this.addClass('nbopt-status');
    this.addClass('jp-mod-highlighted');
    model.stateChanged.connect(this._closeEmptyPopup, this);
  }

  override dispose(): void {
    this._popup?.dispose();
    super.dispose();
  }

  protected override render(): React.ReactElement {
    const { training } = this.model;
    return (
      <button
        type="button"
        className="jp-StatusBar-TextItem nbopt-status-button"
        data-training={training > 0}
        title={this._trans.__('Show the nbopt runs of the open notebooks')}
        aria-haspopup="dialog"
        aria-expanded={this._popup !== null}
        onClick={this._toggle}
      >
        {training === 0
          ? this._trans.__('nbopt: none training')
          : this._trans._n('nbopt: %1 training', 'nbopt: %1 training', training)}
      </button>
    );
  }

  private _toggle = (): void => {
    if (this._popup !== null) {
      this._popup.dispose();
      return;
    }
    this._popup = showPopup({
      body: new RunsList(this.model, this._trans, row => {
        this._popup?.dispose();
        this._show(row);
      }),
      anchor: this,
      align: 'left',
      hasDynamicSize: true
    });
    this._popup.disposed.connect(this._onPopupClosed, this);
    this.update();
  };

  private _onPopupClosed(popup: Popup): void {
    this._popup = null;
    // The popup is still in the page here, so it can tell whether the focus would be lost with it.
    if (popup.node.contains(document.activeElement)) {
      this.node.querySelector('button')?.focus();
    }
    this.update();
  }

  private _closeEmptyPopup(): void {
    if (this.model.rows.length === 0) {
      this._popup?.dispose();
    }
  }

  private _popup: Popup | null = null;
}
