"""A study's still picture: what `Study` shows outside a notebook, for pages where no kernel lives."""

from __future__ import annotations

from typing import Any

from nbopt.notebook.static_view import StillPicture
from nbopt.notebook.study.view import StudyView
from nbopt.search.showing import Shown


class StillStudy(StillPicture):
    """The still picture of one study.

    Parameters
    ----------
    study : Shown
    view : StudyView
    """

    def __init__(self, study: Shown, view: StudyView) -> None:
        def moment() -> tuple[Any, ...]:
            return study.state, study.step_count, len(study.journal)

        super().__init__(f"nbopt-study-{study.id}", moment, lambda: draw_still(study), lambda: repr(study))


def draw_still(study: Shown) -> str:
    """Return the picture as HTML."""
    return f'<div class="nbopt-still" style="font-size:13px;padding:8px 0">{study._repr_html_()}</div>'
