"""Masks enter compiled steps as tensors: new ones cost no compiling, and are made within a call."""

import pytest
import torch

import nbopt
from nbopt.techniques.optimizers.formulas import FORMULAS
from tests.training.tiered import batch_norm, only_compiled, pull, switches


@pytest.mark.parametrize("kind", ["mlp", "batch norm"])
def test_pruned_steps_are_the_same_on_both_tiers(make_tiered, mlp, compiled, weights, kind):
    runs = []
    for tier in ("compiled", "eager"):
        model = mlp(dropout=0.3) if kind == "mlp" else batch_norm()
        settings = {"sparsity": 0.5, "sparsity_end": 0.5, "sparsity_every": 7, "epochs": 8}
        run = make_tiered(model, optimizer="adam", tier=tier, lr=0.01, **settings)
        pull(run, 45)
        for change in ({"sparsity": 0.8}, {"sparsity_method": "random"}, {"sparsity_regrow": False}):
            run.set(**change)
            pull(run, run.step_count + 15)
        runs.append(run)
    ours, eager = runs
    assert switches(ours) == [(2, 0, compiled.steps)]
    assert len(compiled) == 1
    torch.testing.assert_close(weights(ours), weights(eager), rtol=1e-4, atol=1e-5)
    assert ours.history["loss"][1].tolist() == pytest.approx(eager.history["loss"][1].tolist(), rel=1e-4, abs=1e-5)
    ours.set(sparsity_method="gradient")
    pull(ours, ours.step_count + 3)
    assert ours.training.tiers.reason == "pruning looks at gradients"


@only_compiled
@pytest.mark.parametrize("settings", [{}, {"sparsity_regrow": False}, {"sparsity_end": 0.9}])
def test_looks_cut_no_row_and_leave_no_step_for_the_eager_tier(make_tiered, mlp, compiled, monkeypatch, settings):
    run = make_tiered(mlp(), sparsity=0.5, sparsity_every=10, epochs=8, **settings)
    pull(run, 60)
    eager = []
    monkeypatch.setattr(run.training.stepper, "_step", lambda: eager.append(run.step_count))
    assert pull(run, 75) == [64, 68, 72, 75]
    assert not eager


class Masked(nbopt.Technique):
    """Computes with half of a weight, another one from time to time."""

    halve = nbopt.Flag(False, label="Halve", group="Own", help="Half of the first weight is 0.")
    obstacle = ""  # the compiled step multiplies by the mask
    mask = None
    seen = ()

    @property
    def acts(self):
        return self.halve

    @property
    def renews_every(self):
        return 10

    def before_step(self):
        if self.context.step % 10 == 0:
            kept = torch.arange(self.weights[0].numel()) % 2 == self.context.step // 10 % 2
            self.mask = kept.view_as(self.weights[0]).to(self.weights[0].dtype)
            self.seen = (*self.seen, self.context.step)

    @property
    def weight_operands(self):
        return {} if self.mask is None else {next(iter(self.context.named_weights)): self.mask}

    def change_weights(self, weights):
        return {**weights, **{name: weights[name] * mask for name, mask in self.weight_operands.items()}}


class Noting(Masked):
    """The same, and takes note of losses, after which its masks might be others."""

    def after_step(self, loss):
        self.last = loss


@only_compiled
@pytest.mark.parametrize(("kind", "ends"), [(Masked, [64, 68, 72, 75]), (Noting, [64, 68, 70, 74, 75])])
def test_masks_of_ones_own_are_made_within_a_row_unless_they_might_follow_from_losses(
    make_tiered, mlp, compiled, weights, kind, ends
):
    runs = [make_tiered(mlp(), tier=tier, techniques=[kind], halve=True) for tier in ("compiled", "eager")]
    for run in runs:
        pull(run, 60)
        assert run.training.tiers.steps == (run is runs[0])
    assert pull(runs[0], 75) == ends
    pull(runs[1], 75)
    torch.testing.assert_close(*map(weights, runs), rtol=1e-4, atol=1e-5)
    assert runs[0].training.acting.part(kind).seen == tuple(range(0, 75, 10))


