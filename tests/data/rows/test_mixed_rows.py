"""Rows of several texts: their shares, their order and their contents, against the texts by themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plmtrain.data.corpus.store import Store
from plmtrain.data.loading.order import Order, plan_phases
from plmtrain.data.rows.blocks import Blocks
from plmtrain.data.rows.mixed_rows import MixedRows, MixedStreams, MixedText
from plmtrain.data.rows.mixing import BLOCK, Mixing
from plmtrain.data.rows.rows import Rows, StreamSource, order_of, streams_of
from plmtrain.data.rows.streams import Streams, TwoWayStreams
from plmtrain.settings.trainer import PhaseSettings, TrainerSettings

WEIGHTS = st.lists(st.floats(0.01, 5.0), min_size=2, max_size=5)


def store(tokens: int, first: int = 0) -> Store:
    """A split in memory whose tokens tell their text and their place."""
    ends = np.unique([0, *range(0, tokens, 7), tokens])
    places = np.arange(first, first + tokens, dtype=np.uint16)
    return Store(Path("memory"), "train", places, ends, ends, places % 3 == 0)


@given(WEIGHTS, st.integers(0, 3 * BLOCK), st.integers(1, 400))
def test_every_stretch_has_the_shares(weights: list[float], before: int, count: int) -> None:
    mixing = Mixing(tuple(range(3, 3 + len(weights))), tuple(weights))
    samples = mixing.keys(1, before, count).samples
    read = np.bincount(np.searchsorted(mixing.first, samples, side="right") - 1, minlength=len(weights))
    exact = count * np.array(weights) / sum(weights)
    # Evenly dealt out: a source is never further off than by a row for each source, and by what the block rounds.
    assert (np.abs(read - exact) <= len(weights) + count / BLOCK).all()


@given(WEIGHTS, st.integers(0, 2**60), st.integers(0, 2 * BLOCK), st.integers(1, 300), st.integers(1, 300))
def test_the_order_is_a_function_of_the_position(weights: list[float], seed: int, before: int, one: int, other: int) -> None:
    mixing = Mixing(tuple(range(7, 7 + len(weights))), tuple(weights))
    whole, parts = (
        mixing.keys(seed, before, one + other),
        (mixing.keys(seed, before, one), mixing.keys(seed, before + one, other)),
    )
    for field in ("epochs", "samples"):
        assert getattr(whole, field).tolist() == [value for part in parts for value in getattr(part, field).tolist()]


def test_each_source_is_read_in_passes_in_ever_new_orders() -> None:
    sizes, shares = (10, 35, 4), (0.5, 0.3, 0.2)
    mixing = Mixing(sizes, shares)
    keys = mixing.keys(3, 0, 2 * BLOCK)
    for number, size in enumerate(sizes):
        own = keys.samples - mixing.first[number]
        here = (own >= 0) & (own < size)
        assert here.sum() == round(2 * BLOCK * shares[number])
        passes = own[here][: here.sum() // size * size].reshape(-1, size)
        assert (np.sort(passes, axis=1) == np.arange(size)).all()
        assert (keys.epochs[here] == np.arange(here.sum()) // size).all()
        assert (passes[0] != passes[1]).any()
    assert mixing.keys(4, 0, 2 * BLOCK).samples.tolist() != keys.samples.tolist()
    assert mixing.passes(2 * BLOCK) == [1000.0, 2 * BLOCK * 0.3 / 35, 1000.0]


def test_a_batch_has_the_rows_of_its_keys() -> None:
    texts = [store(60), store(150, 1000), store(40, 2000)]
    sources = [Blocks(text, 8, isolate_documents=True) for text in texts]
    mixed = MixedRows(sources, (0.5, 0.25, 0.25))
    phases = plan_phases(TrainerSettings(steps=40, batch_size=12, phases=(PhaseSettings(steps=25), PhaseSettings(steps=15))))
    order, mixing = Order(5, phases), mixed.order
    assert len(mixed) == sum(map(len, sources))
    for step in (0, 1, 24, 25, 39):
        keys = order.samples_of(step, mixed)
        rows = mixed.fetch(keys.samples)
        assert [int(np.sum(rows.tokens[:, 0] // 1000 == number)) for number in range(3)] == [6, 3, 3]
        for row, sample in enumerate(keys.samples.tolist()):
            number = int(np.searchsorted(mixing.first, sample, side="right")) - 1
            same_row(rows, row, sources[number].fetch(np.array([sample - mixing.first[number]])), 0)


def same_row(rows: Rows, row: int, others: Rows, other: int) -> None:
    for name in ("tokens", "lengths", "word_starts", "documents", "sentence_starts"):
        one, its = getattr(rows, name), getattr(others, name)
        assert (one is None) == (its is None)
        assert one is None or one[row].tolist() == its[other].tolist(), name


@pytest.mark.parametrize("kind", [Streams, TwoWayStreams])
def test_streams_stand_side_by_side_and_short_ones_begin_anew(kind: type[Streams]) -> None:
    texts, counts = (store(96), store(400, 1000)), (3, 5)
    sources: list[StreamSource] = [kind(text, 8, count) for text, count in zip(texts, counts, strict=True)]
    mixed = MixedStreams(sources, (3, 5))
    times = [len(source) // count for source, count in zip(sources, counts, strict=True)]
    assert (times, mixed.streams, len(mixed)) == ([4, 10], 8, 80)
    assert streams_of(mixed) == 8
    assert order_of(mixed) is None
    indices = np.random.default_rng(1).permutation(len(mixed))
    rows = mixed.fetch(indices)
    assert rows.fresh is not None
    for row, index in enumerate(indices.tolist()):
        time, stream = divmod(index, 8)
        number, own = (0, stream) if stream < 3 else (1, stream - 3)
        alone = sources[number].fetch(np.array([time % times[number] * counts[number] + own]))
        same_row(rows, row, alone, 0)
        assert rows.fresh[row] == (time % times[number] == 0)
        if rows.others is not None and alone.others is not None:
            same_row(rows.others, row, alone.others, 0)
    assert mixed.passes(20, 8) == [5.0, 2.0]


def test_tokens_are_drawn_from_each_text_by_its_share() -> None:
    text = MixedText([np.full(10, 1, np.uint8), np.full(3000, 2, np.uint8), np.arange(10, 20, dtype=np.uint8)], (0.2, 0.5, 0.3))
    drawn = text[np.arange(len(text))]
    counts = np.bincount(drawn) / len(text)
    assert counts[1] == pytest.approx(0.2, abs=2e-3)
    assert counts[2] == pytest.approx(0.5, abs=2e-3)
    assert counts[10:20] == pytest.approx(0.03, abs=2e-3)


def test_what_rows_have_in_common_is_of_all_texts() -> None:
    class Told(Blocks):
        def fetch(self, indices: np.ndarray) -> Rows:
            made = super().fetch(indices)
            object.__setattr__(made, "frequencies", np.array([0.0, 1.0]) if self._text[0] else np.array([0.5, 0.5]))
            return made

    mixed = MixedRows([Told(store(60), 8), Told(store(60, 1000), 8)], (3, 1))
    rows = mixed.fetch(np.array([0]))
    assert rows.frequencies is not None
    assert rows.frequencies.tolist() == [0.375, 0.625]
    assert rows.text is not None
    assert len(rows.text) == 120
