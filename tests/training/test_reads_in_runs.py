"""Runs whose model, or what it reads, is changed while compiled steps train it."""

from types import MethodType, SimpleNamespace

import pytest
import torch
from torch.nn import functional

from nbopt.training.state import Stepped
from tests.training.reading import NUMBER, STATE, Model, closing_over, helper, model_of
from tests.training.tiered import only_compiled, pull, switches

# -- in a run


def by_hand(run, batch):
    """Return the loss of a batch by plain PyTorch, with the run's own weights."""
    with torch.no_grad():
        return float(functional.cross_entropy(run.model(batch[0]), batch[1]))


CHANGES = {
    "global number": (lambda self, x: self.layer(x) * NUMBER, lambda model, patch: patch(globals(), "NUMBER", 50.0)),
    "closure": (
        closing_over(1.0),
        lambda model, patch: setattr(type(model).forward.__closure__[0], "cell_contents", 50.0),
    ),
    "attribute": (lambda self, x: self.layer(x) * self.size, lambda model, patch: setattr(model, "size", 50.0)),
    "function held": (lambda self, x: self.act(self.layer(x)), lambda model, patch: setattr(model, "act", torch.exp)),
    "helper": (lambda self, x: helper(self.layer(x)), lambda model, patch: patch(globals(), "helper", torch.exp)),
    "forward": (Model.forward, lambda model, patch: setattr(model, "forward", lambda x: model.layer(x) * 50)),
    "bound forward": (
        Model.forward,
        lambda model, patch: setattr(model, "forward", MethodType(lambda self, x: self.layer(x) * 50, model)),
    ),
    "hook": (Model.forward, lambda model, patch: model.register_forward_hook(lambda module, given, out: out * 50)),
    "buffer": (lambda self, x: self.layer(x) * self.buf, lambda model, patch: setattr(model, "buf", torch.tensor(50.))),
    "configuration": (
        lambda self, x: self.layer(x) * self.cfg.scale,
        lambda model, patch: setattr(model.cfg, "scale", 50.0),
    ),
    "weight": (Model.forward, lambda model, patch: model.layer.weight.data.mul_(50)),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_no_loss_is_that_of_a_function_the_model_does_not_compute_any_more(
    make_tiered, compiled, monkeypatch, blobs, name
):
    forward, change = CHANGES[name]
    model = model_of(forward, size=1.0, act=torch.tanh, cfg=SimpleNamespace(scale=1.0))
    model.register_buffer("buf", torch.tensor(1.0))
    for weight in model.other.parameters():
        weight.requires_grad_(False)
    run = make_tiered(model, optimizer="sgd", lr=0.001, batch_size=5)
    monkeypatch.setattr("nbopt.training.core._LOOK_SECONDS", 1e9)
    pull(run, 30)
    if not switches(run):  # looks were needed to get there
        run.training.tiers.look()
    pull(run, 40)
    assert run.training.tiers.steps == compiled.steps, run.tier
    change(model, monkeypatch.setitem)
    source = run.training.cursor
    batch = source.peek()
    right = by_hand(run, batch)
    event = next(event for event in run.events() if isinstance(event, Stepped))
    first = event.step + 1 - event.steps
    assert run.history["loss"][1][first] == pytest.approx(right, rel=1e-4)


@only_compiled
def test_a_model_that_reads_a_global_dict_is_not_compiled_and_says_so(make_tiered, compiled, monkeypatch):
    model = model_of(lambda self, x: self.layer(x) / STATE["now"])
    model.other.requires_grad_(False)
    run = make_tiered(model)
    pull(run, 30)
    assert compiled == []
    assert "forward reads STATE, a global" in run.tier
    monkeypatch.setitem(STATE, "now", 100.0)
    right = by_hand(run, run.training.cursor.peek())
    pull(run, 31)
    assert run.history.last("loss") == pytest.approx(right)


@only_compiled
def test_why_compiled_steps_were_left_is_in_the_journal(make_tiered, compiled, monkeypatch):
    model = model_of(lambda self, x: self.layer(x) * NUMBER)
    del model.other  # gets no gradient
    run = make_tiered(model)
    pull(run, 30)
    assert run.training.tiers.steps == compiled.steps
    monkeypatch.setitem(globals(), "NUMBER", 3.0)
    pull(run, 40)
    assert "NUMBER, which forward reads, changed" in run.journal[-1].new["reason"]
    assert run.training.tiers.steps == 0
