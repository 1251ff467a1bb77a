"""Streams against slices of a list, and the order in which they are read against a walk through time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plmtrain.data.corpus.store import Store
from plmtrain.data.loading.order import Order, plan_phases
from plmtrain.data.rows.rows import StreamSource, streams_of
from plmtrain.data.rows.streams import Streams, held_out_streams
from plmtrain.errors import DataError
from plmtrain.settings.trainer import PhaseSettings, TrainerSettings


def store(tokens: int = 200, seed: int = 0) -> Store:
    """A split in memory; its tokens are their own places."""
    draw = np.random.default_rng(seed)
    sentences = np.unique([0, *draw.integers(1, tokens, tokens // 7), tokens])
    documents = np.unique([0, *draw.choice(sentences[1:-1], 4), tokens])
    return Store(Path("memory"), "train", np.arange(tokens, dtype=np.uint16), documents, sentences, np.arange(tokens) % 3 == 0)


@given(
    streams=st.integers(1, 6),
    length=st.integers(1, 20),
    overlap=st.integers(0, 19),
    others=st.integers(0, 20),
    seed=st.integers(0, 9),
)
def test_rows_are_slices_that_go_on_from_one_another(streams: int, length: int, overlap: int, others: int, seed: int) -> None:
    text, advance, others = store(seed=seed), length - min(overlap, length - 1), min(others, length)
    made = Streams(text, length, streams, advance=advance, others=others, isolate_documents=True)
    each = len(text) // streams
    times = len([first for first in range(0, each, advance) if first + length <= each])
    assert len(made) == times * streams
    assert isinstance(made, StreamSource)
    assert streams_of(made) == streams

    indices = np.random.default_rng(1).permutation(len(made))
    rows = made.fetch(indices)
    assert rows.tokens.dtype == np.int64
    document = np.searchsorted(text.documents, np.arange(200), side="right")
    assert rows.documents is not None and rows.sentence_starts is not None and rows.fresh is not None  # noqa: PT018
    for row, index in enumerate(indices.tolist()):
        first = index % streams * each + index // streams * advance
        part = slice(first, first + length)
        assert rows.tokens[row].tolist() == list(range(200))[part]
        assert rows.word_starts[row].tolist() == text.word_starts[part].tolist()
        assert rows.documents[row].tolist() == document[part].tolist()
        assert np.flatnonzero(rows.sentence_starts[row]).tolist() == [
            s - first for s in text.sentences if part.start <= s < part.stop
        ]
        assert rows.fresh[row] == (index < streams)
    if not others:
        assert rows.others is None
        return
    assert rows.others is not None
    assert (np.diff(rows.others.tokens, axis=1) == 1).all()
    assert rows.others.tokens.shape == (len(made), others)
    assert np.isin(rows.others.tokens[:, 0], text.sentences).all()
    again = made.fetch(indices[:2])
    assert again.others is not None
    assert again.others.tokens.tolist() == rows.others.tokens[:2].tolist()


def test_text_from_elsewhere_is_from_everywhere() -> None:
    text = store(2000)
    others = Streams(text, 20, 4, others=8).fetch(np.arange(100)).others
    assert others is not None
    assert len(set(others.tokens[:, 0].tolist())) > 70
    assert others.documents is None


def test_too_little_text_is_told() -> None:
    with pytest.raises(DataError, match="200 tokens, but 21 streams of rows of 10 take 210") as caught:
        Streams(store(), 10, 21)
    assert "trainer.batch_size" in caught.value.remedy
    Streams(store(), 10, 20)


def test_held_out_streams_have_rows_to_remember() -> None:
    assert held_out_streams(100_000, 125, 64, most=32) == 32
    assert held_out_streams(5_000, 125, 64, most=32) == 8
    assert held_out_streams(130, 125, 64, most=32) == 1
    text = store()
    made = Streams(text, 10, held_out_streams(len(text), 10, 5, most=32), advance=5)
    assert len(made) >= 8 * made.streams


@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 40), st.integers(0, 2**40))
def test_a_step_reads_all_streams_at_one_time(streams: int, times: int, steps: int, seed: int) -> None:
    order = Order(seed, plan_phases(TrainerSettings(steps=steps + 1, batch_size=streams)))
    for step in range(steps + 1):
        keys = order.step_samples(step, streams * times, streams)
        epoch, time = divmod(step, times)
        assert keys.epochs.tolist() == [epoch] * streams
        assert (keys.samples // streams).tolist() == [time] * streams
        # The same stream stands at the same place throughout an epoch.
        begin = order.step_samples(step - time, streams * times, streams)
        assert (keys.samples % streams).tolist() == (begin.samples % streams).tolist()
        assert sorted(keys.samples % streams) == list(range(streams))


def test_streams_are_permuted_in_each_epoch() -> None:
    order = Order(1, plan_phases(TrainerSettings(steps=40, batch_size=12)))
    arrangements = {tuple(order.step_samples(step, 12 * 4, 12).samples % 12) for step in range(40)}
    assert len(arrangements) == 10


def test_phases_of_another_shape_read_streams_of_their_own() -> None:
    shapes = [(3, 8, 4), (2, 8, 2), (3, 8, 4), (2, 16, 4)]  # steps, length, batch
    phases = tuple(PhaseSettings(steps=steps, sequence_length=length, batch_size=batch) for steps, length, batch in shapes)
    order = Order(1, plan_phases(TrainerSettings(steps=10, phases=phases)))
    times = []
    for step in range(10):
        batch = order.phase_at(step).batch_size
        keys = order.step_samples(step, batch * 4, batch)
        times.append((int(keys.epochs[0]), int(keys.samples[0]) // batch))
    assert times == [(0, 0), (0, 1), (0, 2), (0, 0), (0, 1), (0, 3), (1, 0), (1, 1), (0, 0), (0, 1)]
