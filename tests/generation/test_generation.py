"""Generation against transformers' ``generate`` on the same random weights, and sampling against the probabilities."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from support.bart_twin import example, twins
from support.t5_twin import twins as t5_twins
from torch import Tensor

from plmtrain.batch import Inputs, Layout
from plmtrain.generation import NOTHING, EncoderDecoderWriter, Specials, generate
from plmtrain.generation.single import likely
from plmtrain.settings.generation import GenerationSettings
from plmtrain.text.vocabulary import Vocabulary

SPECIALS = Specials(end=2)
FORCED = Specials(end=2, first=0, last=2)


def started(rows: int) -> Tensor:
    """What texts begin with: BART's start token."""
    return torch.full((rows, 1), 2)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pair() -> Any:
    theirs, ours = twins()
    # Random weights hardly ever end a text by themselves: the end is made likelier, in both.
    with torch.no_grad():
        for table in (theirs.model.shared.weight, ours.token.weight):
            table[2] *= 3
    return theirs, ours


OPTIONS: list[dict[str, Any]] = [
    {},
    {"min_new_tokens": 8},
    {"no_repeat_ngram": 2},
    {"no_repeat_ngram": 1, "min_new_tokens": 5},
    {"beams": 2},
    {"beams": 4},
    {"beams": 5, "length_penalty": 2.0, "min_new_tokens": 6, "no_repeat_ngram": 3},
    {"beams": 4, "length_penalty": 0.0},
    {"beams": 4, "length_penalty": -1.0},
    {"beams": 3, "early_stopping": True},
    {"beams": 4, "early_stopping": True, "length_penalty": 2.0, "no_repeat_ngram": 2},
]


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(f"{key}={value}" for key, value in options.items()))
def test_the_same_text_as_transformers(pair: Any, options: dict[str, Any], forced: bool) -> None:
    theirs, ours = pair
    limit, settings = 14, GenerationSettings(**options)
    specials = FORCED if forced else SPECIALS
    for seed in range(4):
        ids, mask = example(seed=seed)
        expected = theirs.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            num_beams=settings.beams,
            max_length=limit + 1,  # transformers counts the start token
            min_length=settings.min_new_tokens + 1 if settings.min_new_tokens else 0,
            length_penalty=settings.length_penalty,
            no_repeat_ngram_size=settings.no_repeat_ngram,
            early_stopping=settings.early_stopping,
            forced_bos_token_id=specials.first,
            forced_eos_token_id=specials.last,
        )
        with torch.no_grad():
            writer = EncoderDecoderWriter(ours, Inputs(ids=ids, layout=Layout(tokens=mask.bool())), settings.beams, limit)
        found = generate(writer, started(len(ids)), specials, settings, limit)
        for row, text in enumerate(expected[:, 1:].tolist()):
            assert found[row] == (text[: text.index(2) + 1] if 2 in text else text)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[1], OPTIONS[6], OPTIONS[9]], ids=str)
def test_t5_writes_the_same_as_in_transformers(version: str, options: dict[str, Any], tmp_path: Path) -> None:
    """With relative positions of a growing text, and an output layer of its own."""
    theirs, read = t5_twins(tmp_path, version)
    ours: Any = read.backbone
    with torch.no_grad():
        for table in {theirs.lm_head.weight, ours.output_weight}:
            table[2] *= 3
    test_the_same_text_as_transformers((theirs, ours), options, forced=options is OPTIONS[1])


def test_texts_of_several_lengths_were_compared(pair: Any) -> None:
    _, ours = pair
    ids, mask = example()
    with torch.no_grad():
        writer = EncoderDecoderWriter(ours, Inputs(ids=ids, layout=Layout(tokens=mask.bool())), 4, 14)
    lengths = {len(text) for text in generate(writer, started(4), SPECIALS, GenerationSettings(beams=4, length_penalty=0.5), 14)}
    assert min(lengths) < 14


class Fixed:
    """A writer with scores that depend on the last token alone."""

    def __init__(self, table: Tensor) -> None:
        self.table = table
        self.device = table.device

    def advance(self, tokens: Tensor) -> Tensor:
        return self.table[tokens[:, -1]]

    def select(self, texts: Tensor) -> None: ...


