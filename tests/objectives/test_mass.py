"""MASS: fragments against the rule of the authors' code, what each side may see, and that it learns and fills."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.memory_rows import vocabulary_of
from torch.nn import functional

from plmtrain import backbones, objectives
from plmtrain.batch import Batch
from plmtrain.corruption.fragments import Fragmenter
from plmtrain.corruption.framed_rows import FramedRows
from plmtrain.data.rows.rows import Rows
from plmtrain.data.rows.translations import LanguageRows
from plmtrain.errors import DataError, SettingsErrors
from plmtrain.keyed_random import Keys
from plmtrain.objectives.mass import Mass
from plmtrain.programs.text_to_text.learner import EncoderDecoderLearner
from plmtrain.runs.command_settings import settings_for
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.objectives.mass import MassSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer_training import train

VOCABULARY = vocabulary_of("xlm")
ENDS, MASK = VOCABULARY["sep"], VOCABULARY["mask"]
TINY = EncoderDecoderSettings(
    name="tiny", family="mass", layers=2, width=16, heads=2, feed_forward=32, positions=32, position_offset=0, norm_eps=1e-12,
    initial_by_width=True, dropout=0.0, attention_dropout=0.0,
)  # fmt: skip
LANGUAGES = TINY.model_copy(update={"languages": ("de", "en", "ko")})
torch.set_num_threads(1)


def program(model: EncoderDecoderSettings = TINY, **changes: Any) -> Mass:
    built = objectives.build(MassSettings(name="mass", **changes), model, VOCABULARY)
    assert isinstance(built, Mass)
    return built


def learner_of(mass: Mass) -> EncoderDecoderLearner:
    torch.manual_seed(0)
    learner = mass.build(lambda model: backbones.build(model, VOCABULARY.size))
    with torch.no_grad():
        for weight in learner.parameters():
            weight.normal_(std=0.3)
    return learner


def keys(count: int, seed: int = 0) -> Keys:
    return Keys(seed, np.zeros(count, np.int64), np.arange(count))


def rows_of(count: int, width: int, *, ragged: bool = False, languages: bool = False) -> Rows:
    numbers = np.random.default_rng(1)
    lengths = numbers.integers(2, width + 1, count) if ragged else np.full(count, width)
    tokens = numbers.choice(VOCABULARY.ordinary_ids, (count, width))
    starts = np.ones((count, width), np.bool_)
    if languages:
        return LanguageRows(tokens=tokens, lengths=lengths, word_starts=starts, languages=numbers.integers(0, 3, count))
    return Rows(tokens=tokens, lengths=lengths, word_starts=starts)


def framed(count: int, length: int) -> FramedRows:
    ids = np.random.default_rng(0).choice(VOCABULARY.ordinary_ids, (count, length))
    ids[:, [0, -1]] = ENDS
    return FramedRows(ids=ids, word_starts=np.ones(ids.shape, np.bool_), lengths=np.full(count, length))


def batch_of(mass: Mass, count: int = 6, width: int = 10, **more: Any) -> Batch:
    return mass.collate(rows_of(count, width, **more), keys(count))


@pytest.mark.parametrize(("length", "share", "size"), [(20, 0.5, 10), (21, 0.5, 10), (9, 0.5, 4), (3, 0.5, 2), (20, 1.0, 19)])
def test_a_fragment_is_the_rounded_share_of_the_row_but_its_first_token(length: int, share: float, size: int) -> None:
    """Halves round to the even number, as in Python, which the authors' code calls."""
    original = framed(500, length)
    hidden = Fragmenter(MassSettings(name="mass", fragment_share=share, mask_share=1, random_share=0), VOCABULARY)(
        original, keys(500)
    )
    assert set(hidden.sizes.tolist()) == {size}
    masked = hidden.ids == MASK
    assert (masked.sum(axis=1) == size).all()
    assert not masked[:, 0].any()
    for row, (begin, covered) in enumerate(zip(hidden.begins, masked, strict=True)):
        assert np.flatnonzero(covered).tolist() == list(range(begin, begin + size))
        assert (hidden.ids[row][~covered] == original.ids[row][~covered]).all()
    if share == 1.0:
        assert masked[:, 1:].all()


