"""The published families of models, and of the tokenizers that they use: one row has all facts about a family.

A family of tokenizers defines the special tokens and their places around text. A family of models names its family of
tokenizers, its kind of backbone, and the head with which its published models classify texts. A new family is a new row in one
of the two tables; the names of its tensors in a Hugging Face folder are in ``plmtrain.interop.families``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

ROLES = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")
"""The uses that a special token can have; Hugging Face's files call them ``pad_token`` and so on."""

SENTINEL = "<extra_id_{}>"
"""The name of a sentinel, of which each stands for another piece that is cut out of a text (Raffel et al. 2020, section 3.1.4).
The first one has the role ``sentinel``, which Hugging Face's files do not name."""

UNLIMITED = int(1e30)
"""The number by which Hugging Face's files express that a model has no longest text."""

WORD_END = "</w>"
"""The end of a piece of BPE that ends a word (Sennrich et al. 2016, section 3.2)."""

Piece = tuple[str | int, int]
"""A piece of a row and its segment: the role of a special token, or the number of a text."""


@dataclass(frozen=True, kw_only=True)
class TokenizerFamily:
    """The special tokens of a family, and their places around text.

    Ids are those of the published vocabularies if a newly trained vocabulary can have them: BERT's five come first (Google's
    file has unused ids between them), RoBERTa's ``<mask>`` and GPT-2's ``<|endoftext|>`` come last.

    Args:
        first: the special tokens with the lowest ids, in order.
        last: those with the highest ids, in order.
        roles: each role's token, ``sentinel`` among them; a family need not have all roles.
        single: a row of one text, as ``ROLE:SEGMENT`` and ``A:SEGMENT`` in order.
        pair: a row of two texts, A and B.
        added: those special tokens that published vocabularies lack: fine-tuning adds them, with new embeddings.
        languages: the special tokens of languages, which stand together before the mask; none for most families.
        signs: the special tokens that distinguish this family's vocabularies from others.
        signs_in_order: whether the ids of the signs must ascend: DeBERTa's names are BERT's, in another order.
        padding_side: the side of shorter rows on which padding stands.
        mask_takes_space: whether the mask includes the space before it, so that it replaces a whole word.
        max_length: the longest text of the published models, in tokens.
        keeps_line_ends: whether the published tokenizer was trained on unchanged text, line ends included; all others were
            trained on text without line ends.
        straightens_quotes: whether the authors' code writes `` and '' as ASCII quotation marks.
        trims_offsets: whether the offsets of byte-level tokens exclude the space before a word.
        marks_sentences: whether each sentence of running text, and not only each document, stands between ``bos`` and ``eos``.
        sentencepiece_file: the name of SentencePiece's file, where a tokenizer has one.
        library_class: the class of transformers that builds exactly the same tokenizer, with the type of that tokenizer; None if
            only the general class does.
    """

    first: tuple[str, ...]
    roles: Mapping[str, str]
    single: str
    pair: str
    signs: tuple[str, ...]
    last: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    signs_in_order: bool = False
    padding_side: Literal["left", "right"] = "right"
    mask_takes_space: bool = False
    max_length: int = 512
    keeps_line_ends: bool = False
    straightens_quotes: bool = False
    trims_offsets: bool = True
    marks_sentences: bool = False
    sentencepiece_file: str = "spiece.model"
    library_class: tuple[str, str] | None = None

    def language(self, name: str) -> str | None:
        """Return the token of a language, given itself or its part before the underscore; None if there is none."""
        return next((token for token in self.languages if name in (token, token.partition("_")[0])), None)

    @property
    def named_roles(self) -> dict[str, str]:
        """The roles that Hugging Face's files name, with their tokens."""
        return {role: self.roles[role] for role in ROLES if role in self.roles}

    @property
    def specials(self) -> tuple[str, ...]:
        """All special tokens, in the order of their ids."""
        return self.first + self.last

    def pieces(self, texts: int) -> tuple[Piece, ...]:
        """Return the pieces of a row of one text or two, in order; for 0, of running text, around which nothing stands."""
        if not texts:
            return ((0, 0),)
        names = {"A": 0, "B": 1}
        template = (piece.rpartition(":") for piece in (self.single if texts == 1 else self.pair).split())
        return tuple((names.get(name, name), int(segment)) for name, _, segment in template)

    def template(self, texts: int) -> str:
        """Return the same pieces as a template of the tokenizers library, with special tokens by their names."""
        names = [
            (("$A", "$B")[piece] if isinstance(piece, int) else self.roles[piece], segment)
            for piece, segment in self.pieces(texts)
        ]
        return " ".join(f"{name}:{segment}" for name, segment in names)

    @property
    def segments(self) -> bool:
        """Whether the model distinguishes the segments of a pair."""
        return (1, 1) in self.pieces(2)

    @property
    def placed(self) -> tuple[str, ...]:
        """The special tokens that stand around texts."""
        around = {self.roles[piece] for piece, _ in self.pieces(2) if isinstance(piece, str)}
        return tuple(token for token in self.specials if token in around)


