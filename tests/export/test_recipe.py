"""A run as a recipe: written, edited, and followed."""

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from nbopt import RunState
from tests.export import scripts
from tests.export.remade import remake

make, follow = scripts.make, scripts.follow


def ended(run):
    run.start()
    run.wait(60)
    return run


def assert_same(one, other):
    assert (one.state, one.step_count) == (other.state, other.step_count)
    for ours, theirs in zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    for name in one.history.names:
        assert one.history[name][1].tolist() == other.history[name][1].tolist(), name


SCHEDULES = {
    "nothing": ({}, {}),
    "many": ({"l1": 0.01, "metrics": ["accuracy"]}, {2: {"lr": 1e-5, "batch_size": 7}, 5: {"dropout": 0.4}}),
    "swap": ({"momentum": 0.9}, {3: {"optimizer": "sgd", "lr": 0.1}, 6: {"optimizer": "rmsprop"}}),
    "epochs": ({"patience": 2}, {0: {"lr": 0.02}, 4: {"epochs": 6, "micro_batch": 3}}),
    "renamed_metric": ({"metrics": {"right": "accuracy"}}, {}),
    "class": ({"optimizer": torch.optim.NAdam}, {4: {"weight_decay": 0.1}}),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_recipe_repeats_the_run_bit_for_bit(name, mlp, blobs):
    settings_, schedule = SCHEDULES[name]
    run, initial = make(mlp(0.1), blobs, 0.25, seed=4, epochs=4, **{"batch_size": 20, "lr": 0.01, **settings_})
    text = follow(run, schedule).to_yaml()
    twin = remake(text, initial, blobs)
    assert twin.state is RunState.CREATED
    assert twin.to_yaml() == text
    assert_same(run, ended(twin))
    assert twin.to_yaml() == text


def test_a_run_that_was_stopped_early_went_on_and_was_left(mlp, blobs):
    noisy = (blobs[0], blobs[1].roll(1))
    run, initial = make(mlp(), blobs, noisy, epochs=30, lr=0.05, patience=2)
    follow(run, {})
    run.set(lr=0.001)
    run.step(1)
    text = run.to_yaml()
    assert "restore_best: true" in text
    assert "reopen: true" in text
    assert f"steps: {run.step_count}" in text
    twin = ended(remake(text, initial, blobs, noisy))
    assert twin.state is RunState.STOPPED
    run.stop()
    assert_same(run, twin)


def test_the_script_of_a_recipe(mlp, blobs):
    text = "loss: cross_entropy\nhyperparameters: {epochs: 3, lr: 1e-2}\nschedule:\n  2: {lr: 1e-3}\n"
    run = remake(text, mlp(), blobs, blobs)
    script = run.to_python()
    assert "2: {" in script
    measured = scripts.execute(script, mlp(), blobs, blobs)
    assert measured["val_loss"] == ended(run).history["val_loss"][1].tolist()


def test_what_a_person_reads(mlp, blobs):
    run, _ = make(mlp(), blobs, 0.25, metrics=["accuracy"], epochs=3, lr=1e-5)
    text = follow(run, {1: {"lr": 0.5, "batch_size": 8}}).to_yaml()
    content = yaml.safe_load(text)
    assert content["hyperparameters"]["lr"] == 1e-5
    assert content["schedule"] == {1: {"lr": 0.5, "batch_size": 8}}
    assert content["val"] == 0.25
    assert "  1: {lr: 0.5, batch_size: 8}" in text
    assert "dropout" not in content["hyperparameters"]  # the layers' own
    assert "momentum" not in content["hyperparameters"]  # no optimizer used it


def test_a_recipe_from_a_file(mlp, blobs, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("seed: 3\nhyperparameters:\n  lr: 1e-2\n")
    for given_path in (path, str(path)):
        run = remake(given_path, mlp(), blobs)
        assert (run.seed, run.hyperparams["lr"]) == (3, 0.01)
    with pytest.raises(FileNotFoundError):
        remake("nowhere.yaml", mlp(), blobs)


def test_validation_data_given_come_before_the_fraction(mlp, blobs):
    assert remake("val: 0.25\n", mlp(), blobs).spec.val == 0.25
    assert remake("val: 0.25\n", mlp(), blobs, blobs).spec.val is blobs
    assert remake("", mlp(), blobs).spec.val is None


def my_loss(output, target):
    return 2 * functional.cross_entropy(output, target)


def my_forward(model, batch):
    return model(batch[0]), batch[1]


def my_metric(output, target):
    return output.max()


class Own(torch.optim.SGD):
    pass


def test_functions_of_the_users_are_given_again(mlp, blobs):
    own = {"loss": my_loss, "forward": my_forward, "metrics": [my_metric], "optimizer": Own}
    run, initial = make(mlp(), blobs, blobs, epochs=2, **own)
    text = follow(run, {2: {"optimizer": "adam"}, 3: {"optimizer": "Own"}}).to_yaml()
    for name in own:
        assert f"{name}=..." in text
    assert_same(run, ended(remake(text, initial, blobs, blobs, **own)))
    for missing, words in {
        "loss": "unknown loss 'my_loss'.* given as loss=",
        "forward": "forward of your own, my_forward",
        "metrics": "unknown metric 'my_metric'",
        "optimizer": "unknown optimizer 'Own'",
    }.items():
        with pytest.raises(ValueError, match=words):
            remake(text, mlp(), blobs, **{name: item for name, item in own.items() if name != missing})


def test_an_optimizer_that_is_only_swapped_in(mlp, blobs):
    run, initial = make(mlp(), blobs, optimizer=Own, lr=0.1, epochs=2, batch_size=20)
    text = follow(run, {0: {"optimizer": "adam"}, 3: {"optimizer": "Own"}}).to_yaml()
    assert "optimizer: adam" in text
    assert_same(run, ended(remake(text, initial, blobs, optimizer=Own)))


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "lr": st.floats(0, 1, allow_subnormal=False),
        "batch_size": st.integers(1, 40),
        "dropout": st.floats(0, 0.9),
        "optimizer": st.sampled_from(["sgd", "adam", "adamw", "rmsprop"]),
        "epochs": st.integers(1, 3),
        "early_stopping": st.booleans(),
    },
)


@settings(max_examples=15)
@given(schedule=st.dictionaries(st.integers(0, 9), CHANGES, max_size=4), start=CHANGES, stop=st.integers(0, 9))
def test_any_recipe_repeats_its_run(blobs, schedule, start, stop):
    def model():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))

    run, _ = make(model(), blobs, blobs, **{"epochs": 2, "batch_size": 20, **start})
    run.changes.plan(scripts.operations(schedule, "test"))
    if stop:
        run.step(stop)
        if run.state is RunState.PAUSED:
            run.stop()
    else:
        ended(run)
    assert_same(run, ended(remake(run.to_yaml(), model(), blobs, blobs)))