def test_fragments_begin_as_in_the_authors_code() -> None:
    """20 % right after the first token, 20 % so that they end with the row, the rest evenly between, the last place left out."""
    count, length = 20_000, 20
    original = framed(count, length)
    hidden = Fragmenter(MassSettings(name="mass"), VOCABULARY)(original, keys(count))
    share = np.bincount(hidden.begins, minlength=12) / count
    between = 0.6 / 9  # places 1 to 9
    expected = np.array([0, 0.2 + between, *[between] * 8, 0.2, 0])
    assert np.abs(share - expected).max() < 4 * np.sqrt(0.25 / count)
    inside = np.arange(length)[None] - hidden.begins[:, None]
    covered = (inside >= 0) & (inside < 10)
    masked = (hidden.ids == MASK)[covered].mean()
    same = (hidden.ids == original.ids)[covered].mean()
    random = 0.1 / len(VOCABULARY.ids)  # a random token may be the mask, or the token itself
    for measured, rate in ((masked, 0.8 + random), (same, 0.1 + random)):
        assert abs(measured - rate) < 4 * np.sqrt(rate * (1 - rate) / covered.sum())


def test_a_row_is_hidden_alike_in_any_batch_and_otherwise_in_another_epoch() -> None:
    mass, rows = program(), rows_of(8, 10)
    alone = Rows(tokens=rows.tokens[3:4], lengths=rows.lengths[3:4], word_starts=rows.word_starts[3:4])
    whole = mass.collate(rows, keys(8))
    one = mass.collate(alone, Keys(0, np.zeros(1, np.int64), np.array([3])))
    later = mass.collate(rows, Keys(0, np.ones(8, np.int64), np.arange(8)))
    assert torch.equal(one.inputs.ids[0], whole.inputs.ids[3])
    assert not torch.equal(later.inputs.ids, whole.inputs.ids)


