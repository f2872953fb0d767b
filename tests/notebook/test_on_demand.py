"""Controls that are made when they are first needed: few messages at the start, and nobody can tell the difference."""

from __future__ import annotations

import itertools
import threading

import pytest
from ipywidgets.widgets.widget import _instances
from torch import nn

from nbopt.errors import InvalidHyperparam
from nbopt.hyperparams import Float
from nbopt.notebook.panel.controls import GONE
from nbopt.notebook.panel.panel import Panel
from tests.notebook.frontend import eventually, every_widget

FOLDED = "Augmentation"


def classes_below(widget):
    return [name for item in every_widget(widget) for name in getattr(item, "_dom_classes", ())]


def group_of(panel, title):
    return panel.column.groups[title].widget


def rows_of(panel, title):
    """The controls that a group shows, in order, without those of a group in it."""
    rows = [row for row in group_of(panel, title).children if "nbopt-group" not in row._dom_classes]
    classes = [name for row in rows for name in classes_below(row)]
    return [name.removeprefix("nbopt-hp-") for name in classes if name.startswith("nbopt-hp-")]


def unfold(page, panel, title):
    """Open a group as a person does, and wait for its controls."""
    page.tell(panel.bridge.companion, {"open": title})
    eventually(lambda: len(group_of(panel, title).children) > 1)


def look(control):
    """All that a control shows."""
    inputs = [
        (item.value, getattr(item, "options", None), getattr(item, "index", None), item.disabled)
        for item in control.inputs
    ]
    return control.head.value, inputs, GONE in control.widget._dom_classes


def test_a_panel_starts_with_few_messages(page, make_run, show):
    # Jupyter's server drops what a kernel sends beyond 1,000 messages a second over 3 seconds. And they are what takes
    # time before a panel stands: the page builds it in 0.3 seconds once it has them all.
    show(make_run())
    assert len(page.messages) <= 190


def test_what_stands_in_groups_not_opened_costs_no_message_however_much_it_is(page, make_run, show):
    show(make_run())
    plain = len(page.messages)
    run = make_run()
    for number in range(100):
        more = Float(0.1, low=0.0, high=1.0, label=f"More {number}", group=FOLDED)
        more.__set_name__(type(run), f"more_{number}")
        run.hyperparams.declare(more)
    panel = show(run)
    assert len(page.messages) - plain == plain
    unfold(page, panel, FOLDED)
    assert rows_of(panel, FOLDED)[-1] == "more_99"


def test_only_what_stands_open_and_acts_is_made_at_the_start(make_run, show):
    run = make_run()
    panel = show(run)
    titles = ["", "Optimizer", "Regularization", "Batches"]
    assert not any("nbopt-folded" in group_of(panel, title)._dom_classes for title in titles)
    wanted = [name for title in titles for name in panel.column.groups[title].names if name in run.hyperparams.active]
    assert wanted[:5] == ["lr", "batch_size", "weight_decay", "early_stopping", "patience"]
    assert [name for title in titles for name in rows_of(panel, title)] == wanted
    assert panel.controls.made.keys() == set(wanted) and "momentum" not in wanted and "mixup" not in wanted


def test_a_group_opened_at_the_page_gets_its_controls_in_order_and_no_other_does(page, make_run, show):
    panel = show(make_run())
    before, since = set(panel.controls.made), len(page.messages)
    unfold(page, panel, FOLDED)
    assert rows_of(panel, FOLDED) == panel.column.members[FOLDED]
    assert panel.controls.made.keys() - before == set(panel.column.members[FOLDED])
    group = group_of(panel, FOLDED)
    assert page.state(group)["children"] == [f"IPY_MODEL_{child.model_id}" for child in group.children]
    assert len(page.messages) - since < 5 * len(panel.column.members[FOLDED]) + 10
    made = dict(panel.controls.made)
    page.tell(panel.bridge.companion, {"open": FOLDED})  # by another view
    frame = panel.bridge.companion.frame
    eventually(lambda: panel.bridge.companion.frame > frame)
    assert made == panel.controls.made


