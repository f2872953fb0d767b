"""Scripts of runs that train several outputs."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

import nbopt
from tests.export import scripts
from tests.export.scripts import is_tidy
from tests.techniques.own import FGSM
from tests.training.outputs import FORMS, LOSS, LOSSES, METRICS, Named, Net, data

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def far(output, target):
    return (output[:, 0] - target).abs().max()


def given(digit=None):
    x, own, angle = data()
    return x, {"digit": own if digit is None else digit, "angle": angle}


def some_left_out():
    _x, digit, _angle = data()
    return torch.where(torch.arange(24) % 4 == 0, -100, digit)


SETTINGS = {
    "plain": {},
    "no metrics": {"metrics": None},
    "all weights at once": {"optimizer": "lbfgs", "lr": 0.5},
    "parts": {"micro_batch": 3},
    "mixup": {"mixup": 1.0},
    "adversary": {"techniques": [FGSM], "epsilon": 0.1},
    "bfloat16": {"precision": "bfloat16"},
    "balanced": {"balance": "uncertainty", "balance_rate": 0.5},
    "share": {"share": True},
    "no val": {"val": None},
    "best": {"patience": 1, "lr": 1.0},
    "watched": {"patience": 1, "lr": 1.0, "monitor": "angle_loss"},
    "a scale": {"standardize": True},
    "settings": {"loss": {"digit": "focal", "angle": (0.5, "huber")}, "digit_gamma": 1.0, "angle_delta": 0.2},
    "own loss": {"loss": {"digit": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])), "angle": far}},
    "sums": {"loss": {"digit": nn.CrossEntropyLoss(reduction="sum"), "angle": "mse"}},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_script_does_the_same(name):
    settings = dict(SETTINGS[name])
    if settings.pop("standardize", False):
        settings["scaling"] = "standardize"
    train = given()
    val = settings.pop("val", train)
    share = settings.pop("share", False)
    settings = {"loss": LOSS, "metrics": METRICS, "batch_size": 8, "epochs": 3, "lr": 0.01, **settings}
    run, initial = scripts.make(Net(dropout=0.2), train, 0.25 if share else val, **settings)
    run.fit()
    text, largest = scripts.check(run, initial, train, None if share else val)
    assert is_tidy(text)
    assert largest <= (scripts.SMALLEST if name in ("bfloat16", "parts") else 1e-6)


@pytest.mark.parametrize(
    "schedule",
    [
        {2: {"angle_weight": 1.0}, 4: {"digit_label_smoothing": 0.1}},
        {2: {"balance": "uncertainty"}, 5: {"balance": "fixed"}},
        {2: {"digit_weight": 0.0}, 4: {"digit_weight": 0.5}},
    ],
    ids=["weight", "balance", "off and on"],
)
def test_what_changes_on_the_way_changes_in_the_script(schedule):
    train = given()
    run, initial = scripts.make(Net(), train, train, loss=LOSS, metrics=METRICS, batch_size=8, epochs=3)
    scripts.follow(run, schedule)
    text, _largest = scripts.check(run, initial, train, train)
    assert is_tidy(text)


@pytest.mark.parametrize("monitor", ["loss", "digit_loss"])
@pytest.mark.parametrize(
    "change", [{"angle_weight": 0.01}, {"monitor": "angle_loss"}, {"digit_label_smoothing": 0.3}, {"digit_gamma": 0.5}]
)
def test_what_is_watched_and_when_it_is_another_is_the_same_in_the_script(monitor, change):
    train = given()
    loss = {**LOSS, "digit": "focal"} if "digit_gamma" in change else LOSS
    settings = {"loss": loss, "monitor": monitor, "batch_size": 8, "epochs": 6, "lr": 0.5, "patience": 2}
    run, initial = scripts.make(Net(), train, train, **settings)
    scripts.follow(run, {7: change})
    text, _largest = scripts.check(run, initial, train, train)
    assert is_tidy(text)


def test_each_validation_after_some_steps_measures_all_losses():
    train = given()
    run, model = scripts.make(Net(), train, train, loss=LOSS, metrics=METRICS, batch_size=8, steps=5, validate_every=2)
    run.fit()
    measured = scripts.execute(run.to_python(), model, train, train)
    for name in set(run.history.names) - {"loss", "lr"}:
        assert measured[name] == pytest.approx(run.history[name][1].tolist(), abs=1e-6), name
    assert torch.equal(run.model.angle.weight, model.angle.weight)


def test_labels_that_do_not_count_count_in_no_script():
    train = given(some_left_out())
    run, initial = scripts.make(Net(), train, train, loss=LOSS, batch_size=8, epochs=2)
    run.fit()
    scripts.check(run, initial, train, train)


@pytest.mark.parametrize("form", list(FORMS))
def test_outputs_stand_in_any_container(form):
    x, digit, angle = data()
    container = {"named tuple": FORMS["dict"], "dataclass": FORMS["dict"], "list": FORMS["tuple"]}.get(
        form, FORMS[form]
    )
    if form == "nested":  # arrays in a list are an array
        container = lambda digit, angle: {"heads": {"digit": digit, "angle": (angle,)}}  # noqa: E731
    train = x, container(digit, angle)
    run, initial = scripts.make(Net(FORMS[form]), train, train, loss=LOSSES[form], batch_size=8, epochs=2)
    run.fit()
    scripts.check(run, initial, train, train)


@pytest.mark.parametrize("loads", [False, True], ids=["dataset", "loader"])
def test_samples_of_a_dataset_hold_several_targets(loads):
    samples = Named(*data())
    train = DataLoader(samples, 8, shuffle=True) if loads else samples
    run, initial = scripts.make(Net(), train, samples, loss=LOSS, metrics=METRICS, batch_size=8, epochs=2)
    run.fit()
    scripts.check(run, initial, train, samples)


def test_batches_by_name_go_through_forward():
    x, digit, angle = data()
    train = {"image": x, "digit": digit, "angle": angle}

    def forward(model, batch):
        return model(batch["image"]), {"digit": batch["digit"], "angle": batch["angle"]}

    run, initial = scripts.make(Net(), train, train, loss=LOSS, forward=forward, batch_size=8, epochs=2)
    run.fit()
    scripts.check(run, initial, train, train)


def test_what_takes_all_outputs_at_once_is_left_out_in_words():
    def both(output, target):
        return 2.0

    train = given()
    metrics = {"digit": ["accuracy"], "angle": {"far": far}}
    run, initial = scripts.make(Net(), train, train, loss=LOSS, metrics=metrics, batch_size=8, epochs=1)
    run.fit()
    scripts.check(run, initial, train, train)
    run, _initial = scripts.make(Net(), train, train, loss=LOSS, metrics=[both], epochs=1)
    run.fit()
    assert "The metric both is left out" in run.to_python()


def joint(output, target):
    return functional.cross_entropy(output["digit"], target["digit"])


def test_metrics_by_output_of_a_loss_that_takes_all():
    train = given()
    run, initial = scripts.make(Net(), train, train, loss=joint, metrics={"digit": ["accuracy"]}, epochs=2)
    run.fit()
    scripts.check(run, initial, train, train)


def test_nothing_of_it_stands_in_the_script_of_a_single_output():
    x, digit, _angle = data()
    run = nbopt.Run(nn.Linear(5, 3), (x, digit), (x, digit), metrics=["accuracy"], epochs=1, store=None)
    run.fit()
    text = run.to_python()
    assert not {"latest", "evaluations", "take_note", "item_at", "val_losses"} & set(text.split())