@pytest.mark.parametrize("convention", ["read", "predicted"])
@pytest.mark.parametrize("ragged", [False, True])
def test_the_decoder_reads_the_tokens_before_those_that_it_predicts(ragged: bool, convention: str) -> None:
    mass = program(decoder_positions=convention)
    rows = rows_of(6, 10, ragged=ragged)
    batch = mass.collate(rows, keys(6))
    decoder = batch.inputs.decoder
    assert decoder is not None
    places, predicted, labels = (batch.targets[name].tolist() for name in ("places", "predicted", "labels"))
    width = decoder.ids.shape[1]
    for place, at, label in zip(places, predicted, labels, strict=True):
        row = at // width
        original = [ENDS, *rows.tokens[row, : rows.lengths[row]].tolist(), ENDS]
        assert label == original[place]
        assert decoder.ids[row, at % width] == original[place - 1]
        assert decoder.positions[row, at % width] == place - (convention == "read")
    sizes = np.bincount(np.array(predicted) // width, minlength=6)
    assert sizes.tolist() == [max(1, round(0.5 * (length + 2))) for length in rows.lengths.tolist()]
    assert batch.normalisers == {"mass": float(sizes.sum()), "tokens": float(rows.lengths.sum() + 2 * 6)}


def reach(mass: Mass, learner: EncoderDecoderLearner, batch: Batch, target: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which places of the encoder's rows and of the decoder's the loss of one target depends on.  # [rows, length] each, bool"""
    seen: list[torch.Tensor] = []

    def keep(module: Any, inputs: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        seen.append(output)

    hook = learner.pair.token.register_forward_hook(keep)
    one = {
        **batch.targets,
        "predicted": batch.targets["predicted"][target : target + 1],
        "labels": batch.targets["labels"][target : target + 1],
    }
    (term,) = mass.loss(learner.train(), replace(batch, targets=one), {})[0].values()
    term.total.backward()
    hook.remove()
    return tuple(states.grad.abs().sum(dim=-1) > 0 for states in seen)  # type: ignore[return-value]


@pytest.mark.parametrize("attends", [False, True])
def test_no_prediction_sees_what_it_may_not(attends: bool) -> None:
    """Not the token itself, nor one after it in the fragment; no other row; in the encoder no token that is hidden."""
    mass = program(attends_to_masks=attends, mask_share=1.0, random_share=0.0)
    learner, batch = learner_of(mass), batch_of(mass, ragged=True)
    decoder = batch.inputs.decoder
    assert decoder is not None
    width = decoder.ids.shape[1]
    for target in (0, 2, len(batch.targets["labels"]) - 1):
        learner.zero_grad()
        row, step = divmod(int(batch.targets["predicted"][target]), width)
        read, written = reach(mass, learner, batch, target)
        assert written.nonzero().tolist() == [[row, place] for place in range(step + 1)]
        assert read.any(dim=1).nonzero().tolist() == [[row]]
        assert batch.layout.tokens is not None
        assert read[row].tolist() == batch.layout.tokens[row].tolist()
    # Through attention within the encoder a mask is always seen; what stands at its place in the text is nowhere in the inputs.
    hidden = batch.inputs.ids == MASK
    assert int(hidden.sum()) == len(batch.targets["labels"])
    kept = batch.targets.get("attended")
    assert (kept is None) == attends
    if kept is not None:
        assert not (kept & hidden).any()


def test_masked_places_are_no_memory_for_the_decoder() -> None:
    """The memory of masked places may be anything: the loss does not depend on it, unless the decoder attends to masks."""
    losses = {}
    for attends in (False, True):
        mass = program(attends_to_masks=attends, mask_share=1.0, random_share=0.0)
        learner, batch = learner_of(mass).eval(), batch_of(mass)
        last = learner.pair.encoder.layers[-1]
        for noise in (0.0, 5.0):
            added = noise * (batch.inputs.ids == MASK)[..., None]
            hook = last.register_forward_hook(lambda module, inputs, output, added=added: output + added)
            losses[attends, noise] = mass.loss(learner, batch, {})[0]["mass"].total.item()
            hook.remove()
    assert losses[False, 0.0] == losses[False, 5.0]
    assert losses[True, 0.0] != losses[True, 5.0]


def test_the_loss_is_the_plain_cross_entropy_of_the_fragments() -> None:
    """Computed once more from full logits, a row at a time, without padding."""
    mass = program(LANGUAGES, by_language=True)
    learner = learner_of(mass).eval()
    rows = rows_of(5, 10, ragged=True, languages=True)
    assert isinstance(rows, LanguageRows)
    batch = mass.collate(rows, keys(5))
    decoder, total = batch.inputs.decoder, 0.0
    assert decoder is not None
    width = decoder.ids.shape[1]
    for row in range(5):
        own = batch.targets["predicted"] // width == row
        size, length = int(own.sum()), int(rows.lengths[row]) + 2
        few = Batch(
            inputs=replace(
                batch.inputs.map(lambda tensor, row=row: tensor[row : row + 1]),
                ids=batch.inputs.ids[row : row + 1, :length],
                segments=batch.inputs.segments[row : row + 1, :length],
                layout=replace(batch.inputs.layout, tokens=None),
                decoder=decoder.map(lambda tensor, row=row, size=size: tensor[row : row + 1, :size]),
            ),
            targets={
                "labels": batch.targets["labels"][own],
                "predicted": torch.arange(size),
                "attended": batch.targets["attended"][row : row + 1, :length],
            },
            samples=torch.arange(1),
            normalisers={"mass": 1.0},
        )
        assert (few.inputs.segments == rows.languages[row]).all()
        memory = learner.pair.encode(few.inputs)
        seen = replace(few.inputs, layout=replace(few.inputs.layout, tokens=few.targets["attended"]))
        scores = functional.linear(learner.pair.decode(seen, memory)[0], learner.pair.embedding_weight)
        total += functional.cross_entropy(scores, few.targets["labels"], reduction="sum").item()
    assert mass.loss(learner, batch, {})[0]["mass"].total.item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("model", [TINY, LANGUAGES], ids=["one language", "languages"])
def test_eight_rows_are_overfitted_and_filled(model: EncoderDecoderSettings) -> None:
    mass = program(model, by_language=bool(model.languages), mask_share=1.0, random_share=0.0)
    torch.manual_seed(0)
    learner = mass.build(lambda settings: backbones.build(settings, VOCABULARY.size)).train()
    mass.initialise(learner)
    rows = rows_of(8, 8, languages=bool(model.languages))
    batch = mass.collate(rows, keys(8))
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    for step in range(400):
        term = mass.loss(learner, batch, {})[0]["mass"]
        loss = term.total / term.normaliser
        loss.backward()
        if not step:
            assert [name for name, weight in learner.named_parameters() if not weight.grad.abs().sum() > 0] == []
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.02:
            break
    assert loss.item() < 0.02
    width = batch.inputs.decoder.ids.shape[1]
    row = batch.targets["predicted"] // width
    asked = Rows(tokens=batch.inputs.ids[:, 1:-1].numpy(), lengths=rows.lengths, word_starts=rows.word_starts)
    whole = (batch.inputs.ids[:, -1] != MASK).numpy()  # those whose fragment does not hide the closing token, which no text has
    if isinstance(rows, LanguageRows):
        asked = LanguageRows(**{**vars(asked), "languages": rows.languages})
    answers = mass.answering.predict(learner.eval(), mass.answering.collate(asked))
    assert whole.sum() > 3
    for number in np.flatnonzero(whole).tolist():
        assert answers[number]["written"] == batch.targets["labels"][row == number].tolist()


def test_a_text_has_masks_at_one_place() -> None:
    texts = ["the cat sat on the mat", "a dog ran to the cat"] * 20
    tokenizer = train(iter(texts), TokenizerSettings(type="byte_bpe", family="xlm", vocab_size=320, lowercase=False))
    mass = objectives.build(MassSettings(name="mass", by_language=True), LANGUAGES, tokenizer.vocabulary)
    assert isinstance(mass, Mass)
    for text, told in (
        ("en: the cat", "there is no mask to fill"),
        ("en: the<special1> sat<special1>", "there are masks at 2 places, and the model fills one"),
        ("the<special1>", "no language prefix"),
    ):
        with pytest.raises(DataError, match=told):
            mass.answering.questions([text], tokenizer)
    learner = mass.build(lambda model: backbones.build(model, tokenizer.vocabulary.size)).eval()
    text = "en: the<special1><special1> on the mat"
    rows = mass.answering.questions([text], tokenizer)
    (answer,) = mass.answering.predict(learner, mass.answering.collate(rows))
    assert len(answer["written"]) == 2
    said = mass.answering.read_out(text, rows.tokens[0], answer, tokenizer)
    assert said.values["filled"].startswith("the")
    assert said.values["filled"].endswith("on the mat")


def test_an_inspection_counts_what_is_hidden() -> None:
    batch = batch_of(program(), 300, 18)
    shown = program().inspect(batch)
    assert shown.rates["hidden"] == (300 * 10, 300 * 20)
    assert shown.histograms == {"tokens of a fragment": {10: 300}}
    lines = shown.rows[0].lines
    assert list(lines) == ["original", "encoder reads", "decoder reads", "target"]
    assert len(lines["decoder reads"]) == len(lines["target"]) == 10
    assert [token for token, mark in lines["original"] if mark == "target"] == [
        token for token, mark in lines["target"] if mark == "target"
    ]
    assert [token for token, _ in lines["decoder reads"]][1:] == [token for token, _ in lines["target"]][:-1]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (["objective=multilingual_mass", "data=sample"], "objective=multilingual_mass reads parallel text"),
        (["objective=mass", "data=parallel", "data.files=[a.tsv]", "data.languages=[en,de]"], "does not say which language"),
        (["objective=mass", "data=sample", "data.isolate_documents=true"], "may hide a whole document of a row"),
        (["objective=mass", "data=sample", "objective.first_share=0.9"], "must not exceed 1"),
    ],
)
def test_what_cannot_be_is_refused(chosen: list[str], words: str) -> None:
    with pytest.raises(SettingsErrors, match=words):
        settings_for("pretrain", ["model=mass", *chosen])
