"""Which parts act, and what the compiled step is told of them."""

import pytest
import torch

from nbopt.techniques.catalogue import PARTS
from nbopt.techniques.inputs.preprocessing import Cleaning, Scaling
from nbopt.training.compile.obstacles import find_obstacle


def test_a_run_without_techniques_has_none_acting_and_compiles(make_run):
    run = make_run(store=None, l1=0.01)
    run.step(1)
    acting = run.training.acting
    assert not (acting.changes_batches or acting.change_loss or acting.change_rate or acting.after_epoch)
    assert len(acting.after_gradients) == 1  # L1, which the compiled step knows
    assert find_obstacle(run.training) == ""


@pytest.mark.parametrize(
    "values",
    [
        *({"clip_norm": 1.0}, {"clip_value": 1.0}, {"max_norm": 1.0}, {"input_noise": 0.1}, {"mixup": 0.2}),
        *({"scaling": "standardize"}, {"outliers": 3.0}, {"schedule": "hypergradient"}),
        *({"label_smoothing": 0.1}, {"loss": "focal"}, {"optimizer": "lbfgs"}, {"optimizer": "adagrad"}),
    ],
    ids=str,
)
def test_what_the_compiled_step_does_not_know_keeps_it_eager(make_run, values):
    run = make_run(store=None)
    run.step(1)
    run.set(**values)
    run.step(1)
    assert find_obstacle(run.training) != ""
    for name, value in values.items():
        run.set(**{name: run.initial[name]})
        assert value != run.initial[name]
    run.step(1)
    assert find_obstacle(run.training) == ""


@pytest.mark.parametrize("schedule", ["step", "exponential", "linear", "cosine", "one_cycle", "plateau", "bold_driver"])
def test_the_compiled_step_knows_schedules_by_their_rates(make_run, schedule):
    run = make_run(store=None, schedule=schedule, warmup=1.0)
    run.step(1)
    assert len(run.training.acting.change_rate) == 2
    assert find_obstacle(run.training) == ""


def test_every_item_of_the_catalogue_has_a_place_of_its_own():
    names = [item.__name__ if isinstance(item, type) else item.name for item in PARTS]
    assert len(set(names)) == len(names)


def test_a_batch_that_does_not_begin_with_a_tensor_is_told_in_words(make_run):
    x, y = torch.randn(20, 4), torch.arange(20) % 3
    run = make_run(train=(x, y), forward=lambda model, batch: (model(batch[0]), batch[1]), input_noise=0.1, store=None)
    run.step(1)
    with pytest.raises(ValueError, match=r"need batches .x, y."):
        run.training.acting.prepare({"x": x}, training=True)


def test_a_part_learns_from_the_samples_once_it_acts_and_not_before(make_run, monkeypatch):
    fitted = []
    for part in (Cleaning, Scaling):
        fit = part.fit
        monkeypatch.setattr(part, "fit", lambda self, x, fit=fit: (fitted.append(type(self)), fit(self, x)))
    run = make_run(store=None)
    run.step(2)
    assert fitted == []
    run.set(scaling="standardize")
    run.step(2)
    run.set(scaling="none")
    run.step(1)
    run.set(scaling="range", impute="mean")
    run.step(1)
    assert sorted(part.__name__ for part in fitted) == ["Cleaning", "Scaling"]
