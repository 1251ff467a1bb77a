"""Compiled blocks: the same result, one graph for a shape whatever came before, shared by all layers.

Graphs are traced, and then run as they are, but in one slow test: generating code for them takes long.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support.every_program import PROGRAMS
from support.tiny_run import TINY_BERT, settings_of
from torch import nn

from plmtrain import backbones
from plmtrain.nn import bf16_products
from plmtrain.nn.attention import Visibility
from plmtrain.training.compilation import compile_blocks, uncompiled
from plmtrain.training.precision import autocast

SHORT = ("trainer.steps=2", "trainer.evaluate_every=2", "trainer.save_every=2")

KINDS: Mapping[str, tuple[tuple[str, ...], int]] = {
    # Steps of eight rows, and validations of eight and of two: three shapes for both layers.
    "clm": (("model.window=null", "data.isolate_documents=false", "trainer.activation_checkpointing=true"), 3),
    "ngram_mlm": ((), 3),  # its last layer is computed at the predicted positions alone, of which each batch has another number
}
"""Further settings of a program, and the number of its graphs."""


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The graphs that were compiled, each by the number of its operations."""
    torch.compiler.reset()
    made: list[int] = []

    def counting(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        made.append(len(graph.graph.nodes))
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counting))
    yield made
    torch.compiler.reset()


@pytest.mark.parametrize("name", KINDS)
def test_compiled_runs_come_to_the_same_with_a_graph_for_each_shape(tmp_path: Path, graphs: list[int], name: str) -> None:
    kind, (overrides, wanted) = PROGRAMS[name], KINDS[name]
    eager, compiled = (
        kind.run(tmp_path / value, *SHORT, *kind.no_dropout, *overrides, f"trainer.compile={value}")
        for value in ("false", "true")
    )
    eager.trainer().run()
    assert not graphs
    compiled.trainer().run()
    assert len(graphs) == wanted
    for one, other in zip(eager.records(), compiled.records(), strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-7)


def test_only_the_forward_pass_of_a_block_is_compiled(graphs: list[int]) -> None:
    """What is wrapped around it, such as the hooks of sharding, stays outside of the graph, which could not contain it."""
    backbone = backbones.build(settings_of(*TINY_BERT, "trainer.sequence_length=16").model, 30)
    first = backbone.blocks()[0]
    calls: list[nn.Module] = []
    first.register_forward_pre_hook(torch.compiler.disable(lambda module, inputs: calls.append(module)))
    compile_blocks(backbone, ragged=False)
    first(torch.zeros(2, 3, 16), Visibility())
    assert calls == [first]
    assert len(graphs) == 1
    with uncompiled():
        first(torch.zeros(2, 5, 16), Visibility())
    assert len(graphs) == 1
    first(torch.zeros(2, 5, 16), Visibility())
    assert len(graphs) == 2


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch generates C++ for a CPU")
def test_generated_code_rounds_what_is_widened_for_a_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a CPU has no bf16. A compiler may leave out a rounding that is undone at once, and did: the products were of fp32."""
    import torch._inductor.config

    # Never torch's own function: torch generated code for AVX2 then, and compiled it for the AVX-512 that it had seen before, so
    # that it wrote past the ends of its tensors. Torch keeps such code on disk, so the test has a place of its own for it.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(bf16_products, "cpu_abilities", lambda: {"avx2": True, "avx512_f": False})
    monkeypatch.setattr(torch._inductor.config, "emulate_precision_casts", False)
    torch.compiler.reset()
    model = backbones.build(settings_of(*TINY_BERT, "trainer.sequence_length=16").model, 50).eval()
    hidden = torch.randn(4, 8, model.width, generator=torch.Generator().manual_seed(0))
    (first, *_), cpu = model.blocks(), torch.device("cpu")
    try:
        with torch.no_grad(), autocast("bf16", cpu):
            eager = first(hidden, Visibility())
            compile_blocks(model, ragged=False)
            compiled = first(hidden, Visibility())
        with torch.no_grad():
            in_fp32 = first(hidden, Visibility())
    finally:
        torch.compiler.reset()
    assert (compiled - eager).abs().max() < 0.1 * (in_fp32 - eager).abs().max()
