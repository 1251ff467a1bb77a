"""Sentences against what a reader would say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plmtrain.text import sentences as module
from plmtrain.text.sentences import boundaries, split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["Hello there.", "How are you?", "I'm fine!"],
        ["Mr. Smith and Dr. J. R. Jones met on Jan. 5th in Washington, D.C. on foot.", "It rained."],
        ['"Really?" he said.', '"Yes."', "She left (at 5 p.m. or so).", "(He stayed.)", "“Well!”"],
        ["It cost 3.50 dollars, i.e. too much.", "Version 1.2 is out...", "And so on."],
        ["He lives in the U.S.", "The weather is fine there.", "The U.S. Army is not."],
        ["See Fig. 3 and pp. 4-5 of vol. II for more.", "So did I.", "Then we went."],
        ["첫째 문장입니다.", "둘째 문장이다!", "셋째인가요?"],
        ["これは文です。", "「はい。」と言った。", "次は？", "終わり！"],
        ["Wohin gehst du?", "Nach Hause, z.B. mit dem Zug.", "Übrigens: ja."],
        ["यह एक वाक्य है।", "यह दूसरा है।"],
        ["هل هذا صحيح؟", "نعم."],
    ],
)
def test_running_text_is_cut_into_its_sentences(sentences: list[str]) -> None:
    joined = ("" if sentences[0].startswith("これ") else " ").join(sentences)
    assert split_sentences(joined) == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("A title\n\nFirst. Second\nThird", ["A title", "First.", "Second", "Third"]),
        ("A line that was broken\nto fit a page. Then\nmore.", ["A line that was broken\nto fit a page.", "Then\nmore."]),
        ("one\n\ntwo", ["one", "two"]),
        ("1. First item\n2. Second item", ["1. First item", "2. Second item"]),
        ("  \n lead.  Text \n", ["lead.", "Text"]),
        ("", []),
        (" \n\t", []),
        ("...", ["..."]),
        ("no mark at all", ["no mark at all"]),
    ],
)
def test_lines_and_odd_texts(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(st.text(st.sampled_from('aB1.!?。」" \n\t(é한')) | st.text())
def test_boundaries_cut_the_text_without_losing_any(text: str) -> None:
    starts = boundaries(text)
    if not starts:
        assert not text.strip()
        return
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    parts = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    assert all(part.strip() for part in parts)
    assert split_sentences(text) == [part.strip() for part in parts]
    # White space stands in front, so that what follows it keeps its space: byte-level tokenizers need it there.
    assert all(part == part.rstrip() for part in parts[:-1])


@given(st.text(st.sampled_from("ab A.!?…。！ \n\t)”」\u3000\r\x0b"), max_size=30))
def test_no_end_is_passed_over(text: str) -> None:
    """Only some places are looked at; the expression itself looks everywhere."""
    everywhere = [(match.span(), match["mark"]) for match in module._END.finditer(text)]
    assert [(match.span(), match["mark"]) for match in module._matches(text)] == everywhere
