"""Perplexity, choices, minimal pairs and written answers: against their definitions, with models whose likelihoods are known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from support.finished_run import TEXTS, tokenizer_for

from plmtrain import objectives
from plmtrain.backbones import build
from plmtrain.errors import DataError, SettingsError
from plmtrain.metrics.answers import exact_match, f1
from plmtrain.scoring import Subject, choices, completions, minimal_pairs, perplexity, score
from plmtrain.scoring.examples import Question
from plmtrain.scoring.likelihood import Continuation
from plmtrain.scoring.shots import Shots
from plmtrain.settings.models.decoder import DecoderSettings
from plmtrain.settings.objectives.clm import CausalLMSettings
from plmtrain.settings.scoring.base import FewShotSettings
from plmtrain.settings.scoring.choices import ChoicesSettings
from plmtrain.settings.scoring.completions import CompletionsSettings
from plmtrain.settings.scoring.minimal_pairs import MinimalPairsSettings
from plmtrain.settings.scoring.perplexity import PerplexitySettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer


class Known:
    """A likelihood in which a token costs a number of its own, and twice that behind a context.

    Args:
        longest: the most tokens of a text.
    """

    name, is_probability, notes = "known", True, ()

    def __init__(self, longest: int = 1000) -> None:
        self.longest = longest
        self.asked: list[Continuation] = []

    def losses(self, asked: Sequence[Continuation]) -> list[np.ndarray]:
        self.asked += asked
        return [(text.tokens[text.first :] % 7 + 1.0) * (2 if text.first else 1) for text in asked]


def tokenizer(family: str = "gpt2", kind: str = "byte_bpe") -> Tokenizer:
    return tokenizer_for(TokenizerSettings(type=kind, family=family, vocab_size=400, lowercase=kind == "wordpiece"))


def known(longest: int = 1000, **changes: Any) -> tuple[Any, Known]:
    likelihood = Known(longest)
    subject = {"tokenizer": tokenizer(), "trained_length": None, "likelihood": lambda settings: likelihood, **changes}
    return SimpleNamespace(**subject), likelihood


def cost(text: str, doubled: bool = False) -> float:
    """The loss of a whole text in ``Known``."""
    ((ids, _),) = tokenizer().encode([text])
    return float((ids % 7 + 1.0).sum()) * (2 if doubled else 1)


def written(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    ("length", "window", "stride"), [(1, 4, 2), (4, 4, 2), (5, 4, 2), (23, 8, 3), (23, 8, 8), (23, 8, 1), (0, 8, 4)]
)
def test_windows_score_each_token_once_with_the_context_of_the_definition(length: int, window: int, stride: int) -> None:
    """Token t is in the first window (stride k, window w) whose end is after it: the smallest k with t < k * stride + w."""
    made = list(perplexity.windows(length, window, stride))
    scored = {place: start for start, first, end in made for place in range(first, end)}
    assert sum(end - first for _, first, end in made) == length == len(scored)
    for place, start in scored.items():
        assert start == max(0, math.ceil((place - window + 1) / stride)) * stride
    assert all(start % stride == 0 and end <= min(start + window, length) for start, _, end in made)


@pytest.mark.parametrize(
    "options",
    [{"beams": 1025}, {"beams": 10**9}, {"length_penalty": 2.0}, {"stop": [""]}],
    ids=lambda options: next(iter(options)),
)
def test_what_no_generation_can_be_is_refused_with_the_settings(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CompletionsSettings(files=["q.jsonl"], **options)
    assert CompletionsSettings(files=["q.jsonl"], beams=2, length_penalty=2.0).beams == 2


@pytest.mark.parametrize("name", ["a.JSONL", "a.ndjson", "a.json"])
def test_perplexity_reads_json_by_any_of_its_endings(name: str, tmp_path: Path) -> None:
    rows = [{"text": text} for text in TEXTS]
    lines = json.dumps(rows) if name == "a.json" else "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / name).write_text(lines)
    report = perplexity.score(PerplexitySettings(files=[str(tmp_path / name)], window=1000), known()[0])
    assert report.examples == len(TEXTS)
    assert report.counts["nats"] == pytest.approx(sum(map(cost, TEXTS)))


def test_perplexity_divides_one_total_by_tokens_words_and_bytes(tmp_path: Path) -> None:
    texts = [*TEXTS, "Zürich,  two\nlines"]
    file = written(tmp_path / "a.jsonl", [{"body": text} for text in texts])
    subject, _ = known()
    report = perplexity.score(PerplexitySettings(files=[file], text_column="body", window=1000), subject)
    total = sum(cost(text) for text in texts)
    sizes = {
        "token": sum(len(ids) for ids, _ in tokenizer().encode(texts)),
        "word": sum(len(text.split()) for text in texts),
        "byte": sum(len(text.encode()) for text in texts),
    }
    values = {one.name: one for one in report.scores}
    assert report.counts["nats"] == pytest.approx(total)
    for unit, size in sizes.items():
        assert values[f"perplexity_per_{unit}"].value == pytest.approx(math.exp(total / size)), unit
    assert values["bits_per_byte"].value == pytest.approx(total / sizes["byte"] / math.log(2))
    # Leaving one document out at a time gives the spread of a ratio, nearly.
    nats, lengths = np.array([cost(text) for text in texts]), np.array([len(text.encode()) for text in texts])
    without = (nats.sum() - nats) / (lengths.sum() - lengths)
    jackknife = math.sqrt((len(texts) - 1) / len(texts) * ((without - without.mean()) ** 2).sum())
    assert values["bits_per_byte"].error == pytest.approx(jackknife / math.log(2), rel=0.4)


def test_tokenizers_compare_by_the_byte(tmp_path: Path) -> None:
    """A uniform model: the total is the number of tokens times the logarithm of the vocabulary, whatever a token is."""
    file = tmp_path / "text.txt"
    file.write_text(TEXTS[0])
    bits = {}
    for family, kind in (("gpt2", "byte_bpe"), ("bert", "wordpiece")):
        own = tokenizer(family, kind)
        model = DecoderSettings(name="flat", family="gpt2", layers=1, width=8, heads=1, feed_forward=8, positions=16)
        program = objectives.build(CausalLMSettings(name="clm"), model, own.vocabulary)
        learner = program.build(lambda shape, size=own.vocabulary.size: build(shape, size)).eval()
        torch.nn.init.zeros_(learner.backbone.embedding_weight)
        subject = Subject(learner=learner, tokenizer=own)
        report = score(PerplexitySettings(files=[str(file)], window=8, stride=3), subject)
        values = {one.name: one.value for one in report.scores}
        tokens = len(own.encode([TEXTS[0]])[0][0])
        assert values["perplexity_per_token"] == pytest.approx(own.vocabulary.size, rel=1e-5)
        bits[family] = values["bits_per_byte"]
        assert bits[family] == pytest.approx(tokens * math.log2(own.vocabulary.size) / len(TEXTS[0].encode()), rel=1e-5)
    assert bits["gpt2"] != pytest.approx(bits["bert"], rel=1e-3)


def test_an_encoder_gets_no_perplexity(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text(TEXTS[0])
    subject, likelihood = known()
    likelihood.is_probability = False
    report = perplexity.score(PerplexitySettings(files=[str(file)]), subject)
    assert [one.name for one in report.scores] == ["pseudo_loss_per_token", "pseudo_loss_per_word", "pseudo_loss_per_byte"]
    assert any("no perplexities" in note for note in report.notes)


def test_windows_fit_the_model() -> None:
    assert perplexity.window_of(PerplexitySettings(), Known(40), 32) == (32, 16)
    assert perplexity.window_of(PerplexitySettings(), Known(40), None) == (40, 20)
    assert perplexity.window_of(PerplexitySettings(window=8, stride=8), Known(40), 32) == (8, 8)
    with pytest.raises(SettingsError, match=r"scoring.window \(41\) is more than the model takes \(40\)"):
        perplexity.window_of(PerplexitySettings(window=41), Known(40), None)


@pytest.mark.parametrize("compare", ["sum", "per_token", "per_byte"])
def test_minimal_pairs_by_file_and_ties_count_half(tmp_path: Path, compare: str) -> None:
    pairs = [(TEXTS[0], TEXTS[1]), (TEXTS[1], TEXTS[0]), ("same", "same"), (TEXTS[2], TEXTS[3]), ("the low", "the lowest town")]
    rows = [{"good": good, "bad": bad, "UID": "more"} for good, bad in pairs]
    files = [written(tmp_path / "first.jsonl", rows[:3]), written(tmp_path / "second.jsonl", rows[3:])]
    subject, _ = known()
    report = score(MinimalPairsSettings(files=files, good_column="good", bad_column="bad", compare=compare), subject)

    def loss(text: str) -> float:
        sizes = {"sum": 1, "per_token": len(tokenizer().encode([text])[0][0]), "per_byte": len(text.encode())}
        return cost(text) / sizes[compare]

    points = [0.5 if good == bad else float(loss(good) < loss(bad)) for good, bad in pairs]
    (accuracy,) = report.scores
    assert accuracy.value == pytest.approx(np.mean(points))
    assert accuracy.error == pytest.approx(np.std(points, ddof=1) / math.sqrt(5))
    assert {file: scores[0].value for file, scores in report.by_file.items()} == {
        "first": pytest.approx(np.mean(points[:3])),
        "second": pytest.approx(np.mean(points[3:])),
    }
    assert report.counts["ties"] == 1


ROWS = [
    {"context": "The low fog lay over", "choices": ["the lower town", "it", "the newest road at all"], "answer": 0},
    {"context": "She said that it was", "choices": ["the widest river", "wild"], "answer": "wild"},
    {"context": "Walking and talking are", "choices": ["never wasted", "the houses"], "answer": 1},
]


@pytest.mark.parametrize("compare", ["sum", "per_token", "per_byte", "unconditional"])
def test_choices_by_their_likelihood(tmp_path: Path, compare: str) -> None:
    subject, _ = known()
    report = score(ChoicesSettings(files=[written(tmp_path / "q.jsonl", ROWS)], compare=compare), subject)
    points = []
    for row in ROWS:
        worths = []
        for choice in row["choices"]:
            loss = cost(f" {choice}", doubled=True)
            tokens = len(tokenizer().encode([f" {choice}"])[0][0])
            worths.append(
                {"sum": -loss, "per_token": -loss / tokens, "per_byte": -loss / len(choice.encode()), "unconditional": 0.0}[
                    compare
                ]
            )
        best = [number for number, worth in enumerate(worths) if worth == max(worths)]
        right = row["answer"] if isinstance(row["answer"], int) else row["choices"].index(row["answer"])
        points.append((right in best) / len(best))
    assert report.scores[0].value == pytest.approx(np.mean(points))
    assert report.counts["chance"] == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)


def test_a_choice_that_stands_twice_is_right_twice(tmp_path: Path) -> None:
    subject, _ = known()
    rows = [{"context": "c", "choices": ["it", "it"], "answer": 0}, {"context": "c", "choices": ["it", "it"], "answer": "it"}]
    report = score(ChoicesSettings(files=[written(tmp_path / "q.jsonl", rows)]), subject)
    assert report.scores[0].value == 1


def test_what_is_scored_of_a_choice_are_its_own_tokens(tmp_path: Path) -> None:
    subject, likelihood = known()
    score(ChoicesSettings(files=[written(tmp_path / "q.jsonl", ROWS[:1])], compare="unconditional"), subject)
    conditional, neutral = likelihood.asked[:3], likelihood.asked[3:]
    for given, alone, choice in zip(conditional, neutral, ROWS[0]["choices"], strict=True):
        assert tokenizer().decode(given.tokens[: given.first]) == ROWS[0]["context"]
        assert tokenizer().decode(alone.tokens[: alone.first]) == "Answer:"
        assert tokenizer().decode(given.tokens[given.first :]) == f" {choice}" == tokenizer().decode(alone.tokens[alone.first :])


QUESTIONS = [Question(file="q", where=f"q:{n}", context=f"q{n}", answers=(f"a{n}", "else")) for n in range(9)]


@pytest.mark.parametrize("own", [True, False])
def test_solved_examples_are_others_by_construction(own: bool) -> None:
    """Each is there once, the question itself never among its own, the same in every run, another seed others."""
    shots = Shots(FewShotSettings(type="x", shots=3, separator="|", between=">"), QUESTIONS, own)
    drawn = [shots.before(number) for number in range(9)]
    for number, texts in enumerate(drawn):
        assert len(set(texts)) == 3
        assert set(texts) <= {f"q{n}>a{n}|" for n in range(9) if not (own and n == number)}
    assert drawn == [shots.before(number) for number in range(9)]
    assert len({tuple(texts) for texts in drawn}) > 5
    assert drawn != [
        Shots(FewShotSettings(type="x", shots=3, separator="|", between=">", seed=1), QUESTIONS, own).before(n) for n in range(9)
    ]
    prompt = shots.prompt(4, QUESTIONS[4], lambda text: len(text) <= 14)
    assert (prompt.text, prompt.shots, prompt.complete) == ("".join([*drawn[4][1:], "q4"]), 2, True)
    assert shots.prompt(4, QUESTIONS[4], lambda text: False).text == "q4"
    most = Shots(FewShotSettings(type="x", shots=9 - own), QUESTIONS, own)
    assert len(set(most.before(0))) == 9 - own
    with pytest.raises(DataError, match="solved examples to draw"):
        Shots(FewShotSettings(type="x", shots=10 - own), QUESTIONS, own)


def test_fewer_solved_examples_where_they_do_not_fit_are_told(tmp_path: Path) -> None:
    subject, likelihood = known(longest=40)
    settings = ChoicesSettings(files=[written(tmp_path / "q.jsonl", ROWS)], shots=2, separator="\n")
    report = score(settings, subject)
    assert all(len(text.tokens) <= 40 for text in likelihood.asked)
    assert report.counts["fewer_shots"] > 0
    assert any("fewer than 2 solved examples" in note for note in report.notes)


class Speaker(completions._Author):
    """Writes the same answer to every prompt."""

    def _write(self, prompts: Sequence[np.ndarray]) -> list[list[int]]:
        self.prompts = [*getattr(self, "prompts", []), *(self.tokenizer.decode(ids) for ids in prompts)]
        return [self.tokenizer.encode([" The lower town.\nMore"])[0][0].tolist() for _ in prompts]


def test_written_answers_are_cut_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authors = []

    def author(subject: Any, settings: CompletionsSettings) -> Speaker:
        authors.append(Speaker(SimpleNamespace(tokenizer=tokenizer(), reading=torch.no_grad), settings, 1000))
        return authors[0]

    monkeypatch.setattr(completions, "_author", author)
    rows = [
        {"context": "Where?", "answer": "lower town"},
        {"context": "What?", "answer": ["a road", "the town"]},
        {"context": "?", "answer": "it"},
    ]
    report = score(CompletionsSettings(files=[written(tmp_path / "q.jsonl", rows)], shots=1), SimpleNamespace())
    values = {one.name: one.value for one in report.scores}
    assert values == {"exact_match": pytest.approx(1 / 3), "f1": pytest.approx((1 + 2 / 3 + 0) / 3)}
    solved = {f"{row['context']} {row['answer'] if isinstance(row['answer'], str) else row['answer'][0]}\n\n" for row in rows}
    assert sorted(prompt.rpartition("\n\n")[2] for prompt in authors[0].prompts) == ["?", "What?", "Where?"]
    assert {prompt.rpartition("\n\n")[0] + "\n\n" for prompt in authors[0].prompts} <= solved


@pytest.mark.parametrize(
    ("answer", "right", "exact", "shared"),
    [
        ("The Mill!", ["mill"], 1, 1),
        ("an old mill", ["the new mill"], 0, 2 * 1 / 4),
        ("old old mill", ["old mill mill"], 0, 4 / 6),
        ("nothing", ["mill", "nothing at all"], 0, 2 / 4),
        ("", ["mill"], 0, 0),
    ],
)
def test_exact_match_and_f1(answer: str, right: list[str], exact: float, shared: float) -> None:
    assert exact_match(answer, right) == exact
    assert f1(answer, right) == pytest.approx(shared)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"context": "c", "choices": ["a"], "answer": 0}, "one choice alone"),
        ({"context": "c", "choices": ["a", "b"], "answer": 2}, "number from 0 to 1"),
        ({"context": "c", "choices": ["a", "b"], "answer": True}, "number from 0 to 1"),
        ({"context": "c", "choices": "ab", "answer": 0}, "one choice alone"),
        ({"context": "c", "choices": [1, 2], "answer": 0}, "a list of texts"),
        ({"context": 1, "choices": ["a", "b"], "answer": 0}, "should be text"),
        ({"choices": ["a", "b"], "answer": 0}, "no column 'context'"),
    ],
)
def test_a_bad_row_is_told_with_its_line(tmp_path: Path, row: dict[str, Any], what: str) -> None:
    subject, _ = known()
    with pytest.raises(DataError, match=what) as told:
        choices.score(ChoicesSettings(files=[written(tmp_path / "q.jsonl", [ROWS[0], row])]), subject)
    assert told.value.where.endswith("q.jsonl:2")
    assert "data." not in told.value.remedy


def test_a_text_that_is_too_long_or_empty_is_told(tmp_path: Path) -> None:
    for good, what in (("", "has no token"), (TEXTS[0], "but the model takes 9")):
        subject, _ = known(longest=9)
        file = written(tmp_path / "p.jsonl", [{"sentence_good": good, "sentence_bad": "it"}])
        with pytest.raises(DataError, match=what):
            minimal_pairs.score(MinimalPairsSettings(files=[file]), subject)
