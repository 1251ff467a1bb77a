"""The arguments of a verb: Hydra overrides, and the few options that are not overrides. Light: no Hydra, no pydantic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plmtrain.errors import SettingsError, SettingsErrors, closest
from plmtrain.settings.other_tools import elsewhere, remedy

_FILE_FLAGS = ("--config", "--config-file", "--config-name", "-cn")
"""How other programs take a file of settings."""

FLAGS = ("--config-dir", "-cd", "--cfg", "-c", "--multirun", "-m", "--help", "-h")


@dataclass(frozen=True)
class Arguments:
    """The arguments of a verb that composes settings.

    Args:
        overrides: the Hydra overrides, in order; a file of settings is among them.
        config_dir: a folder with the user's own YAML files.
        multirun: whether the overrides are a sweep.
        show: whether the settings are printed, and nothing is started.
    """

    overrides: tuple[str, ...] = ()
    config_dir: str | None = None
    multirun: bool = False
    show: bool = False


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Separate options from overrides.

    Raises:
        SettingsErrors: for unknown options, and for options without their value.
    """
    overrides: list[str] = []
    errors: list[SettingsError] = []
    config_dir: str | None = None
    multirun = show = False
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        if not word.startswith("-") or "=" in flag:
            overrides.append(word)
        elif word in ("-m", "--multirun"):
            multirun = True
        elif flag in ("--config-dir", "-cd", "--cfg", "-c"):
            if not equals:
                value = rest.pop(0) if rest else ""
            if flag in ("--cfg", "-c"):
                show = True
                if value != "job":
                    errors.append(SettingsError(f"--cfg takes 'job', not '{value}'", f"command line: {word}", "write --cfg job"))
            else:
                config_dir = value
                if not value or not Path(value).is_dir():
                    errors.append(
                        SettingsError(
                            f"--config-dir: there is no folder '{value}'",
                            f"command line: {word}",
                            "name a folder with your YAML files",
                        )
                    )
        else:
            theirs = elsewhere(flag)
            close = closest(flag, {*FLAGS, "--json"} - {flag})
            hint = (
                f"did you mean '{close}'?" if close else f"settings have no dashes: plmtrain list {flag.lstrip('-')} names them"
            )
            if theirs is not None:
                hint = remedy(flag, theirs)
            if flag in _FILE_FLAGS:
                hint = "write the file alone, as in plmtrain pretrain run.yaml; or --config-dir DIR with choices of groups"
            errors.append(SettingsError(f"there is no option '{flag}'", f"command line: {word}", hint))
    if errors:
        raise SettingsErrors(errors)
    return Arguments(tuple(overrides), None if config_dir is None else str(Path(config_dir).resolve()), multirun, show)
