import type { Kernel, KernelMessage } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';

import { type Command, isErrorMessage, isRunsMessage, RUNS_TARGET, type RunAction, type RunReport } from './protocol';

/** After this many reports, tell the kernel that somebody reads them. */
const REPORTS_PER_SEEN = 10;

/**
 * The runs of one kernel, as its comm reports them.
 *
 * The kernel opens the comm when it has made its first run; a page that connects later finds it by asking.
 * There may be several, where the package was loaded anew.
 */
export class KernelRuns implements IDisposable {
  /**
   * @param kernel
   * @param _opened Called when the kernel opens its comm: when it has made its first run.
   */
  constructor(
    readonly kernel: Kernel.IKernelConnection,
    private readonly _opened: () => void = () => undefined
  ) {
    kernel.registerCommTarget(RUNS_TARGET, this._onOpen);
    kernel.statusChanged.connect(this._onStatus, this);
    kernel.connectionStatusChanged.connect(this._onConnection, this);
    this._onConnection(kernel, kernel.connectionStatus);
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get runs(): RunReport[] {
    return [...this._comms.values()].flat();
  }

  /** What went wrong in the kernel since the last command, or ''. */
  get error(): string {
    return this._error;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this.kernel.removeCommTarget(RUNS_TARGET, this._onOpen);
    // Disposing lets go of this end only: closing would close the comms for other pages too.
    for (const comm of this._comms.keys()) {
      if (!comm.isDisposed) {
        comm.dispose();
      }
    }
    this._comms.clear();
    Signal.clearData(this);
  }

  /** Ask the kernel to do something with one of its runs. */
  act(action: RunAction, run: string): void {
    this._error = '';
    for (const [comm, runs] of this._comms) {
      if (runs.some(({ id }) => id === run)) {
        this._send(comm, { do: action, run });
      }
    }
  }

  private _onOpen = (comm: Kernel.IComm, msg: KernelMessage.ICommOpenMsg): void => {
    this._listen(comm);
    this._receive(comm, msg.content.data);
    this._opened();
  };

  private _onStatus(_: unknown, status: Kernel.Status): void {
    if (['restarting', 'autorestarting', 'terminating', 'dead'].includes(status)) {
      this._comms.clear();
      this._error = '';
      this._changed.emit();
    }
  }

  private _onConnection(_: unknown, status: Kernel.ConnectionStatus): void {
    if (status === 'connected') {
      // The request fails only when the kernel goes away, which its status tells.
      this._attach().catch(() => undefined);
    }
  }

  /** Find what was open in the kernel before this page connected, or connected again. */
  private async _attach(): Promise<void> {
    const before = [...this._comms.keys()];
    const { content } = await this.kernel.requestCommInfo({ target_name: RUNS_TARGET });
    if (this._isDisposed || content.status !== 'ok') {
      return;
    }
    for (const comm of before.filter(({ commId }) => !(commId in content.comms))) {
      this._comms.delete(comm);
    }
    for (const id of Object.keys(content.comms).filter(id => !this.kernel.hasComm(id))) {
      this._listen(this.kernel.createComm(RUNS_TARGET, id));
    }
    this._sendAll({ do: 'refresh' });
    this._changed.emit();
  }

  private _listen(comm: Kernel.IComm): void {
    this._comms.set(comm, []);
    comm.onMsg = msg => this._receive(comm, msg.content.data);
    comm.onClose = () => {
      this._comms.delete(comm);
      this._changed.emit();
    };
  }

  private _receive(comm: Kernel.IComm, data: unknown): void {
    if (isRunsMessage(data)) {
      this._comms.set(comm, data.runs);
      this._reports += 1;
      if (this._reports % REPORTS_PER_SEEN === 0) {
        this._sendAll({ do: 'seen' });
      }
    } else if (isErrorMessage(data)) {
      this._error = data.error;
    }
    this._changed.emit();
  }

  private _sendAll(command: Command): void {
    for (const comm of this._comms.keys()) {
      this._send(comm, command);
    }
  }

  private _send(comm: Kernel.IComm, command: Command): void {
    if (!comm.isDisposed && !this.kernel.isDisposed) {
      comm.send(command);
    }
  }

  private _changed = new Signal<this, void>(this);
  private _comms = new Map<Kernel.IComm, readonly RunReport[]>();
  private _error = '';
  private _reports = 0;
  private _isDisposed = false;
}
