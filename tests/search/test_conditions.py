"""Dimensions that matter only with some values of others."""

import functools
import math
from types import SimpleNamespace

import pytest
import torch

import nbopt
from nbopt.errors import InvalidHyperparam, UnknownName
from nbopt.search.results import sizes
from nbopt.search.samplers.samplers import SAMPLERS
from nbopt.search.spaces.given import make_space

OPERATIONS = ("a", "b", "c", "d")
SPACE = {
    "depth": nbopt.Int(2, low=1, high=3),
    "lr": nbopt.Float(1e-3, low=1e-5, high=1.0, log=True),
    "op_1": nbopt.Choice("a", options=OPERATIONS),
    "op_2": nbopt.Choice("a", options=OPERATIONS, when={"depth": (2, 3)}),
    "op_3": nbopt.Choice("a", options=OPERATIONS, when={"depth": [3]}),
}
ALL = [name for name in SAMPLERS if name not in ("pbt", "hypergradient")]  # which refuse them
NEEDED = {1: ["depth", "lr", "op_1"], 2: ["depth", "lr", "op_1", "op_2"], 3: list(SPACE)}


def score(trial):
    """Lowest, 0, for the operations b, a, d at lr=1e-2."""
    values = trial.values
    wrong = sum(values.get(f"op_{k}") != best for k, best in ((1, "b"), (2, "a"), (3, "d")))
    return 0.5 * wrong + abs(math.log10(values["lr"]) + 2) / 4


def search(sampler="random", **given):
    given = {"objective": score, "space": SPACE, "trials": 14, "store": None, **given}
    return nbopt.Study(sampler=sampler, **given)


@pytest.mark.parametrize("sampler", ALL)
def test_a_trial_has_the_values_that_matter_and_no_others(sampler):
    study = search(sampler)
    study.add(depth=2, op_2="c")
    study.fit()
    for trial in study.trials:
        assert list(trial.values) == NEEDED[trial.values["depth"]]
        assert all(study.space[name].contains(value) for name, value in trial.values.items())
    assert study.trials[0].values["op_2"] == "c" and study.to_optuna().trials[0].params == study.trials[0].values
    assert len({str(trial.values) for trial in study.trials}) > 5


@pytest.mark.parametrize("sampler", [name for name in ALL if name != "grid"])
def test_a_study_that_was_opened_again_goes_on_as_if_unbroken(sampler, tmp_path):
    trials = 13
    unbroken = search(sampler, trials=trials).fit()
    study = search(sampler, trials=11, store=tmp_path)
    study.set(trials=trials)  # which is what some of them cool by
    study.watchers.append(lambda: study._written == 11 and study.pause(wait=False))
    study.fit()
    study.record.release()
    again = nbopt.open(study.id, objective=score, store=tmp_path)
    assert again.space["op_3"].when == {"depth": (3,)}
    again.fit()
    assert [trial.values for trial in again.trials[:11]] == [trial.values for trial in unbroken.trials[:11]]
    assert [trial.values for trial in again.trials[11:]] == [trial.values for trial in unbroken.trials[11:]]


def test_a_grid_has_each_architecture_once():
    study = search("grid", space={name: SPACE[name] for name in SPACE if name != "lr"}, objective=lambda trial: 1.0)
    study.set(trials=4 + 4**2 + 4**3)
    assert len({str(trial.values) for trial in study.fit().trials}) == len(study.trials)


@pytest.mark.parametrize("most", [10, 100, 500])
def test_a_grid_has_as_many_values_of_ranges_as_there_is_room_for(most):
    space = make_space({"lr": SPACE["lr"], "on": nbopt.Flag(False), "rate": nbopt.Float(0.0, low=0.0, high=1.0)})
    some = make_space({**{name: each.spec for name, each in space.items()}, "rate": variant_of(space)})
    cells = some.grid(most)
    assert most / 3 < len(cells) <= most and len({str(cell) for cell in cells}) == len(cells)
    assert some.grid(len(cells)) == cells  # as it is asked for again
    assert {len(cell) for cell in cells} == {2, 3}


def variant_of(space):
    return nbopt.Float(0.0, low=space["rate"].low, high=space["rate"].high, when={"on": True})


