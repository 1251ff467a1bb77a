"""Language modelling in two directions: what is read and predicted, and what a prediction knows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.every_program import PROGRAMS
from support.memory_rows import memory_store, vocabulary_of
from support.tiny_run import SHAPE, settings_of
from torch import Tensor
from torch.nn import functional

from plmtrain import backbones
from plmtrain.batch import Batch
from plmtrain.data.rows.streams import TwoWayStreams
from plmtrain.keyed_random import Keys
from plmtrain.objectives.bilm import DIRECTIONS, BidirectionalLM, BidirectionalLMLearner
from plmtrain.settings.objectives.bilm import BidirectionalLMSettings
from plmtrain.text.spelling import characters, sentence_mark, word_bytes

LENGTH, STREAMS, TIMES = 5, 3, 4
WORDS = vocabulary_of("elmo")
STORE = memory_store(STREAMS * (TIMES * LENGTH + 1), 0, WORDS)


def program(negatives: int | None = None, words: int = 64) -> BidirectionalLM:
    settings = settings_of(*PROGRAMS["bilm"].system, *SHAPE)
    model = settings.model.model_copy(update={"dropout": 0.0, "cell_clip": 3.0, "projection_clip": 3.0})
    return BidirectionalLM(BidirectionalLMSettings(name="bilm", negatives=negatives), model, vocabulary_of("elmo", words))


def learner(made: BidirectionalLM) -> BidirectionalLMLearner:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    built = made.build(lambda model: backbones.build(model, made.vocabulary.size))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return built.eval()


def batches(made: BidirectionalLM, seed: int = 1, rows: slice = slice(None)) -> list[Batch]:
    """The batch of every time."""
    source = TwoWayStreams(STORE, LENGTH + 1, STREAMS, advance=LENGTH)
    result = []
    for time in range(TIMES):
        samples = (time * STREAMS + np.arange(STREAMS))[rows]
        result.append(made.collate(source.fetch(samples), Keys(seed, np.zeros(len(samples), np.int64), samples)))
    return result


def test_each_stream_is_read_once_from_both_ends() -> None:
    """All words but the last are read from the left and all but the first predicted; the other way round from the right."""
    made = batches(program())
    text = STORE.tokens.astype(np.int64).reshape(STREAMS, -1)
    read = torch.stack([batch.inputs.ids for batch in made], dim=1)  # [streams, times, both directions]
    predicted = {name: torch.stack([batch.targets[name].view(STREAMS, -1) for batch in made], dim=1) for name in DIRECTIONS}
    np.testing.assert_array_equal(read[..., :LENGTH].reshape(STREAMS, -1), text[:, :-1])
    np.testing.assert_array_equal(predicted["forward"].reshape(STREAMS, -1), text[:, 1:])
    np.testing.assert_array_equal(read[..., LENGTH:].reshape(STREAMS, -1), text[:, :0:-1])
    np.testing.assert_array_equal(predicted["backward"].reshape(STREAMS, -1), text[:, -2::-1])
    assert [batch.fresh.tolist() for batch in made] == [[True] * STREAMS] + [[False] * STREAMS] * (TIMES - 1)


def test_every_word_is_spelt() -> None:
    """Known ones by the vocabulary, unknown ones by the text, sentences' marks by their own characters."""
    text = STORE.tokens.astype(np.int64).reshape(STREAMS, -1)
    spelt = [WORDS.words[token] for token in STORE.tokens]
    for place, word in zip(STORE.unknown.places, STORE.unknown.spellings, strict=True):
        assert spelt[place] == "<UNK>"
        spelt[place] = bytes(word).rstrip(b"\0").decode()
    assert len({word for word in spelt if word.startswith("rare")}) > 3
    expected = characters(word_bytes(spelt), 50)
    expected[STORE.tokens == WORDS["eos"]] = sentence_mark(257, 50)
    first = batches(program())[0].inputs
    read = first.spellings[first.spelling_rows[:, :LENGTH]]
    expected = expected.reshape(*text.shape, 50)[:, :LENGTH]
    np.testing.assert_array_equal(read, expected[..., : read.shape[2]])
    assert (expected[..., read.shape[2] :] == 260).all(), "what is not read is padding"
    assert len(first.spellings) == len(first.spellings.unique(dim=0))


def losses(made: BidirectionalLM, built: BidirectionalLMLearner, vectors: list[Tensor]) -> dict[str, list[Tensor]]:
    """The loss of each prediction of each step, from given vectors of what is read: [rows, length] each."""
    result: dict[str, list[Tensor]] = {name: [] for name in DIRECTIONS}
    state = None
    for batch, words in zip(batches(made), vectors, strict=True):
        layers, state = built.bilstm.run(words[:, :LENGTH], words[:, LENGTH:], state)
        for name, output in zip(DIRECTIONS, layers[-1], strict=True):
            labels = batch.targets[name].view(STREAMS, -1)
            each = functional.cross_entropy(built.head(output).flatten(0, 1), labels.flatten(), reduction="none")
            result[name].append(each.view_as(labels))
    return result


