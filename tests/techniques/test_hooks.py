import inspect
import re

from nbopt.export.script.loop import LOOP
from nbopt.export.script.step import FRAGMENTS
from nbopt.techniques.base import Technique
from nbopt.techniques.hooks import HOOKS

NO_HOOKS = {"another", "train", "unfit", "on_change", "declared"}


def test_each_hook_of_the_table_is_a_method_and_each_method_a_hook():
    methods = {name for name, _each in inspect.getmembers(Technique, inspect.isfunction) if not name.startswith("_")}
    assert methods - NO_HOOKS == set(HOOKS)


def test_a_script_has_a_place_for_each_hook_that_it_can_hold():
    text = LOOP + "".join(FRAGMENTS.values())
    for hook in HOOKS.values():
        place = {"fit": "fit_parts", "change_inputs": "change_batch"}.get(hook.name, hook.name)
        assert bool(re.search(rf"\${place}\b", text)) == bool(hook.call), hook.name