def test_a_grid_that_nobody_could_walk_is_refused():
    many = {f"op_{k}": nbopt.Choice("a", options=OPERATIONS, when={"depth": (2, 3)}) for k in range(9)}
    with pytest.raises(InvalidHyperparam, match="more than 100000 places"):
        search("grid", space={**SPACE, **many})


def test_a_hand_narrows_and_pins_what_matters():
    study = search(trials=12)
    study.pin(op_2="d")
    study.narrow(depth=(2, 3), op_3=["a", "b"])
    for trial in study.fit().trials:
        assert trial.values["op_2"] == "d" and trial.values.get("op_3", "a") in "ab"
    study.pin(depth=1)
    study.set(trials=14)
    assert [list(trial.values) for trial in study.fit().trials[12:]] == [NEEDED[1]] * 2


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda study: study.add(depth=1, op_2="a"), "op_2 matters only where depth is one of 2, 3; depth is 1"),
        (lambda study: study.add(op_3="a"), "op_3 matters only where depth is one of 3: give that too"),
    ],
    ids=["idle", "open"],
)
def test_a_trial_is_not_added_with_values_that_would_be_left_out(act, told):
    with pytest.raises(InvalidHyperparam, match=told):
        act(search())


def choice(**when):
    return nbopt.Choice("a", options=OPERATIONS, when=when)


@pytest.mark.parametrize(
    ("space", "error", "told"),
    [
        ({"op": choice(depth=[1])}, InvalidHyperparam, "op matters only where depth is one of 1: add depth"),
        ({"op": choice(op_1=["x"]), "op_1": SPACE["op_1"]}, InvalidHyperparam, "is one of x: unknown op_1 'x'"),
        ({"op": choice(other=["a"]), "other": choice(op=["a"])}, InvalidHyperparam, "op, other: each matters only"),
    ],
    ids=["no dimension", "no value", "circle"],
)
def test_conditions_that_cannot_hold_are_refused(space, error, told):
    with pytest.raises(error, match=told):
        search(space=space)


@pytest.mark.parametrize("sampler", ["pbt", "hypergradient"])
def test_those_that_change_values_on_the_way_refuse_them(make, sampler):
    decay = nbopt.Float(0.1, low=0.01, high=0.5, when={"lr": [0.1]})
    with pytest.raises(InvalidHyperparam, match=f"sampler '{sampler}': it knows no dimensions that matter only"):
        make(space={"lr": (0.01, 0.1), "weight_decay": decay}, sampler=sampler, executor="auto")


# -- models


def test_cells_are_searched_with_the_operations_that_they_have(make_images):
    study = make_images(space=[{"depth": (1, 3)}, "cell_1", "cell_2", "cell_3", "lr"], trials=6).fit()
    for trial in study.trials:
        cells = [name for name in trial.values if name.startswith("cell")]
        assert cells == [f"cell_{k + 1}" for k in range(trial.values["depth"])]
        assert trial.state == "complete"
    run = study.best.run(store=None)
    assert run.history.last("val_loss") == study.best.objective


def test_a_clone_of_another_depth_has_the_cells_of_that_depth(make_images):
    study = make_images(space=[{"depth": (1, 3)}, "cell_1", "cell_2", "cell_3"], trials=1)
    study.add(depth=3, cell_1="skip", cell_2="separable", cell_3="skip")
    study.fit()
    shallow, deep = study.clone(0, depth=2), study.clone(0, cell_3="conv5x5")
    assert (shallow.model.depth, shallow.model.cell_2, deep.model.depth) == (2, "separable", 3)
    with pytest.raises(InvalidHyperparam, match="cell_3 matters only where depth is one of 3, 4, 5, 6; depth is 1"):
        study.clone(0, depth=1, cell_3="conv5x5")


def test_what_a_class_declares_is_a_space(make_images):
    study = make_images(space=nbopt.models.Cells.declared(), trials=1)
    assert list(study.space) == list(nbopt.models.Cells.declared())
    own = nbopt.Choice("skip", options=("skip", "conv3x3"))  # which says nothing of when
    assert make_images(space=["depth", {"cell_2": own}]).space["cell_2"].when == {"depth": (2, 3, 4, 5, 6)}