TABLE = torch.tensor([[0.0, -9.0, 0.5, 1.0, 2.0], [0.0] * 5, [0.3, -9.0, -2.0, 1.5, 0.7], [1.0, -9.0, 1.0, 0.0, 1.0], [0.0] * 5])


def test_beams_as_wide_as_the_vocabulary_find_the_likeliest_text() -> None:
    """Three tokens behind the start, every text enumerated: with as many beams as there are beginnings nothing is missed."""
    log_probabilities = TABLE.log_softmax(-1)
    best, text = -math.inf, ()
    for candidate in itertools.product(range(5), repeat=3):
        if 2 in candidate[:-1]:
            continue
        total = sum(log_probabilities[one, other].item() for one, other in zip((2, *candidate), candidate, strict=False))
        best, text = max((best, text), (total, candidate))
    settings = GenerationSettings(beams=25, length_penalty=0.0, min_new_tokens=2)
    assert generate(Fixed(TABLE), started(1), SPECIALS, settings, 3) == [list(text)]


@pytest.mark.parametrize("temperature", [1e-6, 1e-38, 1e-320])
def test_the_colder_the_nearer_to_the_likeliest_token(temperature: float) -> None:
    """However cold: the quotient of a score and such a number is infinite."""
    cold = GenerationSettings(sample=True, temperature=temperature, top_p=0.9)
    table = TABLE + torch.arange(5) / 100  # no two are equally likely
    likeliest = generate(Fixed(table), started(4), SPECIALS, GenerationSettings(), 3)
    assert generate(Fixed(table), started(4), SPECIALS, cold, 3) == likeliest


def test_drawn_tokens_have_their_probabilities() -> None:
    rows = 20_000
    for options in ({}, {"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.7}):
        settings = GenerationSettings(sample=True, **options)
        drawn = Counter(text[0] for text in generate(Fixed(TABLE), started(rows), SPECIALS, settings, 1))
        expected = likely(TABLE[2:3] / settings.temperature, settings.top_k, settings.top_p).softmax(-1)[0]
        for token, probability in enumerate(expected.tolist()):
            error = 4 * math.sqrt(probability * (1 - probability) / rows) + 1e-9
            assert drawn[token] / rows == pytest.approx(probability, abs=error)


def test_what_is_likely_enough() -> None:
    scores = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert likely(scores, None, 1.0).isfinite().tolist() == [[True] * 4]
    assert likely(scores, 2, 1.0).isfinite().tolist() == [[True, True, False, False]]
    assert likely(scores, None, 0.5).isfinite().tolist() == [[True, False, False, False]]
    assert likely(scores, None, 0.6).isfinite().tolist() == [[True, True, False, False]]
    assert likely(scores, None, 1e-6).isfinite().tolist() == [[True, False, False, False]]
    assert likely(scores, 3, 0.99).isfinite().tolist() == [[True, True, True, False]]


def test_samples_are_a_function_of_the_seed_and_the_row() -> None:
    settings = GenerationSettings(sample=True, seed=3)
    whole = generate(Fixed(TABLE), started(6), FORCED, settings, 9)
    assert generate(Fixed(TABLE), started(3), FORCED, settings, 9) == whole[:3]
    assert generate(Fixed(TABLE), started(6), FORCED, settings.model_copy(update={"seed": 4}), 9) != whole
    assert len({tuple(text) for text in whole}) > 1
    assert all(text[0] == 0 and text[-1] == 2 and len(text) <= 9 for text in whole)


@pytest.mark.parametrize(
    "options",
    [
        {"sample": True, "beams": 2},
        {"max_new_tokens": 5, "min_new_tokens": 6},
        {"top_p": 0},
        {"temperature": 0.5},
        {"length_penalty": 2.0},
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        GenerationSettings(**options)


def test_rows_without_a_token_are_never_written() -> None:
    """A table is often padded to a multiple of 64; GPT-1's published vocabulary has no token that ends a document."""
    ended = Vocabulary(5, {"eos": 4}, (4,), (2,))
    assert Specials.of_documents(ended, 8).end == 4
    assert list(Specials.of_documents(ended, 8).absent) == [2, 5, 6, 7]
    assert Specials.of_documents(Vocabulary(5, {}, ()), 5).end == NOTHING
