"""The panel's words about a run that failed."""

from torch import nn

from tests.notebook.frontend import eventually, every_widget


class Moody(nn.Linear):
    def __init__(self):
        super().__init__(4, 2)
        self.is_well = False

    def forward(self, x):
        if not self.is_well and self.training:
            raise ArithmeticError("no <mood>")
        return super().forward(x)


def test_a_fault_stands_in_the_panel_with_traceback_and_advice_until_the_run_goes_on(page, make_run, show):
    model = Moody()
    run = make_run(model=model)
    panel = show(run)
    start = next(item for item in every_widget(panel.widget) if "nbopt-start" in getattr(item, "_dom_classes", ()))
    page.click(start)
    eventually(lambda: "nbopt-error" in panel._error.value)
    text = panel._error.value
    assert "<b>ArithmeticError</b>: no &lt;mood&gt;" in text and "raised in step 0, on a batch of shape (64, 4)" in text
    assert "in forward" in text and "test_status.py" in text  # the user's own line
    assert "press Resume to go on from step 0" in text
    model.is_well = True
    page.click(start)
    eventually(lambda: page.answer(panel) and panel._error.value == "" and run.step_count > 5)
