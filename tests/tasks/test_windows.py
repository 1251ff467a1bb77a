"""Texts longer than a row: every token is read, and the scores of windows are joined as is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from support.memory_rows import VOCABULARY
from support.sentence_twin import randomise
from support.tiny_task import long_examples, program, tiny_model

from plmtrain import backbones
from plmtrain.batch import Inputs
from plmtrain.data.rows.windows import in_windows, windows
from plmtrain.keyed_random import Keys

torch.set_num_threads(1)


@pytest.mark.parametrize("overlap", [0, 3, 99])
@pytest.mark.parametrize("size", [1, 12, 13, 24, 25, 61])
def test_windows_cover_a_text_and_divide_its_tokens(size: int, overlap: int) -> None:
    spans = windows(size, 12, overlap)
    ends = spans[:, 0] + spans[:, 1]
    assert (spans[0, 0], ends[-1]) == (0, size)
    assert (spans[:, 1] <= 12).all()
    assert (spans[1:, 0] <= ends[:-1] - min(overlap, 6)).all()
    owned = np.concatenate([np.arange(begin, end) for _, _, begin, end in spans])
    assert owned.tolist() == list(range(size))
    assert ((spans[:, 2] >= spans[:, 0]) & (spans[:, 3] <= ends)).all()


@pytest.mark.parametrize("how", ["mean", "maximum"])
@pytest.mark.parametrize("family", ["bert", "xlnet", "gpt1"])
def test_the_score_of_a_text_is_that_of_its_windows(family: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each window alone, as a text of its own; answers are computed from a few windows at a time."""
    task = program(tiny_model(family), pairs=False, length=14, windows=how, overlap=3)
    task.lm_weight = 0.0
    learner = task.build(lambda model: backbones.build(model, VOCABULARY.size)).eval()
    randomise(learner)
    most = task.row_shape(14).length
    source = long_examples(9, most)
    rows = source.fetch(np.arange(9))
    assert len(set((-(-rows.lengths // most)).tolist())) > 2
    batch = task.collate(rows, Keys(0, np.zeros(9, np.int64), np.arange(9)))
    with torch.no_grad():
        joined = task.of_texts(learner.scores(batch.inputs), batch)
        alone = program(tiny_model(family), pairs=False, length=14)
        for number in range(9):
            parts, _ = in_windows(source.fetch(np.array([number])), most, 3)
            scores = learner.scores(alone.batch(parts, {}, torch.arange(len(parts))).inputs)
            expected = scores.mean(0) if how == "mean" else scores.amax(0)
            torch.testing.assert_close(joined[number], expected, atol=1e-5, rtol=1e-4)
        term = task.loss(learner, batch, {})[0]["classification"]
    expected_loss = torch.nn.functional.cross_entropy(joined, batch.targets["labels"], reduction="sum")
    assert term.total.item() == pytest.approx(expected_loss.item(), rel=1e-5)
    assert term.normaliser == 9
    monkeypatch.setattr("plmtrain.batch.READ_AT_ONCE", 4)
    read: list[int] = []
    scores = learner.scores

    def few(inputs: Inputs) -> torch.Tensor:
        read.append(len(inputs.ids))
        return scores(inputs)

    monkeypatch.setattr(learner, "scores", few)
    answers = task.answering.predict(learner, batch)
    assert (max(read), sum(read)) == (4, len(batch.inputs.ids))
    assert [list(answer["probabilities"].values()) for answer in answers] == [
        pytest.approx(row, abs=1e-6) for row in joined.softmax(-1).tolist()
    ]


def test_texts_that_fit_are_read_as_without_windows() -> None:
    plain, windowed = program(pairs=False), program(pairs=False, windows="maximum")
    rows = long_examples(6, 12, longest=11).fetch(np.arange(6))
    keys = Keys(0, np.zeros(6, np.int64), np.arange(6))
    one, other = plain.collate(rows, keys), windowed.collate(rows, keys)
    assert torch.equal(one.inputs.ids, other.inputs.ids)
    assert other.targets["windows"].tolist() == [[number] for number in range(6)]
    assert json.loads(json.dumps(windowed.titles(other))) == plain.titles(one)
