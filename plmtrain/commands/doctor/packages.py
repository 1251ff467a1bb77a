"""The versions of plmtrain and of the libraries that it needs, or could use."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from plmtrain import __version__
from plmtrain.commands.doctor.diagnosis import Diagnosis

_OF_DEVELOPERS = "test"
"""The extra that users need not have."""


def packages() -> Diagnosis:
    """Return the versions, and whether each is one that plmtrain works with."""
    part = Diagnosis("versions")
    part.fact("plmtrain", __version__, plmtrain=__version__)
    part.fact("python", platform.python_version(), python=platform.python_version())
    needed: dict[str, str] = {}
    optional: dict[str, dict[str, str]] = defaultdict(dict)
    for extra, wanted in _requirements():
        installed = _installed(wanted.name)
        (optional[extra] if extra else needed)[wanted.name] = installed
        if installed and not wanted.specifier.contains(installed, prereleases=True):
            part.advice.append(
                f"{wanted.name} {installed} is installed, and plmtrain works with {wanted}: pip install '{wanted.name}"
                f"{wanted.specifier}'"
            )
        elif not installed and not extra:
            part.advice.append(
                f"{wanted.name} is not installed, and plmtrain needs it: pip install '{wanted.name}{wanted.specifier}'"
            )
    part.fact("libraries", ", ".join(f"{name} {number or 'missing'}" for name, number in needed.items()), libraries=needed)
    for extra, several in optional.items():
        said = ", ".join(f"{name} {number}" if number else f"no {name}" for name, number in several.items())
        missing = "" if all(several.values()) else f" (pip install 'plmtrain[{extra}]')"
        part.fact(extra, said + missing, **{extra: several})
    return part


def _requirements() -> Iterator[tuple[str, Requirement]]:
    """Yield each requirement with its extra, or with none if plmtrain does not work without it."""
    try:
        lines = requires("plmtrain") or []
    except PackageNotFoundError:  # run from a folder without being installed
        return
    for line in lines:
        wanted = Requirement(line)
        extra = str(wanted.marker).partition("extra == ")[2].strip("\"'") if wanted.marker else ""
        if extra != _OF_DEVELOPERS:
            wanted.marker = None
            yield extra, wanted


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
