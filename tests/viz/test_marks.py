import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nbopt.record.journal import Journal
from nbopt.viz.marks import Mark, Marks, visible


def label(name):
    return {"lr": "Learning rate"}.get(name, name)


def journal_of(*changes):
    journal = Journal()
    journal.event(0, "start")
    for step, name, old, new in changes:
        journal.change(step, name, old, new, "code")
        journal.event(step, "pause")
    return journal


def marks_of(journal):
    found = Marks(journal, label)
    found.refresh()
    return found


def test_changes_are_marked_with_name_and_values_and_those_of_one_step_share_a_mark():
    found = marks_of(journal_of((5, "lr", 1e-3, 3e-5), (5, "nesterov", False, True), (9, "optimizer", "adam", "sgd")))
    assert found.marks == [
        Mark(5, "Learning rate 0.001 → 3e-5\nnesterov off → on"),
        Mark(9, "optimizer adam → sgd"),
    ]
    assert found.applied == {"lr": 5, "nesterov": 5, "optimizer": 9}
    assert marks_of(Journal()).marks == []


def test_a_change_of_the_shape_is_marked_in_its_words():
    journal = journal_of((5, "lr", 1e-3, 3e-5))
    journal.event(5, "edit", {"edit": "widen", "reason": "hidden: 16 → 24 units"})
    assert marks_of(journal).marks == [Mark(5, "Learning rate 0.001 → 3e-5\nhidden: 16 → 24 units")]
    journal.rewind(7, 5, "code")
    assert marks_of(journal).marks == []


@given(st.lists(st.tuples(st.sampled_from(["lr", "l1", "rewind"]), st.integers(0, 5)), max_size=30), st.data())
def test_marks_read_piece_by_piece_are_those_of_the_changes_that_no_rewind_undid(operations, data):
    journal, step = Journal(), 0
    growing = Marks(journal, label)
    for name, number_ in operations:
        if name == "rewind":
            to = max(0, step - number_)
            journal.rewind(step, to, "code")
            step = to
        else:
            step += number_
            journal.change(step, name, 0.0, float(step), "code")
        if data.draw(st.booleans()):
            growing.refresh()
    growing.refresh()
    effective = journal.effective()
    assert growing.applied == {entry.name: entry.step for entry in effective}
    lines = [line for mark in growing.marks for line in mark.text.split("\n")]
    assert lines == [f"{label(entry.name)} 0 → {entry.step}" for entry in effective]
    steps = [mark.step for mark in growing.marks]
    assert steps == sorted({entry.step for entry in effective})


@given(
    st.lists(st.floats(-100, 1000), max_size=300).map(sorted),
    st.floats(-50, 500),
    st.floats(1, 500),
    st.integers(1, 100),
)
def test_visible_marks_are_few_in_order_and_no_place_with_a_change_goes_unmarked(x, low, width, most):
    marks = [Mark(k, f"change {k}") for k in range(len(x))]
    ticks = visible(marks, np.array(x), (low, low + width), most)
    inside = [at for at in x if low <= at <= low + width]
    assert len(ticks) <= most + 1
    assert [tick.x for tick in ticks] == sorted(tick.x for tick in ticks)
    assert {tick.x for tick in ticks} <= set(inside)
    for at in inside:
        assert min(abs(tick.x - at) for tick in ticks) <= 2 * width / most
    if inside:
        assert ticks[-1].x == inside[-1]


def test_marks_far_apart_keep_their_own_text_and_crowded_ones_tell_the_newest_changes():
    marks = [Mark(step, f"lr {step}") for step in range(1000)]
    x = np.arange(1000.0)
    assert visible(marks, x, (10.5, 13.5), 100) == [(11, "lr 11"), (12, "lr 12"), (13, "lr 13")]
    crowd = visible(marks, x, (0, 999), 10)
    assert crowd[0] == (127, "…\nlr 124\nlr 125\nlr 126\nlr 127")
    assert len(crowd) <= 11 and crowd[-1].x == 999


def test_all_changes_of_one_step_are_told_however_many():
    text = "\n".join(f"setting {k}" for k in range(12))
    assert visible([Mark(5, text)], np.array([5.0]), (0, 10), 10) == [(5, text)]
    crowd = [Mark(4, "lr 1\nlr 2"), Mark(5, text)]
    assert visible(crowd, np.array([4.99, 5.0]), (0, 100), 10) == [(5, f"…\n{text}")]


def test_marks_stay_put_while_the_range_grows():
    marks = [Mark(step, f"lr {step}") for step in range(0, 1000, 3)]
    x = np.array([float(mark.step) for mark in marks])
    for end in (700, 701, 750, 799):  # one width of the power of two
        assert visible(marks, x, (0, end), 100)[:50] == visible(marks, x, (0, 800), 100)[:50]
