"""BART's denoising: what is read and written, its loss against all logits at once, and what it can learn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.bart_twin import VOCABULARY as TWIN_VOCABULARY
from support.bart_twin import example, twins
from support.memory_rows import vocabulary_of
from torch.nn import functional

from plmtrain import backbones, objectives
from plmtrain.batch import Inputs, Layout, shift_right
from plmtrain.corruption.noising import DELETED, HIDDEN
from plmtrain.data.rows.rows import Rows
from plmtrain.data.rows.translations import LanguageRows
from plmtrain.errors import SettingsError
from plmtrain.families import TOKENIZER_FAMILIES
from plmtrain.interop.inputs import inputs_of
from plmtrain.keyed_random import Keys
from plmtrain.objectives.bart import Bart
from plmtrain.programs.learner import switch_dropout
from plmtrain.programs.text_to_text.learner import EncoderDecoderLearner
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.objectives.bart import BartSettings
from plmtrain.text.vocabulary import Vocabulary
from plmtrain.training.evaluation import evaluate
from plmtrain.training.group import Group
from plmtrain.training.step import Step

VOCABULARY = Vocabulary(200, {"cls": 0, "bos": 0, "pad": 1, "sep": 2, "eos": 2, "unk": 3, "mask": 199}, (0, 1, 2, 3, 199))
TINY = EncoderDecoderSettings(name="tiny", layers=2, width=32, heads=2, feed_forward=64, positions=80)
NOISES: list[dict[str, Any]] = [{}, {"infill": 0, "permute": 0, "mask": 0.2, "delete": 0.2, "insert": 0.1, "rotate": 0.5}]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def program(model: EncoderDecoderSettings = TINY, vocabulary: Vocabulary = VOCABULARY, **changes: Any) -> Bart:
    built = objectives.build(BartSettings(name="test", **changes), model, vocabulary)
    assert isinstance(built, Bart)
    return built


def text(seed: int, rows: int, width: int, *, ragged: bool = False) -> Rows:
    draw = np.random.default_rng(seed)
    tokens = draw.choice(VOCABULARY.ordinary_ids, (rows, width))
    tokens[draw.random((rows, width)) < 0.03] = VOCABULARY["sep"]
    starts = (draw.random((rows, width)) < 0.7) | VOCABULARY.is_special[tokens]
    lengths = draw.integers(1, width + 1, rows) if ragged else np.full(rows, width)
    sentences = draw.random((rows, width)) < 0.15
    return Rows(tokens=tokens, lengths=lengths, word_starts=starts, sentence_starts=sentences)


def keys(rows: int, epoch: int = 0) -> Keys:
    return Keys(11, np.full(rows, epoch, np.int64), np.arange(rows))


def learner(bart: Bart, seed: int = 0) -> EncoderDecoderLearner:
    torch.manual_seed(seed)
    return bart.build(lambda settings: backbones.build(settings, bart.vocabulary.size))


@pytest.mark.parametrize("noise", NOISES, ids=["paper", "others"])
@pytest.mark.parametrize("ragged", [False, True])
def test_the_decoder_writes_the_row_as_it_was(noise: dict[str, Any], ragged: bool) -> None:
    rows = text(1, 20, 50, ragged=ragged)
    batch = program(**noise).collate(rows, keys(20))
    read = batch.inputs.decoder.ids
    assert read[:, 0].tolist() == [2] * 20  # a fixed token begins, whatever the row ends with
    written = [[0, *rows.tokens[row, : rows.lengths[row]].tolist(), 2] for row in range(20)]
    assert batch.targets["labels"].tolist() == sum(written, [])  # noqa: RUF017
    for row, expected in enumerate(written):
        assert read[row, 1 : len(expected)].tolist() == expected[:-1]
    if ragged:
        flat = batch.targets["positions"]
        assert flat.tolist() == [row * 52 + place for row, one in enumerate(written) for place in range(len(one))]
        assert batch.layout.tokens is not None
    else:
        assert "positions" not in batch.targets
    marks = batch.targets["marks"].numpy() & (HIDDEN | DELETED) != 0
    assert batch.normalisers["denoising"] == rows.lengths.sum() + 40
    assert batch.normalisers["corrupted"] == marks.sum() == batch.targets["corrupted"].sum()
    ids = batch.inputs.ids
    assert ids[:, 0].eq(0).all()
    real = torch.ones_like(ids).bool() if batch.layout.tokens is None else batch.layout.tokens
    assert (ids[real] != 1).all()
    assert (ids[~real] == 1).all()
    assert real.any(0).all()  # padded to the longest, and no further
    assert batch.inputs.segments is batch.inputs.positions is None
    assert {batch.inputs.ids.dtype, read.dtype} == {torch.int64}


@pytest.mark.parametrize("ragged", [False, True])
def test_the_loss_is_the_mean_over_all_written_tokens(ragged: bool) -> None:
    """Against transformers' definition: cross-entropy of all logits, padding ignored; and its gradients."""
    bart = program(TINY.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0}))
    model = learner(bart).train()
    batch = bart.collate(text(2, 6, 40, ragged=ragged), keys(6))
    terms, carry = bart.loss(model, batch, {})
    assert carry == {}
    assert tuple(terms) == bart.terms
    scores = model.token_scores(batch.inputs)
    labels = torch.full(scores.shape[:2], -100)
    positions = batch.targets.get("positions", torch.arange(labels.numel()))
    labels.view(-1)[positions] = batch.targets["labels"]
    expected = functional.cross_entropy(scores.flatten(0, 1), labels.flatten())
    loss = terms["denoising"].total / terms["denoising"].normaliser
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    parameters = list(model.parameters())
    for one, other in zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)

    corrupted = terms["corrupted"]
    assert (corrupted.weight, corrupted.total.requires_grad) == (0.0, False)
    each = functional.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none")[positions]
    assert corrupted.total.item() == pytest.approx(each[batch.targets["corrupted"]].sum().item(), rel=1e-4)


