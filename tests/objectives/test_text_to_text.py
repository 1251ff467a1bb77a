"""T5's objectives: what is read and written, the loss against all logits at once, what is measured, and what can be learnt."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from support.memory_rows import MemoryRows, vocabulary_of
from torch.nn import functional

from plmtrain import backbones, objectives
from plmtrain.batch import Batch
from plmtrain.data.rows.rows import Rows
from plmtrain.errors import DataError, SettingsError
from plmtrain.keyed_random import Keys
from plmtrain.programs.text_to_text.program import TextToText
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.models.relative_encoder_decoder import RelativeEncoderDecoderSettings
from plmtrain.settings.objectives.base import ObjectiveSettings
from plmtrain.settings.objectives.deshuffling import DeshufflingSettings
from plmtrain.settings.objectives.masked_text import MaskedTextSettings
from plmtrain.settings.objectives.prefix_lm import PrefixLMSettings
from plmtrain.settings.objectives.span_corruption import SpanCorruptionSettings

VOCABULARY = vocabulary_of("t5", 180)
PAD, END, FIRST = 0, 1, 179
TINY = RelativeEncoderDecoderSettings(name="tiny", layers=2, width=32, heads=2, head_width=16, feed_forward=64, dropout=0.0)
BART = EncoderDecoderSettings(name="tiny", layers=1, width=16, heads=2, feed_forward=32, positions=64)
OBJECTIVES: dict[str, ObjectiveSettings] = {
    "span_corruption": SpanCorruptionSettings(name="test"),
    "closed": SpanCorruptionSettings(name="test", closing_sentinel=True),
    "replaced_spans": SpanCorruptionSettings(name="test", mean_span_length=None),
    "dropped_tokens": SpanCorruptionSettings(name="test", mean_span_length=None, sentinels=False),
    "bert_style": MaskedTextSettings(name="test"),
    "mass_style": MaskedTextSettings(name="test", random_share=0.0),
    "deshuffling": DeshufflingSettings(name="test"),
    "prefix_lm": PrefixLMSettings(name="test"),
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def program(name: str, model: Any = TINY, vocabulary: Any = VOCABULARY) -> TextToText[Any]:
    built = objectives.build(OBJECTIVES[name], model, vocabulary)
    assert isinstance(built, TextToText)
    return built


def text(seed: int, rows: int, width: int, *, ragged: bool = False) -> Rows:
    draw = np.random.default_rng(seed)
    tokens = draw.choice(VOCABULARY.ordinary_ids, (rows, width))
    tokens[draw.random((rows, width)) < 0.03] = END  # ends of documents
    lengths = draw.integers(8, width + 1, rows) if ragged else np.full(rows, width)
    return Rows(tokens=tokens, lengths=lengths, word_starts=np.ones(tokens.shape, np.bool_))


def keys(rows: int, epoch: int = 0) -> Keys:
    return Keys(11, np.full(rows, epoch, np.int64), np.arange(rows))


def sides(batch: Batch) -> list[tuple[list[int], list[int]]]:
    """What is read and what is written in each row."""
    assert batch.inputs.decoder is not None
    tokens = batch.layout.tokens
    shape = batch.inputs.decoder.ids.shape
    labels = torch.full((shape.numel(),), -1)
    labels[batch.targets.get("positions", torch.arange(shape.numel()))] = batch.targets["labels"]
    read = [ids[slice(None) if tokens is None else tokens[row]].tolist() for row, ids in enumerate(batch.inputs.ids)]
    return [(one, [token for token in other if token >= 0]) for one, other in zip(read, labels.view(shape).tolist(), strict=True)]


def sentinels(ids: list[int]) -> list[int]:
    return [token for token in ids if token in VOCABULARY.sentinels]


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_two_sides_are_those_of_the_paper(name: str, ragged: bool) -> None:
    rows = text(1, 30, 50, ragged=ragged)
    batch = program(name).collate(rows, keys(30))
    written_first = batch.inputs.decoder.ids
    assert written_first[:, 0].tolist() == [PAD] * 30
    for row, (read, written) in enumerate(sides(batch)):
        whole = rows.tokens[row, : rows.lengths[row]].tolist()
        assert read[-1] == written[-1] == END
        assert written_first[row, 1 : len(written)].tolist() == written[:-1]
        gaps, pieces = read[:-1], written[:-1]
        if name in ("span_corruption", "closed", "replaced_spans"):
            used = sentinels(gaps)
            closing = [FIRST - len(used)] if name == "closed" else []
            assert sentinels(pieces) == [FIRST - turn for turn in range(len(used))] + closing
            assert used == sentinels(pieces)[: len(used)]
            restored: list[int] = []
            for token in gaps:
                following = pieces[pieces.index(token) + 1 :] if token in used else []
                end = next((place for place, other in enumerate(following) if other in VOCABULARY.sentinels), len(following))
                restored += following[:end] if token in used else [token]
            assert restored == whole
        elif name == "dropped_tokens":
            assert Counter(gaps) + Counter(pieces) == Counter(whole)
        elif name == "prefix_lm":
            assert gaps + pieces == whole
            assert gaps
            assert pieces
        else:
            assert pieces == whole
            assert len(gaps) == len(whole)
        if name == "deshuffling":
            assert Counter(gaps) == Counter(whole)
        if name == "mass_style":
            assert {read for read, was in zip(gaps, whole, strict=True) if read != was} <= {FIRST}


def test_shares_of_masks_and_random_tokens() -> None:
    rows = text(2, 400, 100)
    rows.tokens[rows.tokens == END] = 4
    read = program("bert_style").collate(rows, keys(400)).inputs.ids[:, :-1].numpy()
    masked, changed = read == FIRST, (read != FIRST) & (read != rows.tokens)
    total, tokens = rows.tokens.size, len(VOCABULARY.ordinary_ids)
    for flags, share in ((masked, 0.15 * 0.9), (changed, 0.15 * 0.1 * (1 - 1 / tokens))):
        assert abs(flags.mean() - share) < 5 * (share * (1 - share) / total) ** 0.5
    assert not np.isin(read[changed], VOCABULARY.special_ids).any()


@pytest.mark.parametrize(
    ("name", "length"), [("span_corruption", 64), ("span_corruption", 20), ("closed", 40), ("bert_style", 30)]
)
def test_no_row_is_padded_or_cut(name: str, length: int) -> None:
    made = program(name)
    shape = made.row_shape(length)
    batch = made.collate(text(3, 6, shape.length), keys(6))
    assert batch.inputs.ids.shape == (6, length)
    assert batch.layout.tokens is None
    assert "positions" not in batch.targets
    assert not made.ragged


def test_too_short_rows_and_too_many_spans_are_refused() -> None:
    with pytest.raises(SettingsError, match="too short"):
        program("span_corruption").row_shape(3)
    assert program("span_corruption").row_shape(512).length == 568
    few = vocabulary_of("t5", 180)
    few = type(few)(few.size, few.roles, few.special_ids, (), few.sentinels[:10])
    with pytest.raises(SettingsError, match="28 spans, and the vocabulary has 10 sentinels"):
        program("span_corruption", vocabulary=few).row_shape(512)
    with pytest.raises(SettingsError, match="too short for a prefix"):
        program("prefix_lm", BART, vocabulary_of("roberta")).row_shape(3)


@pytest.mark.parametrize("tied", [True, False])
def test_the_loss_is_that_of_all_logits_and_measures_are_of_content_alone(tied: bool) -> None:
    made = program("replaced_spans", TINY.model_copy(update={"tied_output": tied}))
    learner = made.build(lambda model: backbones.build(model, 256))
    batch = made.collate(text(4, 5, 30), keys(5))
    terms, _ = made.loss(learner.eval(), batch, {})
    term = terms["span_corruption"]
    labels = torch.full(batch.inputs.decoder.ids.shape, -100).flatten()
    labels[batch.targets["positions"]] = batch.targets["labels"]
    scores = learner.token_scores(batch.inputs).flatten(0, 1)
    assert scores.shape[1] == 256  # 28 rows are of no token, as in the published models
    torch.testing.assert_close(term.total, functional.cross_entropy(scores, labels, reduction="sum", ignore_index=-100))
    assert term.normaliser == (labels >= 0).sum()
    content = torch.tensor([label >= 0 and label not in VOCABULARY.special_ids for label in labels.tolist()])
    losses = functional.cross_entropy(scores, labels.clamp(min=0), reduction="none")[content]
    unigram = np.linspace(1.0, 5.0, VOCABULARY.size)
    counts = {f"span_corruption/{name}": count.detach().double().numpy() for name, count in term.counts.items()}
    measured = made.measures(counts, unigram)
    assert measured["content_loss"] == pytest.approx(losses.mean().item(), rel=1e-5)
    assert measured["content_unigram_loss"] == pytest.approx(unigram[labels[content].numpy()].mean())


def test_what_can_be_copied_is_no_content() -> None:
    rows = text(5, 20, 40)
    made = program("mass_style")
    batch = made.collate(rows, keys(20))
    read, written = batch.inputs.ids.numpy(), batch.targets["labels"].view(20, -1).numpy()
    assert (batch.targets["content"].view(20, -1).numpy() == ((read == FIRST) & (written != END))).all()


@pytest.mark.parametrize("name", ["span_corruption", "deshuffling", "prefix_lm"])
def test_documents_are_isolated_on_both_sides(name: str) -> None:
    """The gradient of what one document's targets lose with respect to another's inputs is nothing."""
    rows = text(6, 4, 40)
    documents = (np.arange(40) >= np.array([[9], [20], [33], [40]])).astype(np.int64)
    made = program(name)
    batch = made.collate(Rows(**{**vars(rows), "documents": documents}), keys(4))
    learner: Any = made.build(lambda model: backbones.build(model, 256))
    own = batch.inputs.decoder
    tables = [learner.backbone.token.weight.detach()[ids].requires_grad_() for ids in (batch.inputs.ids, own.ids)]
    learner.backbone.token.forward = lambda ids: tables[0] if ids is batch.inputs.ids else tables[1]
    hidden = learner.backbone.hidden(batch.inputs)
    second = own.layout.documents == 1
    assert second.any()
    assert not second.all()
    hidden[second].sum().backward()
    read, written = (table.grad.abs().sum(-1) > 0 for table in tables)
    assert not read[batch.layout.documents == 0].any()
    assert not written[own.layout.documents == 0].any()
    assert read[batch.layout.documents == 1].any()


def test_a_bart_reads_and_writes_framed_texts() -> None:
    roberta = vocabulary_of("roberta")
    made = program("deshuffling", BART, roberta)
    rows = MemoryRows(3, 10, vocabulary=roberta).fetch(np.arange(3))
    batch = made.collate(rows, keys(3))
    assert batch.inputs.ids[:, [0, -1]].tolist() == [[0, 2]] * 3
    assert batch.inputs.decoder.ids[:, :2].tolist() == [[2, 0]] * 3
    assert batch.targets["labels"].view(3, -1)[:, -1].tolist() == [2] * 3


@pytest.mark.parametrize("name", ["span_corruption", "bert_style", "deshuffling"])
def test_eight_rows_are_overfitted_and_then_written(name: str) -> None:
    """Every parameter gets a gradient; and what is predicted for a row that was learnt by heart is its target, up to its end."""
    made: Any = program(name, TINY.model_copy(update={"layers": 1}))
    torch.manual_seed(0)
    learner = made.build(lambda model: backbones.build(model, 256)).train()
    rows = text(7, 8, 12)
    batch = made.collate(rows, keys(8))
    optimiser = torch.optim.Adam(learner.parameters(), lr=1e-2)
    for _ in range(400):
        (term,) = made.loss(learner, batch, {})[0].values()
        optimiser.zero_grad()
        (term.total / term.normaliser).backward()
        if float(term.total.detach() / term.normaliser) < 0.05:
            break
        optimiser.step()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in learner.parameters())
    assert float(term.total.detach() / term.normaliser) < 0.05
    answers = made.answering.predict(learner.eval(), batch)
    assert [answer["written"] for answer in answers] == [written[: written.index(END)] for _, written in sides(batch)]
    assert len(made.answering.demonstrate(learner, rows, Words()).rows) == 8


def test_inspection_shows_both_sides_and_counts_them() -> None:
    made = program("span_corruption")
    shape = made.row_shape(32)
    batch = made.collate(text(8, 3, shape.length), keys(3))
    shown = made.inspect(batch)
    for row, (read, written) in zip(shown.rows, sides(batch), strict=True):
        assert [token for token, _ in row.lines["input"]] == read
        assert [token for token, _ in row.lines["target"]] == written
        assert all((mark == "masked") == (token in VOCABULARY.sentinels) for line in row.lines.values() for token, mark in line)
    assert shown.histograms["tokens that the encoder reads"] == {32: 3}
    content = sum(token not in VOCABULARY.special_ids for _, written in sides(batch) for token in written)
    assert shown.rates["content tokens, of targets"] == (content, sum(len(written) for _, written in sides(batch)))


class Words:
    """A tokenizer of which each token is its number, in brackets where it is special."""

    vocabulary = VOCABULARY

    def encode_with_specials(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        ids = np.array([int(word.strip("<>")) for word in text.split()])
        return ids, np.ones(len(ids), np.bool_)

    def decode(self, ids: Any, *, skip_special: bool = True) -> str:
        return " ".join(str(token) for token in ids if not skip_special or token not in VOCABULARY.special_ids)

    def pieces(self, ids: Any) -> list[str]:
        return [f"<{token}>" for token in ids]


def test_sentinels_are_filled_with_what_is_written_after_them() -> None:
    filling: Any = program("span_corruption").answering
    words: Any = Words()
    question = "5 <179> 6 <178> 7 <177>"
    rows = filling.questions([question], words)
    assert filling.collate(rows).inputs.ids.tolist() == [[5, 179, 6, 178, 7, 177, 1]]
    answer = filling.read_out(question, rows.tokens[0], {"written": [179, 11, 12, 178, 13, 179, 14]}, words)
    assert answer.values["filled"] == "5 11 12 6 13 7"
    assert [span["text"] for span in answer.values["spans"]] == ["11 12", "13", ""]
    with pytest.raises(DataError, match="nothing to fill in") as told:
        filling.questions(["5 6"], words)
    assert "<179>" in told.value.remedy
