"""The stages of each kind of tokenizer: how text is normalised, cut into words, and decoded.

The stages are those of Hugging Face's classes for the same families, so that a saved folder gives the same ids there. NFKC stands
for SentencePiece's own table (``nmt_nfkc``), which differs in 212 characters: it removes control characters, takes zero-width
ones and U+FFFD for spaces, keeps U+0085 and the full-width tilde, and knows the newest compatibility characters. The two ASCII
quotation marks are replaced as ALBERT's and XLNet's own code replaces them.
"""

from __future__ import annotations

from typing import Any

from plmtrain.families import WORD_END
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer_files import GENERAL_CLASS
from plmtrain.text.tokenizer_limits import PUNCTUATION

CONTINUATION = "##"
"""The prefix of a WordPiece that continues a word."""


def normalizer(settings: TokenizerSettings) -> Any:
    """Return the tokenizers library's normaliser for these settings; None where text is not changed."""
    from tokenizers import normalizers

    if settings.type in ("wordpiece", "bpe"):
        # GPT-1's authors normalised text with ftfy and spaCy; transformers' tokenizer for it, and this, as BERT's.
        # strip_accents=None strips them where text is lower-cased, as in BERT's code. It then decomposes Hangul into its letters,
        # which is BERT's behaviour too: for Korean, lowercase=false is better.
        return normalizers.BertNormalizer(
            clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=settings.lowercase
        )
    stages: list[Any] = []
    if settings.type == "unigram" and settings.tokens.straightens_quotes:
        stages += [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if settings.lowercase:
        decompose = normalizers.NFKD() if settings.type == "unigram" else normalizers.NFD()
        stages += [decompose, normalizers.StripAccents(), normalizers.Lowercase(), normalizers.NFC()]
    elif settings.type == "unigram":
        stages.append(normalizers.NFKC())
    return normalizers.Sequence(stages) if stages else None


def pre_tokenizer(settings: TokenizerSettings) -> Any:
    """Return the tokenizers library's pre-tokeniser, which cuts text into words."""
    from tokenizers import Regex, pre_tokenizers

    match settings.type:
        case "wordpiece" | "bpe":
            return pre_tokenizers.BertPreTokenizer()
        case "word":
            return pre_tokenizers.Sequence(
                [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(PUNCTUATION), "isolated")]
            )
        case "spaced_word":
            return pre_tokenizers.WhitespaceSplit()
        case "byte_bpe":
            return pre_tokenizers.ByteLevel(add_prefix_space=False)
        case "unigram":
            return pre_tokenizers.Sequence(
                [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
            )


def decoder(settings: TokenizerSettings) -> Any:
    """Return the tokenizers library's decoder, which joins pieces to text; None for words, between which it puts spaces."""
    from tokenizers import decoders

    match settings.type:
        case "wordpiece":
            return decoders.WordPiece(prefix=CONTINUATION)
        case "bpe":
            return decoders.BPEDecoder(suffix=WORD_END)
        case "byte_bpe":
            return decoders.ByteLevel()
        case "unigram":
            return decoders.Metaspace(replacement="▁", prepend_scheme="always")


def post_processor(settings: TokenizerSettings, ids: dict[str, int]) -> Any:
    """Return the tokenizers library's post-processor, which adds the family's special tokens on request.

    Args:
        settings: the tokenizer's settings.
        ids: the id of each special token.
    """
    from tokenizers import processors

    family = settings.tokens
    template = processors.TemplateProcessing(
        single=family.template(1), pair=family.template(2), special_tokens=[(token, ids[token]) for token in family.placed]
    )
    if settings.type != "byte_bpe":
        return template
    if family.library_class == (settings.type, "RobertaTokenizer"):
        return processors.RobertaProcessing(("</s>", ids["</s>"]), ("<s>", ids["<s>"]), trim_offsets=True, add_prefix_space=False)
    trim = processors.ByteLevel(trim_offsets=family.trims_offsets)
    return processors.Sequence([trim, template]) if family.placed else trim


def transformers_config(settings: TokenizerSettings) -> dict[str, Any]:
    """Return the pipeline's entries of ``tokenizer_config.json``: Hugging Face's class, and its arguments.

    A class is named only where it builds exactly the same pipeline; the general one uses ``tokenizer.json`` as it is.
    """
    kind, name = settings.tokens.library_class or (None, None)
    match name if kind == settings.type else None, settings.lowercase:
        case "BertTokenizer", lowercase:
            return {
                "tokenizer_class": name,
                "do_lower_case": lowercase,
                "strip_accents": None,
                "tokenize_chinese_chars": True,
            }
        case "RobertaTokenizer", False:
            return {"tokenizer_class": name, "add_prefix_space": False, "errors": "replace", "trim_offsets": True}
        case "GPT2Tokenizer", False:
            return {"tokenizer_class": name, "add_prefix_space": False, "errors": "replace"}
        case _:
            return {"tokenizer_class": GENERAL_CLASS}
