"""The YAML files of some choices: which they are, in what order, and their values, merged. Hydra reads their defaults lists."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra._internal.defaults_list import DefaultsList, create_defaults_list
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from plmtrain.settings.composing.folders import conf_folder, merge_values, values_in
from plmtrain.settings.composing.overrides import quoted

_one_at_a_time = threading.RLock()


def search_path(config_dir: str | None) -> list[str]:
    """Return the override that adds the user's own folder to Hydra's search path."""
    if config_dir is None:
        return []
    return [f"hydra.searchpath=[{quoted(f'file://{config_dir}')}]"]


@contextmanager
def hydra_at_work() -> Iterator[None]:
    """Initialise Hydra on plmtrain's folder, and clear it before the next use: Hydra is a global object.

    One thread at a time, since Hydra's state is global, and the jobs of a sweep compose in parallel.
    """
    with _one_at_a_time:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(conf_folder()), job_name="plmtrain", version_base="1.3"):
            yield


def merge_files(config_dir: str | None, groups: tuple[str, ...], primary: str) -> DictConfig:
    """Return the merged values of the YAML files of some choices.

    Args:
        config_dir: the folder of ``--config-dir``.
        groups: the choices, as Hydra's overrides.
        primary: the kind of run.
    """
    if config_dir is None:
        return OmegaConf.create(_shipped_values(groups, primary))
    with hydra_at_work():
        return hydra_compose(primary, [*search_path(config_dir), *groups])


def files_merged(config_dir: str | None, groups: tuple[str, ...], primary: str) -> Sequence[tuple[str, str]]:
    """Return the files that are merged, in order, each with the package of its values."""
    if config_dir is None:
        return _shipped_files(groups, primary)
    with hydra_at_work():
        loader = GlobalHydra.instance().config_loader()
        return _listed(loader.compute_defaults_list(primary, [*search_path(config_dir), *groups], RunMode.RUN))


def inside(package: str, values: Any) -> Any:
    """Return values below the keys of a package."""
    for part in reversed([part for part in package.split(".") if part]):
        values = {part: values}
    return values


@lru_cache(maxsize=128)
def _shipped_values(groups: tuple[str, ...], primary: str) -> dict[str, Any]:
    """Merge plmtrain's own files, which are plain values; Hydra takes longer, since it composes its own, too."""
    whole: dict[str, Any] = {}
    for path, package in _shipped_files(groups, primary):
        values = {key: value for key, value in values_in(conf_folder() / f"{path}.yaml").items() if key != "defaults"}
        whole = merge_values(whole, inside(package, values))
    return whole


@lru_cache(maxsize=128)
def _shipped_files(groups: tuple[str, ...], primary: str) -> Sequence[tuple[str, str]]:
    overrides = OverridesParser.create().parse_overrides(list(groups))
    with _one_at_a_time:
        merged = create_defaults_list(_shipped_repository(), primary, overrides, prepend_hydra=False, skip_missing=False)
    return _listed(merged)


@cache
def _shipped_repository() -> IConfigRepository:
    """Return plmtrain's own files, which do not change during the process, for all compositions: each is read once."""
    with hydra_at_work():
        loader: Any = GlobalHydra.instance().config_loader()
    return CachingConfigRepository(loader.repository)


def _listed(merged: DefaultsList) -> Sequence[tuple[str, str]]:
    return [(str(default.config_path), default.package or "") for default in merged.defaults]
