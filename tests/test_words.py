from nbopt.i18n import _


def test_values_are_filled_in_by_name():
    assert _("{name} must be {rule}.", rule="new", name="x") == "x must be new."


def test_text_without_values_keeps_its_braces():
    assert _("a {brace}") == "a {brace}"
