"""Metrics of classification against scikit-learn's, its scorers by name, and objects as torchmetrics has them."""

import numpy as np
import pytest
import torch
from sklearn import metrics as theirs
from torch import nn
from torchmetrics.classification import BinaryF1Score, MulticlassAccuracy, MulticlassF1Score
from torchmetrics.regression import R2Score

from nbopt import Run
from nbopt.errors import InvalidHyperparam
from nbopt.techniques.metrics.choice import METRICS, as_metrics

GENERATOR = torch.Generator().manual_seed(0)
SCORES, CLASSES = torch.randn(80, 4, generator=GENERATOR), torch.randint(0, 3, (80,), generator=GENERATOR)  # no class 3
SINGLE, LABELS = torch.randn(80, 1, generator=GENERATOR).round(decimals=1), CLASSES.clamp(max=1)
PAIRS = torch.randn(80, 2, generator=GENERATOR)
GUESS = SCORES.argmax(1)


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_shares_of_classes_are_scikit_learn_s(name):
    score = getattr(theirs, f"{name}_score")
    several = score(CLASSES, GUESS, average="macro", zero_division=0.0)
    assert float(METRICS[name](SCORES, CLASSES)) == pytest.approx(several)
    assert float(METRICS[name](SINGLE, LABELS)) == pytest.approx(score(LABELS, SINGLE.flatten() > 0))
    assert float(METRICS[name](PAIRS, LABELS)) == pytest.approx(score(LABELS, PAIRS.argmax(1)))


def test_the_area_under_the_curve_is_scikit_learn_s_also_with_ties():
    assert float(METRICS["roc_auc"](SINGLE, LABELS)) == pytest.approx(theirs.roc_auc_score(LABELS, SINGLE.flatten()))
    expected = theirs.roc_auc_score(LABELS, PAIRS.softmax(1)[:, 1])
    assert float(METRICS["roc_auc"](PAIRS, LABELS)) == pytest.approx(expected)
    three = SCORES[:, :3]
    expected = theirs.roc_auc_score(CLASSES, three.double().softmax(1), multi_class="ovr")
    assert float(METRICS["roc_auc"](three, CLASSES)) == pytest.approx(expected)


def test_scorers_by_name():
    found = as_metrics(["f1_macro", "neg_log_loss", "balanced_accuracy", "roc_auc_ovo"])
    three = SCORES[:, :3]
    guess, chances = three.argmax(1), three.double().softmax(1)
    expected = {
        "f1_macro": theirs.f1_score(CLASSES, guess, average="macro"),
        "neg_log_loss": -theirs.log_loss(CLASSES, chances),
        "balanced_accuracy": theirs.balanced_accuracy_score(CLASSES, guess),
        "roc_auc_ovo": theirs.roc_auc_score(CLASSES, chances, multi_class="ovo"),
    }
    assert {name: metric(three, CLASSES) for name, metric in found.items()} == pytest.approx(expected)


def test_scorers_of_two_classes_and_of_numbers():
    ours = as_metrics(["average_precision", "neg_brier_score"])
    assert ours["average_precision"](SINGLE, LABELS) == pytest.approx(
        theirs.average_precision_score(LABELS, SINGLE.flatten())
    )
    assert ours["average_precision"](PAIRS, LABELS) == pytest.approx(
        theirs.average_precision_score(LABELS, PAIRS[:, 1] - PAIRS[:, 0])
    )
    brier = -theirs.brier_score_loss(LABELS, SINGLE.flatten().double().sigmoid())
    assert ours["neg_brier_score"](SINGLE, LABELS) == pytest.approx(brier)
    numbers = as_metrics(["explained_variance", "neg_median_absolute_error"])
    y = SINGLE[:, 0] + PAIRS[:, 0]
    for name, score, sign in (
        ("explained_variance", theirs.explained_variance_score, 1),
        ("neg_median_absolute_error", theirs.median_absolute_error, -1),
    ):
        assert numbers[name](SINGLE, y) == pytest.approx(sign * score(y, SINGLE[:, 0]), rel=1e-5)


