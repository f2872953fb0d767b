"""The notebooks in `examples/` run from top to bottom, on a kernel that only the first of them finds new.

Imports take longer than what most of them do, so they share it; each begins without any name of another. What takes
longest is done for less long here: all cells run, and what they assert holds all the same.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernels import FORGET, FREEZE, STAY_EAGER
from tests.tries import FACTOR

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(path.relative_to(EXAMPLES).with_suffix("").as_posix() for path in EXAMPLES.rglob("*.ipynb"))

SHORTER = {
    "augmentation": {"range(2)": "range(1)"},  # seeds
    "mnist1d": {'128, "epochs": 60': '128, "epochs": 30', '128, "epochs": 20': '128, "epochs": 10'},
    "population": {"(1e-4, 1, 128)": "(1e-4, 1, 32)"},
}
"""What stands in notebooks, and what runs in its place, but where more tries are asked for."""


class Kernel:
    """A kernel for one notebook after the other; a new one where one failed."""

    def __init__(self) -> None:
        self._manager = None

    def run(self, path: Path, shorter: dict[str, str] | None = None) -> None:
        import nbformat  # takes two seconds, as long as torch
        from jupyter_client import KernelManager
        from nbclient import NotebookClient

        if self._manager is None:
            self._manager = KernelManager(kernel_name="python3")
            self._manager.start_kernel(cwd=str(EXAMPLES))
        book = nbformat.read(path, as_version=4)
        for text, other in (shorter or {}).items():
            cells = [cell for cell in book.cells if cell.cell_type == "code" and text in cell.source]
            assert cells, f"{text} does not stand in {path}"
            for cell in cells:
                cell.source = cell.source.replace(text, other)
        book.cells.insert(0, nbformat.v4.new_code_cell(STAY_EAGER + FREEZE))
        book.cells.append(nbformat.v4.new_code_cell(FORGET))
        try:
            NotebookClient(book, km=self._manager, timeout=None).execute()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._manager is not None:
            self._manager.shutdown_kernel(now=True)
            self._manager = None


@pytest.fixture(scope="module")
def kernel():
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs(kernel, name):
    kernel.run(EXAMPLES / f"{name}.ipynb", SHORTER.get(name) if FACTOR == 1 else None)


def test_a_notebook_that_fails_is_told_and_the_next_one_has_a_new_kernel(kernel, tmp_path):
    import nbformat
    from nbclient.exceptions import CellExecutionError

    cells = [nbformat.v4.new_code_cell(text) for text in ("left = 1", "assert left == 2, 'it is not'")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "wrong.ipynb")
    with pytest.raises(CellExecutionError, match="it is not"):
        kernel.run(tmp_path / "wrong.ipynb")
    assert kernel._manager is None
