import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import nbopt

ROOT = Path(__file__).parent.parent
INSTALLED_AT = "share/jupyter/labextensions/nbopt"


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory):
    """The wheel of this checkout: file name -> content."""
    folder = tmp_path_factory.mktemp("wheel")
    tools = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    build = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        env=tools,
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0, build.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        assert len(names) == len(set(names))
        return {name: wheel.read(name) for name in names}


def test_the_extension_has_the_version_of_the_package():
    package = json.loads((ROOT / "labextension/package.json").read_text())
    assert package["version"] == nbopt.__version__


def test_the_wheel_holds_the_built_extension_exactly_once(wheel_files):
    homes = [name for name in wheel_files if Path(name).name.startswith("remoteEntry.")]
    assert len(homes) == 1
    assert f"/{INSTALLED_AT}/static/" in homes[0]
    (manifest,) = (name for name in wheel_files if name.endswith(f"{INSTALLED_AT}/package.json"))
    assert json.loads(wheel_files[manifest])["version"] == nbopt.__version__
    assert any(name.endswith(f"{INSTALLED_AT}/install.json") for name in wheel_files)
    assert not any("source" in name or name.endswith(".map") for name in wheel_files if INSTALLED_AT in name)


def test_the_wheel_holds_the_package_and_its_types_marker_and_no_tests(wheel_files):
    assert "nbopt/__init__.py" in wheel_files
    assert "nbopt/py.typed" in wheel_files
    assert not any(name.startswith(("tests/", "labextension/", "nbopt/labextension/")) for name in wheel_files)


def test_the_extension_is_announced_to_jupyterlab(wheel_files):
    (paths,) = nbopt._jupyter_labextension_paths()
    assert paths["dest"] == Path(INSTALLED_AT).name
    assert (ROOT / "nbopt" / paths["src"] / "package.json").exists()


@pytest.mark.parametrize(
    "name", ["constraints.txt", "pyproject.toml", "labextension/.yarnrc.yml", "labextension/yarn.lock"]
)
def test_no_file_that_pins_packages_names_a_host(name):
    assert not re.search(r"https?:|//|index-url|find-links|registryServer", (ROOT / name).read_text())
