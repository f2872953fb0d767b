"""Spaces as people give them: names, declarations, pairs and lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nbopt.errors import InvalidHyperparam, shorten
from nbopt.hyperparams import Hyperparam, variant
from nbopt.i18n import _
from nbopt.search.spaces.dimension import Dimension, Unbounded, is_among
from nbopt.search.spaces.space import Space

Find = Callable[[str, Any], Hyperparam[Any]]
"""Returns the declaration of a name, of which a mapping may tell what to try; None where it does not."""


def make_space(given: Any, find: Find | None = None) -> Space:
    """Return the space that is meant.

    Parameters
    ----------
    given : list or mapping
        Names and declarations; a mapping also takes pairs (low, high) and lists of options.
    find : callable, optional
        See `Find`; without it, nothing is declared.

    Raises
    ------
    InvalidHyperparam
        For what is no name, no declaration, or not to be searched.
    """
    find = find or anything
    items = [(name, None) for name in [given]] if isinstance(given, (str, Hyperparam)) else _items(given)
    found: list[Dimension] = []
    for name, bounds in items:
        if isinstance(name, Hyperparam):
            name, bounds = name.name, name
        if not isinstance(name, str) or not name:
            rule = _("space holds names, or a mapping from names to declarations as nbopt.Float(...)")
            raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(name or bounds)))
        if any(each.name == name for each in found):
            way = _("say all that it may be at once, and by when= where that depends on others")
            raise InvalidHyperparam(_("{name} stands in the space twice: {way}.", name=name, way=way))
        if isinstance(bounds, Hyperparam):
            if bounds.name != name:
                bounds = variant(bounds)
                bounds.name = name
            found.append(Dimension.of(_check_legal(bounds, find)))
        else:
            spec = find(name, bounds)
            found.append(Dimension.of(spec) if bounds is None else Dimension.within(spec, bounds))
    return Space(found)


def anything(name: str, bounds: Any) -> Hyperparam[Any]:
    """Return the declaration of a name that nobody declared, of which the space tells what to try.

    Raises
    ------
    InvalidHyperparam
        If it does not tell.
    """
    if bounds is None:
        way = _("as a pair (low, high), a list of values, or nbopt.Float(...)")
        raise InvalidHyperparam(_("{name}: say what to try, {way}.", name=name, way=way))
    spec = Unbounded(None)
    spec.name = name
    return spec


def names_of(given: Any) -> list[str]:
    """Return the names in a space as it is given."""
    items = [(given, None)] if isinstance(given, (str, Hyperparam)) else _items(given)
    return [item.name if isinstance(item, Hyperparam) else item for item, _bounds in items if item]


def only(given: Any, names: Iterable[str]) -> list[Any]:
    """Return those of a space as it is given that have one of these names."""
    kept, found = set(names), []
    for item, bounds in [(given, None)] if isinstance(given, (str, Hyperparam)) else _items(given):
        if (item.name if isinstance(item, Hyperparam) else item) in kept:
            found.append(item if bounds is None else {item: bounds})
    return found


def _items(given: Any) -> list[tuple[Any, Any]]:
    if isinstance(given, Mapping):
        return list(given.items())
    if not isinstance(given, (list, tuple)):
        rule = _("space must be a list of names or declarations, or a mapping from names to these")
        raise InvalidHyperparam(_("{rule}; got {value}.", rule=rule, value=shorten(given)))
    found: list[tuple[Any, Any]] = []
    for item in given:
        found += item.items() if isinstance(item, Mapping) else [(item, None)]
    return found


def _check_legal(own: Hyperparam[Any], find: Find) -> Hyperparam[Any]:
    """Return a declaration of the user's, which matters when the declared one does, if it does not say itself when.

    Raises
    ------
    InvalidHyperparam
        Where it offers what the run would refuse.
    """
    try:
        declared = find(own.name, own)
    except InvalidHyperparam:
        return own
    dimension = Dimension.of(own)
    for value in dimension.options or (dimension.at(0.0), dimension.at(1.0)):
        declared.check(value)
    return variant(own, when=declared.when) if declared.when and not own.when else own


def check_conditions(space: Space, fixed: Mapping[str, Any]) -> None:
    """Raise InvalidHyperparam for dimensions that matter with what no trial has.

    Parameters
    ----------
    space : Space
    fixed : mapping of str to object
        What all trials have, by name.
    """
    for each in space.values():
        for name, allowed in each.when.items():
            told = tell_condition(each, name)
            if name in space:
                for value in allowed:
                    try:
                        space[name].spec.check(value)
                    except InvalidHyperparam as error:
                        raise InvalidHyperparam(_("{told}: {error}", told=told, error=error)) from error
            elif name not in fixed:
                raise InvalidHyperparam(_("{told}: add {name} to the space.", told=told, name=name))
            elif not is_among(fixed[name], allowed):
                has = _("and all trials have {value}", value=shorten(fixed[name]))
                raise InvalidHyperparam(_("{told}, {has}: add {name} to the space.", told=told, has=has, name=name))


def check_matters(space: Space, given: Iterable[str], values: Mapping[str, Any]) -> None:
    """Raise InvalidHyperparam for a name that was given and does not matter beside these values.

    Parameters
    ----------
    space : Space
    given : iterable of str
    values : mapping of str to object
        Those of a trial, as far as they are known.
    """
    for each in (space[name] for name in given):
        for name, allowed in each.when.items():
            if name in space and name not in values:
                raise InvalidHyperparam(_("{told}: give that too.", told=tell_condition(each, name)))
            if name in space and not is_among(values[name], allowed):
                told, now = tell_condition(each, name), shorten(values[name])
                raise InvalidHyperparam(_("{told}; {name} is {now}.", told=told, name=name, now=now))


def tell_condition(dimension: Dimension, name: str) -> str:
    """Return with which values of another dimension this one matters, in words."""
    values = ", ".join(map(str, dimension.when[name]))
    return _("{own} matters only where {name} is one of {values}", own=dimension.name, name=name, values=values)
