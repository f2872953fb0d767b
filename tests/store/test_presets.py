from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from nbopt.errors import InvalidHyperparam
from nbopt.store.presets import preset, presets, save_preset
from tests.tries import tries

values = st.dictionaries(
    st.text(min_size=1, max_size=9),
    st.one_of(st.floats(allow_nan=False), st.integers(), st.booleans(), st.text(max_size=9)),
    max_size=5,
)


@tries(20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values, values)
def test_what_was_saved_comes_back_and_a_name_used_again_takes_the_new_values(tmp_path, first, second):
    save_preset("one", first, tmp_path)
    save_preset("  two ", second, tmp_path)
    assert presets(tmp_path) == {"one": first, "two": second}
    save_preset("one", second, tmp_path)
    assert preset("one ", tmp_path) == second
    assert [path.name for path in tmp_path.iterdir()] == ["presets.json"]


def test_an_unknown_name_gets_a_suggestion_and_an_empty_one_a_reason(tmp_path):
    assert presets(tmp_path / "none") == {}
    save_preset("calm", {"lr": 1e-4}, tmp_path)
    with pytest.raises(InvalidHyperparam, match="Did you mean 'calm'"):
        preset("clam", tmp_path)
    for name in ("", "  ", "x" * 101, "a\nb"):
        with pytest.raises(ValueError, match="needs a name"):
            save_preset(name, {}, tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}'])
def test_a_spoilt_file_is_told_and_left_as_it_is(tmp_path, text):
    (tmp_path / "presets.json").write_text(text)
    with pytest.raises(ValueError, match="holds no presets"):
        save_preset("calm", {}, tmp_path)
    assert (tmp_path / "presets.json").read_text() == text
