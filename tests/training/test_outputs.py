"""Several outputs, each with a loss, a weight and metrics: what is trained, measured, kept and refused."""

import copy
import re
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import nbopt
from nbopt import Run
from nbopt.errors import InvalidHyperparam
from nbopt.training.compile.obstacles import find_obstacle

pytestmark = pytest.mark.usefixtures("one_torch_thread")

Pair = namedtuple("Pair", "digit angle")
LOSS = {"digit": "cross_entropy", "angle": (0.3, "mse")}
METRICS = {"digit": ["accuracy", "f1"], "angle": "mae"}


@dataclass
class Both:
    digit: torch.Tensor
    angle: torch.Tensor


FORMS = {
    "dict": lambda digit, angle: {"digit": digit, "angle": angle},
    "named tuple": Pair,
    "dataclass": Both,
    "tuple": lambda digit, angle: (digit, angle),
    "list": lambda digit, angle: [digit, angle],
    "nested": lambda digit, angle: {"heads": {"digit": digit, "angle": [angle]}},
}
LOSSES = {
    **dict.fromkeys(FORMS, LOSS),
    **{key: {0: "cross_entropy", 1: (0.3, "mse")} for key in ["tuple", "list"]},
    "nested": {"heads": {"digit": "cross_entropy", "angle": {0: (0.3, "mse")}}},
}
NAMES = {
    **{key: ["digit", "angle"] for key in FORMS},
    **{key: ["output_0", "output_1"] for key in ["tuple", "list"]},
    "nested": ["heads_digit", "heads_angle_0"],
}


class Net(nn.Module):
    """Two heads on one body, whose outputs come in a container."""

    def __init__(self, form=FORMS["dict"], dropout=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout))
        self.digit, self.angle = nn.Linear(8, 3), nn.Linear(8, 1)
        self.form = form

    def forward(self, x):
        h = self.body(x)
        return self.form(self.digit(h), self.angle(h))


def data(count=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 5, generator=generator)
    return x, torch.arange(count) % 3, x[:, 0] - x[:, 1]


def make(form="dict", train=None, **settings):
    x, digit, angle = data()
    given = (x, FORMS["dict"](digit, angle))
    settings = {"loss": LOSS, "metrics": METRICS, "batch_size": 8, "epochs": 2, "lr": 0.01, "store": None, **settings}
    net = settings.pop("net", None) or Net(FORMS[form])
    return Run(net, given if train is None else train, **{"val": train or given, "device": "cpu", **settings})


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


class Named(Dataset):
    def __init__(self, x, digit, angle):
        self.rows = list(zip(x, digit, angle, strict=True))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        x, digit, angle = self.rows[index]
        return x, {"digit": digit, "angle": angle}


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


