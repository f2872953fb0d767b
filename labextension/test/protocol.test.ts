import { describe, expect, test } from 'vitest';

import { isErrorMessage, isRunsMessage } from '../src/protocol';

const report = {
  id: 'a',
  name: 'net',
  state: 'RUNNING',
  epoch: 1,
  epochs: 9,
  step: 30,
  steps_per_second: null,
  loss: null
};

describe('what a kernel reports', () => {
  test('is taken as it is meant', () => {
    expect(isRunsMessage({ runs: [] })).toBe(true);
    expect(isRunsMessage({ runs: [report, { ...report, steps_per_second: 2.5, loss: 0.3 }] })).toBe(true);
    expect(isRunsMessage({ runs: [{ id: 'b', name: 'rates', state: 'PAUSED', facts: ['going on 3 of 4'] }] })).toBe(
      true
    );
    expect(isErrorMessage({ error: 'gone' })).toBe(true);
  });

  test.each([
    ['no object', null],
    ['no list', { runs: report }],
    ['an unknown state', { runs: [{ ...report, state: 'DREAMING' }] }],
    ['a step that is no number', { runs: [{ ...report, step: '30' }] }],
    ['no speed at all', { runs: [{ ...report, steps_per_second: undefined }] }],
    ['facts that are no words', { runs: [{ ...report, facts: [3] }] }],
    ['a loss in words', { runs: [{ ...report, loss: 'low' }] }],
    ['one bad run among good ones', { runs: [report, { ...report, name: 5 }] }]
  ])('is refused where it holds %s', (_name, message) => {
    expect(isRunsMessage(message)).toBe(false);
  });

  test('an error is a text', () => {
    expect(isErrorMessage({ error: 3 })).toBe(false);
  });
});
