"""Names are counted as conlleval counts them, by its rules written out here, on random labels and on odd ones."""

from __future__ import annotations

import random

import pytest

from plmtrain.metrics.entities import measures


def names(labels: list[str]) -> set[tuple[str, int, int]]:
    """Type, beginning and end of each name: B- and S- begin one; I- and E- go on with a name of their type, or else begin one; it
    ends after E- and S-."""
    spans, begin, kind, over = set(), 0, "", False
    for place, label in enumerate([*labels, "O"]):
        mark, _, own = label.partition("-")
        if kind and (over or mark not in ("I", "E") or own != kind):
            spans.add((kind, begin, place))
            kind = ""
        if mark != "O" and not kind:
            begin, kind = place, own
        over = mark in ("E", "S")
    return spans


@pytest.mark.parametrize("marks", ["BI", "BIES"])
@pytest.mark.parametrize("seed", range(20))
def test_random_labels(seed: int, marks: str) -> None:
    chance = random.Random(seed)
    labels = ["O", *(f"{mark}-{kind}" for mark in marks for kind in "ab")]
    expected = [chance.choices(labels, k=chance.randint(1, 12)) for _ in range(6)]
    predicted = [[label if chance.random() < 0.7 else chance.choice(labels) for label in text] for text in expected]
    right = sum(len(names(own) & names(given)) for own, given in zip(expected, predicted, strict=True))
    there, given = (sum(len(names(text)) for text in texts) for texts in (expected, predicted))
    found = measures(predicted, expected)
    assert found["recall"] == pytest.approx(right / there)
    assert found["precision"] == pytest.approx(right / given)
    assert found["f1"] == pytest.approx(2 * right / (there + given))


def test_the_last_and_the_only_word_by_their_other_letters() -> None:
    expected = [["U-a", "U-a", "O", "B-b", "I-b", "L-b"], ["B-a", "L-a", "U-b"]]
    predicted = [["U-a", "O", "O", "B-b", "L-b", "U-b"], ["B-a", "L-a", "U-b"]]
    assert measures(predicted, expected) == {"precision": 3 / 5, "recall": 3 / 5, "f1": pytest.approx(3 / 5)}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("average", ["micro", "macro"])
def test_without_names_all_is_zero(average: str, strict: bool) -> None:
    for predicted, expected in (("O", "O"), ("O", "B-a"), ("B-a", "O")):
        measured = measures([[predicted, "O"]], [[expected, "O"]], average, strict=strict)
        assert measured == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


@pytest.mark.parametrize("seed", range(5))
def test_strict_means_over_types_are_those_of_klues_code(seed: int) -> None:
    """seqeval's own function as klue_ner_entity_macro_f1 calls it, on labels of which some continue nothing."""
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2

    chance = random.Random(seed)
    labels = ["O", *(f"{mark}-{kind}" for mark in "BI" for kind in "abc")]
    expected = [[*chance.choices(labels, k=8), "B-a", "I-a"] for _ in range(6)]
    predicted = [[label if chance.random() < 0.7 else chance.choice(labels) for label in text] for text in expected]
    measured = measures(predicted, expected, "macro", strict=True)
    assert measured["f1"] == f1_score(expected, predicted, average="macro", mode="strict", scheme=IOB2)
    assert measured["f1"] != measures(predicted, expected, "macro")["f1"]
