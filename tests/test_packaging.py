"""What is installed holds what it needs: the wheel has the YAML files, and an editable install uses the repository's."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _built(kind: str, into: Path) -> Path:
    """A wheel, built without the network: the build back end is among the test requirements."""
    code = f"import sys; from hatchling.build import {kind}; {kind}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(into)], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = into.glob("*.whl")
    return wheel


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    """An interpreter without plmtrain."""
    venv.create(tmp_path / "venv", symlinks=True)
    return tmp_path / "venv" / "bin" / "python"


def _install(python: Path, wheel: Path) -> Path:
    """Unpack a wheel as pip would; returns where it went."""
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def _told(python: Path, *arguments: str) -> str:
    """What ``plmtrain`` prints, away from the repository, with this environment's libraries (whose ``.pth`` is not read)."""
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}
    command = [python, "-m", "plmtrain", *arguments]
    return subprocess.run(command, cwd=python.parent, env=environment, check=True, capture_output=True, text=True).stdout


def _conf_folder(python: Path) -> Path:
    code = "from plmtrain.settings.composing.folders import conf_folder; print(conf_folder())"
    return Path(
        subprocess.run([python, "-c", code], cwd=python.parent, check=True, capture_output=True, text=True).stdout.strip()
    )


@pytest.mark.slow
def test_the_wheel_holds_the_yaml_files_and_works_without_the_repository(tmp_path: Path, bare_python: Path) -> None:
    wheel = _built("build_wheel", into=tmp_path)
    names = set(zipfile.ZipFile(wheel).namelist())
    yaml_files = {f"plmtrain/conf/{path.relative_to(ROOT / 'conf').as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "plmtrain").rglob("*.py")}
    assert len(yaml_files) > 10
    assert yaml_files | modules | {"plmtrain/py.typed", "plmtrain/settings/other_tools.txt"} <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"plmtrain", "hydra_plugins"}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]

    site = _install(bare_python, wheel)
    assert _conf_folder(bare_python) == site / "plmtrain" / "conf"
    assert "name: roberta" in _told(bare_python, "pretrain", "--cfg", "job", "model=roberta", "size=tiny")
    assert "Sequences in a step" in _told(bare_python, "list", "trainer.batch_size")


@pytest.mark.slow
def test_an_editable_install_falls_back_to_the_repository(tmp_path: Path, bare_python: Path) -> None:
    wheel = _built("build_editable", into=tmp_path)
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".yaml")], "a copy would grow stale"
    _install(bare_python, wheel)
    assert _conf_folder(bare_python) == ROOT / "conf"
    assert "name: roberta" in _told(bare_python, "pretrain", "--cfg", "job", "model=roberta", "size=tiny")


@pytest.mark.slow
def test_two_builds_are_the_same_bytes(tmp_path: Path) -> None:
    first, second = (_built("build_wheel", into=tmp_path / name).read_bytes() for name in ("first", "second"))
    assert first == second
