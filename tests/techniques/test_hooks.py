import inspect
import re

from nbopt.export.script import template
from nbopt.techniques.base import Technique
from nbopt.techniques.hooks import HOOKS

NO_HOOKS = {"grids", "another", "check_outputs", "train", "unfit", "on_change", "declared"}


def test_each_hook_of_the_table_is_a_method_and_each_method_a_hook():
    methods = {name for name, _each in inspect.getmembers(Technique, inspect.isfunction) if not name.startswith("_")}
    assert methods - NO_HOOKS == set(HOOKS)


def test_a_script_has_a_place_for_each_hook_that_it_can_hold():
    text = "".join(value for value in vars(template).values() if isinstance(value, str))
    for hook in HOOKS.values():
        place = {"fit": "techniques", "change_loss": "forward"}.get(hook.name, hook.name)
        assert bool(re.search(rf"\${place}\b", text)) == bool(hook.call), hook.name