def assert_same(run, other):
    assert set(run.history.names) == set(other.history.names)
    for name in set(run.history.names) - {"lr"}:
        assert np.array_equal(run.history[name][1], other.history[name][1], equal_nan=True), name
    for one, two in zip(run.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(one, two)


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


def test_of_a_step_that_evaluates_the_loss_again_and_again_the_first_losses_count():
    run = make(optimizer="lbfgs", lr=0.5)
    run.fit()
    steps, digit = run.history["digit_loss"]
    total = digit + 0.3 * run.history["angle_loss"][1]
    assert steps.tolist() == run.history["loss"][0].tolist()
    assert total.tolist() == pytest.approx(run.history["loss"][1].tolist(), rel=1e-5)


def test_mixup_mixes_the_targets_of_all_outputs():
    run = make(mixup=1.0)
    run.fit()
    total = run.history["digit_loss"][1] + 0.3 * run.history["angle_loss"][1]
    assert not np.allclose(
        total, run.history["loss"][1]
    )  # what is trained on is mixed, each curve is of its own target
    assert_same(replayed(run), run)


def replayed(run):
    again = run.replay()
    again.wait(60)
    assert again.exact is not False
    return again


def test_uncertainty_balances_tasks():
    run = make(balance="uncertainty", balance_rate=0.5)
    run.fit()
    assert len(set(run.training.loss.scales)) == 2
    assert_same(replayed(run), run)


def test_replay_rewind_and_branch_repeat_all_of_it(tmp_path):
    run = make(net=Net(dropout=0.3), store=tmp_path, epochs=3)
    run.step(2)
    run.set(angle_weight=1.5)
    run.step(2)
    run.fit()
    assert_same(replayed(run), run)
    branch = run.branch(3)
    branch.fit()
    assert_same(branch, run)
    before = copy.deepcopy(run.model.state_dict()), {name: run.history[name][1].copy() for name in run.history.names}
    run.rewind(4)
    assert len(run.history["digit_loss"][0]) == 4
    run.fit()
    for name, values in before[1].items():
        assert np.array_equal(run.history[name][1], values), name
    assert all(torch.equal(a, b) for a, b in zip(before[0].values(), run.model.state_dict().values(), strict=True))


@pytest.mark.parametrize("step", [2, 5], ids=["within an epoch", "with metrics under way"])
def test_a_stored_run_goes_on_as_if_nothing_had_been(tmp_path, step):
    x, digit, angle = data()
    given = (x, {"digit": digit, "angle": angle})
    unbroken, broken = make(), make(store=tmp_path)
    unbroken.fit()
    broken.step(step)
    for own in ({}, {"loss": LOSS, "metrics": METRICS}):  # names are stored
        again = nbopt.open(broken.id, Net(), given, given, store=tmp_path, **own)
        assert again.step_count == step
    again.fit()
    assert_same(again, unbroken)


def test_what_only_the_user_has_is_to_be_given_again(tmp_path):
    def far(output, target):
        return (output[:, 0] - target).abs().max()

    x, digit, angle = data()
    given = (x, {"digit": digit, "angle": angle})
    own = {"loss": {"digit": "cross_entropy", "angle": (0.5, far)}, "metrics": {"angle": [far]}}
    run = make(store=tmp_path, **own)
    run.step(2)
    with pytest.raises(ValueError, match="loss digit: cross_entropy, angle: far: only you have it"):
        nbopt.open(run.id, Net(), given, given, metrics=own["metrics"], store=tmp_path)
    with pytest.raises(ValueError, match="metrics angle_far: only you have it"):
        nbopt.open(run.id, Net(), given, given, loss=own["loss"], store=tmp_path)
    assert nbopt.open(run.id, Net(), given, given, store=tmp_path, **own).step_count == 2


def test_before_its_first_step_a_stored_run_has_the_weights_it_was_given(tmp_path):
    x, digit, angle = data()
    given = (x, {"digit": digit, "angle": angle})
    run = make(store=tmp_path)
    run.set(digit_weight=0.5)
    again = nbopt.open(run.id, Net(), given, given, store=tmp_path)
    assert (again.hyperparams["digit_weight"], again.hyperparams["angle_weight"]) == (0.5, 0.3)


@pytest.mark.parametrize(
    "metrics", [METRICS, {"digit": {"top": "accuracy"}, "angle": ["mae", "r2"]}, None], ids=["listed", "named", "none"]
)
def test_a_recipe_holds_losses_and_metrics_by_output(metrics):
    x, digit, angle = data()
    given = (x, {"digit": digit, "angle": angle})
    run = make(metrics=metrics)
    run.set(angle_weight=0.7)
    run.step(2)
    run.set(digit_label_smoothing=0.1)
    run.fit()
    text = run.to_yaml()
    assert "loss: {digit: cross_entropy, angle: mse}\n" in text
    again = Run.from_yaml(text, Net(), given, given, device="cpu", store=None)
    again.fit()
    assert_same(again, run)


def test_a_share_for_validation_keeps_the_labels_of_all_outputs_in_proportion():
    x, _digit, angle = data(60)
    run = make(train=(x, {"digit": torch.arange(60) % 3, "angle": angle}), val=0.2)
    run.step(1)
    counts = torch.bincount(run.training.val.targets["digit",])
    assert counts.tolist() == [4, 4, 4]


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
