"""Precisions that a model, a device or another value does not go with: refused in words, or not offered."""

import copy

import pytest
import torch

from nbopt import Run
from nbopt.errors import InvalidHyperparam
from nbopt.record.journal import Operation
from nbopt.techniques.precision import mixed
from nbopt.techniques.precision.mixed import Precision, precision_choice
from tests.techniques.images import net

pytestmark = pytest.mark.usefixtures("one_torch_thread")


# -- what is refused


@pytest.mark.parametrize("optimizer", ["lbfgs", "newton"])
def test_float16_refuses_steps_that_evaluate_several_times(make, optimizer):
    words = f"float16 does not work with {optimizer}: .*; use float32 or bfloat16, or another optimizer"
    with pytest.raises(InvalidHyperparam, match=words):
        make(precision="float16", optimizer=optimizer)
    run = make(optimizer=optimizer)
    run.step(1)
    with pytest.raises(InvalidHyperparam, match=words):
        run.set(precision="float16")
    run.set(precision="float16", optimizer="adam")
    run.step(1)
    with pytest.raises(InvalidHyperparam, match=words):
        run.set(optimizer=optimizer)
    run.set(optimizer=optimizer, precision="bfloat16")
    run.step(1)
    run.changes.plan([Operation(run.step_count, "precision", "float16", "test")])  # unchecked
    with pytest.raises(InvalidHyperparam, match=words):
        run.step(1)
    run.set(lr=0.1)
    run.set(precision="float32")
    run.step(1)


FIRST_AND_SECOND = [
    ({"precision": "float16"}, {"optimizer": "lbfgs"}),
    ({"optimizer": "newton"}, {"lr": 0.1, "precision": "float16"}),
]


@pytest.mark.parametrize("way", ["pulled", "trained"])
@pytest.mark.parametrize(("first", "second"), FIRST_AND_SECOND)
def test_of_two_requests_that_wait_together_the_second_is_refused(make, first, second, way):
    told = []

    def forward(model, batch):  # in the middle of a step: what is asked for waits
        if not told:
            run.set(**first)
            with pytest.raises(InvalidHyperparam) as error:
                run.set(**second)
            told.append(str(error.value))
            assert run.pending == first.keys()
        return model(batch[0]), batch[1]

    run = make(forward=forward)
    before = dict(run.hyperparams)
    if way == "pulled":
        next(run.events())
    run.step(3)
    assert told[0].startswith("float16 does not work with ")
    assert dict(run.hyperparams) == {**before, **first}
    assert [entry.name for entry in run.journal.changes()] == list(first)


@pytest.mark.parametrize(("first", "second"), FIRST_AND_SECOND)
def test_of_two_requests_at_rest_the_second_is_refused(make, images, first, second):
    run = make(val=images)
    events = run.events()
    while not run.training.validation_due:  # so that what is asked for waits for the validation
        next(events)
    run.set(**first)
    assert run.pending == first.keys()
    with pytest.raises(InvalidHyperparam, match="float16 does not work with"):
        run.set(**second)
    run.step(1)
    with pytest.raises(InvalidHyperparam, match="float16 does not work with"):
        run.set(**second)
    with pytest.raises(InvalidHyperparam, match="float16 does not work with"):
        make().set(**first, **second)
    assert {name: run.hyperparams[name] for name in first} == first


def test_what_waits_makes_room_for_what_is_asked_for_next(make, images):
    run = make(val=images, precision="float16")
    events = run.events()
    while not run.training.validation_due:
        next(events)
    run.set(precision="bfloat16")
    run.set(optimizer="lbfgs")
    run.step(1)
    assert (run.hyperparams["precision"], run.hyperparams["optimizer"]) == ("bfloat16", "lbfgs")


RECIPE = """
hyperparameters: {{batch_size: 16, epochs: 10{settings}}}
optimizer: {optimizer}
schedule: {schedule}
"""


