/**
 * The messages between a kernel and the front end; `nbopt/notebook/publisher.py` is the other end.
 *
 * These are types, not interfaces, so that they pass as JSON values.
 */

/** The comm target on which a kernel reports its runs. */
export const RUNS_TARGET = 'nbopt.runs';

const STATES = ['CREATED', 'RUNNING', 'PAUSED', 'FINISHED', 'STOPPED', 'FAILED'] as const;

export type RunState = (typeof STATES)[number];

/** What a kernel tells about a run, or about a population or a study: in words of its own then. */
export type RunReport = {
  id: string;
  name: string;
  state: RunState;
} & (RunFacts | { facts: string[] });

export type RunFacts = {
  epoch: number;
  epochs: number;
  step: number;
  steps_per_second: number | null;
  /** The newest validation loss; the training loss of a run without validation. */
  loss: number | null;
};

export type RunsMessage = { runs: RunReport[] };

export type ErrorMessage = { error: string };

/** What a person can ask of one run. */
export type RunAction = 'pause' | 'resume' | 'stop';

/** `seen` tells the kernel that somebody still reads what it sends. */
export type Command = { do: 'refresh' | 'seen' } | { do: RunAction; run: string };

export function isRunsMessage(value: unknown): value is RunsMessage {
  return isRecord(value) && Array.isArray(value.runs) && value.runs.every(isRunReport);
}

export function isErrorMessage(value: unknown): value is ErrorMessage {
  return isRecord(value) && typeof value.error === 'string';
}

function isRunReport(value: unknown): value is RunReport {
  return (
    isRecord(value) &&
    typeof value.id === 'string' &&
    typeof value.name === 'string' &&
    STATES.some(state => state === value.state) &&
    (Array.isArray(value.facts) ? value.facts.every(fact => typeof fact === 'string') : isRunFacts(value))
  );
}

function isRunFacts(value: Record<string, unknown>): boolean {
  return (
    ['epoch', 'epochs', 'step'].every(key => typeof value[key] === 'number') &&
    ['steps_per_second', 'loss'].every(key => value[key] === null || typeof value[key] === 'number')
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
