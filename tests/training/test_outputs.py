"""Several outputs, each with a loss, a weight and metrics: what is trained, measured, kept and refused."""

import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from nbopt.errors import InvalidHyperparam
from nbopt.training.compile.obstacles import find_obstacle
from tests.training.outputs import FORMS, LOSSES, Named, Net, assert_same, data, make

pytestmark = pytest.mark.usefixtures("one_torch_thread")
NAMES = {
    **{key: ["digit", "angle"] for key in FORMS},
    **{key: ["output_0", "output_1"] for key in ["tuple", "list"]},
    "nested": ["heads_digit", "heads_angle_0"],
}


@pytest.mark.parametrize("form", list(FORMS))
def test_each_output_has_a_loss_and_a_weight_and_the_sum_is_trained_on(form):
    x, digit, angle = data()
    container = {"named tuple": FORMS["dict"], "dataclass": FORMS["dict"], "list": FORMS["tuple"]}.get(
        form, FORMS[form]
    )
    if form == "nested":  # arrays in a list are an array
        container = lambda digit, angle: {"heads": {"digit": digit, "angle": (angle,)}}  # noqa: E731
    given = (x, container(digit, angle))
    run = make(form, given, loss=LOSSES[form], metrics=None, batch_size=24, epochs=3)
    net, weights = Net(), []
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _step in range(3):
        optimizer.zero_grad()
        output = net(x)
        losses = [
            functional.cross_entropy(output["digit"], digit),
            functional.mse_loss(output["angle"], angle[:, None]),
        ]
        (1.0 * losses[0] + 0.3 * losses[1]).backward()
        optimizer.step()
        weights.append([loss.item() for loss in losses])
    run.fit()
    names = NAMES[form]
    assert {f"{name}_weight" for name in names} <= set(run.hyperparams)
    first, second = (run.history[f"{name}_loss"] for name in names)
    assert first[0].tolist() == second[0].tolist() == [0, 1, 2]
    assert first[1].tolist() == pytest.approx([one for one, _other in weights], rel=1e-5)
    assert second[1].tolist() == pytest.approx([other for _one, other in weights], rel=1e-5)
    for ours, theirs in zip(run.model.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_validation_measures_each_loss_and_metric_over_all_that_it_counts():
    x, digit, angle = data(50)
    digit = digit.clone()
    digit[40:] = -100  # most of the last batch does not count
    val = DataLoader(Named(x, digit, angle), 16)
    run = make(val=val, lr=0.0, epochs=1)
    run.fit()
    output = run.model.eval()(x)
    entropy = functional.cross_entropy(output["digit"], digit).item()
    square = functional.mse_loss(output["angle"], angle[:, None]).item()
    last = run.history.last
    assert last("val_digit_loss") == pytest.approx(entropy, rel=1e-5)
    assert last("val_angle_loss") == pytest.approx(square, rel=1e-5)
    assert last("val_loss") == pytest.approx(entropy + 0.3 * square, rel=1e-5)
    right = (output["digit"].argmax(1) == digit)[:40].float().mean().item()
    assert last("val_digit_accuracy") == pytest.approx(right)
    assert last("val_angle_mae") == pytest.approx((output["angle"][:, 0] - angle).abs().mean().item(), rel=1e-5)


def test_a_dataset_a_loader_and_arrays_give_the_same():
    x, digit, angle = data()
    given = (x, {"digit": digit, "angle": angle})
    runs = [
        make(val=given),
        make(train=Named(x, digit, angle), val=given),
        make(train=DataLoader(Named(x, digit, angle), 8, shuffle=True), val=given),
        make(train=(x.numpy(), {"digit": digit.numpy(), "angle": angle.numpy()}), val=given),
    ]
    for run in runs:
        run.fit()
        assert_same(run, runs[0])


def test_weights_are_live_and_shared_settings_are_each_output_s_own():
    run = make(loss={"digit": "cross_entropy", "again": (2, "cross_entropy"), "angle": "huber"}, **settings_of_three())
    assert run.hyperparams["again_weight"] == 2.0
    x, digit, angle = data()
    for changes in ({}, {"digit_weight": 0.0, "again_label_smoothing": 0.2, "angle_delta": 0.1}):
        run.set(**changes)
        output = run.model(x)
        smoothing, delta = run.hyperparams["again_label_smoothing"], run.hyperparams["angle_delta"]
        expected = [
            functional.cross_entropy(output["digit"], digit),
            functional.cross_entropy(output["again"], digit, label_smoothing=smoothing),
            functional.huber_loss(output["angle"], angle[:, None], delta=delta),
        ]
        run.step(1)
        run.training.flush()
        found = [run.history.last(f"{name}_loss") for name in ("digit", "again", "angle")]
        assert found == pytest.approx([loss.item() for loss in expected], rel=1e-5)
        weights = [run.hyperparams[f"{name}_weight"] for name in ("digit", "again", "angle")]
        total = sum(weight * loss for weight, loss in zip(weights, found, strict=True))
        assert run.history.last("loss") == pytest.approx(total, rel=1e-5)


def settings_of_three():
    def form(digit, angle):
        return {"digit": digit, "again": digit * 2, "angle": angle}

    x, digit, angle = data()
    given = (x, {"digit": digit, "again": digit, "angle": angle})
    return {"net": Net(form), "train": given, "metrics": None, "batch_size": 24}


@pytest.mark.parametrize("monitor", ["loss", "digit_loss", "angle_loss"])
def test_any_of_the_losses_tells_which_weights_are_best(monitor):
    run = make(monitor=monitor, patience=2, epochs=8, lr=0.3)
    run.fit()
    steps, values = run.history[f"val_{monitor}"]
    assert (run.stopping.best, run.stopping.best_step) == (values.min(), steps[values.argmin()])
    assert run.epoch == min(8, values.argmin() + 1 + 2)


def test_without_validation_nothing_is_watched_and_that_is_told():
    with pytest.warns(UserWarning, match="monitor: there is no validation loss without val"):
        run = make(val=None, monitor="digit_loss")
    assert "monitor" in run.inert


@pytest.mark.parametrize(
    ("monitor", "change", "anew"),
    [
        ("loss", {"angle_weight": 1.0}, True),
        ("loss", {"digit_label_smoothing": 0.1}, False),
        ("digit_loss", {"angle_weight": 1.0}, False),
        ("digit_loss", {"digit_weight": 0.1}, False),
        ("digit_loss", {"monitor": "angle_loss"}, True),
        ("loss", {"lr": 0.1}, False),
    ],
)
def test_a_loss_that_is_another_has_its_own_best(monitor, change, anew):
    run = make(monitor=monitor, epochs=4)
    run.step(7)
    assert run.stopping.best_step == 6
    run.set(**change)
    run.step(1)
    assert (run.stopping.best_step is None) == anew


@pytest.mark.parametrize("name", ["weight_angle", "angle_loss_weight", "angel_weight"])
def test_a_weight_is_found_by_other_names(name):
    with pytest.raises(InvalidHyperparam, match="Did you mean 'angle_weight'"):
        make(**{name: 0.5})


@pytest.mark.parametrize("micro", [3, 5])
def test_in_parts_the_losses_are_those_of_the_batch(micro):
    whole, parts = make(), make(micro_batch=micro)
    for run in (whole, parts):
        run.fit()
    for name in whole.history.names:
        assert parts.history[name][1].tolist() == pytest.approx(whole.history[name][1].tolist(), rel=1e-4), name


def test_labels_that_do_not_count_are_no_reason_for_other_gradients_in_parts():
    x, digit, angle = data()
    digit = digit.clone()
    digit[::4] = -100
    run = make(train=(x, {"digit": digit, "angle": angle}), micro_batch=3)
    with pytest.raises(ValueError, match="micro_batch: the gradient of the parts differs"):
        run.fit()


def test_booleans_become_indices_where_the_loss_of_their_output_takes_these():
    x, _digit, angle = data()
    run = make(train=(x.double().numpy(), {"digit": (angle > 0).numpy(), "angle": angle.numpy()}))
    run.step(1)
    assert [column.dtype for column in run.training.cursor.source.columns] == [
        torch.float32,
        torch.int64,
        torch.float32,
    ]
    assert "bool data became int64" in run.converted


@pytest.mark.parametrize("precision", ["bfloat16"])
def test_mixed_precision_takes_trees(precision):
    run = make(precision=precision)
    run.fit()
    total = run.history["digit_loss"][1] + 0.3 * run.history["angle_loss"][1]
    assert total.tolist() == pytest.approx(run.history["loss"][1].tolist(), rel=1e-2)
    assert run.predict(data()[0])["digit"].shape == (24, 3)


def test_compiled_steps_have_a_reason_not_to_be():
    run = make(tier="compiled")
    run.step(1)
    assert find_obstacle(run.training) == "the loss is of several outputs"


def test_a_loss_of_your_own_and_one_metric_of_all_outputs():
    def far(output, target):
        return (output[:, 0] - target).abs().max()

    def both(output, target):
        assert set(output) == {"digit", "angle"} == set(target)
        return 2.0

    run = make(loss={"digit": "cross_entropy", "angle": far}, metrics={"digit": {"top": "accuracy"}})
    run.fit()
    assert run.hyperparams["loss"] == "digit: cross_entropy, angle: far"
    assert len(run.history["val_digit_top"][1]) == 2
    run = make(metrics=[both])
    run.fit()
    assert run.history.last("val_both") == 2.0


def test_metrics_have_outputs_though_the_loss_takes_all_at_once():
    def joint(output, target):
        return functional.cross_entropy(output["digit"], target["digit"])

    run = make(loss=joint, metrics={"digit": ["accuracy"]})
    run.fit()
    assert len(run.history["digit_accuracy"][1]) == len(run.history["val_digit_accuracy"][1]) == 2
