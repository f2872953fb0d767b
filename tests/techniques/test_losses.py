import pytest
import torch
from torch.nn import functional

from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Hyperparams
from nbopt.techniques.losses.choice import LOSSES, loss_choice


def made(name):
    loss = LOSSES[name]()
    hyperparams = Hyperparams()
    hyperparams.declare(loss_choice(name))
    hyperparams.bind(loss)
    return loss, hyperparams


def measured(loss, output, target):
    loss.check(output, target)
    return loss(output, loss.prepare(output, target))


SCORES = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
NUMBERS = SCORES[:, 0]
CLASSES = torch.tensor([0, 3, 1, 2, 2, 0])


@pytest.mark.parametrize(
    ("name", "output", "target", "expected"),
    [
        ("cross_entropy", SCORES, CLASSES, functional.cross_entropy(SCORES, CLASSES)),
        ("cross_entropy", SCORES, SCORES.softmax(1), functional.cross_entropy(SCORES, SCORES.softmax(1))),
        (
            "cross_entropy",
            SCORES.reshape(1, 4, 6),
            CLASSES.reshape(1, 6),
            functional.cross_entropy(SCORES.reshape(1, 4, 6), CLASSES.reshape(1, 6)),
        ),
        (
            "cross_entropy",
            SCORES,
            torch.tensor([0, -100, 1, 2, 2, -100]),
            functional.cross_entropy(SCORES[[0, 2, 3, 4]], CLASSES[[0, 2, 3, 4]]),
        ),
        (
            "binary_cross_entropy",
            NUMBERS,
            CLASSES.clamp(0, 1),
            functional.binary_cross_entropy_with_logits(NUMBERS, CLASSES.clamp(0, 1).float()),
        ),
        ("mse", NUMBERS, CLASSES, functional.mse_loss(NUMBERS, CLASSES.float())),
        ("mse", SCORES, SCORES * 2, functional.mse_loss(SCORES, SCORES * 2)),
        ("mae", NUMBERS, CLASSES, functional.l1_loss(NUMBERS, CLASSES.float())),
        ("huber", NUMBERS, CLASSES, functional.huber_loss(NUMBERS, CLASSES.float(), delta=1.0)),
    ],
)
def test_it_is_torch_s_own(name, output, target, expected):
    assert torch.equal(measured(made(name)[0], output, target), expected)


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "binary_cross_entropy"])
@pytest.mark.parametrize("shapes", [((6, 1), (6,)), ((6,), (6, 1))])
def test_columns_and_rows_are_compared_number_by_number_not_broadcast(name, shapes):
    output, target = NUMBERS.reshape(shapes[0]), CLASSES.clamp(0, 1).float().reshape(shapes[1])
    loss, _hyperparams = made(name)
    assert measured(loss, output, target) == measured(loss, NUMBERS, CLASSES.clamp(0, 1).float())


def test_delta_of_the_huber_loss_is_live():
    loss, hyperparams = made("huber")
    for delta in (0.1, 10.0):
        hyperparams.assign("delta", delta)
        assert measured(loss, NUMBERS, CLASSES) == functional.huber_loss(NUMBERS, CLASSES.float(), delta=delta)


@pytest.mark.parametrize(
    ("name", "output", "target", "message"),
    [
        ("cross_entropy", SCORES, torch.tensor([0, 1, 2, 3, 4, 0]), r"labels must be 0 to 3, .*got labels from 0 to 4"),
        ("cross_entropy", SCORES, torch.tensor([0, 1, 2, 3, -1, 0]), r"labels from -1 to 3.*LabelEncoder"),
        (
            "cross_entropy",
            SCORES,
            CLASSES[:, None],
            r"outputs \(6, 4\) float32 and targets \(6, 1\) int64 do not match",
        ),
        ("cross_entropy", SCORES, CLASSES.float(), "it needs class indices as integers"),
        ("cross_entropy", SCORES, CLASSES.int(), r"class indices as whole numbers of 64 bits: y.long\(\)"),
        ("hinge", SCORES, torch.tensor([0, -100, 1, 2, 2, 0]), "labels from -100 to 2"),
        ("cross_entropy", NUMBERS, CLASSES, r"one score per class: outputs \(samples, classes\)"),
        ("cross_entropy", (SCORES, SCORES), CLASSES, "the model's output is tuple. Give forward="),
        ("cross_entropy", SCORES, [0, 1], "the target is list"),
        ("binary_cross_entropy", NUMBERS, CLASSES, "labels must be 0 to 1; got labels from 0 to 3"),
        ("mse", SCORES, CLASSES, r"mse: outputs \(6, 4\) float32 and targets \(6,\) int64 do not match: it compares"),
        ("huber", SCORES, "text", "the target is str"),
    ],
)
def test_a_mismatch_is_told_with_what_was_given(name, output, target, message):
    with pytest.raises(ValueError, match=message):
        made(name)[0].check(output, target)


def test_the_focal_loss_is_the_mean_over_labels_that_count():
    loss, _hyperparams = made("focal")
    some = torch.tensor([0, -100, 1, 2, -100, 0])
    torch.testing.assert_close(measured(loss, SCORES, some), measured(loss, SCORES[some >= 0], some[some >= 0]))
    assert loss.traits.counts == "labels"


def test_a_loss_can_be_swapped_for_those_of_its_task():
    assert loss_choice("mae").options == ("mse", "mae", "huber")
    assert loss_choice("cross_entropy").options == ("cross_entropy", "focal", "hinge")
    assert loss_choice("mae").default == "mae"


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_callable_returns_one_number_in_any_shape(shape):
    def gap(output, target):
        return (output - target).mean().reshape(shape)

    spec = loss_choice(gap)
    loss = spec.classes[spec.default]()
    assert (spec.default, spec.options) == ("gap", ("gap",))
    assert measured(loss, NUMBERS, NUMBERS + 1).tolist() == pytest.approx(-1)


def test_a_module_is_a_callable():
    spec = loss_choice(torch.nn.CrossEntropyLoss(label_smoothing=0.1))
    expected = functional.cross_entropy(SCORES, CLASSES, label_smoothing=0.1)
    assert spec.default == "CrossEntropyLoss"
    assert torch.equal(measured(spec.classes[spec.default](), SCORES, CLASSES), expected)


@pytest.mark.parametrize("result", [torch.ones(6), 0.5, None, torch.nn.CrossEntropyLoss])
def test_a_callable_that_returns_anything_else_is_told_so(result):
    spec = loss_choice(lambda output, target: result)
    with pytest.raises(ValueError, match="the loss must return one number as a tensor; got"):
        spec.classes[spec.default]().explain(SCORES, CLASSES)


@pytest.mark.parametrize(
    ("given", "message"), [("mce", "unknown loss 'mce'"), ("MSE", "Did you mean 'mse'"), (3, "callable")]
)
def test_what_is_no_loss_is_told_in_words(given, message):
    with pytest.raises(InvalidHyperparam, match=message):
        loss_choice(given)