def test_no_prediction_knows_its_word_or_one_behind_it() -> None:
    """Some words of the streams are replaced, wherever they are read: only losses on their own sides change, in all steps."""
    made, built = program(), learner(program())
    with torch.no_grad():
        usual = [built.bilstm.vectors(batch.inputs) for batch in batches(made)]
        before = losses(made, built, usual)
        whole = TIMES * LENGTH
        for place in (0, 1, LENGTH - 1, LENGTH, 2 * LENGTH + 2, whole - 1, whole):  # of the words of a stream
            changed = [words.clone() for words in usual]
            if place < whole:  # read from the left
                changed[place // LENGTH][:, place % LENGTH] += 1
            if place:  # read from the right
                mirrored = whole - place
                changed[mirrored // LENGTH][:, LENGTH + mirrored % LENGTH] += 1
            after = losses(made, built, changed)
            differs = {
                name: torch.cat([(a != b).any(0) for a, b in zip(after[name], before[name], strict=True)]) for name in after
            }
            # The forward loss at t is of word t + 1, the backward one at t of word whole - 1 - t.
            assert differs["forward"].tolist() == [t >= place for t in range(whole)]
            assert differs["backward"].tolist() == [whole - 1 - t < place for t in range(whole)]


def test_the_carried_state_is_that_of_one_long_row() -> None:
    """Four steps of five words are one of twenty."""
    made = program()
    built, whole = learner(made), TwoWayStreams(STORE, TIMES * LENGTH + 1, STREAMS)
    long = made.collate(whole.fetch(np.arange(STREAMS)), Keys(1, np.zeros(STREAMS, np.int64), np.arange(STREAMS)))
    carry, sums = {}, dict.fromkeys(DIRECTIONS, 0.0)
    with torch.no_grad():
        expected, _ = made.loss(built, long, {})
        for batch in batches(made):
            terms, carry = made.loss(built, batch, carry)
            for name in DIRECTIONS:
                sums[name] += terms[name].total
    for name in DIRECTIONS:
        torch.testing.assert_close(sums[name], expected[name].total, rtol=1e-5, atol=1e-5)


def test_a_sample_is_the_same_for_a_step_and_another_for_the_next() -> None:
    """In any micro-batch, on any process; in another epoch and with another seed it is another."""
    made = program(negatives=20)
    whole, parts = batches(made), batches(made, rows=slice(1, 2))
    for one, part in zip(whole, parts, strict=True):
        assert torch.equal(one.draws["sample"], part.draws["sample"])
        assert torch.equal(one.draws["sample_expected"], part.draws["sample_expected"])
        assert len(set(one.draws["sample"].tolist())) == 20
    samples = [tuple(batch.draws["sample"].tolist()) for batch in [*whole, batches(made, seed=2)[0]]]
    assert len(set(samples)) == len(samples)


def test_a_full_sample_of_certain_words_is_the_full_softmax() -> None:
    """With every other word in the sample, each expected once, the sampled loss is the whole one; in validation it always is."""
    made = program()
    built, batch = learner(made), batches(made)[0]
    hidden = torch.randn(15, 8)
    labels = batch.targets["forward"]
    every, none = torch.arange(64), torch.zeros(64)
    sampled = built.head.sampled_loss(hidden, labels, none[labels], every, none)
    scores = hidden @ built.head.weight.T + built.head.bias
    torch.testing.assert_close(sampled, functional.cross_entropy(scores, labels, reduction="sum"))
    with torch.no_grad():
        one, other = (m.loss(built, batches(m)[0], {})[0]["forward"].total for m in (made, program(negatives=20)))
    assert torch.equal(one, other)


@pytest.mark.parametrize("negatives", [None, 20])
def test_a_batch_is_learnt_by_heart(negatives: int | None) -> None:
    """Against all words, though a step of training may have compared with another sample each time."""
    made = program(negatives)
    torch.manual_seed(0)
    built = made.build(lambda model: backbones.build(model, 64)).train()
    optimiser = torch.optim.Adam(built.parameters(), lr=0.02)
    for step in range(150):
        batch = batches(made, seed=step)[0]
        optimiser.zero_grad()
        terms, _ = made.loss(built, batch, {})
        torch.stack([term.total for term in terms.values()]).sum().backward()
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in built.parameters())
        optimiser.step()
    with torch.no_grad():
        terms, _ = made.loss(built.eval(), batch, {})
    assert max(float(term.total / term.normaliser) for term in terms.values()) < 0.2
