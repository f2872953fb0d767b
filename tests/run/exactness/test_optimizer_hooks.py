"""What hooks of the given optimizer keep, as a mean of the weights, comes along wherever a run is led."""

import pytest
import torch
from torch.nn.utils import parameters_to_vector
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import nbopt
from nbopt.run.copies.ties import Tied

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Numbers:
    """Keeps means by name, and makes new tensors of them each time."""

    def __init__(self, model):
        self.model, self.steps = model, 0
        self.means = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    def update(self, *_given):
        self.steps += 1
        for name, weight in self.model.named_parameters():
            self.means[name] = 0.9 * self.means[name] + 0.1 * weight.detach()

    def flat(self):
        return torch.cat([mean.flatten() for mean in self.means.values()])


class Averaged(Numbers):
    """Keeps them in a module of torch's."""

    def __init__(self, model):
        super().__init__(model)
        self.mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))

    def update(self, *_given):
        self.mean.update_parameters(self.model)

    def flat(self):
        return parameters_to_vector(self.mean.module.parameters()).detach()


def by_default(kept):
    return lambda optimizer, args, kwargs, kept=kept: kept.update()


WAYS = {
    "method": lambda kept: kept.update,
    "closure": lambda kept: lambda *_given: kept.update(),
    "default": by_default,
}
everywhere = None  # a global variable, as a notebook has them


def kept_by(run):
    """Return what the hook of a run's optimizer updates."""
    (hook,) = run.optimizer._optimizer_step_post_hooks.values()
    if hasattr(hook, "__self__"):
        return hook.__self__
    return hook.__defaults__[0] if hook.__defaults__ else hook.__closure__[0].cell_contents


def begin(make_run, mlp, kind, way, **settings):
    model = mlp()
    optimizer, kept = torch.optim.SGD(model.parameters(), lr=0.1), kind(model)
    optimizer.register_step_post_hook(way(kept))
    return make_run(model, optimizer=optimizer, batch_size=20, epochs=99, **settings), kept


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [Numbers, Averaged])
def test_it_goes_back_with_the_run_and_its_copies_have_their_own(make_run, mlp, kind, way):
    run, kept = begin(make_run, mlp, kind, WAYS[way])
    run.step(5)
    at_5 = kept.flat().clone()
    run.step(4)
    at_9 = kept.flat().clone()
    run.rewind(5)
    assert torch.equal(kept.flat(), at_5)
    run.step(4)
    assert torch.equal(kept.flat(), at_9)
    branch = run.branch(at=5)
    assert kept_by(branch) is not kept and torch.equal(kept_by(branch).flat(), at_5)
    branch.step(4)
    replay = run.replay()
    replay.wait()
    for copy in (branch, replay):
        assert torch.equal(kept_by(copy).flat(), at_9) and copy.exactness == "exact"
    run.find_lr()
    assert torch.equal(kept.flat(), at_9) and run.exactness == "exact"


def test_it_comes_back_from_the_store(make_run, mlp, blobs, tmp_path):
    run, kept = begin(make_run, mlp, Numbers, WAYS["closure"], store=tmp_path)
    run.step(9)
    run.recorder.close()
    model = mlp()
    optimizer, again = torch.optim.SGD(model.parameters(), lr=0.1), Numbers(model)
    optimizer.register_step_post_hook(WAYS["closure"](again))
    opened = nbopt.open(run.id, model, blobs, optimizer=optimizer, store=tmp_path)
    assert opened.step_count == again.steps == 9 and torch.equal(again.flat(), kept.flat())


def test_a_copy_whose_hook_would_act_on_what_is_global_is_refused(make_run, mlp):
    global everywhere
    run, everywhere = begin(make_run, mlp, Numbers, lambda _kept: lambda *_given: everywhere.update())
    run.step(9)
    at_9 = everywhere.flat().clone()
    run.rewind(5)
    run.step(4)
    assert torch.equal(everywhere.flat(), at_9)
    for copy in (run.replay, run.find_lr, lambda: run.branch(at=5), lambda: run.repeat([1, 2])):
        with pytest.raises(Tied, match=r"reads global variables \(everywhere\).*, everywhere=everywhere\)"):
            copy()
    assert torch.equal(everywhere.flat(), at_9)


def test_what_no_snapshot_holds_is_named(make_run, mlp, said):
    class Trainer(Numbers):
        def __init__(self, model):
            super().__init__(model)
            self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    run, _kept = begin(make_run, mlp, Trainer, WAYS["method"])
    run.step(9)
    assert run.exact is None
    run.rewind(5)
    assert run.exactness == "not exact: hook of the optimizer: Trainer could not be put back to what it was"
    assert run.exact is False and "not exact from here on" in str(said[-1].message)


def test_a_counter_of_a_hook_is_named_as_the_cause(make_run, mlp):
    model, steps = mlp(), [0]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def every_third(own, args, kwargs):
        steps[0] += 1
        own.param_groups[0]["lr"] = 0.1 / (1 + steps[0] % 3)

    optimizer.register_step_pre_hook(every_third)
    run = make_run(model, optimizer=optimizer, batch_size=20, epochs=99)
    run.step(9)
    run.rewind(5)
    run.step(4)
    assert run.exactness.endswith("Why: no snapshot holds steps, which a hook of the optimizer reads.")
