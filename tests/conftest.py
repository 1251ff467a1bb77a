"""Settings of all tests: patience, no network, and which tests stay in one process when several processes share them."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
# Several test processes share the cores: threads that spin at barriers would take most of the time, and none survives a fork.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # of the tests that set a number of threads themselves

# Bytecode is kept: else each worker and each of a hundred child processes compiles the package and the tests anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What is made while tests are collected stays: neither this process nor its forked children look for garbage among it.
gc.disable()

# A busy machine is no bug.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _fp32_whatever_the_cpu_multiplies() -> Iterator[None]:
    """Tests compare numbers with closed forms and other libraries: ``auto`` is fp32 on every CPU; bf16 is asked for by name."""
    from plmtrain.nn.bf16_products import cpu_abilities
    from plmtrain.training import precision

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "cpu_abilities", lambda: {**cpu_abilities(), "amx_bf16": False, "avx512_bf16": False})
        yield


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Refuse a set as the values of a test: its order differs between processes, which then disagree about which tests there are.

    Raises:
        TypeError: a test is parametrised over a set.
    """
    for mark in metafunc.definition.iter_markers("parametrize"):
        if len(mark.args) > 1 and isinstance(mark.args[1], set | frozenset):
            raise TypeError(f"{metafunc.definition.nodeid}: the values of {mark.args[0]!r} are a set; give them an order.")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep tests that share a fixture of their module in one process, where it is made once (``--dist loadgroup``)."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        used = getattr(item, "_fixtureinfo", None)
        definitions = [one for several in used.name2fixturedefs.values() for one in several] if used else []
        shared = any(one.scope == "module" and not one.argname.startswith("_") for one in definitions)
        if shared and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
