"""Metrics of numbers, functions of scikit-learn and of one's own, over batches."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs

from nbopt.techniques.metrics.choice import as_metrics
from nbopt.techniques.metrics.measuring import Measuring
from tests.techniques.measured import GENERATOR, measure

# -- numbers, functions


@given(cut=st.lists(st.integers(1, 39), max_size=3))
@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("columns", [1, 3])
def test_regression_metrics_of_batches_are_scikit_learn_s(columns, cut):
    generator = torch.Generator().manual_seed(2)
    y = 100 + torch.randn(40, columns, generator=generator)
    f = y + torch.randn(40, columns, generator=generator) * torch.tensor([0.1, 1.0, 5.0])[:columns]
    given = ["r2", "mae", "rmse", theirs.r2_score, "explained_variance", theirs.root_mean_squared_error]
    found, _told = measure(given, f, y, cut=cut)
    y, f = y.double(), f.double()
    assert found["r2"] == pytest.approx(theirs.r2_score(y, f), rel=1e-6) == found["r2_score"]
    assert found["mae"] == pytest.approx(theirs.mean_absolute_error(y, f))
    assert found["rmse"] == pytest.approx(float(((y - f) ** 2).mean().sqrt()))
    assert found["rmse"] == pytest.approx(theirs.mean_squared_error(y, f) ** 0.5)
    assert found["root_mean_squared_error"] == pytest.approx(theirs.root_mean_squared_error(y, f))  # of each column
    assert found["explained_variance"] == pytest.approx(theirs.explained_variance_score(y, f))


@pytest.mark.parametrize(("output", "expected"), [(1.0, 1.0), (0.3, 0.0)])
def test_r2_of_a_constant_target_is_scikit_learn_s(output, expected):
    y = torch.full((50,), 1.0)
    assert measure("r2", torch.full((50, 1), output), y, cut=(20,))[0]["r2"] == expected


def test_functions_of_scikit_learn_get_the_truth_first_and_what_they_want():
    scores, labels = torch.randn(60, 3, generator=GENERATOR), torch.arange(60) % 3
    f1 = partial(theirs.f1_score, average="micro")
    given_metrics = [theirs.balanced_accuracy_score, theirs.log_loss, f1, theirs.top_k_accuracy_score]
    found, _told = measure(given_metrics, scores, labels)
    chances = scores.double().softmax(1)
    assert list(found.values()) == pytest.approx(
        [
            theirs.balanced_accuracy_score(labels, scores.argmax(1)),
            theirs.log_loss(labels, chances),
            theirs.f1_score(labels, scores.argmax(1), average="micro"),
            theirs.top_k_accuracy_score(labels, chances),
        ]
    )
    two = labels.clamp(max=1)
    found, _told = measure([theirs.roc_auc_score, theirs.precision_score], scores[:, :2], two)
    assert found["roc_auc_score"] == pytest.approx(theirs.roc_auc_score(two, scores[:, 1] - scores[:, 0]))
    assert found["precision_score"] == theirs.precision_score(two, scores[:, :2].argmax(1))


def test_a_function_of_one_s_own_gets_all_samples_as_they_are():
    seen = []

    def own(output, target):
        seen.append((output, target))
        return 0.5

    output, target = torch.randn(10, 3), torch.arange(10) - 100
    assert measure({"own": own}, output, target, cut=(4,))[0] == {"own": 0.5}
    assert len(seen) == 1 and torch.equal(seen[0][0], output) and torch.equal(seen[0][1], target)


def test_of_batches_that_cannot_be_joined_it_is_the_mean_over_labels():
    metrics = Measuring(as_metrics({"hits": lambda o, t: (o.argmax(1) == t)[t != -100].float().mean()})).start("")
    hits = []
    for width in (2, 5, 3):
        output = torch.randn(4, 3, width, generator=GENERATOR)
        target = torch.randint(0, 3, (4, width), generator=GENERATOR)
        target[0, 1:] = -100
        metrics.add(output, target)
        hits.append((output.argmax(1) == target)[target != -100])
    metrics.add(torch.randn(4, 3, 1), torch.full((4, 1), -100))
    assert metrics.values(print)["hits"] == pytest.approx(float(torch.cat(hits).float().mean()))


def test_what_is_not_defined_is_told():
    found, told = measure(["roc_auc", "accuracy"], torch.randn(5, 2), torch.zeros(5).long())
    assert found["roc_auc"] != found["roc_auc"] and found["accuracy"] <= 1
    assert [text.split(":")[0] for text in told] == ["metric roc_auc is not a number"]
