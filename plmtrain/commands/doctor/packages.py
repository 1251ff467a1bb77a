"""The versions of plmtrain and of the libraries that it needs, or could use. No library is imported for this."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from plmtrain import __version__
from plmtrain.commands.doctor.diagnosis import Diagnosis

_OF_DEVELOPERS = "test"
"""The extra that users need not have."""

_IMPORTED = ("torch", "accelerate", "numpy", "pydantic", "safetensors", "tokenizers", "packaging")
"""The modules without which a run cannot choose anything."""


def missing() -> list[str]:
    """Return the modules that are needed to look at the machine, and are not there."""
    return [name for name in _IMPORTED if find_spec(name) is None]


def packages() -> Diagnosis:
    """Return the versions, and whether each is one that plmtrain works with."""
    part = Diagnosis("versions", "versions")
    part.fact("plmtrain", __version__, plmtrain=__version__)
    part.fact("python", platform.python_version(), python=platform.python_version())
    for name in missing():
        part.advice.append(f"the module {name} is not there, and nothing runs without it: pip install plmtrain")
    if find_spec("packaging") is not None:
        _compare(part)
    return part


def _compare(part: Diagnosis) -> None:
    """Compare the installed versions with those that plmtrain works with."""
    from packaging.requirements import Requirement

    needed: dict[str, str] = {}
    optional: dict[str, dict[str, str]] = defaultdict(dict)
    for extra, wanted in ((extra, Requirement(line)) for extra, line in _requirements()):
        installed = _installed(wanted.name)
        (optional[extra] if extra else needed)[wanted.name] = installed
        remedy = f"pip install '{wanted.name}{wanted.specifier}'"
        if installed and not wanted.specifier.contains(installed, prereleases=True):
            part.advice.append(f"{wanted.name} {installed} is installed, and plmtrain works with {wanted}: {remedy}")
        elif not installed and not extra:
            part.advice.append(f"{wanted.name} is not installed, and plmtrain needs it: {remedy}")
    if not needed:
        part.advice.append(
            "plmtrain runs from a folder without being installed, so that versions are not compared: pip install -e ."
        )
    part.fact("libraries", ", ".join(f"{name} {number or 'missing'}" for name, number in needed.items()), libraries=needed)
    for extra, several in optional.items():
        said = ", ".join(f"{name} {number}" if number else f"no {name}" for name, number in several.items())
        install = "" if all(several.values()) else f" (pip install 'plmtrain[{extra}]')"
        part.fact(extra, said + install, **{extra: several})


def _requirements() -> Iterator[tuple[str, str]]:
    """Yield each requirement with its extra, or with none if plmtrain does not work without it."""
    try:
        lines = requires("plmtrain") or []
    except PackageNotFoundError:
        return
    for line in lines:
        requirement, _, condition = line.partition(";")
        extra = condition.partition("extra == ")[2].strip("\"' ")
        if extra != _OF_DEVELOPERS:
            yield extra, requirement


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
