"""Machine code is kept where nobody else can write, and nothing is loaded that was not put there by nbopt."""

import os
import shutil
import stat
import time
from pathlib import Path

import pytest
import torch

from nbopt.training.compile import packages
from nbopt.training.compile.build import Build
from nbopt.training.compile.packages import Packages, Untrusted, find_packages
from nbopt.training.compile.step import CannotCompile

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes as on Unix")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return the folder that packages would be kept in, with nothing there yet."""
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(packages, "_of_this_process", [])
    monkeypatch.setattr("sys.platform", "linux")
    return tmp_path / "cache" / "nbopt"


def test_what_is_put_there_is_found_again_in_a_folder_closed_to_others(place):
    find_packages().put("key", b"code")
    assert find_packages().folder == place
    assert find_packages().get("key") == b"code"
    assert find_packages().get("other") is None
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [place, *place.iterdir()]}
    assert modes == {"nbopt": 0o700, "key.pt2": 0o600, "secret": 0o600}


def planted(place):
    (place / "key.pt2").write_bytes(b"x" * 100)


def exchanged(place):
    shutil.copy(place / "other.pt2", place / "key.pt2")


def changed(place):
    content = bytearray((place / "key.pt2").read_bytes())
    content[-1] ^= 1
    (place / "key.pt2").write_bytes(content)


def cut_short(place):
    (place / "key.pt2").write_bytes((place / "key.pt2").read_bytes()[:20])


def linked(place):
    (place / "key.pt2").rename(place / "elsewhere")
    (place / "key.pt2").symlink_to(place / "elsewhere")


def opened(place):
    (place / "key.pt2").chmod(0o666)


def a_folder(place):
    (place / "key.pt2").unlink()
    (place / "key.pt2").mkdir()


def of_another_secret(place):
    other = Packages(place.parent / "other")
    other.put("key", b"code")
    shutil.copy(place.parent / "other" / "key.pt2", place / "key.pt2")


@pytest.mark.parametrize("spoil", [planted, exchanged, changed, cut_short, linked, opened, a_folder, of_another_secret])
def test_a_package_that_was_not_put_there_so_is_not_taken(place, spoil):
    kept = find_packages()
    kept.put("key", b"code")
    kept.put("other", b"other code")
    assert kept.get("key") == b"code"
    spoil(place)
    assert kept.get("key") is None
    assert find_packages().get("other") == b"other code"


def open_folder(place, monkeypatch):
    place.mkdir(parents=True)
    place.chmod(0o755)


def writable_folder(place, monkeypatch):
    place.mkdir(parents=True)
    place.chmod(0o777)


def link_to_a_folder(place, monkeypatch):
    place.parent.mkdir()
    (place.parent / "own").mkdir(mode=0o700)
    place.symlink_to(place.parent / "own")


def a_file(place, monkeypatch):
    place.parent.mkdir()
    place.touch(mode=0o600)


def within_an_open_folder(place, monkeypatch):
    place.parent.mkdir()
    place.parent.chmod(0o777)


def foreign(place, monkeypatch):
    place.mkdir(parents=True, mode=0o700)
    own = os.geteuid()
    stranger = os.stat_result
    before = os.lstat

    def lstat(path, **settings):
        found = before(path, **settings)
        return stranger([*found[:4], own + 1, *found[5:]]) if Path(path) == place else found

    monkeypatch.setattr(os, "lstat", lstat)


def secret_open(place, monkeypatch):
    Packages(place)
    (place / "secret").chmod(0o644)


def secret_linked(place, monkeypatch):
    Packages(place)
    (place / "secret").rename(place.parent / "secret")
    (place / "secret").symlink_to(place.parent / "secret")


def secret_cut(place, monkeypatch):
    Packages(place)
    (place / "secret").write_bytes(b"")


@pytest.mark.parametrize(
    "spoil",
    [
        open_folder,
        writable_folder,
        link_to_a_folder,
        a_file,
        within_an_open_folder,
        foreign,
        secret_open,
        secret_linked,
        secret_cut,
    ],
)
def test_a_folder_that_others_may_have_written_to_is_left_alone_and_that_is_said_once(place, monkeypatch, spoil):
    spoil(place, monkeypatch)
    there = sorted(place.iterdir()) if place.is_dir() else []
    with pytest.warns(UserWarning, match="not kept for the next time") as told:
        own = find_packages()
        find_packages()
    assert len(told) == 1
    assert str(place) in str(told[0].message)
    assert own.folder != place and stat.S_IMODE(own.folder.stat().st_mode) == 0o700
    own.put("key", b"code")
    assert find_packages().get("key") == b"code"
    assert (sorted(place.iterdir()) if place.is_dir() else []) == there


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("what", ["", "secret", "key.pt2", ".."])
def test_what_belongs_to_another_user_is_not_taken(place, what):
    Packages(place).put("key", b"code")
    os.chown(place / what, 65534, -1)
    if what == "key.pt2":
        assert Packages(place).get("key") is None
    else:
        with pytest.raises(Untrusted, match=r"another user|other users"):
            Packages(place)


def test_a_shared_place_for_caches_is_used_by_each_user_in_a_folder_of_his(place, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "shared"))
    assert find_packages().folder == tmp_path / "shared" / f"nbopt-{os.geteuid()}"


def test_the_place_that_torch_takes_by_itself_is_not_used(place, monkeypatch):
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", default_cache_dir())
    assert find_packages().folder == place


def test_the_oldest_are_forgotten_and_what_a_killed_kernel_left(place, monkeypatch):
    monkeypatch.setattr(packages, "KEPT_PACKAGES", 2)
    kept = find_packages()
    (place / "at-work-old").mkdir()
    os.utime(place / "at-work-old", (0, 0))
    for age, key in enumerate(["a", "b", "c"]):
        kept.put(key, b"code")
        if (place / f"{key}.pt2").exists():
            os.utime(place / f"{key}.pt2", (time.time() - 100 + age,) * 2)
    kept.put("d", b"code")
    assert sorted(path.name for path in place.iterdir()) == ["c.pt2", "d.pt2", "secret"]


def test_a_build_takes_no_planted_package_and_keeps_torchs_caches_with_its_own(place, monkeypatch, tmp_path):
    """The compiler is left out: a program in its place tells where torch would look for machine code."""
    program = tmp_path / "compiler.py"
    program.write_text(
        "import os, sys; sys.stdin.buffer.readline()\n"
        "sys.exit(os.environ['TORCHINDUCTOR_CACHE_DIR'] + os.pathsep + os.environ['TRITON_CACHE_DIR'])"
    )
    monkeypatch.setattr("nbopt.training.compile.build._COMPILER", program)
    loaded = []
    monkeypatch.setattr(torch._C._aoti, "AOTIModelPackageLoader", lambda *given: loaded.append(given))
    keys = []
    before = Packages.get
    monkeypatch.setattr(Packages, "get", lambda self, key: keys.append(key) or before(self, key))

    def build():
        with pytest.raises(CannotCompile) as told:
            Build().compile(lambda flat: [flat[0] + 1], [torch.zeros(3)])
        return str(told.value).split(os.pathsep)

    assert build() == [str(place / "torch"), str(place / "torch" / "triton")]
    (place / f"{keys[0]}.pt2").write_bytes(b"machine code")
    build()
    assert keys[1] == keys[0]
    assert loaded == []
