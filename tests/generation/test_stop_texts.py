"""What of an unfinished text can be shown: no token that follows may change it, and no stop text may have begun in it."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from plmtrain.generation import StopTexts, settled

TEXTS = ("naïve 한국어 😀 – é", "e\u0323\u0302x", "각간 ㄱ", "क्षि को", "a\ufffdb", "")


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_settled_does_not_change(text: str) -> None:
    """Whatever bytes, or characters before they are composed, a token adds."""
    data = text.encode()
    by_bytes = [data[:end].decode("utf-8", "replace") for end in range(len(data) + 1)]
    apart = unicodedata.normalize("NFD", text)
    by_characters = [unicodedata.normalize("NFC", apart[:end]) for end in range(len(apart) + 1)]
    for states in (by_bytes, by_characters):
        for now, state in enumerate(states):
            assert all(later.startswith(settled(state)) for later in states[now:])
    assert settled("abc") == "ab"


@pytest.mark.parametrize("stops", [("ab",), ("aab", "ba"), ("bbb", "c"), ("abab",)])
def test_a_stop_text_that_has_begun_is_not_shown(stops: tuple[str, ...]) -> None:
    stop = StopTexts(stops, str)
    generator = np.random.default_rng(0)
    for _ in range(200):
        text = "".join(generator.choice(list("abc"), size=8))
        final = stop.cut(text)
        for end in range(len(text) + 1):
            shown = stop.cut_unfinished(text[:end])
            assert final.startswith(shown)
            if end < len(final) - max(map(len, stops)):
                assert len(shown) > end - max(map(len, stops))
