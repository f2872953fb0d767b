"""The column of controls: its groups, and presets."""

from __future__ import annotations

import html

import pytest

from nbopt.errors import InvalidHyperparam
from nbopt.store.presets import delete_preset, presets, save_preset
from tests.notebook.frontend import eventually, every_widget


def groups_of(panel):
    """The groups in order: title, and whether it is folded."""
    found = [box for box in panel.column.widget.children if "nbopt-group" in box._dom_classes]
    return {html.unescape(box.children[0].value): "nbopt-folded" in box._dom_classes for box in found}


def save(page, panel, name):
    page.do(panel.column.presets.name, value=name)
    page.click(panel.column.presets.save)


def choose(page, panel, name):
    chooser = panel.column.presets.list
    page.do(chooser, index=list(chooser.options).index(name))


def note(panel):
    return html.unescape(panel.column.presets.note.value)


def test_every_control_is_in_a_group_and_groups_in_use_come_first(make_run, show, tmp_path):
    run = make_run(recover=False, store=tmp_path)
    panel = show(run)
    groups = list(groups_of(panel).items())
    assert "Safety" in [title for title, folded in groups if not folded][-1] or groups[0][1] is False
    folded = [is_folded for _title, is_folded in groups[:-1]]
    assert folded == sorted(folded)  # the open ones above
    safety = next(is_folded for title, is_folded in groups if "Safety" in title)
    assert safety is False  # something in it was given
    rows = {control.widget for control in panel.controls.values()}  # makes them all
    eventually(lambda: rows <= set(every_widget(panel.column.widget)))


def test_a_preset_keeps_the_values_of_one_run_for_another_and_says_what_it_does(page, make_run, show, tmp_path):
    one, other = make_run(store=tmp_path), make_run(store=tmp_path)
    one.set(lr=0.02, batch_size=16)
    panel = show(one)
    assert note(panel) == "No preset is saved yet."
    save(page, panel, " quick ")
    assert panel.column.presets.list.options == ("quick",) and note(panel) == "“quick” is saved."
    second = show(other)
    assert second.column.presets.list.options == ("quick",)
    assert second.column.presets.use.disabled
    choose(page, second, "quick")
    changes = "Batch size 64 → 16, Learning rate 0.001 → 0.02"
    assert note(second) == f"Would set {changes}." and len(other.journal) == 0
    page.click(second.column.presets.use)
    assert other.hyperparams["lr"] == 0.02 and other.hyperparams["batch_size"] == 16
    assert {entry.source for entry in other.journal.changes()} == {"panel"}
    assert note(second) == f"“quick” set {changes}. Ctrl-Z takes it back."
    page.click(second.column.presets.use)
    assert note(second) == "“quick” changed nothing: all controls had its values already."
    page.tell(second.bridge.companion, {"undo": True})  # all of it at once
    assert other.hyperparams["lr"] == 1e-3 and other.hyperparams["batch_size"] == 64


def test_a_preset_is_deleted_by_a_second_click(page, make_run, show, tmp_path):
    for name in ("good", "quick"):
        save_preset(name, {"lr": 0.5}, tmp_path)
    panel = show(make_run(store=tmp_path))
    own = panel.column.presets
    choose(page, panel, "quick")
    page.click(own.delete)
    assert own.delete.description == "Really delete?"
    choose(page, panel, "good")  # thought better of it
    assert own.delete.description == "Delete"
    choose(page, panel, "quick")
    page.click(own.delete)
    page.click(own.delete)
    assert own.list.options == ("good",) and note(panel) == "“quick” is deleted." and own.delete.disabled
    assert list(presets(tmp_path)) == ["good"]
    with pytest.raises(InvalidHyperparam, match="good"):
        delete_preset("quick", tmp_path)


def test_a_preset_of_another_run_sets_what_this_one_has_and_tells_the_rest(page, make_run, show, tmp_path):
    save_preset("old", {"lr": 0.25, "gone": 1}, tmp_path)
    run = make_run(store=tmp_path)
    panel = show(run)
    choose(page, panel, "old")
    page.click(panel.column.presets.use)
    eventually(lambda: "does not have: gone" in html.unescape(panel._error.value))
    assert run.hyperparams["lr"] == 0.25


def test_a_preset_without_a_name_is_refused(page, make_run, show, tmp_path):
    panel = show(make_run(store=tmp_path))
    save(page, panel, " ")
    eventually(lambda: "needs a name" in panel._error.value)


def test_a_spoilt_file_of_presets_does_not_keep_the_panel_from_showing(page, make_run, show, tmp_path):
    (tmp_path / "presets.json").write_text("{")
    panel = show(make_run(store=tmp_path))
    save(page, panel, "quick")
    eventually(lambda: "holds no presets" in panel._error.value)