@only_compiled
def test_machine_code_gets_masks_in_memory_as_it_was_compiled_for(make_tiered, mlp, compiled):
    run = make_tiered(mlp(), techniques=[Masked], halve=True)
    pull(run, 64)
    part, own = run.training.acting.part(Masked), run.training.tiers._compiled
    strides, do = [], own._chunk
    own._chunk = lambda flat: strides.append(flat[-2].stride()) or do(flat)
    part.mask = part.mask.t().contiguous().t()
    assert part.mask.stride() != run.model[0].weight.stride()
    pull(run, 68)
    assert strides == [run.model[0].weight.stride()] * 4


@only_compiled
@pytest.mark.parametrize(("longest", "end"), [(1, 0.0), (1, 0.8), (3, 0.8), (25, 0.0), (25, 0.8)])
def test_how_many_steps_are_done_in_a_row_changes_no_bit(make_tiered, compiled, weights, monkeypatch, longest, end):
    settings = {
        "sparsity": 0.5,
        "sparsity_every": 7,
        "sparsity_end": end,
        "schedule": "cosine",
        "epochs": 9,
        "metrics": ["accuracy"],
    }
    runs = []
    for most in (4, longest):
        monkeypatch.setattr("nbopt.training.step.mode._most_in_row", lambda seconds, most=most: most)
        run = make_tiered(batch_norm(), optimizer="adam", lr=0.01, **settings)
        pull(run, 75)
        run.training.flush()
        runs.append(run)
    assert torch.equal(*map(weights, runs))
    for name in ("loss", "lr", "accuracy"):
        assert runs[0].history[name][1].tolist() == runs[1].history[name][1].tolist()


@pytest.mark.parametrize("tier", ["compiled", "eager"])
def test_a_share_that_grows_is_all_there_once_it_has_grown_and_not_only_at_the_next_look(make_tiered, mlp, tier):
    run = make_tiered(mlp(), tier=tier, sparsity=0.5, sparsity_end=0.5, sparsity_every=100, steps=40)
    pull(run, 20)
    assert dict(run.technique_facts)["pruned"] == "0.0%"
    pull(run, 24)
    assert dict(run.technique_facts)["pruned"] == "50.0%"
    masks = run.training.acting.operands()
    assert sum(int(mask.sum()) for mask in masks) * 2 == sum(map(torch.Tensor.numel, masks))


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_means_of_gradients_do_not_stay_among_the_numbers_that_processors_are_slow_at(kind):
    formula, tiny = FORMULAS[kind], torch.finfo(torch.float32).tiny
    weight, gradient = torch.tensor([0.5, -0.5, 0.5, 1.0]), torch.tensor([0.0, 0.0, 0.0, torch.nan])
    twin = weight.clone().requires_grad_()
    options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    optimizer = kind([twin], lr=0.1, weight_decay=0.0, **options)
    state = [torch.tensor([tiny, -tiny, 1e-30, 1.0]) for _key in formula.keys]
    optimizer.state[twin] = dict(zip(formula.keys, (own.clone() for own in state), strict=True))
    optimizer.state[twin]["step"] = torch.tensor(9.0)
    twin.grad = gradient
    optimizer.step()
    numbers = torch.tensor(formula.numbers(optimizer.param_groups[0], 10)).unbind()
    moved, after = formula.rule(weight, gradient, state, numbers)
    mean, torchs = after[0], optimizer.state[twin][formula.keys[0]]
    assert torchs[:2].abs().gt(0).all() and torchs[:2].abs().lt(tiny).all()
    assert mean[:2].tolist() == [0.0, 0.0]
    torch.testing.assert_close(mean[2:], torchs[2:], equal_nan=True)
    torch.testing.assert_close(moved, twin.detach(), equal_nan=True)
