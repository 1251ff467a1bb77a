"""Metrics of written texts: the libraries' own numbers, and shares by hand."""

from __future__ import annotations

import math

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from plmtrain.errors import SettingsError
from plmtrain.metrics import written
from plmtrain.runs import material
from plmtrain.settings.tasks.sequence_to_sequence import SequenceToSequenceSettings

GIVEN = ["the cat sat on the mat", "a dog runs", "Der Hund läuft heute .", ""]
RIGHT = ["the cat sat on a mat", "A dog ran.", "Der Hund läuft heute.", "something"]


def measured(name: str, given: list[str] = GIVEN, right: list[str] = RIGHT, tokens: str = "13a") -> float:
    return written.measure(name, given, right, tokens)


@pytest.mark.parametrize("tokens", ["13a", "char", "intl"])
def test_bleu_is_sacrebleus_of_the_corpus(tokens: str) -> None:
    assert measured("bleu", tokens=tokens) == sacrebleu.corpus_bleu(GIVEN, [RIGHT], tokenize=tokens).score
    assert f"|tok:{tokens}|" in written.signature("bleu", GIVEN, RIGHT, tokens)


def test_chrf_is_sacrebleus_of_the_corpus() -> None:
    assert measured("chrf") == sacrebleu.corpus_chrf(GIVEN, [RIGHT]).score
    assert written.signature("chrf", GIVEN, RIGHT, "13a").startswith("chrF")


def test_rouge_is_the_mean_f1_of_stemmed_words() -> None:
    """By hand of the second text: two of its three words, once their endings are off (run is none of ran)."""
    assert measured("rouge1", GIVEN[1:2], RIGHT[1:2]) == pytest.approx(2 / 3)
    assert measured("rouge1", ["cats"], ["the cat"]) == pytest.approx(2 / 3)
    scorer = RougeScorer(["rouge2", "rougeL"], use_stemmer=True)
    scores = [scorer.score(right, given) for given, right in zip(GIVEN, RIGHT, strict=True)]
    for name in ("rouge2", "rougeL"):
        assert measured(name) == pytest.approx(sum(score[name].fmeasure for score in scores) / 4)


def test_shares_of_right_texts() -> None:
    assert measured("exact_match") == 1 / 2  # neither articles nor marks count for the first; nothing is no answer
    assert measured("accuracy") == 0
    assert measured("accuracy", ["yes", " no", "perhaps", "Yes"], ["yes", "no", "no", "yes"]) == 1 / 2


@pytest.mark.parametrize("name", ["bleu", "chrf", "rougeL", "exact_match", "accuracy"])
def test_the_same_texts_are_as_good_as_can_be_and_none_are_nothing(name: str) -> None:
    texts = ["the cat sat on the mat today", "a dog runs to the house now"]
    assert measured(name, texts, texts) == pytest.approx(100 if name in ("bleu", "chrf") else 1)
    assert math.isnan(measured(name, [], []))


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    task = {
        names: SequenceToSequenceSettings(name="t", text=("a",), metrics=names)
        for names in (("exact_match", "accuracy", "loss"), ("exact_match", "rouge2"))
    }
    monkeypatch.setattr(material, "find_spec", lambda name: None)
    material.require_libraries(task["exact_match", "accuracy", "loss"])
    with pytest.raises(SettingsError, match="rouge2 needs rouge-score, which is not installed") as told:
        material.require_libraries(task["exact_match", "rouge2"])
    assert "plmtrain[eval]" in told.value.remedy
