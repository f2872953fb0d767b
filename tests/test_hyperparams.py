import importlib
import math
import pkgutil
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbopt
from nbopt.errors import InvalidHyperparam, UnknownName
from nbopt.hyperparams import Choice, Flag, Float, Hyperparams, Int, Strategy, Tunable, variant


class Pump(Tunable):
    pressure = Float(1.0, low=0.1, high=10.0, log=True, zero=True, ge=0.0, lt=100.0, label="Pressure")
    pistons = Int(4, low=1, high=8, ge=1, label="Pistons")
    on = Flag(True, label="On")

    def __init__(self):
        self.seen = []

    def on_change(self, name):
        self.seen.append((name, getattr(self, name)))


class TurboPump(Pump):
    boost = Float(2.0, low=1.0, high=3.0, gt=0.0, label="Boost")


PUMP = Strategy("plain", classes={"plain": Pump, "turbo": TurboPump}, label="Pump")
PUMP.__set_name__(Tunable, "pump")


def pumps():
    hyperparams = Hyperparams()
    hyperparams.declare(PUMP)
    return hyperparams


# -- one declaration


@given(st.floats())
def test_a_float_is_taken_if_and_only_if_it_is_legal(value):
    spec = Pump.declared()["pressure"]
    if math.isfinite(value) and 0 <= value < 100:
        assert spec.check(value) == value
    else:
        with pytest.raises(InvalidHyperparam, match="pressure must be a finite number at least 0 and below 100; got"):
            spec.check(value)


@given(st.one_of(st.integers(), st.floats()))
def test_an_int_is_taken_if_and_only_if_it_is_whole_and_fits_64_bits(value):
    spec = Pump.declared()["pistons"]
    if math.isfinite(value) and value == int(value) and 1 <= value < 2**63:
        checked = spec.check(value)
        assert checked == value
        assert type(checked) is int
    else:
        with pytest.raises(InvalidHyperparam, match="pistons must be a whole number at least 1; got"):
            spec.check(value)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(0.5), Fraction(1, 2)])
def test_a_float_in_any_dress_becomes_a_plain_float(value):
    checked = Pump.declared()["pressure"].check(value)
    assert checked == 0.5
    assert type(checked) is float


@pytest.mark.parametrize("value", [3, 3.0, np.int8(3), np.float64(3.0)])
def test_an_int_in_any_dress_becomes_a_plain_int(value):
    checked = Pump.declared()["pistons"].check(value)
    assert checked == 3
    assert type(checked) is int


def test_minus_zero_becomes_zero():
    assert math.copysign(1.0, Pump.declared()["pressure"].check(-0.0)) == 1.0


@pytest.mark.parametrize("value", ["1", None, True, [1], 1j, 10**400, np.array([1.0, 2.0])])
@pytest.mark.parametrize("name", ["pressure", "pistons"])
def test_what_is_no_number_is_refused(name, value):
    with pytest.raises(InvalidHyperparam, match=f"{name} must be"):
        Pump.declared()[name].check(value)


@pytest.mark.parametrize("value", [True, False, np.bool_(True)])
def test_a_flag_takes_booleans(value):
    checked = Pump.declared()["on"].check(value)
    assert checked is bool(value)


@pytest.mark.parametrize("value", [0, 1, "on", None, 1.0])
def test_a_flag_takes_nothing_else(value):
    with pytest.raises(InvalidHyperparam, match="on must be True or False; got"):
        Pump.declared()["on"].check(value)


@pytest.mark.parametrize("value", ["trubo", None, 3, ["turbo"]])
def test_a_choice_refuses_what_is_no_option_and_lists_them(value):
    with pytest.raises(UnknownName, match=r"unknown pump .* Allowed: plain, turbo\."):
        PUMP.check(value)


def test_a_choice_says_which_option_was_meant():
    with pytest.raises(UnknownName, match="Did you mean 'turbo'"):
        PUMP.check("trubo")


def test_a_declaration_cannot_be_used_under_two_names():
    with pytest.raises((TypeError, RuntimeError)) as caught:

        class Twice(Tunable):
            a = Flag(False)
            b = a

    assert "declared again" in str(caught.value.__cause__ or caught.value)


def test_a_variant_differs_only_where_asked_to():
    spec = variant(Pump.declared()["pistons"], default=6)
    assert (spec.default, spec.name, spec.low) == (6, "pistons", 1)
    assert Pump.declared()["pistons"].default == 4


# -- a class of declarations


def test_declarations_are_inherited_first_come_first():
    assert list(TurboPump.declared()) == ["pressure", "pistons", "on", "boost"]


def test_an_instance_reads_the_default_until_it_is_bound():
    assert (Pump().pressure, Pump.pressure.default) == (1.0, 1.0)


# -- a run's live values


