"""A model that changes its shape in the midst of a run: what is computed, its past, and what goes along."""

import copy

import pytest
import torch
from torch import nn

import nbopt
from tests.training.edited import STEPS, edits, losses, net, same, widened

# -- what is computed


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("by", [1, 5, 40])
def test_a_wider_layer_computes_what_it_did(make, blobs, norm, by):
    run = make(net(norm=norm))
    run.step(STEPS)
    before = copy.deepcopy(run.model).eval()(blobs[0])
    branch = widened(run, by)
    assert branch.model[0].weight.shape == (16 + by, 4)
    assert branch.model[0].out_features == 16 + by == branch.model[2 + norm].in_features
    after = copy.deepcopy(branch.model).eval()(blobs[0])
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    assert run.model[0].weight.shape == (16, 4)  # the branch alone has the other shape


def test_copies_of_a_unit_learn_different_things(make):
    run = make()
    run.step(STEPS)
    branch = widened(run)
    weight = branch.model[0].weight
    pair = next((a, b) for a in range(16) for b in range(16, 21) if torch.equal(weight[a], weight[b]))
    branch.step(3)
    assert not torch.allclose(weight[pair[0]], weight[pair[1]])


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.last = nn.Linear(4, 16), nn.Linear(16, 3)
        self.alias = self.hidden

    def forward(self, x):
        return self.last(torch.relu(self.alias(x)))


def test_a_layer_that_goes_by_two_names_is_widened_under_both(make, blobs):
    run = make(Twice(), val=blobs)
    run.step(STEPS)
    before = run.predict(blobs[0])
    branch = widened(run, layer="hidden")
    assert branch.model.alias.out_features == 21 == len(branch.training.best_weights["alias.weight"])
    torch.testing.assert_close(branch.predict(blobs[0]), before, rtol=1e-5, atol=1e-5)


# -- the past


def test_a_replay_of_a_widened_run_is_the_same_to_the_bit(make):
    run = make()
    run.step(STEPS)
    branch = widened(run)
    branch.step(7)
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch)
    assert losses(twin) == losses(branch)
    assert twin.exact
    assert [entry.new for entry in edits(twin)] == [entry.new for entry in edits(branch)]


def test_rewinding_over_an_edit_gives_the_old_shape_back_and_forth(make):
    run = make()
    run.step(STEPS)
    branch = widened(run)
    branch.step(6)
    ahead, recorded = copy.deepcopy(branch.model), losses(branch)
    branch.rewind(3)
    assert branch.model[0].out_features == 16 and branch.model[0].weight.shape == (16, 4)
    assert not edits(branch)[1:] and branch.training.edits == []
    branch.step(2)
    assert losses(branch) == recorded[:5]
    branch.edit(nbopt.Widen("0", by=5))
    branch.step(6)
    assert same(branch, nn_run(ahead))
    branch.rewind(8)  # after the edit, from a snapshot before it
    assert branch.model[0].out_features == 21
    branch.step(3)
    assert same(branch, nn_run(ahead)) and losses(branch) == recorded
    assert branch.exact


def nn_run(model):
    """Return something that has a model, as a run has."""
    return type("Held", (), {"model": model})


def test_branches_and_copies_of_a_widened_run_begin_with_the_shape_of_their_step(make):
    run = make()
    run.step(STEPS)
    branch = widened(run)
    branch.step(4)
    older, newer = branch.branch(at=2), branch.branch(at=7)
    assert (older.model[0].out_features, newer.model[0].out_features) == (16, 21)
    newer.step(2)
    assert same(newer, branch)
    older.step(3)
    older.edit(nbopt.Widen("0", by=5))
    older.step(4)
    assert same(older, branch)
    branch.find_lr(steps=10)
    assert same(newer, branch)


def test_the_best_weights_go_along_and_the_best_snapshot_has_the_old_shape(make, blobs):
    run = make(val=blobs, lr=0.05)
    run.step(3)
    branch = run.branch(at=0, early_stopping=True, patience=3)
    branch.step(6)
    best = branch.training.best_weights
    branch.edit(nbopt.Widen("0", by=5))
    wide = branch.training.best_weights
    assert wide["0.weight"].shape == (21, 4) and torch.equal(wide["0.weight"][:16], best["0.weight"])
    branch.set(lr=10.0, recover=False)  # nothing gets better from here on
    branch.start()
    branch.wait(20)
    assert branch.state.name == "FINISHED" and branch.journal[-2].name == "restore_best"
    narrow = net()
    narrow.load_state_dict(best)
    torch.testing.assert_close(branch.model.eval()(blobs[0]), narrow.eval()(blobs[0]), rtol=1e-4, atol=1e-5)
    branch.rewind("best")
    assert branch.model[0].out_features == 16 and branch.step_count == 6
    assert torch.equal(branch.model[0].weight, best["0.weight"])