def test_a_scorer_of_the_user_s_own():
    scorer = theirs.make_scorer(theirs.fbeta_score, beta=2, average="macro")
    (metric,) = as_metrics({"f2": scorer}).values()
    assert metric(SCORES[:, :3], CLASSES) == pytest.approx(
        theirs.fbeta_score(CLASSES, SCORES[:, :3].argmax(1), beta=2, average="macro")
    )


def test_a_scorer_of_outputs_that_are_not_finite_is_not_a_number():
    (metric,) = as_metrics("average_precision").values()
    assert np.isnan(metric(SINGLE / 0, LABELS))


def test_a_run_that_diverges_goes_on_with_its_scorers():
    samples = SCORES * 1e30, CLASSES
    run = Run(nn.Linear(4, 3), samples, loss=blow_up, metrics="neg_log_loss", epochs=3, recover=False, store=None)
    run.start()
    run.wait(60)
    assert run.end_reason == "all 3 epochs done"
    assert np.isnan(run.history.last("neg_log_loss"))


def blow_up(output, target):
    """Return a loss that drives every weight out of the numbers there are."""
    return -(output**3).sum()


class Streamed:
    """As torchmetrics does it; also callable, which is not what is wanted."""

    def __init__(self):
        self.seen = 99

    def update(self, output, target):
        self.seen += int((output.argmax(1) == target).sum())

    def compute(self):
        return torch.tensor(float(self.seen))

    def reset(self):
        self.seen = 0

    def __call__(self, output, target):
        raise AssertionError


def test_objects_with_update_compute_and_reset():
    metric = Streamed()
    (found,) = as_metrics(metric).values()
    expected = float((SCORES.argmax(1) == CLASSES).sum())
    assert found(SCORES, CLASSES) == found(SCORES, CLASSES) == expected
    assert metric.seen == 0


def test_they_are_measured_in_a_run(one_torch_thread):
    x, y = torch.randn(40, 3), torch.arange(40) % 2
    metrics = ["f1", "roc_auc", "matthews_corrcoef", Streamed()]
    run = Run(torch.nn.Linear(3, 2), (x, y), (x, y), metrics=metrics, epochs=2, store=None).fit()
    for name in ("f1", "roc_auc", "matthews_corrcoef", "Streamed"):
        assert np.isfinite(run.history[f"val_{name}"][1]).all()
    assert "matthews_corrcoef" in run.to_yaml()


def test_what_is_no_metric_is_told_in_words():
    with pytest.raises(InvalidHyperparam, match=r"unknown metric 'acuracy'\. Did you mean 'accuracy'"):
        as_metrics("acuracy")
    with pytest.raises(InvalidHyperparam, match="unknown metric 3"):
        as_metrics(3)


def test_objects_of_torchmetrics_are_fed_what_they_want():
    several = MulticlassF1Score(num_classes=3, average="macro")
    (found,) = as_metrics(several).values()
    three = SCORES[:, :3]
    expected = theirs.f1_score(CLASSES, three.argmax(1), average="macro")
    assert found(three, CLASSES) == found(three, CLASSES) == pytest.approx(expected)
    (found,) = as_metrics({"f1": BinaryF1Score()}).values()
    assert found(SINGLE, LABELS) == pytest.approx(theirs.f1_score(LABELS, SINGLE.flatten() > 0))
    (found,) = as_metrics(R2Score()).values()
    assert found(SINGLE, PAIRS[:, 0]) == pytest.approx(theirs.r2_score(PAIRS[:, 0], SINGLE.flatten()), rel=1e-4)


def test_a_run_measures_by_an_object_of_torchmetrics():
    metrics = {"theirs": MulticlassAccuracy(num_classes=3, average="micro"), "ours": METRICS["accuracy"]}
    run = Run(nn.Linear(4, 3), (SCORES, CLASSES), 0.3, metrics=metrics, epochs=3, store=None).fit()
    for name in ("", "val_"):
        assert run.history[f"{name}theirs"][1].tolist() == pytest.approx(run.history[f"{name}ours"][1].tolist())
