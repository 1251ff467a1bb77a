"""A small text in several scripts, and tokenizers trained on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

_PARAGRAPHS = (
    "The low fog lay over the lower town, and the lowest houses could not be seen from the newest road at all.",
    "She said that it was the widest river she had ever crossed; he said nothing, and went on counting the wild geese.",
    "It's 1,234.5 miles (or so) from here to there, isn't it? Don't ask! He wouldn't know, and they couldn't say.",
    "Reading is to the mind what walking is to the body: walking, talking, reading and writing are never wasted.",
    "Café, naïve, façade and Zürich are words with marks; ΑΒΓ αβγ and Привет мир are words in other letters.",
    "한국어 문장은 띄어쓰기가 있습니다. 그는 학교에서 책을 읽었다. 우리는 학교에 갔다.",
    "日本語の文には空白がない。「はい。」と言った。東京は大きい都市です。",
    "A line with an email, a@b.org, and a tag: x_y = [z]; 50% off @ 3 pm & more.",
)
TEXTS = tuple(
    f"{first}\n{second} {number}"
    for number, (first, second) in enumerate((a, b) for a in _PARAGRAPHS for b in _PARAGRAPHS if a is not b)
)


@pytest.fixture(scope="session")
def texts() -> tuple[str, ...]:
    return TEXTS


@pytest.fixture(scope="session")
def trained() -> Callable[..., Tokenizer]:
    """A tokenizer of a type, a family, a case; each is trained once."""

    @cache
    def make(type: str, family: str, lowercase: bool = False, vocab_size: int = 900) -> Tokenizer:
        return train(TEXTS, TokenizerSettings(type=type, family=family, vocab_size=vocab_size, lowercase=lowercase))

    return make
