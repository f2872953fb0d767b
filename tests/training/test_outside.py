"""State that no ``state_dict`` holds: it goes back with the run, into copies, and into another process."""

import pytest
import torch

import nbopt
from tests.training.outside import MODELS, OLD
from tests.training.outside_modules import Annealed, Base, Stateful

# what a run opened in another process cannot be given: a class or function that only steps bring in
NOT_REOPENED = {"StatefulByName", "Lazy", "Switching"}


@OLD
@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_keeps_goes_back_with_it_and_into_its_copies(make_run, weights, name):
    run = make_run(MODELS[name](), batch_size=20, lr=0.1, epochs=99)
    past = []
    for _step in range(12):
        past.append(weights(run))
        run.step(1)
    end = weights(run)
    twin = run.replay()
    twin.wait()
    assert torch.equal(weights(twin), end)
    branch = run.branch(7)
    assert torch.equal(weights(branch), past[7])
    branch.step(5)
    assert torch.equal(weights(branch), end)
    run.find_lr(steps=10)
    assert torch.equal(weights(run), end)
    run.rewind(3)
    assert torch.equal(weights(run), past[3])
    run.step(9)
    assert torch.equal(weights(run), end)
    run.rewind(0)
    run.step(12)
    assert torch.equal(weights(run), end)


@OLD
@pytest.mark.parametrize("name", [name for name in MODELS if name not in NOT_REOPENED])
def test_what_a_model_keeps_is_stored(make_run, weights, blobs, tmp_path, name):
    run = make_run(MODELS[name](), batch_size=20, lr=0.1, epochs=99, store=tmp_path)
    run.step(9)
    run.stop()
    again = nbopt.open(run.id, MODELS[name](), blobs, store=tmp_path)
    assert torch.equal(weights(again), weights(run))
    run.step(5)
    again.step(5)
    assert torch.equal(weights(again), weights(run))


class Watching(Base):
    """It keeps of all that passes, in evaluation mode too."""

    def start(self):
        self.register_buffer("mean", torch.zeros(4))
        self.seen, self.before = [], torch.zeros(4)

    def scale(self, x):
        with torch.no_grad():
            self.mean += x.mean(0)
        self.seen.append(len(x))
        self.before = self.before + x.detach().mean(0)
        return 1 + self.mean / 10 + len(self.seen) / 20 + self.before / 10


@pytest.mark.parametrize("kind", [Watching, Stateful], ids=lambda kind: kind.__name__)
def test_looking_at_a_model_leaves_what_it_keeps(make_run, weights, blobs, kind):
    def make():
        run = make_run(kind(), batch_size=20, lr=0.1, epochs=99)
        run.step(5)
        return run

    alone, run = make(), make()
    run.predict(blobs[0][:20])
    if kind is Stateful:  # what is in its state_dict is the user's to change
        with run.at_rest():
            run.model(blobs[0][:20])
    alone.step(3)
    run.step(3)
    assert torch.equal(weights(run), weights(alone))


def test_finding_out_how_a_batch_is_cut_leaves_what_a_model_keeps(make_run, blobs, mlp):
    def begin(**settings):
        model = Annealed()
        run = make_run(model, batch_size=20, epochs=99, **settings)
        run.step(2)
        return model.calls

    assert begin() == 2
    assert begin(micro_batch=10) == 4  # two parts, each once
