from functools import partial

import pytest
import torch
from sklearn import metrics as reference

from nbopt.errors import InvalidHyperparam
from nbopt.techniques.metrics.choice import METRICS, as_metrics

GENERATOR = torch.Generator().manual_seed(0)
SCORES = torch.randn(50, 4, generator=GENERATOR)
CLASSES = torch.randint(0, 4, (50,), generator=GENERATOR)
NUMBERS = torch.randn(50, generator=GENERATOR)


def test_accuracy_of_scores_per_class():
    assert METRICS["accuracy"](SCORES, CLASSES) == pytest.approx(reference.accuracy_score(CLASSES, SCORES.argmax(1)))


def test_accuracy_against_probabilities():
    target = torch.nn.functional.one_hot(CLASSES, 4).float()
    assert METRICS["accuracy"](SCORES, target) == METRICS["accuracy"](SCORES, CLASSES)


@pytest.mark.parametrize("shape", [(50,), (50, 1)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_accuracy_of_one_score_a_sample(shape, dtype):
    labels = CLASSES.clamp(0, 1)
    expected = reference.accuracy_score(labels, NUMBERS > 0)
    assert METRICS["accuracy"](NUMBERS.reshape(shape), labels.to(dtype)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("r2", reference.r2_score),
        ("mae", reference.mean_absolute_error),
        ("rmse", reference.root_mean_squared_error),
    ],
)
@pytest.mark.parametrize("shape", [(50,), (50, 1)])
def test_regression_metrics_are_scikit_learn_s_also_for_columns(name, function, shape):
    expected = function(CLASSES.double(), NUMBERS.double())
    assert float(METRICS[name](NUMBERS.reshape(shape), CLASSES)) == pytest.approx(expected)


def test_metrics_have_names():
    def gap(output, target):
        return 0.0

    class Gap:
        def __call__(self, output, target):
            return 0.0

    own = Gap()
    assert as_metrics(None) == {}
    assert as_metrics("mae") == {"mae": METRICS["mae"]}
    assert list(as_metrics(["accuracy", gap, own])) == ["accuracy", "gap", "Gap"]
    assert as_metrics({"first": gap, "second": "mae"}) == {"first": gap, "second": METRICS["mae"]}


def test_a_partial_has_the_name_of_its_function():
    macro = partial(reference.f1_score, average="macro")
    assert list(as_metrics([macro, partial(reference.fbeta_score, beta=2.0)])) == ["f1_score", "fbeta_score"]


def test_a_collection_of_torchmetrics_is_taken_apart():
    torchmetrics = pytest.importorskip("torchmetrics")
    kinds = torchmetrics.classification
    both = torchmetrics.MetricCollection([kinds.MulticlassAccuracy(3), kinds.MulticlassF1Score(3)])
    assert list(as_metrics(both)) == ["MulticlassAccuracy", "MulticlassF1Score"]
    assert list(as_metrics(["mae", both])) == ["mae", "MulticlassAccuracy", "MulticlassF1Score"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("acuracy", "unknown metric 'acuracy'. Did you mean 'accuracy'"),
        ([3], "unknown metric 3"),
        ({"a": 3}, "unknown metric"),
        ({"loss": max}, "the name 'loss' is taken"),
        ([lambda o, t: 0, lambda o, t: 1], "the name '<lambda>' is taken: give metrics as {name: callable}"),
    ],
)
def test_what_is_no_metric_is_told_in_words(given, message):
    with pytest.raises(InvalidHyperparam, match=message):
        as_metrics(given)
