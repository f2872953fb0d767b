import io
import sys

import pytest


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_a_line_once_in_a_while_and_one_at_the_end(make_run, blobs, monkeypatch):
    monkeypatch.setattr("nbopt.run.worker.progress._SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    make_run(val=blobs, epochs=3, batch_size=20).fit()
    lines = sys.stderr.getvalue().splitlines()
    assert [line.split(" loss=")[0] for line in lines] == [
        "epoch 1/3 step 3",
        "epoch 2/3 step 6",
        "epoch 3/3 step 9",
        "epoch 3/3 step 9",
    ]
    assert lines[-1].endswith(" finished")
    assert "val_loss=" in lines[-1]


def test_a_terminal_gets_one_line_rewritten(make_run, monkeypatch):
    monkeypatch.setattr("nbopt.run.worker.progress._SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    make_run(epochs=2, batch_size=20).fit()
    text = sys.stderr.getvalue()
    assert text.count("\n") == 1
    assert text.count("\r") > 6
    assert text.endswith(" finished\n")


def test_the_last_line_tells_of_a_failure(make_run, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())

    def forward(model, batch):
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        make_run(forward=forward).fit()
    assert sys.stderr.getvalue().endswith(" failed\n")
