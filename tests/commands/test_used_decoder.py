"""A language model in use: ``predict`` shows a continuation while it is written, and the precision is the one asked for."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.finished_run import SHAPE, TEXTS, finished_run
from torch import nn

from plmtrain.cli import main
from plmtrain.commands import predict
from plmtrain.runs.asked import asked
from plmtrain.runs.scored import scored
from plmtrain.scoring import score
from plmtrain.settings.scoring.perplexity import PerplexitySettings

GPT2 = ["model=gpt2", "objective=clm", "trainer.threads=1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "gpt2"
    finished_run(folder, GPT2)
    return folder


class Terminal(io.StringIO):
    """A terminal that keeps what is written at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return super().write(text)


def shown(run: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """The output of ``predict`` in a pipe, and on a terminal piece by piece."""
    outputs: list[Any] = [io.StringIO(), Terminal()]
    for output in outputs:
        monkeypatch.setattr(sys, "stdout", output)
        assert predict.run([str(run), *arguments]) == 0
    return outputs[0].getvalue(), [piece for piece in outputs[1].pieces if piece]


@pytest.mark.parametrize("seed", range(12))
def test_a_continuation_is_shown_while_it_is_written(run: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights write bytes that form no characters, and characters in pieces."""
    options = ["--sample", "--seed", str(seed), "--temperature", "1.5", "--max-new-tokens", "24"]
    whole, pieces = shown(run, "The low fog", *options, monkeypatch=monkeypatch)
    assert "".join(pieces) == whole
    assert pieces[0] == "The low fog"
    assert len(pieces) > 8


def test_a_stop_text_is_never_shown(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--sample", "--seed", "3", "--max-new-tokens", "24"]
    whole, _ = shown(run, "The fog", *options, monkeypatch=monkeypatch)
    written = whole.removeprefix("The fog").rstrip("\n")
    for place in range(3, len(written) - 4, 8):
        stop = written[place : place + 4]
        cut, pieces = shown(run, "The fog", *options, "--stop", stop, monkeypatch=monkeypatch)
        assert "".join(pieces) == cut == f"The fog{written[: written.index(stop)]}\n"


def test_what_is_not_shown_while_it_is_written(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers to several prompts, what beams search for, and JSON."""
    for arguments, most in ((["The", "A"], 4), (["The", "--beams", "2"], 2), (["The", "--json"], 2)):
        whole, pieces = shown(run, *arguments, "--max-new-tokens", "8", monkeypatch=monkeypatch)
        assert "".join(pieces) == whole
        assert len(pieces) <= most


def test_an_error_begins_on_a_line_of_its_own(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter(range(4))
    monkeypatch.setattr("plmtrain.generation.single.safe_point", lambda: next(turns))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with pytest.raises(RuntimeError):  # of a generator whose iterator ends
        predict.run([str(run), "The low fog"])
    assert terminal.pieces[-1] == "\n"


@pytest.mark.parametrize(
    ("own", "wanted", "kind"),
    [
        ("auto", "bf16", torch.bfloat16),
        ("auto", "fp32", torch.float32),
        ("bf16", None, torch.bfloat16),
        ("bf16", "fp32", torch.float32),
    ],
)
def test_products_have_the_precision_that_is_asked_for(
    tmp_path: Path, own: str, wanted: Any, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In predict and evaluate; weights stay in fp32."""
    finished_run(tmp_path / "run", [*GPT2, f"trainer.precision={own}"], [*SHAPE, "trainer.device=cpu"])
    kinds: set[torch.dtype] = set()
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, _, output: kinds.add(output.dtype) if isinstance(module, nn.Linear) else None
    )
    try:
        model = asked(tmp_path / "run", None, wanted)
        rows = model.answering.questions([TEXTS[0][:20]], model.tokenizer)
        assert len(list(model.answers([TEXTS[0][:20]], rows))) == 1
        assert kinds == {kind}
        kinds.clear()
        subject = scored(tmp_path / "run", [], wanted, lambda update: None).subject
        (tmp_path / "text.txt").write_text(TEXTS[0])
        score(PerplexitySettings(files=[str(tmp_path / "text.txt")]), subject)
        assert kinds == {kind}
        assert {parameter.dtype for one in (model, subject) for parameter in one.learner.parameters()} == {torch.float32}
    finally:
        handle.remove()


def test_an_unknown_precision_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--precision", "bf61"]) == 2
    assert "--precision takes one of auto, fp32, bf16, fp16, not 'bf61'" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--json", "--precision"]) == 2
    assert main(["predict", str(run), "--precision", "bf61", "a"]) == 2
    assert "--precision" in capsys.readouterr().err