def test_the_mapping_holds_every_strategy_s_hyperparameters_and_tells_which_act():
    hyperparams = pumps()
    assert dict(hyperparams) == {"pump": "plain", "pressure": 1.0, "pistons": 4, "on": True, "boost": 2.0}
    assert hyperparams.active == {"pump", "pressure", "pistons", "on"}
    hyperparams.assign("pump", "turbo")
    assert hyperparams.active == set(hyperparams)


def test_a_changed_value_reaches_every_bound_part_that_declares_it_and_no_other():
    hyperparams, plain, turbo = pumps(), Pump(), TurboPump()
    hyperparams.bind(plain)
    hyperparams.bind(turbo)
    hyperparams.assign("boost", 3.0)
    hyperparams.assign("pressure", 5.0)
    assert plain.seen == [("pressure", 5.0)]
    assert turbo.seen == [("boost", 3.0), ("pressure", 5.0)]


def test_binding_brings_the_values_changed_before():
    hyperparams, plain = pumps(), Pump()
    hyperparams.assign("pressure", 5.0)
    hyperparams.bind(plain)
    assert (plain.pressure, plain.seen) == (5.0, [])


def test_an_unbound_part_hears_no_more():
    hyperparams, plain = pumps(), Pump()
    hyperparams.bind(plain)
    hyperparams.unbind(plain)
    hyperparams.assign("pressure", 5.0)
    assert plain.seen == []


def test_one_illegal_change_spoils_all_and_changes_nothing():
    hyperparams = pumps()
    with pytest.raises(InvalidHyperparam):
        hyperparams.check({"pressure": 5.0, "pistons": 0})
    assert hyperparams["pressure"] == 1.0


@pytest.mark.parametrize(
    "ask", [lambda h: h["presure"], lambda h: h.spec("presure"), lambda h: h.check({"presure": 1})]
)
def test_an_unknown_name_is_answered_with_the_one_that_was_meant(ask):
    with pytest.raises(UnknownName, match=r"unknown hyperparameter 'presure'\. Did you mean 'pressure'"):
        ask(pumps())


def test_it_behaves_as_a_mapping():
    hyperparams = pumps()
    assert hyperparams.get("nothing") is None
    assert "pump" in hyperparams and "nothing" not in hyperparams
    assert len(hyperparams) == len(list(hyperparams)) == 5


def test_a_later_declaration_of_the_same_name_is_the_run_s_own():
    hyperparams = pumps()
    hyperparams.declare(variant(Pump.declared()["pistons"], default=8))
    assert (hyperparams["pistons"], len(hyperparams)) == (8, 5)


# -- names of earlier versions


class Valve(Tunable):
    opening = Float(0.5, low=0.0, high=1.0, was="gap", label="Opening")


def valves():
    hyperparams = Hyperparams()
    hyperparams.declare(Valve)
    return hyperparams


def test_an_earlier_name_is_understood_with_a_warning_that_says_today_s():
    hyperparams = valves()
    with pytest.warns(FutureWarning, match="gap is now called opening") as caught:
        assert hyperparams.check({"gap": 0.2}) == {"opening": 0.2}
    assert caught[0].filename == __file__
    with pytest.warns(FutureWarning):
        assert (hyperparams["gap"], hyperparams.spec("gap").name) == (0.5, "opening")
    assert list(hyperparams) == ["opening"] and "gap" not in hyperparams


def test_a_hyperparameter_given_by_both_names_is_refused():
    with pytest.warns(FutureWarning), pytest.raises(InvalidHyperparam, match="opening is given twice"):
        valves().check({"opening": 0.1, "gap": 0.2})


# -- every declaration of the package


def every_declaration():
    for module in pkgutil.walk_packages(nbopt.__path__, "nbopt."):
        if module.name.split(".")[1] in ("hyperparams", "data", "techniques", "training", "run"):
            importlib.import_module(module.name)
    queue, found = [Tunable], {}
    while queue:
        kind = queue.pop()
        queue.extend(kind.__subclasses__())
        if kind.__module__.startswith("nbopt."):
            found.update({f"{kind.__name__}.{name}": spec for name, spec in kind.declared().items()})
    return found


EVERY = every_declaration()


def test_the_declarations_were_found():
    assert {
        "SGD.momentum",
        "Cursor.batch_size",
        "Huber.delta",
        "EarlyStopping.patience",
        "Plan.epochs",
    } <= EVERY.keys()


@pytest.mark.parametrize("key", EVERY)
def test_what_a_control_offers_is_legal(key):
    spec = EVERY[key]
    assert spec.check(spec.default) == spec.default
    assert spec.label and spec.name == key.split(".")[1]
    if isinstance(spec, (Float, Int)):
        assert spec.low < spec.high
        assert (spec.check(spec.low), spec.check(spec.high)) == (spec.low, spec.high)
        assert not (isinstance(spec, Float) and spec.log) or spec.low > 0
        assert not (isinstance(spec, Float) and spec.zero) or spec.check(0) == 0
    if isinstance(spec, Choice):
        assert all(spec.check(option) == option for option in spec.options)
