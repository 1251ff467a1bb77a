"""``plmtrain prepare`` and ``plmtrain tokenizer``: what they print, on a terminal of any width and on text of any script."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from support.command_line import plmtrain
from support.tiny_text import TEXT, write_texts

from plmtrain.data.corpus.updates import PreparationUpdate
from plmtrain.runs import preparation

KOREAN = "옛 방앗간은 강가에 서 있고 그 바퀴는 이제 돌지 않는다."
TOKENIZER = ["tokenizer.vocab_size=120", "data.processes=1", "trainer.sequence_length=16"]


def test_prepare_says_each_thing_in_one_line(tmp_path: Path) -> None:
    write_texts(tmp_path)
    result = plmtrain("prepare", *TEXT, *TOKENIZER, cwd=tmp_path)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("prepared/")
    assert lines[-2] == "0 held-out documents also in the training text, 0 lines skipped"
    assert lines[-1].startswith("unigram entropy ")
    assert lines[-1].endswith(" nats a token")


def test_the_tokenizer_shows_the_texts_own_words(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("\n\n".join([KOREAN] * 30) + "\n")
    result = plmtrain("tokenizer", "model=roberta", *TEXT, "tokenizer.vocab_size=300", cwd=tmp_path)
    assert result.code == 0, result.err
    shown, _, pieces = result.out.splitlines()[-1].partition("  →  ")
    assert shown == KOREAN
    assert pieces
    (tmp_path / "corpus.txt").write_text("한" * 500 + "\n\n" + "\n\n".join([KOREAN] * 30) + "\n")
    result = plmtrain("tokenizer", "model=roberta", *TEXT, "tokenizer.vocab_size=300", "seed=2", cwd=tmp_path)
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1].startswith("한" * 60 + "  →  ")


def test_the_bar_does_not_rest_while_the_tokens_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the text is read nobody knows how long it takes: the bar then moves to and fro, as it does without a total."""
    bars = []

    class Progress(preparation.Progress):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)  # type: ignore[arg-type]
            bars.append(self)

    monkeypatch.setattr(preparation, "Progress", Progress)
    with preparation._bar(Console(file=io.StringIO(), force_terminal=True, width=80)) as show:
        show(PreparationUpdate(stage="tokenizer", bytes=97, total_bytes=100, documents=3))
        assert bars[0].tasks[0].percentage == 97
        show(PreparationUpdate(stage="tokenizer", documents=4))
        assert bars[0].tasks[0].total is None


def test_the_last_thing_heard_of_the_text_is_that_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from plmtrain.data.corpus.trained_tokenizers import tokenizer_for
    from plmtrain.settings.composing.compose import compose
    from plmtrain.settings.decode import pretrain_settings

    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path)
    settings = pretrain_settings(compose([*TEXT, *TOKENIZER]))
    updates: list[PreparationUpdate] = []
    tokenizer_for(settings.data, settings.tokenizer, updates.append)
    last = [update for update in updates if update.stage == "tokenizer"][-1]
    assert (last.total_bytes, last.documents) == (0, 100)
