"""The settings that all tasks have in common. They are torch-free: an impossible pair is refused before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from plmtrain.families import MODEL_FAMILIES, ModelFamily
from plmtrain.settings.base import Name, Settings, Texts
from plmtrain.settings.composed_texts import MarkSettings, columns_of, require_used
from plmtrain.settings.template import Template


class TaskSettings(Settings):
    """A task to fine-tune on."""

    families: ClassVar[frozenset[str]]
    """The families of models (``ModelSettings.family``) that it has a head for."""
    roles: ClassVar[frozenset[str]] = frozenset()
    """The special tokens that it needs, by role, besides those around the texts of the model's family."""
    decides_parameters: ClassVar[frozenset[str]] = frozenset()
    """The settings that decide which parameters exist, or what they mean: a run that has begun cannot change them."""
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    """The metrics of which a lower value is better."""
    found_in_data: ClassVar[frozenset[str]] = frozenset()
    """The settings that may be omitted, and are then filled in once from the training data."""
    tuned: ClassVar[frozenset[str]] = frozenset()
    """The settings that may be omitted, and are then tuned on the held-out examples when a run ends."""

    type: str
    """The module of ``plmtrain.tasks`` that implements it."""
    name: Name
    """The name for users: the last part of its YAML's name."""
    hub: str | None = None
    """The dataset on Hugging Face's hub that is read if there are no ``data.files``."""
    revision: str | None = None
    """The commit, tag or branch of the dataset on the hub; the newest if not given."""
    subset: str | None = None
    """The dataset's configuration."""
    folder: str | None = None
    """A folder with the layout of the dataset on the hub, which is read instead; nothing is downloaded then."""
    train_split: str = "train"
    """The dataset's split to train on."""
    validation_split: str = "validation"
    """The dataset's split to validate on."""

    if TYPE_CHECKING:  # a setting of most types, which follows from the labels in others

        @property
        def metrics(self) -> tuple[str, ...]:
            """The metrics of validation; the best checkpoint by the first is the run's result."""

    @model_validator(mode="after")
    def _from_one_place(self) -> TaskSettings:
        if self.subset is not None and self.hub is None and self.folder is None:
            raise ValueError("subset is of a dataset: name its hub, or a folder")
        if self.revision is not None and self.hub is None:
            raise ValueError("revision is of a dataset on the hub: name its hub")
        return self

    @property
    def texts_in_row(self) -> int:
        """The largest number of texts in a row."""
        return 2

    @property
    def libraries(self) -> Mapping[str, str]:
        """The libraries of the extra ``eval`` that its metrics need, by metric; most need none."""
        return {}

    @property
    def lengths(self) -> Mapping[str, int]:
        """The settings that are a number of tokens of a row, besides ``trainer.sequence_length``; here there are none."""
        return {}

    def language_numbers(self, known: Sequence[str]) -> tuple[int, ...]:
        """Return the numbers of the languages that the task names, in its order; here it names none.

        Args:
            known: the model's languages.

        Raises:
            ValueError: if they are not those that a model with such languages needs.
        """
        return ()

    def why_not(self, family: str) -> str | None:
        """Return why a family of models has no head for the task; None if there is nothing to say."""
        return None

    @property
    def names_files(self) -> bool:
        """Whether the files of its examples are among its own settings, in place of ``data.files``."""
        return False

    @property
    def selected(self) -> str:
        """The measure of validation whose best checkpoint is the run's result."""
        return self.metrics[0]

    @property
    def added_tokens(self) -> tuple[str, ...]:
        """The texts that shall be one token each; here there are none."""
        return ()

    @property
    def has_head(self) -> bool:
        """Whether a head computes the answers, rather than a decoder that writes them."""
        return False

    def of_family(self, family: ModelFamily) -> Self:
        """Return the same with the settings filled in that the model decides; here there are none.

        Args:
            family: of the model.
        """
        return self

    @property
    def from_hub(self) -> bool:
        """Whether the examples are those of a dataset if the user names no files."""
        return self.hub is not None or self.folder is not None


class TextTaskSettings(TaskSettings):
    """A task with one answer for a text or a pair of texts."""

    text: Annotated[Texts, Field(min_length=1, max_length=2)]
    """The column of the text, or the two columns of a pair."""

    @model_validator(mode="after")
    def _two_columns(self) -> TextTaskSettings:
        if len(set(self.text)) < len(self.text):
            raise ValueError("text names one column twice")
        return self