@pytest.mark.parametrize(
    ("space", "told"),
    [
        (["cell_1", "cell_5"], "cell_5 matters only where depth is one of 5, 6; depth is 3"),
        (["cell_1", "cell_2"], None),
    ],
    ids=["beyond", "within"],
)
def test_cells_beyond_a_depth_that_is_fixed_are_refused(make_images, space, told):
    if told is None:
        assert list(make_images(space=space, trials=1).fit().best.values) == space
    else:
        with pytest.raises(InvalidHyperparam, match=told):
            make_images(space=space)


def test_a_builder_of_the_users_is_called_without_what_does_not_matter(make):
    calls = []

    def build(depth, wide=None):
        calls.append((depth, wide))
        return torch.nn.Sequential(torch.nn.Linear(4, wide or 3), torch.nn.ReLU(), torch.nn.Linear(wide or 3, 2))

    space = {"depth": nbopt.Int(1, low=1, high=2), "wide": nbopt.Int(4, low=4, high=8, when={"depth": [2]})}
    make(build, space=space, trials=6, sampler="random").fit()
    assert {wide is None for depth, wide in calls if depth == 1} == {True}
    assert {wide is None for depth, wide in calls if depth == 2} == {False}
    with pytest.raises(InvalidHyperparam, match=r"wide: where it does not matter, .* give that argument a default"):
        make(lambda depth, wide: torch.nn.Linear(4, 2), space=space)
    with pytest.raises(
        InvalidHyperparam, match=r"wide matters only where depth is one of 2, and all trials have 1: add"
    ):
        make(lambda depth=1, wide=3: build(depth, wide), space={"wide": space["wide"]})
    mapping = make(lambda values: build(**values), space=space, trials=4).fit()
    assert all(trial.state == "complete" for trial in mapping.trials)


@pytest.fixture
def make_images():
    made = torch.Generator().manual_seed(0)
    x = torch.randn(24, 1, 4, 4, generator=made)
    data = x, (x.mean((1, 2, 3)) > 0).long()

    def make_study(**given):
        settings = {"trials": 2, "epochs": 1, "batch_size": 16, "store": None, "metrics": ["accuracy"], **given}
        return nbopt.Study(functools.partial(nbopt.models.Cells, 1, 2), data, 0.25, **settings)

    return make_study


# -- what a model costs


@pytest.mark.parametrize("executor", ["inline", "population"])
def test_accuracy_against_the_number_of_weights_is_a_front(make_images, executor):
    space = [{"width": (8, 16)}, "cell_1", "lr"]
    study = make_images(space=space, objective=["val_accuracy", "parameters"], executor=executor, trials=6).fit()
    for trial in study.trials:
        model = nbopt.models.Cells(1, 2, width=trial.values["width"], cell_1=trial.values["cell_1"])
        assert trial.objectives[1] == sum(weight.numel() for weight in model.parameters())
    assert [each.direction for each in study.objectives] == ["maximize", "minimize"]
    found = [trial.objectives[1] for trial in study.front]
    assert found == sorted(found, reverse=True) and len(study.front) >= 1


@pytest.mark.parametrize("executor", ["inline", "population"])
def test_latency_is_measured_and_leaves_no_trace(make_images, executor, monkeypatch):
    class Timed(sizes.Timer):
        """Measures, but what it says does not depend on what else the machine does."""

        def blocked_autorange(self, *given, **named):
            assert super().blocked_autorange(*given, **named).median > 0
            return SimpleNamespace(median=0.002)

    monkeypatch.setattr(sizes, "Timer", Timed)
    space = {"width": [8, 128]}
    both = ["val_loss", "latency"]
    study = make_images(space=space, objective=both, sampler="grid", executor=executor).fit()
    small, large = (trial.objectives for trial in study.trials)
    assert small[1] == large[1] == 2.0  # milliseconds
    assert [entry.new["reason"][:7] for entry in study.journal if entry.name == "not_exact"] == ["latency"]
    plain = make_images(space=space, sampler="grid", executor=executor).fit()
    assert [trial.objectives[0] for trial in plain.trials] == [small[0], large[0]]


def test_a_clock_is_not_read_while_others_train(make_images):
    with pytest.raises(InvalidHyperparam, match="objective 'latency': it is measured by a clock"):
        make_images(space=["lr"], objective="latency", executor="threads", slots=2)


def test_an_unknown_measurement_names_those_of_size(make_images):
    with pytest.raises(UnknownName, match="Did you mean 'parameters'"):
        make_images(space=["lr"], objective="parameter")