# -- what goes along


KEYS = {"sgd": {"momentum_buffer": 1}, "adam": {"exp_avg": 1, "exp_avg_sq": 2}, "adagrad": {"sum": 2}}


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("optimizer", KEYS)
def test_what_the_optimizer_remembers_is_what_it_would_remember_of_the_wider_layer(make, blobs, optimizer, norm):
    """With a rate of 0 and all samples in a batch, it remembers the very gradient that the wider layer has."""
    settings = {"momentum": 0.9} if optimizer == "sgd" else {}
    run = make(net(norm=norm), optimizer=optimizer, lr=0.0, batch_size=60, **settings)
    run.step(1)
    branch = widened(run, at=1)
    model = copy.deepcopy(branch.model).train()
    nn.functional.cross_entropy(model(blobs[0]), blobs[1]).backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    narrow = copy.deepcopy(run.model).train()
    nn.functional.cross_entropy(narrow(blobs[0]), blobs[1]).backward()
    for key, power in KEYS[optimizer].items():
        # what it takes of a gradient, told by a weight that is the same in both
        plain = [narrow[4 + norm].bias.grad, run.optimizer.state[run.model[4 + norm].bias][key]]
        share = float((plain[1] / plain[0] ** power).mean())
        for name, weight in branch.model.named_parameters():
            held = branch.optimizer.state[weight][key]
            torch.testing.assert_close(held, share * gradients[name] ** power, rtol=2e-3, atol=1e-7)


OPTIMIZERS = {
    "sgd": lambda model: "sgd",
    "adam": lambda model: "adam",
    "rprop": lambda model: torch.optim.Rprop,
    "asgd": lambda model: torch.optim.ASGD(model.parameters(), lr=0.01, t0=1),
    "nadam": lambda model: torch.optim.NAdam(model.parameters(), lr=0.01),
    "amsgrad": lambda model: torch.optim.Adam(model.parameters(), lr=0.01, amsgrad=True),
    "adadelta": lambda model: torch.optim.Adadelta(model.parameters(), lr=0.5),
    "factored": lambda model: torch.optim.Adafactor(model.parameters(), lr=0.01),
    "lbfgs": lambda model: "lbfgs",
    "own lbfgs": lambda model: torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe"),
    "newton": lambda model: "newton",
    "groups": lambda model: torch.optim.SGD(
        [
            {"params": list(model[0].parameters()), "lr": 0.1},
            {"params": [*model[2].parameters(), *model[4].parameters()]},
        ],
        lr=0.01,
        momentum=0.9,
    ),
    "some weights": lambda model: torch.optim.AdamW([*model[0].parameters(), *model[4].parameters()], lr=0.01),
}


FROZEN = [(kind, place) for kind in ("sgd", "adam", "groups", "some weights") for place in (0, 2)]


@pytest.mark.parametrize(("kind", "frozen"), [*((kind, None) for kind in OPTIMIZERS), *FROZEN])
def test_any_optimizer_goes_on_and_is_repeated(make, kind, frozen):
    model = net()
    run = make(model, optimizer=OPTIMIZERS[kind](model))
    run.step(2)
    if frozen is not None:
        model[frozen].requires_grad_(False)
        run.step(1)
    run.step(STEPS - run.step_count)
    branch = widened(run)
    before = copy.deepcopy(branch.model)
    branch.step(6)
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch)
    for place in (0, 2):
        moved = not torch.equal(branch.model[place].weight, before[place].weight)
        held = any(branch.model[place].weight is w for group in branch.optimizer.param_groups for w in group["params"])
        assert moved is (held and frozen != place)
    branch.rewind(3)
    branch.step(STEPS - 3)
    branch.edit(nbopt.Widen("0", by=5))
    branch.step(6)
    assert same(twin, branch)


def test_what_does_not_fit_is_dropped_and_said(make):
    model = net()
    run = make(model, optimizer=torch.optim.Adafactor(model.parameters(), lr=0.01))
    run.step(STEPS)
    branch = widened(run)
    told = [entry.new for entry in branch.journal if entry.name == "carried"]
    assert told == ["dropped: what Adafactor remembers of 0.weight, 2.weight"]


def test_an_optimizer_made_with_memories_begins_anew_after_the_edit_where_they_do_not_fit(make):
    model = net()
    own = torch.optim.Adam(model.parameters(), lr=0.01)
    model(torch.ones(2, 4)).sum().backward()
    own.step()
    run = make(model, optimizer=own)
    run.step(2)
    run.set(optimizer="sgd")
    run.step(STEPS - 2)
    branch = widened(run)
    branch.set(optimizer="adam")
    branch.step(3)
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch)
