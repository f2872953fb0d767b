import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import { brief, count, speed } from './numbers';
import type { RunAction, RunFacts, RunState } from './protocol';
import type { IRunRow, RunsModel } from './runsModel';

/**
 * The list of runs, in a popup above the status bar.
 */
export class RunsList extends VDomRenderer<RunsModel> {
  constructor(
    model: RunsModel,
    private readonly _trans: TranslationBundle,
    private readonly _show: (row: IRunRow) => void
  ) {
    super(model);
    this.addClass('nbopt-runs');
    this.node.tabIndex = -1;
    this.node.setAttribute('role', 'dialog');
    this.node.setAttribute('aria-label', this._trans.__('nbopt runs'));
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    // From here Tab goes to the buttons, and Escape is heard by the popup.
    this.node.focus();
  }

  protected override render(): React.ReactElement {
    const { model } = this;
    return (
      <>
        {model.errors.map(error => (
          <p key={error} className="nbopt-runs-error" role="alert">
            {error}
          </p>
        ))}
        <ul className="nbopt-runs-list">
          {model.rows.map(row => (
            <RunItem
              key={row.key}
              row={row}
              trans={this._trans}
              act={action => model.act(row, action)}
              show={() => this._show(row)}
            />
          ))}
        </ul>
      </>
    );
  }
}

interface IRunItemProps {
  row: IRunRow;
  trans: TranslationBundle;
  act: (action: RunAction) => void;
  show: () => void;
}

function RunItem({ row, trans, act, show }: IRunItemProps): React.ReactElement {
  const paused = row.state === 'PAUSED';
  const live = paused || row.state === 'RUNNING';
  const facts = [...('facts' in row ? row.facts : runFacts(row, trans)), row.documents.join(', ')];
  return (
    <li className="nbopt-run" data-state={row.state}>
      <button
        type="button"
        className="nbopt-run-name"
        title={trans.__('Go to the panel of %1', row.name)}
        onClick={show}
      >
        {row.name}
      </button>
      <span className="nbopt-run-state">{stateName(row.state, trans)}</span>
      <span className="nbopt-run-facts">{facts.filter(fact => fact !== '').join(' · ')}</span>
      <RunButton
        label={paused ? trans.__('Resume') : trans.__('Pause')}
        name={row.name}
        enabled={live}
        onClick={() => act(paused ? 'resume' : 'pause')}
      />
      <RunButton label={trans.__('Stop')} name={row.name} enabled={live} onClick={() => act('stop')} />
    </li>
  );
}

function runFacts(row: RunFacts, trans: TranslationBundle): string[] {
  return [
    row.epochs ? trans.__('epoch %1/%2', row.epoch, row.epochs) : trans.__('epoch %1', row.epoch),
    trans.__('step %1', count(row.step)),
    row.loss === null ? '' : trans.__('loss %1', brief(row.loss)),
    row.steps_per_second === null ? '' : trans.__('%1 steps/s', speed(row.steps_per_second))
  ];
}

interface IRunButtonProps {
  label: string;
  name: string;
  enabled: boolean;
  onClick: () => void;
}

/** A `disabled` button would lose the keyboard focus when its run ends: `aria-disabled` keeps it. */
function RunButton({ label, name, enabled, onClick }: IRunButtonProps): React.ReactElement {
  return (
    <button
      type="button"
      className="nbopt-run-button"
      aria-label={`${label}: ${name}`}
      aria-disabled={!enabled}
      onClick={enabled ? onClick : undefined}
    >
      {label}
    </button>
  );
}

function stateName(state: RunState, trans: TranslationBundle): string {
  switch (state) {
    case 'CREATED':
      return trans.__('not started');
    case 'RUNNING':
      return trans.__('training');
    case 'PAUSED':
      return trans.__('paused');
    case 'FINISHED':
      return trans.__('finished');
    case 'STOPPED':
      return trans.__('stopped');
    case 'FAILED':
      return trans.__('failed');
  }
}
