"""What a snapshot holds beside its tensors is checked, too, before a run is put to it: see `nbopt.store.checked`."""

from __future__ import annotations

import math
from typing import Any

from nbopt.record.snapshots import Snapshot
from nbopt.store.checked import are_names, is_count, is_switch


def is_state(snapshot: Snapshot) -> bool:
    """Whether the facts of a snapshot are of the form that nbopt writes, this version's or an earlier one's."""
    facts = snapshot.facts
    try:
        return (
            isinstance(facts["hyperparams"], dict)
            and isinstance(facts["validation_due"], bool)
            and _is_number(facts["seconds"])
            and _are_counts(facts["cursor"], 3)
            and isinstance(facts["dropout_rates"], list)
            and all(_is_number(rate) and 0 <= rate <= 1 for rate in facts["dropout_rates"])
            and _is_stopping(facts["stopping"])
            and all(name.count(".") for name in facts.get("parts", {}))
            and all(are_names(facts.get(name, [])) for name in ("resting", "evaluated"))
            and (not facts.get("tier") or is_switch(facts["tier"]))
            and _is_guard(facts.get("guard", {}))
            and _is_split(facts.get("split", {}))
            and (_are_moments(facts["moments"]) if "moments" in facts else _are_placed(facts["optimizer"]))
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _are_counts(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(map(is_count, value))


def _is_stopping(value: Any) -> bool:
    best, best_step, waited, bar = value
    numbers = all(item is None or _is_number(item) for item in (best, bar))
    return numbers and (best_step is None or is_count(best_step)) and is_count(waited)


def _is_guard(state: Any) -> bool:
    if not state:
        return isinstance(state, dict)
    flags = all(isinstance(state[name], bool) for name in ("known", "waits"))
    usual = state["usual"] is None or _is_number(state["usual"])
    return flags and usual and _is_number(state["floor"]) and all(map(_is_number, state["block"]))


def _is_split(state: Any) -> bool:
    rule, leaf = state.get("rule", ""), state.get("leaf")
    return isinstance(rule, str) and (leaf is None or is_count(leaf))


def _are_moments(packed: Any) -> bool:
    """Whether this is what an optimizer remembers: of weights by their names, and settings that lead nowhere else."""
    counters = all(isinstance(value, (bool, int, float)) for value in packed["counters"].values())
    groups = all(are_names(group["weights"]) and _are_settings(group["settings"]) for group in packed["groups"])
    return counters and groups and isinstance(packed["kind"], str) and isinstance(packed["state"], dict)


def _are_settings(packed: Any) -> bool:
    return all(isinstance(key, str) and key != "params" for key, _value in packed["dict"])


def _are_placed(scalars: Any) -> bool:
    """Whether this is what an earlier version wrote of an optimizer: names that begin with a weight's position."""
    return all(name.split(".", 1)[0].isdecimal() for name in scalars)
