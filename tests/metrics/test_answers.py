"""Answers: exact match and F1 against the rules of SQuAD's two scripts, and the threshold of no answer by trying all."""

from __future__ import annotations

import collections
import re
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plmtrain.metrics.answers import Scores, best_threshold, rouge_w


def normal(text: str) -> str:
    """As both scripts do it, step by step."""
    text = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1_of(right: str, answer: str, version: int) -> float:
    gold, own = normal(right).split(), normal(answer).split()
    if version == 2 and (not gold or not own):
        return float(gold == own)
    common = sum((collections.Counter(gold) & collections.Counter(own)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(own), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def expected(answer: str, right: list[str], version: int) -> tuple[float, float]:
    if version == 2:
        right = [one for one in right if normal(one)] or [""]
    return max(float(normal(answer) == normal(one)) for one in right), max(f1_of(one, answer, version) for one in right)


TEXTS = st.lists(
    st.sampled_from(["the", "A", "an", "Cat", "cat's", "dog", "--", "1,234", "naïve", "한국", "(the)"]), max_size=5
).map(" ".join)


@pytest.mark.parametrize("version", [1, 2])
@settings(max_examples=30)
@given(st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), min_size=1, max_size=6))
def test_answers_are_scored_as_by_squads_scripts(version: int, pairs: list[tuple[str, list[str]]]) -> None:
    scores = Scores.of([answer for answer, _ in pairs], [right for _, right in pairs], unanswerable=version == 2)
    wanted = np.array([expected(answer, right, version) for answer, right in pairs])
    np.testing.assert_allclose(np.stack([scores.exact_match, scores.f1], axis=1), wanted)


def test_no_answer_is_right_where_there_is_none_and_nowhere_else() -> None:
    scores = Scores.of(["", "the", "cat", "", "a cat"], [[], [], [], ["cat"], ["The cat!"]], unanswerable=True)
    assert scores.exact_match.tolist() == scores.f1.tolist() == [1, 1, 0, 0, 1]
    assert Scores.of([], [], unanswerable=True).f1.shape == (0,)
    # SQuAD 1.1 knows no empty answer: no word is in common.
    assert Scores.of(["the"], [["a"]], unanswerable=False).f1.tolist() == [0]


@settings(max_examples=60)
@given(st.text("가나 b.", max_size=8), st.text("가나 B.", max_size=8))
def test_rouge_w_is_f1_of_the_longest_common_run_of_characters(answer: str, right: str) -> None:
    own, gold = (" ".join(text.lower().replace(".", "").split()) for text in (answer, right))
    runs = {own[first:last] for first in range(len(own)) for last in range(first, len(own) + 1)}
    longest = max((len(run) for run in runs if run in gold), default=0)
    precision, recall = longest / max(1, len(own)), longest / max(1, len(gold))
    wanted = 2 * precision * recall / (precision + recall) if longest else float(not own and not gold)
    assert rouge_w(answer, [right]) == pytest.approx(wanted)
    scores = Scores.of([answer, answer], [[right], ["--", right]], unanswerable=True)
    assert scores.rouge_w.tolist() == pytest.approx([wanted, max(wanted, float(not own))])
    assert rouge_w(answer, []) == float(not own)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(-3, 3)), min_size=1, max_size=9))
def test_no_threshold_is_better_and_none_as_good_answers_more(rows: list[tuple[int, int, int]]) -> None:
    answered, silent, differences = np.array(rows, np.float64).T
    answered = answered / 4
    chosen = best_threshold(answered, silent, differences)

    def whole(threshold: float) -> float:
        return float(np.where(differences > threshold, silent, answered).sum())

    for other in (-9.0, *differences.tolist(), 9.0):
        assert whole(other) <= whole(chosen) + 1e-9
        if whole(other) > whole(chosen) - 1e-9:
            assert (differences <= other).sum() <= (differences <= chosen).sum()
    # It stands between two questions, so that a rounding error changes no answer.
    assert np.abs(differences - chosen).min() >= 0.5