def test_the_loss_is_that_of_transformers() -> None:
    theirs, ours = twins()
    vocabulary = Vocabulary(TWIN_VOCABULARY, VOCABULARY.roles, (0, 1, 2, 3, 96))
    bart = program(ours.settings, replace(vocabulary, roles={**VOCABULARY.roles, "mask": 96}))
    tokens = np.random.default_rng(0).integers(4, 96, (4, 20))
    rows = Rows(tokens=tokens, lengths=np.array([20, 7, 12, 1]), word_starts=np.ones_like(tokens, np.bool_))
    batch = bart.collate(rows, keys(4))
    labels = torch.full(batch.inputs.decoder.ids.shape, -100)
    labels.view(-1)[batch.targets["positions"]] = batch.targets["labels"]
    assert batch.layout.tokens is not None
    with torch.no_grad():
        expected = theirs(input_ids=batch.inputs.ids, attention_mask=batch.layout.tokens.long(), labels=labels).loss
        term = bart.loss(EncoderDecoderLearner(ours).eval(), batch, {})[0]["denoising"]
    assert term.total.item() / term.normaliser == pytest.approx(expected.item(), rel=1e-5)
    read = bart.answering.collate(rows)
    decoder = Inputs(ids=shift_right(read.inputs.ids, 2), layout=Layout(causal=True))
    scores = EncoderDecoderLearner(ours).eval().token_scores(replace(read.inputs, decoder=decoder))
    with torch.no_grad():
        logits = theirs(input_ids=read.inputs.ids, attention_mask=read.layout.tokens.long()).logits  # their own shift
    real = read.layout.tokens
    torch.testing.assert_close(scores[real], logits[real], atol=2e-5, rtol=1e-4)


def test_every_parameter_gets_a_gradient() -> None:
    bart = program()
    model = learner(bart).train()
    bart.loss(model, bart.collate(text(3, 8, 78), keys(8)), {})[0]["denoising"].total.backward()
    silent = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert silent == []
    assert len(list(model.parameters())) == len(list(model.backbone.parameters()))


def test_documents_of_a_row_are_isolated() -> None:
    """What is written of one document does not depend on the words of another."""
    bart = program(infill=0.3)
    model = learner(bart).eval()
    tokens = np.concatenate([np.arange(10, 20), [2], np.arange(30, 40), [2]])[None]
    rows = Rows(
        tokens=tokens,
        lengths=np.array([22]),
        word_starts=np.ones_like(tokens, np.bool_),
        documents=np.repeat([0, 1], 11)[None],
        sentence_starts=tokens % 5 == 0,
    )
    other = replace(rows, tokens=np.where(rows.documents == 0, (rows.tokens - 10) % 10 + 100, rows.tokens))
    other.tokens[0, 10] = 2

    def states(given: Rows) -> torch.Tensor:
        batch = bart.collate(given, keys(1))
        return model.backbone.hidden(batch.inputs)[0]

    with torch.no_grad():
        one, two = states(rows), states(other)
    assert torch.allclose(one[12:-1], two[12:-1], atol=1e-6)
    assert not torch.allclose(one[2:11], two[2:11], atol=1e-3)


