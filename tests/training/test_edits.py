"""A model that changes its shape in the midst of a run: widened layers, and all that goes along with them."""

import copy

import pytest
import torch
from torch import nn

import nbopt

STEPS = 5  # before the edit


def net(seed=0, norm=False):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        between = [nn.BatchNorm1d(16)] if norm else []
        return nn.Sequential(nn.Linear(4, 16), *between, nn.Tanh(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture
def make(make_run, blobs):
    def made(model=None, **settings):
        given = {"epochs": 10**6, "batch_size": 20, "store": None, **settings}
        return make_run(net() if model is None else model, **given)

    return made


def widened(run, by=5, layer="0", at=STEPS, **settings):
    """Return a branch with a wider layer."""
    return run.branch(at=at, edit=nbopt.Widen(layer, by=by), **settings)


def same(one, other):
    states = one.model.state_dict(), other.model.state_dict()
    assert states[0].keys() == states[1].keys()
    return all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))


def losses(run):
    return run.history["loss"][1].tolist()


def edits(run):
    return [entry for entry in run.journal if entry.name == "edit"]


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
    "own lbfgs": lambda model: torch.optim.LBFGS(model.parameters(), lr=0.1),
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


# -- what cannot be


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.hidden, self.last = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.first(x)
        return self.last(x + torch.relu(self.hidden(x)))


class Tied(Residual):
    def forward(self, x):
        return self.last(self.hidden(torch.relu(self.first(x)))) + nn.functional.linear(
            x, self.first.weight.t()[:3, :4]
        )


class Unused(Residual):
    def forward(self, x):
        return self.last(self.first(x))


class Twice(Residual):
    def __init__(self):
        super().__init__()
        self.alias = self.hidden

    def forward(self, x):
        return self.last(torch.relu(self.hidden(self.first(x))))


def viewed():
    model = net()
    model[0].transposed = model[0].weight.detach().t()
    return model


