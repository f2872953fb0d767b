"""What is news in a history, by growing, going back and going on otherwise."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nbopt.record.history import History
from nbopt.store.sync import SyncState


def grow(history, values, name="loss"):
    start = len(history[name][1]) if name in history else 0
    history.extend(name, range(start, start + len(values)), values)


def noted(history):
    """Return a mirror of a history that is all stored."""
    mirror = SyncState(History())
    mirror.note(mirror.compare(history))
    return mirror


def test_what_was_appended_is_news_and_once_noted_no_more():
    history = History()
    mirror = noted(history)
    grow(history, [3.0, math.nan])
    news = mirror.compare(history)
    assert news.starts == {"loss": 0}
    grow(history, [1.0])
    mirror.note(news)
    assert mirror.compare(history).starts == {"loss": 2}
    assert SyncState(history).compare(history).starts == {}


def test_after_going_back_what_is_the_same_again_is_no_news():
    history = History()
    grow(history, [3.0, math.nan, 1.0, 0.5])
    grow(history, [9.0], "late")
    mirror = noted(history)
    history.go_back(0, validated=False)
    grow(history, [3.0, math.nan, 1.5])
    assert mirror.compare(history).starts == {"loss": 2, "late": 0}


@given(st.lists(st.tuples(st.integers(0, 12), st.lists(st.sampled_from([0.0, -0.0, 1.0, math.nan]), max_size=6))))
def test_a_store_that_takes_the_news_is_the_history(moves):
    history, mirror, stored = History(), SyncState(History()), {}
    for step, values in moves:
        if "loss" in history and step < len(history["loss"][1]):
            history.go_back(step, validated=False)
        grow(history, values)
        news = mirror.compare(history)
        for name, start in news.starts.items():
            kept = stored.get(name, [])[:start]
            stored[name] = [*kept, *news.columns[name][1][start:].tolist()] if name in news.columns else kept
        mirror.note(news)
        bits = np.array(stored.get("loss", []), float).view(np.int64)
        now = history["loss"][1].view(np.int64) if "loss" in history else []
        assert bits.tolist() == list(now)
