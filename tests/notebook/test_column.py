"""The column of controls: its groups, and presets."""

from __future__ import annotations

import html

import pytest

from nbopt.store.presets import save_preset
from tests.notebook.frontend import eventually, every_widget


def groups_of(panel):
    """The groups in order: title, and whether it is folded."""
    found = [box for box in panel.column.widget.children if "nbopt-group" in box._dom_classes]
    return {html.unescape(box.children[0].value): "nbopt-folded" in box._dom_classes for box in found}


def use(page, panel, button, name):
    page.do(panel.column.name, value=name)
    page.click(button)


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


def test_a_preset_keeps_the_values_of_one_run_for_another(page, make_run, show, tmp_path):
    one, other = make_run(store=tmp_path), make_run(store=tmp_path)
    one.set(lr=0.02, batch_size=16)
    panel = show(one)
    use(page, panel, panel.column.save, "quick")
    eventually(lambda: "quick" in panel.column.name.options)
    second = show(other)
    assert second.column.name.options == ("quick",)
    use(page, second, second.column.use, "quick")
    eventually(lambda: other.hyperparams["lr"] == 0.02 and other.hyperparams["batch_size"] == 16)
    assert {entry.source for entry in other.journal.changes()} == {"panel"}


@pytest.mark.parametrize(
    ("button", "name", "words"),
    [("use", "quikc", "Did you mean 'quick'"), ("save", " ", "needs a name"), ("use", "old", "does not have: gone")],
)
def test_what_is_wrong_with_a_preset_is_told(page, make_run, show, tmp_path, button, name, words):
    save_preset("quick", {"lr": 0.5}, tmp_path)
    save_preset("old", {"lr": 0.25, "gone": 1}, tmp_path)
    run = make_run(store=tmp_path)
    panel = show(run)
    use(page, panel, getattr(panel.column, button), name)
    eventually(lambda: words in html.unescape(panel._error.value))
    assert run.hyperparams["lr"] == (0.25 if name == "old" else 1e-3)


def test_a_spoilt_file_of_presets_does_not_keep_the_panel_from_showing(page, make_run, show, tmp_path):
    (tmp_path / "presets.json").write_text("{")
    panel = show(make_run(store=tmp_path))
    use(page, panel, panel.column.save, "quick")
    eventually(lambda: "holds no presets" in panel._error.value)