def test_eight_rows_are_learnt_by_heart() -> None:
    bart = program(TINY.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0}))
    model = learner(bart).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    rows = text(10, 8, 24)
    for epoch in range(220):
        terms = bart.loss(model, bart.collate(rows, keys(8, epoch=epoch)), {})[0]
        optimizer.zero_grad()
        (terms["denoising"].total / terms["denoising"].normaliser).backward()
        optimizer.step()
    assert terms["corrupted"].total.item() / terms["corrupted"].normaliser < 0.1  # log(200) = 5.3 to begin with
    # And written anew from a corrupted form that was never seen, token by token.
    model.eval()
    batch = bart.collate(rows, keys(8, epoch=1000))
    restored = [answer["written"] for answer in bart.answering.predict(model, batch)]
    whole = [row[: row.index(2)] if 2 in row else row for row in rows.tokens.tolist()]
    assert sum(one == other for one, other in zip(restored, whole, strict=True)) >= 6
    beams = bart.answering.writing(GenerationSettings(beams=3), None).predict(model, batch)
    assert sum(one["written"] == other for one, other in zip(beams, whole, strict=True)) >= 6


def test_predictions_end_where_they_are_told_to() -> None:
    bart = program()
    model = learner(bart).eval()
    batch = bart.answering.collate(text(5, 3, 20, ragged=True))
    for options in ({}, {"beams": 2}, {"sample": True}):
        chosen = bart.answering.writing(GenerationSettings(max_new_tokens=9, min_new_tokens=8, **options), None)
        answers = chosen.predict(model, batch)
        assert [answer["sample"] for answer in answers] == [0, 1, 2]
        assert all(len(answer["written"]) == 7 for answer in answers)  # nine with the tokens that frame them
    assert bart.answering.generation == GenerationSettings()


def test_what_is_not_read_is_refused() -> None:
    ids, model = example()[0], learner(program())
    with pytest.raises(SettingsError, match="does not read token_type_ids"):
        inputs_of(TINY, VOCABULARY.size, VOCABULARY.roles, ids, {"token_type_ids": ids})
    decoder = Inputs(ids=ids, layout=Layout(causal=True))
    with pytest.raises(AssertionError, match="no languages"):
        model.token_scores(Inputs(ids=ids, segments=ids, decoder=decoder))


def test_inspect_counts_what_was_done() -> None:
    bart, rows = program(mask=0.05, delete=0.1, insert=0.05), text(11, 100, 50, ragged=True)
    batch = bart.collate(rows, keys(100))
    shown = bart.inspect(batch)
    content = sum(int((~VOCABULARY.is_special[rows.tokens[row, :length]]).sum()) for row, length in enumerate(rows.lengths))
    read, original = (sum(len(row.lines[label]) for row in shown.rows) for label in ("input", "original"))
    assert original == rows.lengths.sum() + 200
    assert shown.rates["hidden"][1] == shown.rates["deleted"][1] == content
    assert sum(shown.rates[name][0] for name in ("hidden", "deleted")) == batch.normalisers["corrupted"]
    assert shown.rates["specials touched"][0] == 0
    masks = shown.rates["masks in the input"]
    assert masks == (int((batch.inputs.ids == 199).sum()), read)
    words = shown.histograms["words replaced by a mask (0: inserted)"]
    assert sum(words.values()) == masks[0]
    assert words[0] == shown.rates["inserted, of masks"][0]
    assert sum(size * times for size, times in shown.histograms["masks per row"].items()) == masks[0]
    for row in shown.rows:
        hidden = [token for token, mark in row.lines["original"] if mark in ("masked", "deleted")]
        assert [token for token, mark in row.lines["target"] if mark == "target"] == hidden
        assert {token for token, mark in row.lines["input"] if mark in ("masked", "inserted")} <= {199}
        assert [token for token, mark in row.lines["input"] if mark == "special"] == [
            token for token, mark in row.lines["original"] if mark == "special"
        ]


def test_a_vocabulary_without_a_mask_is_refused() -> None:
    with pytest.raises(SettingsError, match="mask"):
        program(vocabulary=Vocabulary(10, {"pad": 0, "cls": 1, "sep": 2}, (0, 1, 2)))