MBART_LANGUAGES = (
    "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX "
    "ro_RO ru_RU si_LK tr_TR vi_VN zh_CN"
).split()
"""The tokens of the 25 languages of Liu et al. 2020, section 2.1, in the order of their code."""


def _all_roles(*tokens: str) -> Mapping[str, str]:
    """Return the tokens of all roles, in the order of ``ROLES``."""
    return dict(zip(ROLES, tokens, strict=True))


TOKENIZER_FAMILIES: Mapping[str, TokenizerFamily] = {
    "t5": TokenizerFamily(
        first=("<pad>", "</s>", "<unk>"),
        last=tuple(SENTINEL.format(number) for number in reversed(range(100))),
        roles={"pad": "<pad>", "unk": "<unk>", "eos": "</s>", "sentinel": "<extra_id_0>"},
        single="A:0 eos:0",
        pair="A:0 eos:0 B:0 eos:0",
        signs=(SENTINEL.format(0),),
    ),
    "xlnet": TokenizerFamily(
        first=("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"),
        roles=_all_roles("<pad>", "<unk>", "<cls>", "<sep>", "<mask>", "<s>", "</s>"),
        single="A:0 sep:0 cls:2",
        pair="A:0 sep:0 B:1 sep:1 cls:2",
        signs=("<cls>", "<sep>"),
        padding_side="left",
        mask_takes_space=True,
        max_length=UNLIMITED,
        straightens_quotes=True,
    ),
    "xlm": TokenizerFamily(
        first=("<s>", "</s>", "<pad>", "<unk>", *(f"<special{number}>" for number in range(10))),
        roles=_all_roles("<pad>", "<unk>", "</s>", "</s>", "<special1>", "<s>", "</s>"),
        # Each sentence has its own special tokens, as in the authors' code; transformers' tokenizer has one less between two.
        single="cls:0 A:0 sep:0",
        pair="cls:0 A:0 sep:0 cls:0 B:0 sep:0",
        signs=("</s>", "<special1>"),
        mask_takes_space=True,
    ),
    "albert": TokenizerFamily(
        first=("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
        roles=_all_roles("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "[CLS]", "[SEP]"),
        single="cls:0 A:0 sep:0",
        pair="cls:0 A:0 sep:0 B:1 sep:1",
        signs=("<pad>", "[CLS]"),
        mask_takes_space=True,
        straightens_quotes=True,
    ),
    "deberta": TokenizerFamily(
        first=("[PAD]", "[CLS]", "[SEP]", "[UNK]"),
        last=("[MASK]",),
        roles=_all_roles("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[CLS]", "[SEP]"),
        single="cls:0 A:0 sep:0",
        pair="cls:0 A:0 sep:0 B:1 sep:1",
        signs=("[CLS]", "[SEP]", "[UNK]", "[MASK]"),
        signs_in_order=True,
        mask_takes_space=True,
        sentencepiece_file="spm.model",  # of the second and the third version; the first has bytes
    ),
    "bert": TokenizerFamily(
        first=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        roles={"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
        single="cls:0 A:0 sep:0",
        pair="cls:0 A:0 sep:0 B:1 sep:1",
        signs=("[CLS]", "[SEP]"),
        library_class=("wordpiece", "BertTokenizer"),
    ),
    "mbart": TokenizerFamily(
        first=("<s>", "<pad>", "</s>", "<unk>"),
        last=(*MBART_LANGUAGES, "<mask>"),
        roles=_all_roles("<pad>", "<unk>", "<s>", "</s>", "<mask>", "<s>", "</s>"),
        # The token of its language ends a row; it differs from row to row, and is put there by those who know it.
        single="A:0 sep:0",
        pair="A:0 sep:0 B:0 sep:0",
        languages=tuple(MBART_LANGUAGES),
        signs=("en_XX", "<mask>"),
        mask_takes_space=True,
        max_length=1024,
    ),
    "roberta": TokenizerFamily(
        first=("<s>", "<pad>", "</s>", "<unk>"),
        last=("<mask>",),
        roles=_all_roles("<pad>", "<unk>", "<s>", "</s>", "<mask>", "<s>", "</s>"),
        single="cls:0 A:0 sep:0",
        pair="cls:0 A:0 sep:0 sep:0 B:0 sep:0",
        signs=("<s>", "</s>", "<mask>"),
        mask_takes_space=True,
        library_class=("byte_bpe", "RobertaTokenizer"),
    ),
    "gpt1": TokenizerFamily(
        first=("<unk>",),
        # Radford et al. 2018, section 3.3; the names are those of the authors' code.
        last=("_start_", "_delimiter_", "_classify_"),
        added=("_start_", "_delimiter_", "_classify_"),
        roles={"pad": "<unk>", "unk": "<unk>", "bos": "_start_", "sep": "_delimiter_", "eos": "_classify_"},
        single="bos:0 A:0 eos:0",
        pair="bos:0 A:0 sep:0 B:0 eos:0",
        signs=("_classify_",),
    ),
    "gpt2": TokenizerFamily(
        first=(),
        last=("<|endoftext|>",),
        # The published tokenizer has no padding token; transformers' classes for sequences need one.
        roles=dict.fromkeys(("pad", "unk", "bos", "eos"), "<|endoftext|>"),
        single="A:0",
        pair="A:0 B:0",
        signs=("<|endoftext|>",),
        max_length=1024,
        keeps_line_ends=True,
        trims_offsets=False,
        library_class=("byte_bpe", "GPT2Tokenizer"),
    ),
    "elmo": TokenizerFamily(
        first=("</S>", "<S>", "<UNK>"),
        roles={"unk": "<UNK>", "bos": "<S>", "eos": "</S>"},
        single="bos:0 A:0 eos:0",
        pair="bos:0 A:0 eos:0 bos:0 B:0 eos:0",
        signs=("<S>", "</S>"),
        max_length=UNLIMITED,
        marks_sentences=True,
    ),
}
"""By name, in the order in which signs are tested: vocabularies of XLM also have RoBERTa's signs, those of T5 may have any."""


def tokenizer_family_of(tokens: Collection[str]) -> str:
    """Return the family whose signs a vocabulary has; ``bert`` if there is none, since most vocabularies follow it.

    Args:
        tokens: the names of its tokens, the special ones at least, in the order of their ids.
    """
    for name, row in TOKENIZER_FAMILIES.items():
        if all(sign in tokens for sign in row.signs):
            signs = [token for token in tokens if token in row.signs] if row.signs_in_order else list(row.signs)
            if signs == list(row.signs):
                return name
    # GPT-1's published vocabulary has no special token but this one.
    others = {sign for row in TOKENIZER_FAMILIES.values() for sign in row.signs}
    alone = "<unk>" in tokens and not any(sign in tokens for sign in others)
    return "gpt1" if alone and any(token.endswith(WORD_END) for token in tokens) else "bert"


@dataclass(frozen=True, kw_only=True)
class ClassifierHead:
    """The head with which a family's published models classify texts, or plmtrain's where none was published: layers on the state
    that represents a row.

    Args:
        activation: between the two layers; None for one layer alone.
        biased: whether that one layer has a bias.
        drops_state: whether there is a dropout before the first layer.
        dropout: the dropout of the head; None for the model's.
        pooled: whether the first layer is pretrained, as the pooler.
    """

    activation: str | None = "tanh"
    biased: bool = False
    drops_state: bool = False
    dropout: float | None = None
    pooled: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelFamily:
    """A family of models.

    Args:
        kind: the kind of backbone, as in ``ModelSettings.kind``.
        tokenizer: the family of tokenizers that its models are used with; it also defines their row format.
        padding_segment: the segment of padding.
        reads: the state that represents a row: of its first token, of its last real token, the decoder's at the closing token, or
            the mean of all real tokens'.
        features: what the head of a task reads: the last states of a model that is trained with it (``states``), or a trained mix
            of all layers of a model that stays as it is (``mix``).
        head: the head with which its models classify texts; None if none was published.
        question: where a row has the question about a text, of which a head finds the answer: before it (``first``) or after it
            (``last``); None if no such head was published.
        span_dropout: of the states that this head reads.
        pairs: the objective that trains its head for pairs of sentences.
        lm_weight: the weight of the language-model loss with which its models are fine-tuned.
        decoder_start: the role of the token that a decoder's inputs begin with.
        writes_frame: whether the special tokens around a text also stand around what a decoder writes.
        in_transformers: whether transformers has a class for its models.
        row_multiple: the number of rows of the token embedding is a multiple of this; the last rows may be of no token.
        counts_padding: whether transformers' class, if it gets no mask, assumes that all padding comes after a row.
        counts_from_pad: whether transformers' class counts positions from the row after the padding token's id.
    """

    kind: str
    tokenizer: str
    padding_segment: int = 0
    reads: Literal["first", "last", "decoder", "mean"] = "first"
    features: Literal["states", "mix"] = "states"
    head: ClassifierHead | None = None
    question: Literal["first", "last"] | None = None
    span_dropout: float = 0.0
    pairs: Literal["nsp", "sop"] = "nsp"
    lm_weight: float = 0.0
    decoder_start: str = "eos"
    writes_frame: bool = False
    in_transformers: bool = True
    row_multiple: int = 1
    counts_padding: bool = False
    counts_from_pad: bool = False

    @property
    def tokens(self) -> TokenizerFamily:
        """The special tokens that its models are used with."""
        return TOKENIZER_FAMILIES[self.tokenizer]


_ELMO_HEAD = ClassifierHead(drops_state=True, dropout=0.5)
_GELU_HEAD = ClassifierHead(drops_state=True, activation="gelu")

MODEL_FAMILIES: Mapping[str, ModelFamily] = {
    "bert": ModelFamily(kind="encoder", tokenizer="bert", head=ClassifierHead(pooled=True), question="first"),
    "roberta": ModelFamily(
        kind="encoder", tokenizer="roberta", head=ClassifierHead(drops_state=True), question="first", counts_from_pad=True
    ),
    "albert": ModelFamily(
        kind="encoder", tokenizer="albert", head=ClassifierHead(pooled=True, dropout=0.1), question="first", pairs="sop"
    ),
    # ELECTRA's own code scores the dropped first state with one layer.
    "electra": ModelFamily(kind="encoder", tokenizer="bert", head=_GELU_HEAD, question="first"),
    "distilbert": ModelFamily(
        kind="encoder", tokenizer="bert", head=ClassifierHead(activation="relu", dropout=0.2), question="first", span_dropout=0.1
    ),
    "deberta": ModelFamily(kind="disentangled", tokenizer="deberta", head=_GELU_HEAD, question="first"),
    # The second and the third version; 128,001 tokens in 128,100 rows.
    "deberta_v2": ModelFamily(kind="disentangled", tokenizer="deberta", head=_GELU_HEAD, question="first", row_multiple=100),
    "xlm": ModelFamily(kind="encoder", tokenizer="xlm", head=ClassifierHead(activation=None, biased=True), counts_padding=True),
    # In the authors' code for SQuAD the question stands behind the text.
    "xlnet": ModelFamily(
        kind="two_stream", tokenizer="xlnet", padding_segment=3, reads="last", head=ClassifierHead(dropout=0.1), question="last"
    ),
    "bart": ModelFamily(
        kind="encoder_decoder",
        tokenizer="roberta",
        reads="decoder",
        head=ClassifierHead(drops_state=True, dropout=0.0),
        question="first",
        writes_frame=True,
    ),
    "mbart": ModelFamily(kind="encoder_decoder", tokenizer="mbart", reads="decoder", in_transformers=False),
    "mass": ModelFamily(kind="encoder_decoder", tokenizer="xlm", reads="decoder", in_transformers=False),
    # 32,100 tokens in 32,128 rows.
    "t5": ModelFamily(kind="encoder_decoder", tokenizer="t5", reads="decoder", decoder_start="pad", row_multiple=128),
    # Dropout and weight: Radford et al. 2018, sections 3.2 and 4.1.
    "gpt1": ModelFamily(
        kind="decoder", tokenizer="gpt1", reads="last", head=ClassifierHead(activation=None, dropout=0.1), lm_weight=0.5
    ),
    "gpt2": ModelFamily(kind="decoder", tokenizer="gpt2", reads="last", head=ClassifierHead(activation=None, dropout=0.0)),
    # The paper has another architecture for each task; the dropout of what they read is that of its section 3.3 and appendix.
    "elmo": ModelFamily(kind="bilstm", tokenizer="elmo", reads="mean", features="mix", head=_ELMO_HEAD, in_transformers=False),
}
"""By name. Heads are those of transformers, where it has any."""


def embedding_rows(family: str, tokens: int) -> int:
    """Return the number of rows of the token embedding of a family's new models.

    Args:
        family: of models.
        tokens: the number of tokens of the vocabulary.
    """
    multiple = MODEL_FAMILIES[family].row_multiple
    return -(-tokens // multiple) * multiple


def model_families(kind: str) -> list[str]:
    """Return the families whose models are of a kind of backbone."""
    return [name for name, row in MODEL_FAMILIES.items() if row.kind == kind]
