"""What a snapshot holds beside its tensors is checked, too, before a run is put to it: see `nbopt.store.checked`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbopt.objects.plain import is_count, is_number
from nbopt.record.snapshots import Snapshot
from nbopt.store.checked import are_names, is_switch
from nbopt.techniques.catalogue import ALWAYS


def is_state(snapshot: Snapshot) -> bool:
    """Whether the facts of a snapshot are of the form that nbopt writes, this version's or an earlier one's."""
    facts = snapshot.facts
    try:
        return (
            isinstance(facts["hyperparams"], dict)
            and isinstance(facts["validation_due"], bool)
            and is_number(facts["seconds"])
            and _are_counts(facts["cursor"], 3)
            and ("order" not in facts or is_count(facts["order"]))
            and _are_memories(facts)
            and all(are_names(facts.get(name, [])) for name in ("resting", "evaluated"))
            and (not facts.get("tier") or is_switch(facts["tier"]))
            and _is_split(facts.get("split", {}))
            and (_are_moments(facts["moments"]) if "moments" in facts else _are_placed(facts["optimizer"]))
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return False


def _are_counts(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(map(is_count, value))


def _are_memories(facts: Mapping[str, Any]) -> bool:
    """Whether this is what techniques remember; of those that nbopt has, of the form that each says."""
    kept: dict[str, dict[str, Any]] = {}
    for name, value in facts.get("parts", {}).items():
        part, dot, key = name.partition(".")
        if not dot:
            return False
        kept.setdefault(part, {})[key] = value
    memories = [(kind, kept.get(kind.__name__) or kind.recall(facts)) for kind in ALWAYS]
    return all(not memory or kind.is_memory(memory) for kind, memory in memories)


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
