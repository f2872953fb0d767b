"""Recipes of runs whose model got another structure: edits by their names and settings, made again on the way."""

import pytest
import torch

from nbopt import Run, RunState
from nbopt.edits import CannotEdit, Deepen, Fuse, Shrink
from tests.export.test_script_edits import DATA, EDITS, model_of, run_of


def again(text, name, **given):
    """Return a run that followed a recipe to where it leads."""
    run = Run.from_yaml(text, model_of(name), DATA[name], DATA[name], store=None, **given)
    run.start()
    run.wait()
    assert run.error is None
    return run


def same(one, other):
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    return ours.keys() == theirs.keys() and all(map(torch.equal, ours.values(), theirs.values()))


@pytest.mark.parametrize("edit", ["widen", "share", "merge", "join"])
def test_a_recipe_holds_edits_and_a_run_of_it_makes_them_again(edit):
    first, second = EDITS[edit]("mlp")
    run, _initial = run_of("mlp")
    run.step(6)
    changed = run.change(first)
    changed.step(5)
    changed.edit(second)
    changed.step(3)
    text = changed.to_yaml()
    assert f"6: {{edit: {{{first.kind}:" in text and f"11: {{edit: {{{second.kind}:" in text
    given = {"edits": [first]} if isinstance(first, Fuse) else {}
    followed = again(text, "mlp", **given)
    assert same(followed, changed)
    assert followed.to_yaml().partition("seed:")[2] == text.partition("seed:")[2]
    twin = followed.replay()
    twin.wait()
    assert same(twin, changed) and twin.exact


def test_a_recipe_goes_on_with_the_weights_that_pruning_made():
    run, _initial = run_of("mlp", sparsity=0.5, sparsity_pattern="neurons")
    run.step(6)
    small = run.change(Shrink(), sparsity=0.0, lr=0.01)
    small.edit(Deepen("3"))
    small.step(4)
    text = small.to_yaml()
    assert "6: {edit: [{shrink: {settled: true}}, {deepen: {after: '3'}}]" in text
    assert same(again(text, "mlp"), small)


RECIPE = "steps: 4\nhyperparameters:\n  epochs: 4\n  batch_size: 10\nschedule:\n  2: {edit: EDIT}\n"
WRONG = {
    "{widn: {layer: '0', by: 2}}": "schedule, step 2: unknown edit 'widn'. Did you mean 'widen'",
    "{widen: {layer: '0', bi: 2}}": "schedule, step 2: unknown setting of widen 'bi'",
    "{widen: {layer: '0'}}": "schedule, step 2: widen needs by",
    "{widen: {layer: '0', by: 0}}": "schedule, step 2: by must be a whole number",
    "widen": "schedule, step 2: edit must be the name of an edit with its settings",
    "{fuse: {other: Net 0a1b2c3d}}": "schedule, step 2: the model was fused with Net 0a1b2c3d: only you have it",
}


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_no_edit_is_said_before_the_run_is_made(number):
    text, words = [*WRONG.items()][number]
    with pytest.raises(ValueError, match=words):
        Run.from_yaml(RECIPE.replace("EDIT", text), model_of("mlp"), DATA["mlp"], store=None)


def test_an_edit_written_by_hand_is_made_and_one_that_cannot_be_ends_the_run_in_words():
    run = again(RECIPE.replace("EDIT", "[{factorize: {rank: 1}}, {widen: {layer: '2.1', by: 3}}]"), "mlp")
    (one, other) = [entry.new for entry in run.journal if entry.name == "edit"]
    assert one["parameters"] == [243, 82] and other["edit"] == "widen" and "def train(" in run.to_python()
    run = Run.from_yaml(
        RECIPE.replace("EDIT", "{widen: {layer: '4', by: 3}}"), model_of("mlp"), DATA["mlp"], store=None
    )
    assert "2: {edit: {widen: {layer: '4', by: 3}}}" in run.to_yaml()
    with pytest.raises(ValueError, match="which a script does not hold: it is made when the run gets there"):
        run.to_python()
    run.start()
    with pytest.raises(CannotEdit, match="its outputs are those of the model"):
        run.wait(60)
    assert run.state is RunState.FAILED and run.step_count == 2
