import json
import re

import ipywidgets
import pytest
from comm.base_comm import BaseComm
from ipykernel.comm import comm as ipykernel_comm

from nbopt.notebook.frontend.bridge import FrontEnd
from nbopt.notebook.frontend.subshells import keep_frontend_route
from nbopt.notebook.frontend.widgets import WidgetFactory
from nbopt.notebook.panel.panel import Panel


class QuietComm(BaseComm):
    def publish_msg(self, *args, **kwargs):
        pass


class ReroutingComm(QuietComm):
    """Answers, as ipykernel 7.4 does, with the shell it was last written from."""

    def _reply_subshell_for(self, data, default):
        return "the shell of the cell"


def test_a_comm_goes_where_the_browser_sends_it():
    comm = ReroutingComm()
    keep_frontend_route(comm)
    assert comm._reply_subshell_for({}, "chosen") == "chosen"
    assert comm._reply_subshell_for({}, None) is None


def test_a_comm_without_rerouting_is_left_alone():
    comm = QuietComm()
    keep_frontend_route(comm)
    assert not hasattr(comm, "_reply_subshell_for")


def test_a_widget_keeps_the_route_with_every_comm_it_gets():
    widget = ipywidgets.IntSlider()
    keep_frontend_route(widget)
    keep_frontend_route(widget)
    for _ in range(2):
        widget.comm = ReroutingComm()
        assert widget.comm._reply_subshell_for({}, "chosen") == "chosen"


def test_a_widget_that_has_its_comm_already_is_treated_too():
    widget = ipywidgets.IntSlider()
    widget.comm = ReroutingComm()
    keep_frontend_route(widget)
    assert widget.comm._reply_subshell_for({}, "chosen") == "chosen"


def test_a_closed_widget_is_no_error():
    widget = ipywidgets.IntSlider()
    keep_frontend_route(widget)
    widget.close()


def test_the_rerouting_of_the_installed_ipykernel_is_the_one_we_know():
    if not hasattr(ipykernel_comm.BaseComm, "_reply_subshell_for"):
        pytest.skip("this ipykernel does not reroute")
    comm = ipykernel_comm.BaseComm(primary=False)
    comm._reply_subshell_id = "the shell of the cell"
    assert comm._reply_subshell_for({}, "chosen") == "the shell of the cell"
    keep_frontend_route(comm)
    assert comm._reply_subshell_for({}, "chosen") == "chosen"


@pytest.mark.parametrize("kind", [ipywidgets.Button, ipywidgets.ToggleButton, ipywidgets.Text, ipywidgets.Select])
def test_an_input_of_the_factory_keeps_its_route_and_takes_what_a_person_can_do_alone(page, kind):
    refused = []
    made = WidgetFactory(refused.append).make(kind)
    page.do(made, disabled=True)
    assert len(refused) == 1 and "disabled" in refused[0] and not made.disabled
    made.comm = ReroutingComm()
    assert made.comm._reply_subshell_for({}, "chosen") == "chosen"


def test_what_could_not_be_opened_is_opened_the_next_time(page, monkeypatch):
    kit = WidgetFactory(later=True)
    box = kit.box("a", kit.make(ipywidgets.Button), kit.make(ipywidgets.Text))
    with monkeypatch.context() as broken:
        broken.setattr(ipywidgets.Text, "open", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            kit.open()
    assert all(each.comm is not None for each in (box, *box.children))
    kit.open()
    assert {type(each.comm) for each in (box, *box.children)} == {type(kit.make(ipywidgets.Button).comm)}


def test_a_front_end_keeps_its_route():
    front = FrontEnd()
    front.comm = ReroutingComm()
    assert front.comm._reply_subshell_for({}, "chosen") == "chosen"


def test_the_page_is_told_of_a_panel_once_for_each_of_its_widgets(page, make_run):
    panel = Panel(make_run())
    opened, later = {}, []
    for name, data, _size in page.messages:
        if "_model_name" in data.get("state", ()):
            assert set(re.findall(r"IPY_MODEL_(\w+)", json.dumps(data))) <= opened.keys()  # what is in it is there
            opened[name] = data["state"]["_model_name"]
        else:
            later.append(opened[name])
    panel.bridge.close()
    assert set(later) <= {"AxisModel", "AnyModel"}  # the axes' numbers, and the first frame
    assert len(page.messages) < 220
    text = panel.controls["lr"].inputs[1]
    page.do(text, value="0.25")
    assert panel.run.hyperparams["lr"] == 0.25  # it is heard all the same
    page.do(text, disabled=True)
    assert "disabled" in panel.attempts.problem and not text.disabled
