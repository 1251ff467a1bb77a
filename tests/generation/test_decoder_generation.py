"""Continuations of prompts against transformers' ``generate`` on the same random weights, one by one and in batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.gpt2_twin import END, twins
from torch import Tensor

from plmtrain.generation import NOTHING, DecoderWriter, Specials, StopTexts, generate
from plmtrain.settings.generation import GenerationSettings

SPECIALS, LIMIT = Specials(end=END), 14
LENGTHS = (9, 4, 1, 7)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"min_new_tokens": 8},
    {"no_repeat_ngram": 2},
    {"beams": 2},
    {"beams": 4},
    {"beams": 5, "length_penalty": 2.0, "min_new_tokens": 6, "no_repeat_ngram": 3},
    {"beams": 4, "length_penalty": -1.0},
    {"beams": 3, "early_stopping": True},
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    return twins(tmp_path_factory.mktemp("gpt2"))


def prompts(seed: int) -> Tensor:
    """Prompts of several lengths, padded on the left."""
    ids = torch.randint(0, END, (4, max(LENGTHS)), generator=torch.Generator().manual_seed(seed))
    return torch.where(torch.arange(max(LENGTHS)) >= max(LENGTHS) - torch.tensor(LENGTHS)[:, None], ids, NOTHING)


def continued(ours: Any, begun: Tensor, settings: GenerationSettings, end: int = END) -> list[list[int]]:
    writer = DecoderWriter(ours, settings.beams, begun.shape[1] + LIMIT)
    return generate(writer, begun, Specials(end=end), settings, LIMIT)


@pytest.fixture(scope="module")
def end(pair: Any) -> int:
    """A token that ends some texts early: one that is written when nothing ends them."""
    return continued(pair[1], prompts(0), GenerationSettings())[0][5]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(f"{key}={value}" for key, value in options.items()))
def test_the_same_continuation_as_transformers(pair: Any, options: dict[str, Any], end: int) -> None:
    theirs, ours = pair
    settings = GenerationSettings(**options)
    lengths = set()
    for seed in range(4):
        begun = prompts(seed)
        expected = theirs.generate(
            input_ids=begun.masked_fill(begun < 0, END),
            attention_mask=(begun >= 0).long(),
            do_sample=False,
            num_beams=settings.beams,
            max_new_tokens=LIMIT,
            min_new_tokens=settings.min_new_tokens or None,
            length_penalty=settings.length_penalty,
            no_repeat_ngram_size=settings.no_repeat_ngram,
            early_stopping=settings.early_stopping,
            pad_token_id=END,
            eos_token_id=end,
        )[:, begun.shape[1] :].tolist()
        expected = [text[: text.index(end) + 1] if end in text else text for text in expected]
        assert continued(ours, begun, settings, end) == expected
        lengths |= {len(text) for text in expected}
    assert len(lengths) > 1 or settings.min_new_tokens or settings.beams > 1  # beams prefer whole texts here


@pytest.mark.parametrize("options", [{}, {"sample": True, "top_k": 20}, {"beams": 3}, {"no_repeat_ngram": 2}])
def test_a_prompt_is_continued_in_a_batch_as_alone(pair: Any, options: dict[str, Any]) -> None:
    _, ours = pair
    settings = GenerationSettings(**options)
    begun = prompts(3)
    together = continued(ours, begun, settings)
    for row, text in enumerate(together):
        prompt = begun[row : row + 1, -LENGTHS[row] :]
        writer = DecoderWriter(ours, settings.beams, prompt.shape[1] + LIMIT)
        alone = generate(writer, prompt, SPECIALS, settings, LIMIT, samples=torch.tensor([row]).numpy())
        assert alone == [text]


class Letters:
    """A tokenizer with a letter a token."""

    def decode(self, ids: Any) -> str:
        return "".join(chr(97 + token % 26) for token in ids)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_stop_text_ends_a_text(pair: Any, beams: int) -> None:
    """The texts without it, each up to the token that completes it; beams may choose another text."""
    _, ours = pair
    letters: Any = Letters()
    settings, begun = GenerationSettings(beams=beams, min_new_tokens=LIMIT), prompts(5)
    writer = DecoderWriter(ours, beams, begun.shape[1] + LIMIT)
    free = [letters.decode(text) for text in generate(writer, begun, SPECIALS, settings, LIMIT)]
    stop = StopTexts([free[0][3:6]], letters.decode)
    writer = DecoderWriter(ours, beams, begun.shape[1] + LIMIT)
    ended = [letters.decode(text) for text in generate(writer, begun, SPECIALS, settings, LIMIT, stop=stop)]
    for text, whole in zip(ended, free, strict=True):
        assert all(word not in text[:-1] for word in stop.texts)
        if beams == 1:
            place = whole.find(stop.texts[0])
            assert text == (whole if place < 0 else whole[: place + 3])
    assert stop.cut(free[0]) == free[0][: free[0].find(stop.texts[0])]