@pytest.mark.parametrize("title", ["Augmentatoin", "", 3, None, ["Augmentation"]])
def test_what_is_no_group_cannot_be_opened(page, make_run, show, title):
    panel = show(make_run())
    made = set(panel.controls.made)
    page.tell(panel.bridge.companion, {"open": title})
    eventually(lambda: "does not understand" in panel._error.value)
    assert panel.controls.made.keys() == made


def test_presets_are_made_when_they_are_unfolded(page, make_run, show, tmp_path):
    panel = show(make_run(store=tmp_path))
    shelf = panel.column._shelf
    assert len(shelf.children) == 1 and "nbopt-folded" in shelf._dom_classes
    page.tell(panel.bridge.companion, {"open": "Presets"})
    eventually(lambda: len(shelf.children) > 1)
    panel.column.presets.name.value = "quick"
    page.click(panel.column.presets.save)
    shelf = show(make_run(store=tmp_path)).column._shelf  # one that has something to offer begins with it
    assert len(shelf.children) > 1 and "nbopt-folded" not in shelf._dom_classes


def test_a_control_looked_up_by_code_is_there_at_once_and_soon_in_its_group(make_run, show):
    run = make_run()
    panel = show(run)
    run.set(mixup=0.4)
    assert "mixup" not in panel.controls.made and len(panel.controls) == len(run.hyperparams)
    control = panel.controls["mixup"]
    assert control.inputs[0].value == 0.4
    eventually(lambda: rows_of(panel, FOLDED) == panel.column.members[FOLDED])
    assert panel.controls["mixup"] is control
    assert "nbopt-folded" in group_of(panel, FOLDED)._dom_classes  # that is the user's affair
    with pytest.raises(InvalidHyperparam, match="Did you mean 'mixup'"):
        panel.controls["mixpu"]


