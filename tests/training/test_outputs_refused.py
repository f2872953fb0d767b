"""Losses and metrics of several outputs that cannot be: refused before the first update."""

import re

import pytest
from torch import nn

from nbopt import Run
from nbopt.errors import InvalidHyperparam
from tests.training.outputs import assert_same, data, make

pytestmark = pytest.mark.usefixtures("one_torch_thread")


# -- what is refused


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (
            {"digit": "cross_entropy", "angel": "mse"},
            "loss of angel: unknown output of the model 'angel'. Did you mean 'angle'?",
        ),
        (
            {"digit": "cross_entropy", 1: "mse"},
            "loss of output_1: unknown output of the model 1. Allowed: digit, angle.",
        ),
        ({"digit": {"deep": "mse"}}, "loss of digit_deep: there is no output of the model 'deep' in (8, 3) float32: "),
        ({"digit": "mse"}, "loss of digit: mse: outputs (8, 3) float32 and targets (8,) int64 do not match"),
    ],
    ids=["name", "position", "depth", "shapes"],
)
def test_a_loss_of_what_is_not_there_is_told_before_the_first_update(loss, words):
    run = make(loss=loss, metrics=None)
    with pytest.raises(ValueError, match=re.escape(words)):
        run.fit()
    assert run.step_count == 0


def test_a_tensor_where_outputs_by_name_are_expected():
    x, digit, _angle = data()
    net = nn.Linear(5, 3)
    run = make(net=net, metrics=None)
    with pytest.raises(ValueError, match=r"no output of the model 'digit' in \(8, 3\) float32: let the model return"):
        run.fit()
    run = make(train=(x, digit), metrics=None)
    with pytest.raises(ValueError, match=r"no target 'digit' in \(8,\) int64: give the targets by the names in loss"):
        run.fit()
    run = make(train=(x, {"digit": digit}), metrics=None)
    with pytest.raises(ValueError, match=r"loss of angle: unknown target 'angle'\. Allowed: digit"):
        run.fit()


def test_outputs_by_name_where_a_single_loss_is_given():
    with pytest.raises(ValueError, match=r"the model's output is dict\. .*, as in loss=\{'digit': 'cross_entropy'\}"):
        make(loss="cross_entropy", metrics=None).fit()


def test_labels_out_of_range_are_told_with_their_output():
    x, digit, angle = data()
    digit = digit.clone()
    digit[-1] = 7
    run = make(train=(x, {"digit": digit, "angle": angle}))
    with pytest.raises(ValueError, match="loss of digit: cross_entropy: labels must be 0 to 2"):
        run.fit()
    assert run.step_count == 0


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ({}, "the mapping of outputs to losses is empty"),
        ({"digit": "cros_entropy"}, "Did you mean 'cross_entropy'"),
        ({"digit": (-1, "mse")}, "a weight of at least 0"),
        ({"digit": ("mse", 0.3)}, "pairs (weight, loss)"),
        ({"digit": ["mse", "mae"]}, "an output has one loss"),
        ({"val": "mse"}, "do not begin with val or _"),
        ({"val_digit": "mse"}, "do not begin with val or _"),
        ({"_digit": "mse"}, "do not begin with val or _"),
        ({"a b": "mse"}, "by names"),
        ({-1: "mse"}, "position"),
        ({True: "mse"}, "position"),
        ({"a": {"b": "mse"}, "a_b": "mae"}, "two outputs are called a_b"),
    ],
    ids=lambda value: None if isinstance(value, str) else re.sub(r"\W+", " ", repr(value)).strip() or "empty",
)
def test_a_loss_that_cannot_be_is_refused_at_once(loss, words):
    with pytest.raises(InvalidHyperparam, match=re.escape(words)):
        make(loss=loss, metrics=None)


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (["accuracy"], "loss names several outputs, so tell of which one"),
        ("accuracy", "loss names several outputs"),
        ({"digit": ["acuracy"]}, "Did you mean 'accuracy'"),
        ({"digit": ["accuracy", "accuracy"]}, "is taken"),
        ({"digit": {"loss": "accuracy"}}, "is taken"),
        ({"val": ["accuracy"]}, "do not begin with val"),
    ],
    ids=["list", "name", "unknown", "twice", "loss", "val"],
)
def test_metrics_that_cannot_be_are_refused_at_once(metrics, words):
    with pytest.raises(InvalidHyperparam, match=re.escape(words)):
        make(metrics=metrics)


def test_a_metric_of_what_is_not_there_is_told_before_the_first_update():
    run = make(metrics={"angel": ["mae"]})
    with pytest.raises(ValueError, match=r"unknown output of the model 'angel'\. Did you mean 'angle'"):
        run.fit()
    assert run.step_count == 0


def test_the_weight_of_a_term_cannot_be_another_hyperparameter():
    def decay(output, target):
        return output.square().mean()

    x, _digit, angle = data()
    with pytest.raises(InvalidHyperparam, match="there is a hyperparameter weight_decay already"):
        Run(nn.Linear(5, 1), (x, angle), loss=["mse", (0.1, decay)], store=None)


def test_val_holds_what_train_does_in_any_order():
    x, digit, angle = data()
    val = x, {"name": digit, "angle": angle, "digit": digit}
    run = make(val=val)
    run.fit()
    assert_same(run, make_fitted())
    run = make(val=(x, {"digit": digit}))
    with pytest.raises(ValueError, match="val has no 1/angle, but train has"):
        run.fit()
    run = make(val=(x, {"digit": digit, "angle": angle[:, None].repeat(1, 2)}))
    with pytest.raises(ValueError, match="hold samples of different shapes"):
        run.fit()
    run = make(val=(x, digit))
    with pytest.raises(ValueError, match="val has no 1/digit, 1/angle"):
        run.fit()


def make_fitted():
    run = make()
    run.fit()
    return run


def test_a_target_that_only_a_dataset_for_validation_lacks_is_told_before_the_first_step():
    x, digit, _angle = data()
    lacking = [(x[k], {"digit": digit[k]}) for k in range(4)]
    run = make(val=lacking)
    with pytest.raises(ValueError, match=r"val: unknown target 'angle'\. Allowed: digit"):
        run.fit()
    assert run.step_count == 0
    run = make(val=[(x[k], digit[k]) for k in range(4)])
    with pytest.raises(ValueError, match="val: there is no target 'digit' in"):
        run.fit()
    assert run.step_count == 0
