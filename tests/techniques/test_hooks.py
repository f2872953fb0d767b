import inspect
import re

from nbopt.export.script import pieces, template
from nbopt.techniques.base import Technique
from nbopt.techniques.hooks import HOOKS

NO_HOOKS = {"grids", "another", "check_outputs", "train", "unfit", "on_change", "declared", "apply_operand"}


def test_each_hook_of_the_table_is_a_method_and_each_method_a_hook():
    methods = {name for name, _each in inspect.getmembers(Technique, inspect.isfunction) if not name.startswith("_")}
    assert methods - NO_HOOKS == set(HOOKS)


def test_a_script_has_a_place_for_each_hook_that_it_can_hold():
    text = "".join(value for module in (template, pieces) for name, value in vars(module).items() if name.isupper())
    for hook in HOOKS.values():
        assert bool(re.search(rf"\${hook.name}\b", text)) == bool(hook.call), hook.name