def remade(images, schedule, settings="", first="adam", **given):
    text = RECIPE.format(schedule=schedule, settings=settings, optimizer=first)
    return Run.from_yaml(text, net(), images, device="cpu", store=None, **given)


def test_a_recipe_is_refused_where_its_values_do_not_go_together(make, images):
    words = "schedule, step {}: float16 does not work with lbfgs"
    with pytest.raises(InvalidHyperparam, match=words.format(4)):
        remade(images, "{4: {optimizer: lbfgs}, 2: {precision: float16}}")
    with pytest.raises(InvalidHyperparam, match=words.format(3)):
        remade(images, "{3: {precision: float16, optimizer: lbfgs}}")
    with pytest.raises(InvalidHyperparam, match=words.format(0)):
        remade(images, "{}", ", precision: float16", "lbfgs", optimizer=torch.optim.SGD)
    run = remade(images, "{2: {precision: float16}, 4: {optimizer: lbfgs, precision: bfloat16}}")
    run.step(5)
    assert (run.hyperparams["precision"], run.hyperparams["optimizer"]) == ("bfloat16", "lbfgs")


def test_what_is_planned_counts_for_what_is_asked_for(images):
    run = remade(images, "{1: {optimizer: newton}, 3: {optimizer: adam}}")
    with pytest.raises(InvalidHyperparam, match="schedule, step 1: float16 does not work with newton"):
        run.set(precision="float16")
    run.step(2)
    with pytest.raises(InvalidHyperparam, match="float16 does not work with newton"):
        run.set(precision="float16")
    assert run.hyperparams["precision"] == "float32"
    run.step(2)
    run.set(precision="float16")
    run.step(1)


def test_a_name_that_is_none_is_told_with_what_was_meant(make):
    with pytest.raises(
        InvalidHyperparam, match=r"'bf16'\. Did you mean 'bfloat16'\? Allowed: float32, bfloat16, float"
    ):
        make(precision="bf16")


def test_what_autocast_does_not_know_on_a_device_is_not_offered(make, monkeypatch):
    autocast = torch.autocast

    def only_bfloat16(device, dtype, *rest):
        if dtype is torch.float16:
            raise RuntimeError
        return autocast(device, dtype, *rest)

    monkeypatch.setattr(torch, "autocast", only_bfloat16)
    run = make()
    assert run.hyperparams.spec("precision").options == ("float32", "bfloat16")
    words = r'must be float32 or bfloat16 \(torch.autocast supports no others on "cpu": train on another device\); got'
    with pytest.raises(InvalidHyperparam, match=words):
        run.set(precision="float16")
    assert "precision" not in run.inert


def test_weights_in_another_dtype_leave_no_choice(make, images):
    data = images[0].double(), images[1]
    run = make(net().double(), data, forward=lambda model, batch: (model(batch[0].double()), batch[1]))
    assert run.inert["precision"] == "mixed precision needs weights in float32"
    with pytest.raises(InvalidHyperparam, match=r"must be float32 \(mixed precision needs weights in float32\)"):
        run.set(precision="bfloat16")
    run.step(1)


def test_a_device_without_autocast_leaves_no_choice():
    choice = precision_choice(net(), torch.device("meta"))
    assert choice.options == ("float32",)
    assert 'on "meta"' in choice.missing


# -- float32


def test_float32_knows_nothing_of_it(make, monkeypatch):
    monkeypatch.setattr(Precision, "change_every_pass", None)
    monkeypatch.setattr(mixed, "cast_to", None)
    run = make()
    monkeypatch.setattr(torch, "autocast", None)
    monkeypatch.setattr(torch.amp, "GradScaler", None)
    run.step(3)
    assert not run.training.acting.change_every_pass
    assert run.training.acting.part(Precision).scaler is None


def test_a_copy_of_the_model_of_a_run_has_nothing_of_it(make):
    run = make(precision="float16")
    run.step(2)
    assert copy.deepcopy(run.model)(torch.zeros(2, 3, 8, 8)).dtype is torch.float32
