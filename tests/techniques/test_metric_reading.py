"""How metrics read outputs and targets of every layout, against scikit-learn on flat ones."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs
from torch import nn
from torch.nn import functional

from nbopt.techniques.metrics.choice import as_metrics
from nbopt.techniques.metrics.measuring import Measuring
from nbopt.techniques.metrics.reading import Reading, ends_in_probabilities
from tests.techniques.measured import GENERATOR, measure

NAMES = ["accuracy", "precision", "recall", "f1", "roc_auc"]


@given(cut=st.lists(st.integers(1, 59), max_size=4), ignored=st.sampled_from([-100, 1]))
@settings(max_examples=20, deadline=None)
def test_batches_give_what_all_samples_give_without_labels_that_do_not_count(cut, ignored):
    scores = torch.randn(60, 3, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(60) % 3
    labels[::4] = ignored
    kept = labels != ignored
    guess, true = scores.argmax(1)[kept], labels[kept]
    found, told = measure(NAMES[:4], scores, labels, nn.CrossEntropyLoss(ignore_index=ignored), cut)
    macro = {"average": "macro", "zero_division": 0.0}
    assert found == pytest.approx(
        {
            "accuracy": theirs.accuracy_score(true, guess),
            "precision": theirs.precision_score(true, guess, **macro),
            "recall": theirs.recall_score(true, guess, **macro),
            "f1": theirs.f1_score(true, guess, **macro),
        },
        rel=1e-6,
    )
    assert not told


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
@pytest.mark.parametrize("k", [2, 4])
def test_several_labels_a_sample(k, dtype):
    scores = torch.randn(80, k, generator=GENERATOR)
    labels = (scores + torch.randn(80, k, generator=GENERATOR) > 0).to(dtype)
    said = scores > 0
    found, _told = measure([*NAMES, "f1_macro"], scores, labels, nn.BCEWithLogitsLoss(), (33,))
    expected = {
        "accuracy": float((said == labels.bool()).float().mean()),
        **{name: getattr(theirs, f"{name}_score")(labels, said, average="macro") for name in NAMES[1:4]},
        "roc_auc": theirs.roc_auc_score(labels, scores),
        "f1_macro": theirs.f1_score(labels, said, average="macro"),
    }
    assert found == pytest.approx(expected, rel=1e-6)


def test_unknown_ones_of_several_labels_are_left_out():
    scores, labels = torch.randn(80, 3, generator=GENERATOR), torch.randint(0, 2, (80, 3), generator=GENERATOR)
    labels[torch.rand(80, 3, generator=GENERATOR) < 0.3] = -100
    kept = labels != -100
    columns = [(labels[kept[:, k], k], scores[kept[:, k], k]) for k in range(3)]
    found, _told = measure(NAMES, scores, labels, cut=(50,))
    assert found["accuracy"] == pytest.approx(float(((scores > 0) == labels)[kept].float().mean()))
    assert found["f1"] == pytest.approx(sum(theirs.f1_score(y, s > 0) for y, s in columns) / 3)
    assert found["roc_auc"] == pytest.approx(sum(theirs.roc_auc_score(y, s) for y, s in columns) / 3)


def test_one_hot_targets_are_classes_unless_the_loss_takes_labels_one_by_one():
    scores, classes = torch.randn(60, 3, generator=GENERATOR), torch.arange(60) % 3
    one_hot = functional.one_hot(classes, 3).float()
    hit = float((scores.argmax(1) == classes).float().mean())
    assert measure("accuracy", scores, one_hot)[0]["accuracy"] == pytest.approx(hit)
    assert measure("accuracy", scores, one_hot, nn.CrossEntropyLoss())[0]["accuracy"] == pytest.approx(hit)
    each = float(((scores > 0) == one_hot.bool()).float().mean())
    assert measure("accuracy", scores, one_hot, nn.BCEWithLogitsLoss())[0]["accuracy"] == pytest.approx(each)


def places_last(output, labels):
    return functional.cross_entropy(output, labels)


def classes_last(output, labels):
    return functional.cross_entropy(output.flatten(0, -2), labels.flatten())


@pytest.mark.parametrize("places", [3, 5])
@pytest.mark.parametrize("loss", [places_last, classes_last, nn.CrossEntropyLoss()])
def test_the_dimension_of_the_classes_is_that_of_the_loss(places, loss):
    labels = torch.randint(0, 3, (40, places), generator=GENERATOR)
    labels[::3, 0] = -100
    scores = torch.randn(40, places, 3, generator=GENERATOR) + 2 * functional.one_hot(labels.clamp(min=0), 3)
    output = scores if loss is classes_last else scores.movedim(-1, 1).contiguous()
    kept = labels != -100
    found, _told = measure(["accuracy", "f1"], output, labels, loss, (7,), loss)
    guess = scores.argmax(-1)
    assert found["accuracy"] == pytest.approx(float((guess == labels)[kept].float().mean()))
    assert found["f1"] == pytest.approx(theirs.f1_score(labels[kept], guess[kept], average="macro"))


@pytest.mark.parametrize("ignored", [0, 255, -1])
@pytest.mark.parametrize("last", [False, True], ids=["classes first", "classes last"])
def test_labels_that_a_loss_of_one_s_own_leaves_out_are_found(ignored, last):
    labels = torch.randint(0, 3, (40, 5), generator=GENERATOR)
    labels[torch.rand(40, 5, generator=GENERATOR) < 0.3] = ignored
    scores = torch.randn(40, 5, 3, generator=GENERATOR)
    kept = labels != ignored

    def lose(output, target):
        if last:
            return functional.cross_entropy(output.flatten(0, 1), target.flatten(), ignore_index=ignored)
        each = functional.cross_entropy(output, target.clamp(0, 2), reduction="none")
        return each[target != ignored].mean()

    output = scores if last else scores.movedim(-1, 1).contiguous()
    found, _told = measure(["accuracy", "f1"], output, labels, lose, (7,), lose)
    guess = scores.argmax(-1)
    assert found["accuracy"] == pytest.approx(float((guess == labels)[kept].float().mean()))
    assert found["f1"] == pytest.approx(theirs.f1_score(labels[kept], guess[kept], average="macro"))


def test_no_label_is_left_out_because_a_margin_is_kept():
    scores = 9 * functional.one_hot(torch.arange(60) % 3, 3).float()
    labels = torch.arange(60) % 3
    labels[1::6] = 2

    def lose(output, target):
        return functional.multi_margin_loss(output, target)

    assert measure("accuracy", scores, labels, lose, lose=lose)[0]["accuracy"] == pytest.approx(50 / 60)


def test_labels_that_are_no_class_do_not_count():
    scores, labels = torch.randn(60, 3, generator=GENERATOR), torch.arange(60) % 3
    labels[::4], labels[1::4] = 255, -1
    kept = torch.arange(60) % 4 > 1
    found, _told = measure(NAMES[:2], scores, labels, lambda o, t: o.mean())
    assert found["accuracy"] == pytest.approx(float((scores.argmax(1) == labels)[kept].float().mean()))
    assert found["precision"] == pytest.approx(
        theirs.precision_score(labels[kept], scores.argmax(1)[kept], average="macro")
    )


def test_rows_that_sum_to_1_are_probabilities_also_where_the_graph_does_not_tell():
    chances, labels = torch.randn(60, 3, generator=GENERATOR).softmax(1), torch.arange(60) % 3
    found, _told = measure("neg_log_loss", chances, labels, lambda o, t: o.mean())
    assert found["neg_log_loss"] == pytest.approx(-theirs.log_loss(labels, chances.double()))


@pytest.mark.parametrize(
    ("output", "doubted"),
    [(torch.linspace(0.1, 0.9, 20), True), (torch.linspace(-0.1, 0.9, 20), False), (torch.full((20,), 0.5), False)],
    ids=["probabilities", "scores", "no output yet"],
)
def test_outputs_that_may_be_probabilities_are_told_of_where_metrics_take_them_for_scores(output, doubted):
    for names, told in ((["accuracy"], doubted), (["mae"], False)):
        metrics = Measuring(as_metrics(names))
        metrics.check(output, (output > 0.3).float(), None)
        assert ("where they are probabilities" in metrics.doubt) is told


@pytest.mark.parametrize("shape", [(40,), (40, 1), (10, 1, 2, 2)])
@pytest.mark.parametrize("end", ["scores", "sigmoid", "bce"])
def test_probabilities_of_yes_are_counted_above_a_half(shape, end):
    scores = torch.randn(40, generator=GENERATOR).requires_grad_()
    labels = (torch.rand(40, generator=GENERATOR) > 0.4).float()
    output = scores if end == "scores" else scores.sigmoid()
    loss = nn.BCELoss() if end == "bce" else (lambda o, t: o.mean())
    if end == "bce":
        output = output.detach()
    flat = labels if len(shape) < 3 else labels.reshape(10, 2, 2)
    found, _told = measure([*NAMES, "neg_log_loss"], output.reshape(shape), flat, loss)
    said, chance = (scores > 0).numpy(), scores.detach().double().sigmoid()
    assert found["accuracy"] == pytest.approx(theirs.accuracy_score(labels, said))
    assert found["f1"] == pytest.approx(theirs.f1_score(labels, said))
    assert found["roc_auc"] == pytest.approx(theirs.roc_auc_score(labels, chance))
    if end != "scores":
        assert found["neg_log_loss"] == pytest.approx(-theirs.log_loss(labels, chance), rel=1e-4)


def test_probabilities_of_classes_are_not_made_probabilities_twice():
    scores, labels = torch.randn(60, 3, generator=GENERATOR).requires_grad_(), torch.arange(60) % 3
    expected = -theirs.log_loss(labels, scores.detach().double().softmax(1))
    for output in (scores.softmax(1), scores.log_softmax(1), scores):
        found, _told = measure("neg_log_loss", output, labels, lambda o, t: o.mean())
        assert found["neg_log_loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("end", "probabilities"),
    [
        (lambda x: x.sigmoid(), True),
        (lambda x: x.softmax(1).squeeze(0), True),
        (lambda x: x.sigmoid().clamp(1e-6, 1 - 1e-6).view(-1)[1:], True),
        (lambda x: torch.cat([x.sigmoid(), x.sigmoid()]).reshape(-1, 2).float(), True),
        (lambda x: x.log_softmax(1).exp(), True),
        (lambda x: x.exp(), False),
        (lambda x: x.log_softmax(1), False),
        (lambda x: x.sigmoid() * 5, False),
        (lambda x: x.relu(), False),
        (lambda x: x.detach().sigmoid(), False),  # no graph, nothing known
    ],
)
def test_the_end_of_the_graph_tells_probabilities(end, probabilities):
    assert ends_in_probabilities(end(torch.randn(4, 3, requires_grad=True))) is probabilities


@pytest.mark.parametrize("given", [torch.zeros(()), {"a": torch.zeros(3)}, (torch.zeros(3),), torch.zeros(4, 2)])
def test_what_no_named_metric_reads_is_refused(given):
    with pytest.raises(ValueError, match=r"metric accuracy: .*(single number|needs)"):
        measure("accuracy", given, torch.zeros(5).long())


def test_logits_of_a_mapping_are_read():
    class Output:
        logits = torch.randn(6, 3, generator=GENERATOR)

    labels = torch.arange(6) % 3
    plain = Reading().classes(Output.logits, labels)
    for output in (Output(), {"loss": torch.zeros(()), "logits": Output.logits}):
        assert all(torch.equal(a, b) for a, b in zip(Reading().classes(output, labels), plain, strict=True))


@pytest.mark.parametrize("places", [3, 5])
def test_logits_with_classes_in_the_last_dimension_are_read(places):
    labels = torch.randint(0, 3, (6, places), generator=GENERATOR)
    logits = torch.randn(6, places, 3, generator=GENERATOR)
    found, _told = measure("accuracy", Whole(logits=logits), labels, lambda o, t: o["loss"])
    assert found["accuracy"] == pytest.approx(float((logits.argmax(-1) == labels).float().mean()))


class Whole(dict):
    """A mapping of batches that are cut as tensors are."""

    def __getitem__(self, key):
        return Whole({name: item[key] for name, item in self.items()}) if isinstance(key, slice) else self.get(key)


@pytest.mark.parametrize("shape", [(12, 3), (4, 3, 1, 3)])
def test_labels_in_a_column_are_labels(shape):
    scores = torch.randn(shape, generator=GENERATOR)
    labels = scores.argmax(1, keepdim=True).where(torch.rand(shape[0], *[1] * (len(shape) - 1)) > 0.3, 0)
    expected = float((scores.argmax(1, keepdim=True) == labels).float().mean())
    assert measure("accuracy", scores, labels)[0]["accuracy"] == pytest.approx(expected)


def test_integers_of_which_one_a_row_is_1_are_classes():
    scores, classes = torch.randn(60, 3, generator=GENERATOR), torch.arange(60) % 3
    hit = float((scores.argmax(1) == classes).float().mean())
    found, _told = measure("accuracy", scores, functional.one_hot(classes, 3))
    assert found["accuracy"] == pytest.approx(hit)


@pytest.mark.parametrize(
    "loss", [nn.MSELoss(), nn.SmoothL1Loss(), lambda output, target: ((output - target) ** 2).mean()]
)
@pytest.mark.parametrize("low", [0.0, -1.0])
def test_what_is_to_be_the_target_itself_is_a_yes_nearer_to_1(loss, low):
    labels = torch.where(torch.arange(80) % 3 == 0, 1.0, low)[:, None]
    output = labels + 0.4 * torch.randn(80, 1, generator=GENERATOR)
    said, true = (output > (low + 1) / 2).long(), (labels == 1).long()
    found, told = measure(NAMES, output, labels, loss, (33,), loss)
    expected = {name: getattr(theirs, f"{name}_score")(true, said) for name in NAMES[:4]}
    assert found == pytest.approx({**expected, "roc_auc": theirs.roc_auc_score(true, output)}, rel=1e-6)
    assert not told


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_no_labels(name):
    output, target = torch.randn(2, 60, 1, generator=GENERATOR)
    with pytest.raises(ValueError, match=rf"metric {name}: it needs labels, and the targets are numbers from -"):
        measure(name, output, target, nn.MSELoss(), (), nn.MSELoss())
