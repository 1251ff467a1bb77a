"""The kinds of tokenizer, as arguments of ``trained``, and texts that are hard for them."""

KINDS = [
    ("wordpiece", "bert", True),
    ("wordpiece", "bert", False),
    ("bpe", "gpt1", True),
    ("byte_bpe", "roberta", False),
    ("byte_bpe", "roberta", True),
    ("byte_bpe", "gpt2", False),
    ("byte_bpe", "deberta", False),
    ("byte_bpe", "bert", False),
    ("unigram", "albert", True),
    ("unigram", "xlnet", False),
    ("unigram", "t5", False),
    ("unigram", "deberta", False),
]

HARD = (
    "Hello world, she said.",
    "  two  spaces\n\nand\ttabs \r\n",
    "It's 한국어 문장, 日本語の漢字。 café NAÏVE ﬁne ``quoted''",
    "𝔘nicode 🙂 ﷺ ２０２１年 e\u0301 \u00a0 x",
    "Don't! (1,234.5) e-mail@x.y ##ing ▁x Ġy",
    "x",
)
