"""Training Unigram vocabularies: which pieces there are, and what ends the training before its time."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import numpy as np
import psutil
import pytest

from plmtrain import child_processes, stopping
from plmtrain.errors import DataError, MemoryExhausted, Stopped
from plmtrain.text import unigram
from plmtrain.text.unigram import pieces_of, train_unigram

SPECIALS = ("<pad>", "<unk>", "[CLS]", "[SEP]")


def trained(words: dict[str, int], size: int) -> list[tuple[str, float]]:
    """The ordinary pieces."""
    pieces = pieces_of(train_unigram(words, size + len(SPECIALS), SPECIALS, "<unk>"))
    assert pieces[: len(SPECIALS)] == [(token, 0.0) for token in SPECIALS]
    return pieces[len(SPECIALS) :]


def test_a_frequent_word_is_a_piece_though_it_is_part_of_no_other() -> None:
    words = {f"▁{word}": 2000 for word in ("abandon", "bandana", "cabana", "banal", "qwxzjk", "vuylpm", "日本語", "학교에서")}
    assert set(words) <= {piece for piece, _ in trained(words, 60)}


def test_probabilities_add_up_and_every_character_is_a_piece() -> None:
    words = {"▁the": 500, "▁then": 60, "▁other": 90, "▁cat": 30, "▁cats": 25, "▁q": 1}
    pieces = trained(words, 40)
    names = [name for name, _ in pieces]
    scores = [score for _, score in pieces]
    assert set("".join(words)) <= set(names)
    assert len(pieces) == len(set(names)) <= 40
    assert scores == sorted(scores, reverse=True)
    # The characters that the text needs no piece for have a score too, below all others.
    assert sum(map(math.exp, scores)) <= 1.01
    assert names[0] == "▁the"  # most of the text is that word


def test_no_piece_mixes_letters_with_digits_or_marks_nor_scripts() -> None:
    pieces = trained({"▁covid19,": 900, "▁covid19.": 900, "▁3rd": 700, "▁(3rd)": 700, "▁PC방에": 500, "▁PC방은": 500}, 80)
    for piece, _ in pieces:
        kinds = {
            "latin" if one.isascii() and one.isalpha() else "hangul" if one.isalpha() else "" for one in piece.removeprefix("▁")
        }
        assert len(kinds) <= 1, piece


def test_the_size_is_kept_and_long_words_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    words = {"▁" + "".join(rng.choice(list("abcdefgh"), rng.integers(1, 12))): int(rng.integers(1, 50)) for _ in range(3000)}
    words["▁" + "ab" * 300] = 3
    words["▁" + "h" * 5000] = 2
    pieces = trained(words, 300)
    assert len(pieces) == 300
    assert all(math.isfinite(score) and score < 0 for _, score in pieces)
    assert all(len(name) <= 16 for name, _ in pieces)


def test_the_size_of_the_text_costs_neither_time_nor_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trillion words: only how often they occur beside each other counts."""
    monkeypatch.setattr(unigram, "_MOST_BYTES", 2**20)
    words = {"▁the": 5, "▁then": 3, "▁other": 4, "▁rare": 1}
    pieces = {name for name, _ in trained({word: count * 10**11 for word, count in words.items()} | {"▁cub": 10**6}, 40)}
    assert {"▁the", "▁then", "▁other", "▁rare", "c", "u", "b"} <= pieces


def test_what_sentencepiece_refuses_is_told_in_its_words() -> None:
    with pytest.raises(DataError, match="cannot train a vocabulary") as told:
        trained({"▁abc": 5}, 2)
    assert "vocab" in told.value.where.lower()
    assert "\n" not in told.value.where


def _endless(parent: int, connection: Connection) -> None:
    child_processes.serve(parent)
    time.sleep(600)


def _killed(parent: int, connection: Connection) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def watched() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    stopping.watch()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    stopping.forget()


@pytest.mark.usefixtures("watched")
def test_a_signal_ends_the_training_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unigram, "_train", _endless)
    before = set(psutil.Process().children(recursive=True))
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    begun = time.monotonic()
    with pytest.raises(Stopped):
        trained({"▁a": 2}, 10)
    assert time.monotonic() - begun < 30
    assert set(psutil.Process().children(recursive=True)) == before


def test_a_training_that_the_system_kills_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unigram, "_train", _killed)
    with pytest.raises(MemoryExhausted, match="SIGKILL"):
        trained({"▁a": 2}, 10)
