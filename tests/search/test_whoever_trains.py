"""Trials are the same whoever carries them out: alone, in threads, or as members of a population."""

import pytest
import torch

import nbopt


def test_a_function_is_given_a_run_whoever_trains(make, blobs):
    def share(run):
        assert run.state is nbopt.RunState.FINISHED and run.branch(lr=0.5).step_count
        return float(run.predict(blobs[0]).argmax(1).float().mean())

    found = [make(objective=share, executor=executor, trials=2).fit() for executor in ("inline", "population")]
    assert found[0].trials[1].objective == pytest.approx(found[1].trials[1].objective)


@pytest.mark.parametrize("executor", ["inline", "threads", "population"])
def test_values_that_no_model_can_be_built_of_fail_their_trial_alone(make, executor):
    def build(width=4):
        if width == 5:
            raise ValueError("5 is odd")
        return torch.nn.Linear(4, 2)

    study = make(build, space={"width": [4, 5, 6]}, sampler="grid", executor=executor).fit()
    assert [trial.state for trial in study.trials] == ["complete", "failed", "complete"]
    assert study.trials[1].note == "ValueError: 5 is odd"