def test_a_control_looked_up_by_several_at_once_is_made_once(make_run, show, restless_threads):
    panel = show(make_run())
    names = [name for name in panel.controls if name not in panel.controls.made]
    found, barrier = [], threading.Barrier(4)

    def look_up():
        barrier.wait()
        found.append({name: panel.controls[name] for name in names})

    threads = [threading.Thread(target=look_up) for _count in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4 and all(one == other for one, other in itertools.pairwise(found))
    for title, group in panel.column.groups.items():
        eventually(lambda title=title, group=group: rows_of(panel, title) == group.names)


@pytest.mark.filterwarnings("ignore::UserWarning")  # augmentation of what is no image
def test_a_control_made_late_shows_all_that_one_made_at_the_start_does(page, make_run, show):
    run = make_run(epochs=30)
    early, late = show(run), show(run)
    assert set(early.controls.values()) == set(early.controls.made.values())
    run.step(5)
    run.set(mixup=0.123, momentum=0.77, clip_norm=5000.0, max_norm=0.25, zoom=0.3, schedule="step")
    run.step(5)
    for value in (2000.0, 10.0):  # beyond what is offered, and back
        for panel in (early, late):
            frame = panel.bridge.companion.frame
            run.set(clip_norm=value)
            eventually(lambda panel=panel, frame=frame: panel.bridge.companion.frame > frame)
    run.set(optimizer="sgd", crop=0.5)
    run.step(5)
    run.rewind(12)
    run.set(mixup=0.2)
    for title in late.column.members:
        unfold(page, late, title) if len(group_of(late, title).children) == 1 else None
    made = late.controls.made
    eventually(lambda: all("step 12" in panel.controls["mixup"].head.value for panel in (early, late)))
    assert {"mixup", "momentum", "step_gamma", "clip_norm", "max_norm", "crop"} <= made.keys()
    for name in made:
        eventually(lambda name=name: look(made[name]) == look(early.controls[name]))
    assert "applied at step 10" in made["clip_norm"].head.value
    assert made["clip_norm"].inputs[0].options[-1][1] == 5000.0
    assert early.controls.made.keys() - made.keys() <= run.hyperparams.keys() - run.hyperparams.active


def test_a_value_that_came_and_went_between_two_frames_is_offered_all_the_same(page, make_run, show):
    run = make_run()
    panel = show(run)
    unfold(page, panel, "Limits")
    control = panel.controls.made["clip_norm"]
    panel.bridge.close()  # no frame in between
    for value in (5000.0, 10.0):
        run.set(clip_norm=value)
        run.step()
    panel.controls.paint()
    assert control.inputs[0].options[-1][1] == 5000.0 and control.inputs[0].value == 10.0


class Slow(nn.Linear):
    """A model whose steps wait at a gate."""

    def __init__(self, gate):
        super().__init__(4, 2)
        self.gate, self.waits = [gate], threading.Event()

    def forward(self, x):
        self.waits.set()
        self.gate[0].wait(20)
        return super().forward(x)


def test_a_control_made_late_asks_waits_and_is_applied_as_any_other(page, make_run, show):
    gate = threading.Event()
    run = make_run(model=Slow(gate))
    panel = show(run)
    run.start(wait=False)
    assert run.model.waits.wait(20)
    page.answer(panel)
    unfold(page, panel, "Limits")
    control = panel.controls.made["clip_norm"]
    page.do(control.inputs[1], value="0.5")
    eventually(lambda: page.answer(panel) and "requested 0.5" in control.head.value)
    gate.set()
    eventually(lambda: page.answer(panel) and "applied at step" in control.head.value)
    run.pause()
    assert run.hyperparams["clip_norm"] == 0.5
    assert run.journal.changes()[-1].source == "panel"


def test_a_control_made_late_refuses_what_is_not_legal_and_what_no_person_could_send(page, make_run, show):
    run = make_run()
    panel = show(run)
    unfold(page, panel, "Limits")
    control = panel.controls.made["clip_norm"]
    page.do(control.inputs[1], value="-3")
    eventually(lambda: "got -3" in control.head.value)
    page.do(control.inputs[0], index=10_000)
    eventually(lambda: "cannot be set here" in panel._error.value)
    page.do(control.inputs[0], disabled=True)
    eventually(lambda: "does not understand" in panel._error.value)
    assert len(run.journal) == 0 and not control.inputs[0].disabled


@pytest.mark.parametrize("by_page", [False, True], ids=["code", "page"])
def test_a_strategy_s_own_controls_come_to_their_place_and_move_no_other(page, make_run, show, by_page):
    run = make_run()
    panel = show(run)
    assert "beta1" not in panel.controls.made  # folded below the optimizer
    unfold(page, panel, "Optimizer settings")
    group = group_of(panel, "Optimizer settings")
    children = group.children
    for chosen in ("sgd", "rmsprop", "adam", "newton"):
        if by_page:
            (menu,) = panel.controls["optimizer"].inputs
            page.do(menu, index=list(menu.options).index(chosen))
        else:
            run.set(optimizer=chosen)
        wanted = [name for name in panel.column.groups["Optimizer settings"].names if name in run.hyperparams.active]
        eventually(
            lambda wanted=wanted: (
                [
                    name
                    for name in rows_of(panel, "Optimizer settings")
                    if GONE not in panel.controls[name].widget._dom_classes
                ]
                == wanted
            )
        )
        run.step()
    assert group.children == children  # the page draws anew what follows a new child
    run.rewind(2)  # to when only the second one was chosen
    eventually(lambda: GONE in panel.controls["damping"].widget._dom_classes)
    assert run.hyperparams["optimizer"] == "rmsprop" and GONE not in panel.controls["alpha"].widget._dom_classes


def test_a_panel_that_goes_leaves_nothing_behind_not_even_a_control_without_a_place(page, make_run):
    run = make_run()
    before = set(_instances)
    panel = Panel(run)
    panel.bridge.close()
    assert panel.controls["mixup"].widget not in panel.column.widget.children
    panel.close()
    assert set(_instances) == before
