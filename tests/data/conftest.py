"""A small corpus in a made-up language, and tokenizers trained on it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plmtrain.settings.data import DataSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

WORDS = [a + b + c for a in ("ka", "to", "mi", "ru") for b in ("", "lo", "sen") for c in ("", "n", "s", "ta")]


def document(seed: int, sentences: int = 12) -> str:
    """Some sentences, always the same for a seed."""
    draw = random.Random(seed)
    made = (" ".join(draw.choices(WORDS, k=draw.randint(3, 9))).capitalize() for _ in range(sentences))
    return "".join(sentence + draw.choice("..!?") + draw.choice("   \n") for sentence in made).strip()


def write_lines(path: Path, texts: list[str]) -> Path:
    """A document a line."""
    path.write_text("".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(texts)), "utf-8")
    return path


def tokenizer_settings(kind: str = "wordpiece", family: str = "bert", size: int = 120) -> TokenizerSettings:
    return TokenizerSettings.model_validate({"type": kind, "family": family, "vocab_size": size, "lowercase": False})


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return [document(seed) for seed in range(40)]


@pytest.fixture(scope="session")
def tokenizer(texts: list[str]) -> Tokenizer:
    return train(iter(texts), tokenizer_settings())


@pytest.fixture
def corpus(tmp_path: Path, texts: list[str]) -> Path:
    return write_lines(tmp_path / "corpus.jsonl", texts)


@pytest.fixture
def write_corpus() -> Callable[[Path, list[str]], Path]:
    return write_lines


@pytest.fixture
def settings(tmp_path: Path, corpus: Path) -> Callable[..., DataSettings]:
    """Data settings for the corpus, but for what is given."""

    def make(**given: Any) -> DataSettings:
        values: dict[str, Any] = {
            "name": "made-up",
            "type": "jsonl",
            "files": (str(corpus),),
            "prepared_dir": str(tmp_path / "prepared"),
            "validation_fraction": 0.1,
            "processes": 1,
        }
        return DataSettings.model_validate(values | given)

    return make