class HeadTaskSettings(TaskSettings):
    """A task whose answers a head computes from states of the row."""

    decides_parameters: ClassVar[frozenset[str]] = frozenset({"features", "mix_layers"})

    features: Literal["states", "mix"] | None = None
    """The input of the head: the last states of the model, which is trained with it (states), or a trained mix of all its layers,
    while the model stays as it is (mix: Peters et al. 2018, section 3.2); that of the model's family if not given."""
    mix_layers: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(None, min_length=1)
    """The layers that are mixed, 0 is that of the embeddings; all if not given."""
    mix_norm: bool = False
    """Whether the states of each layer are normed before they are mixed."""
    mix_l2: float = Field(0.0, ge=0)
    """The weight in the loss of the squared norm of the mix's weights: 0.001 lets them differ, 1 makes a mean of the mix (section
    3.2)."""

    @model_validator(mode="after")
    def _mixed_once(self) -> HeadTaskSettings:
        if self.mix_layers is not None and len(set(self.mix_layers)) < len(self.mix_layers):
            raise ValueError("mix_layers names one layer twice")
        return self

    @property
    def has_head(self) -> bool:
        return True

    def mixes(self, family: ModelFamily) -> bool:
        """Return whether the head reads a mix of all layers of a model of a family."""
        return (self.features or family.features) == "mix"


class RowTaskSettings(HeadTaskSettings):
    """A task whose answer a head computes from one state of each row."""

    families: ClassVar[frozenset[str]] = frozenset(name for name, row in MODEL_FAMILIES.items() if row.head is not None)

    label: str = "label"
    """The column of the right answer."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout inside the head; that of the family's published head if not given."""
    lm_weight: float | None = Field(None, ge=0)
    """The weight of the language-model loss on the same rows, which a decoder may be trained with as well (Radford et al. 2018,
    section 3.2); that of the model's family if not given."""


class SentenceTaskSettings(TextTaskSettings, RowTaskSettings):
    """A task with one answer for a text or a pair, which a head computes."""

    joined: dict[str, Annotated[str, Field(min_length=1, max_length=2**16)]] = Field(default_factory=dict)
    """Texts of ``text`` that are made of several columns, with these in braces: ``{answer: "{question} {answer}"}``."""
    marks: tuple[MarkSettings, ...] = ()
    """Parts of texts that are read between marks, such as the two names whose relation is asked for."""
    symmetric: bool = False
    """Whether the order of a pair has no meaning, so that a decoder reads both orders, and the head scores the sum of the two
    states (Radford et al. 2018, section 3.3)."""

    @model_validator(mode="after")
    def _two_orders(self) -> SentenceTaskSettings:
        if self.symmetric and len(self.text) < 2:
            raise ValueError("symmetric is of pairs, and text names one column")
        return self

    @model_validator(mode="after")
    def _made_of_columns(self) -> SentenceTaskSettings:
        require_used(self.text, self.joined, self.marks)
        return self

    def columns_of(self, name: str) -> tuple[str, ...]:
        """Return the columns of texts that a text of ``text`` is made of."""
        return columns_of(name, self.joined)

    @property
    def added_tokens(self) -> tuple[str, ...]:
        """The marks, which are words of their own."""
        return tuple(dict.fromkeys(each.strip() for mark in self.marks for each in (mark.before, mark.after)))


class WordedTaskSettings(SentenceTaskSettings):
    """A task whose answer a head computes, or a decoder writes (Raffel et al. 2020, section 2.4)."""

    families: ClassVar[frozenset[str]] = SentenceTaskSettings.families | {
        name for name, row in MODEL_FAMILIES.items() if row.kind == "encoder_decoder"
    }
    decides_parameters: ClassVar[frozenset[str]] = SentenceTaskSettings.decides_parameters | {"answers"}
    of_head: ClassVar[frozenset[str]] = frozenset(
        {"features", "mix_layers", "mix_norm", "mix_l2", "dropout", "symmetric", "lm_weight"}
    )
    """The settings that act on answers of a head."""
    of_words: ClassVar[frozenset[str]] = frozenset({"template"})
    """The settings that act on answers in words."""

    answers: Literal["head", "words"] | None = None
    """How it is answered: by a head on a state of the row, or by the words that the decoder of an encoder-decoder writes; by a
    head if not given and the model's family has one, else by words, as T5."""
    template: str | None = Field(None, max_length=2**16)
    """The row that an answer in words is for, with columns in braces: ``sst2 sentence: {sentence}``; the task's name, and each
    column's name with its text, if not given (appendix D)."""

    @model_validator(mode="after")
    def _template_has_columns(self) -> Self:
        _ = self.rows
        return self

    @property
    def has_head(self) -> bool:
        return self.answers != "words"

    def of_family(self, family: ModelFamily) -> Self:
        written = self.answers is None and family.head is None and family.kind == "encoder_decoder"
        return self.model_copy(update={"answers": "words"}) if written else self

    @property
    def rows(self) -> Template:
        """The template of the rows of answers in words."""
        return Template.usual(self.name, self.text) if self.template is None else Template.of(self.template, self.text)
