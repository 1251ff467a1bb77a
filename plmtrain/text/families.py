"""The special tokens of each model family: their names, their ids, their roles, and where they stand around a text.

Ids are those of the published vocabularies where home-trained ones can have them: BERT's five come first (Google's file has
unused ids between them), RoBERTa's `<mask>` and GPT-2's `<|endoftext|>` come last.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

ROLES = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")
"""What a special token can be for; Hugging Face's files call them ``pad_token`` and so on."""

UNLIMITED = int(1e30)
"""How Hugging Face's files say that a model has no longest text."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """The special tokens of a family.

    Args:
        first: those with the lowest ids, in order.
        last: those with the highest ids, in order.
        roles: each role's token.
        single: where they stand around one text ($A), each with its segment id.
        pair: the same around two texts.
        mask_takes_space: whether the mask takes the space before it, so that it stands for a whole word.
        max_length: the longest text of the published models, in tokens.
        padding_side: where shorter texts are filled up.
    """

    first: tuple[str, ...]
    roles: Mapping[str, str]
    single: str
    pair: str
    last: tuple[str, ...] = ()
    mask_takes_space: bool = False
    max_length: int = 512
    padding_side: str = "right"

    @property
    def specials(self) -> tuple[str, ...]:
        """All special tokens, in the order of their ids."""
        return self.first + self.last

    @property
    def segments(self) -> bool:
        """Whether the model tells the segments of a pair apart."""
        return "$B:1" in self.pair

    @property
    def placed(self) -> tuple[str, ...]:
        """The special tokens that stand around texts."""
        around = self.pair.replace(":", " ").split()
        return tuple(token for token in self.specials if token in around)


FAMILIES: Mapping[str, Family] = {
    "bert": Family(
        first=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        roles={"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
    ),
    "roberta": Family(
        first=("<s>", "<pad>", "</s>", "<unk>"),
        last=("<mask>",),
        roles={
            "pad": "<pad>",
            "unk": "<unk>",
            "cls": "<s>",
            "sep": "</s>",
            "mask": "<mask>",
            "bos": "<s>",
            "eos": "</s>",
        },
        single="<s>:0 $A:0 </s>:0",
        pair="<s>:0 $A:0 </s>:0 </s>:0 $B:0 </s>:0",
        mask_takes_space=True,
    ),
    "albert": Family(
        first=("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
        roles={
            "pad": "<pad>",
            "unk": "<unk>",
            "cls": "[CLS]",
            "sep": "[SEP]",
            "mask": "[MASK]",
            "bos": "[CLS]",
            "eos": "[SEP]",
        },
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        mask_takes_space=True,
    ),
    "xlnet": Family(
        first=("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"),
        roles={
            "pad": "<pad>",
            "unk": "<unk>",
            "cls": "<cls>",
            "sep": "<sep>",
            "mask": "<mask>",
            "bos": "<s>",
            "eos": "</s>",
        },
        single="$A:0 <sep>:0 <cls>:2",
        pair="$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2",
        mask_takes_space=True,
        max_length=UNLIMITED,
        padding_side="left",
    ),
    "xlm": Family(
        first=("<s>", "</s>", "<pad>", "<unk>", *(f"<special{number}>" for number in range(10))),
        roles={
            "pad": "<pad>",
            "unk": "<unk>",
            "cls": "</s>",
            "sep": "</s>",
            "mask": "<special1>",
            "bos": "<s>",
            "eos": "</s>",
        },
        # Each sentence of its own, as in the authors' code; transformers' tokenizer has one token less between two.
        single="</s>:0 $A:0 </s>:0",
        pair="</s>:0 $A:0 </s>:0 </s>:0 $B:0 </s>:0",
        mask_takes_space=True,
    ),
    "gpt2": Family(
        first=(),
        last=("<|endoftext|>",),
        roles={"unk": "<|endoftext|>", "bos": "<|endoftext|>", "eos": "<|endoftext|>"},
        single="$A:0",
        pair="$A:0 $B:0",
        max_length=1024,
    ),
    "t5": Family(
        first=("<pad>", "</s>", "<unk>"),
        last=tuple(f"<extra_id_{number}>" for number in reversed(range(100))),
        roles={"pad": "<pad>", "unk": "<unk>", "eos": "</s>"},
        single="$A:0 </s>:0",
        pair="$A:0 </s>:0 $B:0 </s>:0",
    ),
}


def family_of(tokens: Collection[str]) -> str:
    """The family whose special tokens a vocabulary has; ``bert`` where none fits, since most vocabularies follow it.

    Args:
        tokens: the names of the special tokens.
    """
    signs = (
        ("t5", ("<extra_id_0>",)),
        ("xlnet", ("<cls>", "<sep>")),
        ("xlm", ("</s>", "<special1>")),
        ("albert", ("<pad>", "[CLS]")),
        ("bert", ("[CLS]", "[SEP]")),
        ("roberta", ("<s>", "</s>", "<mask>")),
        ("gpt2", ("<|endoftext|>",)),
    )
    return next((family for family, names in signs if all(name in tokens for name in names)), "bert")
