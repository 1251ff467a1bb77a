"""The number format that ``trainer.precision=auto`` chooses, and the reason that is told."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from plmtrain.nn import bf16_products
from plmtrain.training import precision
from plmtrain.training.precision import choose_precision, precision_reason

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _as_the_cpu_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other tests take every CPU for one without bf16."""
    monkeypatch.setattr(precision, "cpu_abilities", bf16_products.cpu_abilities)


@pytest.mark.parametrize(
    ("capabilities", "chosen", "reason"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "bf16", "auto: the CPU has AMX"),
        ({"amx_bf16": False, "avx512_bf16": True}, "bf16", "auto: the CPU has AVX-512 BF16"),
        ({"avx512_f": True, "avx512_bf16": False}, "fp32", "auto: the CPU does not multiply bf16 in hardware"),
        ({}, "fp32", "auto: the CPU does not multiply bf16 in hardware"),
    ],
)
def test_auto_is_bf16_on_cpus_that_multiply_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, Any], chosen: str, reason: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert choose_precision("auto", CPU) == chosen
    assert precision_reason("auto", CPU) == reason


def test_older_versions_of_torch_are_asked_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    for name in ("_is_avx2_supported", "_is_avx512_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert choose_precision("auto", CPU) == "bf16"
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert choose_precision("auto", CPU) == "fp32"


def test_a_chosen_precision_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert choose_precision("fp32", CPU) == "fp32"
    assert precision_reason("fp32", CPU) == "trainer.precision=fp32"


def test_bf16_on_a_cpu_without_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_f": False}, raising=False)
    assert precision_reason("bf16", CPU) == "trainer.precision=bf16: this CPU has no bf16, so fp32 is computed and rounded"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_f": True}, raising=False)
    assert precision_reason("bf16", CPU) == "trainer.precision=bf16"
