"""An error while a run trains is told where the user is, and leaves a run that can go on."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from nbopt import RunState

# -- while training: the model raises, the user puts it right, the run goes on


class Fragile(nn.Module):
    """Raises in the forward passes told."""

    def __init__(self, model, training_calls=(), validation_calls=()):
        super().__init__()
        self.model = model
        self.failing = {True: set(training_calls), False: set(validation_calls)}
        self.calls = {True: 0, False: 0}

    def forward(self, x):
        self.calls[self.training] += 1
        if self.calls[self.training] in self.failing[self.training]:
            raise ArithmeticError("boom")
        return self.model(x)


@pytest.mark.parametrize("way", ["thread", "fit", "steps"])
@pytest.mark.parametrize(
    "failing", [{"training_calls": {1}}, {"training_calls": {5}}, {"validation_calls": {1}}, {"validation_calls": {2}}]
)
def test_a_run_whose_model_raised_goes_on_as_if_nothing_had_been(make_run, mlp, blobs, weights, way, failing):
    model = Fragile(mlp(dropout=0.5), **failing)
    run = make_run(model, val=blobs, batch_size=25, epochs=3, metrics="accuracy")
    with pytest.raises(ArithmeticError, match="boom"):
        if way == "fit":
            run.fit()
        elif way == "steps":
            for _ in range(9):
                run.step()
        else:
            run.start()
            run.wait(60)
    assert run.state is RunState.FAILED
    assert isinstance(run.error, ArithmeticError)
    assert run.end_reason == "ArithmeticError: boom"
    run.set(lr=0.5)
    run.set(lr=1e-3)
    run.resume()
    assert run.wait(60) is RunState.FINISHED
    assert run.error is None

    flawless = make_run(mlp(dropout=0.5), val=blobs, batch_size=25, epochs=3, metrics="accuracy").fit()
    assert torch.equal(weights(run), weights(flawless))
    for name in flawless.history.names:
        assert run.history[name][0].tolist() == flawless.history[name][0].tolist()
        assert run.history[name][1].tolist() == flawless.history[name][1].tolist()


def test_an_error_after_the_first_step_is_raised_by_wait(make_run, mlp):
    run = make_run(Fragile(mlp(), {3}), epochs=50)
    run.start(wait=False)
    with pytest.raises(ArithmeticError):
        run.wait(60)
    with pytest.raises(ArithmeticError):
        run.wait(60)


def test_losses_measured_before_an_error_are_in_the_history(make_run, mlp):
    run = make_run(Fragile(mlp(), {5}), batch_size=20)
    with pytest.raises(ArithmeticError):
        run.fit()
    assert run.history["loss"][0].tolist() == [0, 1, 2, 3]


def test_changes_asked_for_while_the_model_raises_are_not_lost(make_run, blobs):
    def forward(model, batch):
        run.set(lr=0.5)
        raise ArithmeticError

    run = make_run(forward=forward)
    with pytest.raises(ArithmeticError):
        run.start()
    assert run.hyperparams["lr"] == 0.5
    assert not run.pending


def test_a_metric_that_raises_is_not_a_number_and_said_in_words_once(make_run, blobs):
    def moody(output, target):
        raise ArithmeticError("not today")

    run = make_run(val=blobs, metrics={"moody": moody, "mean": lambda output, target: output.mean()}, epochs=3)
    with pytest.warns(UserWarning, match="metric val_moody is not a number: ArithmeticError: not today .moody, "):
        run.fit()
    assert np.isnan(run.history["val_moody"][1]).all() and len(run.history["val_moody"][1]) == 3
    assert np.isfinite(run.history["val_mean"][1]).all()
    told = [entry.new for entry in run.journal if entry.name == "note"]
    assert [text.split(" is ")[0] for text in told] == ["metric moody", "metric val_moody"]


def test_a_stream_that_raised_goes_on_where_it_was(make_run, blobs):
    class Flaky(IterableDataset):
        failed = False

        def __iter__(self):
            for index in range(60):
                if index == 33 and not self.failed:
                    self.failed = True
                    raise OSError("disk gone")
                yield blobs[0][index], blobs[1][index]

    seen = []

    def forward(model, batch):
        seen.extend(batch[0][:, 0].tolist())
        return model(batch[0]), batch[1]

    run = make_run(train=DataLoader(Flaky(), batch_size=10), forward=forward, epochs=1)
    with pytest.raises(OSError, match="disk gone"):
        run.fit()
    run.fit()
    assert seen == blobs[0][:, 0].tolist()
    assert run.epoch == 1


def test_a_loss_that_does_not_fit_can_be_swapped_back(make_run, mlp, blobs):
    # Integer labels fit the squared error of one output; an elementwise check lets (n,) against (n, 1) pass.
    x, y = blobs
    run = make_run(nn.Linear(4, 1), train=(x, y), loss="mse", epochs=3, batch_size=20)
    run.step(2)
    run.set(loss="mae")
    run.step()
    assert run.state is RunState.PAUSED
    assert run.fit().state is RunState.FINISHED


def test_weights_that_became_infinite_do_not_end_a_run_that_is_not_to_recover(make_run, blobs):
    run = make_run(val=blobs, optimizer="sgd", lr=1e30, epochs=3, recover=False).fit()
    assert run.state is RunState.FINISHED
    assert not torch.isfinite(torch.tensor(run.history.last("val_loss")))


def test_an_error_while_a_pause_is_waited_for_is_raised_there(make_run, mlp):
    run = make_run(Fragile(mlp(), set(range(2, 10))), epochs=50)
    with pytest.raises(ArithmeticError):
        while True:
            run.start()
            run.pause()
