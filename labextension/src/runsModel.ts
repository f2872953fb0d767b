import type { ISessionContext } from '@jupyterlab/apputils';
import type { Kernel } from '@jupyterlab/services';
import type { VDomRenderer } from '@jupyterlab/ui-components';
import { type ISignal, Signal } from '@lumino/signaling';

import { KernelRuns } from './kernelRuns';
import type { RunAction, RunReport } from './protocol';

/** A run and where it lives. */
export type IRunRow = RunReport & {
  /** Distinct over all kernels, as a run's own id need not be. */
  readonly key: string;
  /** The id of the run's kernel. */
  readonly kernel: string;
  /** The names of the notebooks and consoles on the run's kernel. */
  readonly documents: readonly string[];
};

/**
 * The runs of every kernel that has an open notebook or console.
 */
export class RunsModel implements VDomRenderer.IModel {
  /** @param _opened Called when a kernel has made its first run. */
  constructor(private readonly _opened: () => void = () => undefined) {}

  get stateChanged(): ISignal<this, void> {
    return this._stateChanged;
  }

  get rows(): IRunRow[] {
    return [...this._kernels.values()].flatMap(({ kernel, runs }) => {
      const documents = this._documents(kernel);
      return runs.map(run => ({ ...run, key: `${kernel.id}/${run.id}`, kernel: kernel.id, documents }));
    });
  }

  /** How many runs are training now. */
  get training(): number {
    return this.rows.filter(row => row.state === 'RUNNING').length;
  }

  /** What kernels reported as having gone wrong. */
  get errors(): string[] {
    return [...this._kernels.values()].map(({ error }) => error).filter(error => error !== '');
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this._contexts.clear();
    this._reconcile();
    Signal.clearData(this);
  }

  /** Follow a notebook or console through all its kernels, until it is closed. */
  track(context: ISessionContext): void {
    this._contexts.add(context);
    context.kernelChanged.connect(this._reconcile, this);
    context.propertyChanged.connect(this._notify, this);
    context.disposed.connect(this._untrack, this);
    this._reconcile();
  }

  /** Ask the kernel of a run to pause, resume or stop it. */
  act(row: IRunRow, action: RunAction): void {
    for (const kernelRuns of this._kernels.values()) {
      if (row.key === `${kernelRuns.kernel.id}/${row.id}`) {
        kernelRuns.act(action, row.id);
      }
    }
  }

  private _untrack(context: ISessionContext): void {
    this._contexts.delete(context);
    this._reconcile();
  }

  /** Make the followed kernels agree with the open documents. */
  private _reconcile(): void {
    // Of several connections to one kernel only one handles comms.
    const open = new Set<Kernel.IKernelConnection>();
    for (const { session } of this._contexts) {
      if (session?.kernel?.handleComms && !session.kernel.isDisposed) {
        open.add(session.kernel);
      }
    }
    for (const [kernel, kernelRuns] of this._kernels) {
      if (!open.has(kernel)) {
        kernelRuns.dispose();
        this._kernels.delete(kernel);
      }
    }
    for (const kernel of open) {
      if (!this._kernels.has(kernel)) {
        const kernelRuns = new KernelRuns(kernel, this._opened);
        kernelRuns.changed.connect(this._notify, this);
        this._kernels.set(kernel, kernelRuns);
      }
    }
    this._notify();
  }

  private _notify(): void {
    this._stateChanged.emit();
  }

  private _documents(kernel: Kernel.IKernelConnection): string[] {
    return [...this._contexts]
      .filter(context => context.session?.kernel?.id === kernel.id)
      .map(context => context.name);
  }

  private _stateChanged = new Signal<this, void>(this);
  private _contexts = new Set<ISessionContext>();
  private _kernels = new Map<Kernel.IKernelConnection, KernelRuns>();
  private _isDisposed = false;
}