REFUSED = {
    "slip of the pen": (lambda: Residual(), "hiden", "unknown layer 'hiden'. Did you mean 'hidden'?"),
    "no linear layer": (lambda: net(), "1", "it is a Tanh"),
    "the last one": (lambda: net(), "4", "its outputs are those of the model"),
    "joined with others": (lambda: Residual(), "hidden", "its outputs go through add"),
    "softmax": (lambda: nn.Sequential(nn.Linear(4, 8), nn.Softmax(1), nn.Linear(8, 3)), "0", "go through softmax"),
    "weight used elsewhere": (lambda: Tied(), "first", "its weights are used by t too"),
    "never called": (lambda: Unused(), "hidden", "the forward pass does not call it"),
    "shared": (lambda: Twice(), "hidden", "one tensor is hidden.weight and alias.weight"),
    "view": (lambda: viewed(), "0", "is a view of 0.weight"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_widened_is_refused_before_anything_is_done(make, kind):
    maker, layer, words = REFUSED[kind]
    run = make(maker())
    run.step(2)
    with pytest.raises(ValueError, match=words):
        widened(run, layer=layer, at=2)
    branch = run.branch(at=2)
    state, entries = copy.deepcopy(branch.model.state_dict()), len(branch.journal)
    with pytest.raises(ValueError, match=words):
        branch.edit(nbopt.Widen(layer, by=2))
    assert all(torch.equal(value, state[name]) for name, value in branch.model.state_dict().items())
    assert len(branch.journal) == entries
    branch.step(3)
    run.step(3)
    assert same(run, branch)


@pytest.mark.parametrize("by", [0, -1, 1.5, True, "8", 2**40])
def test_an_illegal_width_is_refused(by):
    with pytest.raises(ValueError, match="by must be a whole number"):
        nbopt.Widen("0", by=by)


def test_the_model_that_was_given_keeps_its_shape(make):
    run = make()
    run.step(2)
    with pytest.raises(RuntimeError, match="edit a branch"):
        run.edit(nbopt.Widen("0", by=2))
    with pytest.raises(TypeError, match="edit must be an edit"):
        run.branch(at=2, edit="0")


def test_a_hook_on_a_weight_is_in_the_way(make):
    run = make()
    run.step(2)
    branch = run.branch(at=2)
    branch.model[0].weight.register_hook(lambda gradient: gradient * 0.5)
    with pytest.raises(ValueError, match=r"there is a hook on 0\.weight"):
        branch.edit(nbopt.Widen("0", by=2))


def test_a_shape_changed_by_hand_is_refused(make):
    run = make()
    run.step(2)
    run.model[0].weight.data = torch.zeros(20, 4)
    with pytest.raises(ValueError, match=r"of another shape: 0\.weight"):
        run.step(1)


def test_an_export_says_that_it_cannot_hold_an_edit(make):
    run = make()
    run.step(STEPS)
    branch = widened(run)
    for export in (branch.to_python, branch.to_yaml):
        with pytest.raises(ValueError, match="in step 5 the model got another shape \\(0: 16 → 21 units\\)"):
            export()
    branch.rewind(STEPS)
    assert "def train(" in branch.to_python()


# -- techniques, losses and what else looks at weights


class Averaged(nbopt.Technique):
    """Keeps a mean of the weights, and measures how far they are from it."""

    averaged = nbopt.Flag(True, label="Averaged", group="Averages", help="Keep a mean of the weights.")
    memory = ("mean",)
    measures = ("distance",)
    mean: list[torch.Tensor] | None = None

    def after_step(self, loss):
        if self.mean is None:
            self.mean = [weight.detach().clone() for weight in self.weights]
        for mean, weight in zip(self.mean, self.weights, strict=True):
            mean.lerp_(weight.detach(), 0.1)
        apart = sum((mean - weight).square().sum() for mean, weight in zip(self.mean, self.weights, strict=True))
        self.context.measure("distance", apart.detach())


class Following(Averaged):
    """Begins anew where weights are others."""

    averaged_anew = nbopt.Flag(True, label="Averaged", group="Averages", help="Keep a mean of the weights.")

    def train(self, weights):
        self.weights, self.mean = weights, None


def test_what_a_technique_remembers_of_each_weight_is_in_the_way_unless_it_follows(make):
    run = make(techniques=[Averaged])
    run.step(STEPS)
    with pytest.raises(ValueError, match=r"Averaged keeps tensors of the weights' shape in mean; .*train\(weights\)"):
        widened(run)
    run = make(techniques=[Following])
    run.step(STEPS)
    branch = widened(run)
    branch.step(6)
    part = next(part for part in branch.training.acting.parts if isinstance(part, Following))
    assert [mean.shape for mean in part.mean] == [weight.shape for weight in branch.model.parameters()]
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch) and branch.history["distance"][1].tolist() == twin.history["distance"][1].tolist()
    branch.rewind(7)
    branch.rewind(4)
    assert [mean.shape for mean in part.mean] == [weight.shape for weight in net().parameters()]
    assert branch.exact


class Rounded(nbopt.Technique):
    """Has the model compute with rounded weights."""

    rounded = nbopt.Flag(True, label="Rounded", group="Other", help="Round weights.")

    @property
    def acts(self):
        return self.rounded

    def change_weights(self, weights):
        return {name: weight + ((64 * weight).round() / 64 - weight).detach() for name, weight in weights.items()}


def test_where_a_technique_puts_other_weights_in_place_the_layer_is_not_found(make):
    run = make(techniques=[Rounded])
    run.step(STEPS)
    with pytest.raises(ValueError, match="a technique that acts has the model compute with others"):
        widened(run)
    run.set(rounded=False)
    run.step(1)
    assert widened(run, at=STEPS + 1).model[0].out_features == 21


class Failing(nbopt.Technique):
    """Cannot act on other weights."""

    failing = nbopt.Flag(True, label="Failing", group="Other", help="Fails.")

    def train(self, weights):
        self.weights = weights
        if any(weight.shape == (21, 4) for weight in weights):
            raise ArithmeticError("not with these")


def test_an_edit_that_fails_half_way_is_undone(make):
    run = make(techniques=[Failing])
    run.step(STEPS)
    branch = run.branch(at=STEPS)
    with pytest.raises(ArithmeticError, match="not with these"):
        branch.edit(nbopt.Widen("0", by=5))
    assert not edits(branch) and branch.model[0].out_features == 16 and not branch.training.edits
    branch.step(3)
    run.step(3)
    assert same(run, branch)


@pytest.mark.parametrize(
    ("layer", "words"), [(0, "its weights are used by norm too"), (2, "outputs or loss of the next")]
)
def test_a_loss_that_looks_at_the_weights_is_in_the_way(make, layer, words):
    model = net()
    run = make(model, loss=lambda out, y: nn.functional.cross_entropy(out, y) + 0.1 * model[layer].weight.norm())
    run.step(STEPS)
    with pytest.raises(ValueError, match=words):
        widened(run)
    assert run.branch(at=STEPS, edit=nbopt.Widen("2", by=2)) if layer == 0 else True


def test_a_loss_with_weights_of_its_own_goes_along(make_run, blobs):
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.proxies = nn.Parameter(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)))

        def forward(self, output, target):
            return nn.functional.cross_entropy(output @ self.proxies.T, target)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8))
    run = make_run(model, loss=Head(), epochs=99, batch_size=20, store=None)
    run.step(STEPS)
    branch = widened(run)
    before = branch.spec.loss.proxies.detach().clone()
    branch.step(5)
    assert not torch.equal(before, branch.spec.loss.proxies)
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch) and losses(twin) == losses(branch)


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 16), nn.Linear(16, 3)


def test_a_forward_of_the_users_own_is_watched(make):
    def forward(model, batch):
        return model.head(torch.relu(model.body(batch[0]))), batch[1]

    def looking(model, batch):
        hidden = model.body(batch[0])
        return model.head(hidden) + hidden.mean(1, keepdim=True), batch[1]

    with torch.random.fork_rng():
        torch.manual_seed(0)
        run, other = make(Parts(), forward=forward), make(Parts(), forward=looking)
    for each in (run, other):
        each.step(STEPS)
    branch = widened(run, layer="body")
    branch.step(3)
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch) and branch.model.head.in_features == 21
    with pytest.raises(ValueError, match="its outputs go through mean"):
        widened(other, layer="body")


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "bfloat16"},
        {"precision": "float16"},
        {"micro_batch": 7},
        {"schedule": "hypergradient"},
        {"l1": 0.01, "clip_norm": 1.0, "schedule": "cosine", "epochs": 9},
    ],
    ids=str,
)
def test_whatever_acts_in_a_step_goes_along(make, settings):
    run = make(**settings)
    run.step(STEPS)
    branch = widened(run)
    branch.step(6)
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch) and losses(twin) == losses(branch)
    branch.rewind(4)
    branch.rewind(2)
    assert branch.exact is not False


def test_weights_that_are_drawn_in_the_first_step_are_not_widened_before(make):
    run = make(initialization="kaiming")
    run.events()
    with pytest.raises(ValueError, match="what comes before the first step, as drawing initial weights"):
        run.branch(at=0, edit=nbopt.Widen("0", by=2))