class Kept:
    """Rows in memory."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def fetch(self, indices: np.ndarray) -> Rows:
        by_row = ("tokens", "lengths", "word_starts", "sentence_starts")
        return replace(self.rows, **{name: getattr(self.rows, name)[indices] for name in by_row})


def test_the_unigram_loss_is_that_of_the_corrupted_tokens() -> None:
    """Those are what is written and not read, wherever it is read: sentences and documents move."""
    bart = program(infill=0.2, mask=0.1, delete=0.1, insert=0.1, rotate=0.5)
    rows, unigram = Kept(text(12, 20, 50, ragged=True)), np.linspace(1, 9, VOCABULARY.size)
    step = Step(learner(bart), "fp32")
    values = evaluate(step, bart, rows, Group("cpu", 60, 1), batch_size=7, unigram=unigram)
    assert values is not None
    batch = bart.collate(rows.fetch(np.arange(20)), Keys(0, np.zeros(20, np.int64), np.arange(20)))
    corrupted = Counter(batch.targets["labels"].tolist()) - Counter(batch.inputs.ids.flatten().tolist())
    assert corrupted.total() == batch.normalisers["corrupted"] > 50
    expected = sum(unigram[token] * count for token, count in corrupted.items()) / corrupted.total()
    assert values["corrupted_unigram_loss"] == pytest.approx(expected)
    assert bart.baseline is not None
    assert f"corrupted tokens {values['loss/corrupted']:.3f} nats each" in bart.baseline.compare(values)
    alone = evaluate(step, bart, rows, Group("cpu", 60, 1), batch_size=20)
    assert alone == pytest.approx({name: value for name, value in values.items() if name != "corrupted_unigram_loss"}, rel=1e-5)


def test_dropout_can_be_off_in_train_mode() -> None:
    """The loss of training is then that of validation, which has no dropout; what only validation counts is not counted."""
    bart = program(TINY)
    made = learner(bart).train()
    batch = bart.collate(text(1, 4, 30), keys(4))
    switch_dropout(made, False)
    (off, _), (again, _) = (bart.loss(made, batch, {}) for _ in range(2))
    assert made.training
    assert off["corrupted"].counts == {}
    switch_dropout(made, True)
    on, _ = bart.loss(made, batch, {})
    plain, _ = bart.loss(made.eval(), batch, {})
    assert off["denoising"].total.item() == again["denoising"].total.item()
    torch.testing.assert_close(off["denoising"].total, plain["denoising"].total)
    assert on["denoising"].total.item() != off["denoising"].total.item()


MBART = vocabulary_of("mbart")
SPEAKING = TINY.model_copy(update={"family": "mbart", "languages": ("de", "en_XX", "ko")})


def spoken(rows: int) -> LanguageRows:
    numbers = np.random.default_rng(3)
    tokens = numbers.choice(MBART.ordinary_ids, (rows, 12))
    starts, lengths = np.ones(tokens.shape, np.bool_), numbers.integers(4, 13, rows)
    return LanguageRows(tokens=tokens, lengths=lengths, word_starts=starts, languages=numbers.integers(0, 3, rows))


def test_a_row_ends_with_the_token_of_its_language_and_the_decoder_starts_with_it() -> None:
    """Liu et al. 2020, section 2.2. Neither that token nor the one before it is ever noised."""
    bart, rows = program(SPEAKING, MBART, by_language=True, mask=0.5, delete=0.3), spoken(40)
    codes = TOKENIZER_FAMILIES["mbart"].languages
    ids = [MBART["mask"] - 25 + codes.index(code) for code in ("de_DE", "en_XX", "ko_KR")]
    batch = bart.collate(rows, keys(40))
    decoder, tokens = batch.inputs.decoder, batch.layout.tokens
    assert decoder is not None
    assert tokens is not None
    labels = iter(batch.targets["labels"].tolist())
    for row, (language, length) in enumerate(zip(rows.languages.tolist(), rows.lengths.tolist(), strict=True)):
        written = [*rows.tokens[row, :length].tolist(), MBART["sep"], ids[language]]
        assert [next(labels) for _ in written] == written
        assert decoder.ids[row, : len(written)].tolist() == [ids[language], *written[:-1]]
        assert batch.inputs.ids[row][tokens[row]].tolist()[-2:] == written[-2:]
    assert learner(bart).pair.encoder.embeddings.language is None
    answering = bart.answering
    asked = answering.collate(LanguageRows(**{**vars(rows), "languages": np.full(40, 2)}))
    assert asked.inputs.decoder is not None
    assert set(asked.inputs.decoder.ids.flatten().tolist()) == {ids[2]}
    texts = answering.predict(learner(bart).eval(), asked)
    assert all(MBART["sep"] not in text["written"] for text in texts)


def test_a_language_without_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="family mbart has no token for language xx: it has ar_AR"):
        EncoderDecoderSettings(name="t", family="mbart", languages=("en", "xx"))
    with pytest.raises(SettingsError, match="the tokenizer lacks tokens for the languages de, en_XX, ko"):
        program(SPEAKING, VOCABULARY, by_language=True)


def test_a_family_without_such_tokens_gets_embeddings_of_languages() -> None:
    model = TINY.model_copy(update={"family": "mass", "languages": ("de", "en", "ko")})
    bart, rows = program(model, vocabulary_of("xlm"), by_language=True), spoken(6)
    batch = bart.collate(rows, keys(6))
    decoder = batch.inputs.decoder
    assert decoder is not None
    for segments in (batch.inputs.segments, decoder.segments):
        assert segments is not None
        assert (segments == torch.from_numpy(rows.languages)[:, None]).all()
    (term, _), made = bart.loss(learner(bart), batch, {})[0].values(), learner(bart)
    assert term.total.item() > 0
    assert made.pair.decoder.embeddings.language.weight.shape == (3, 32)
