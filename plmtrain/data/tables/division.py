"""The division of examples into training and held-out ones: by a hash of their texts, an equal share of each kind of answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plmtrain.data.corpus.encoding import content_hash
from plmtrain.data.tables.reader import Example, Reader


def divided(
    examples: Sequence[Example[Any]], reader: Reader[Any, Any], share: float
) -> tuple[list[Example[Any]], list[Example[Any]]]:
    """Divide examples into training and held-out ones; those that are tied together are on the same side, whatever their order.

    Args:
        examples: all of them.
        reader: tells the kind of an answer, and which examples stay together.
        share: of the different texts that is held out, the same of each kind of answer up to one text; but one text of each kind
            stays in training, and one text at least is held out.
    """
    kinds: dict[int, str] = {}
    hashes = [content_hash(name) for name in _families([reader.kin(example) for example in examples])]
    for example, number in zip(examples, hashes, strict=True):
        kind = reader.kind(example)
        kinds[number] = min(kind, kinds.get(number, kind))  # of a text with several answers one counts
    texts: dict[str, list[int]] = {}
    for number in sorted(kinds):
        texts.setdefault(kinds[number], []).append(number)
    quotas = _quotas({kind: len(numbers) for kind, numbers in texts.items()}, share)
    held_out = {number for kind, numbers in texts.items() for number in numbers[: quotas[kind]]} or set(sorted(kinds)[:1])
    sides: tuple[list[Example[Any]], list[Example[Any]]] = ([], [])
    for example, number in zip(examples, hashes, strict=True):
        sides[number in held_out].append(example)
    return sides


def _families(kins: Sequence[tuple[str, ...]]) -> list[str]:
    """Return for each example the name of its family: of the examples that are tied to it, or to one that is.

    Args:
        kins: what ties each example to others; the least of the first ones names a family.
    """
    above: dict[str, str] = {}

    def top(one: str) -> str:
        while (higher := above.setdefault(one, one)) != one:
            above[one] = one = above[higher]
        return one

    for first, *others in kins:
        for other in others:
            above[top(other)] = top(first)
    names: dict[str, str] = {}
    for first, *_ in kins:
        names[top(first)] = min(first, names.get(top(first), first))
    return [names[top(first)] for first, *_ in kins]


def _quotas(sizes: Mapping[str, int], share: float) -> dict[str, int]:
    """Return how many texts of each kind are held out: rounded down, and then one more where most was lost."""
    quotas = {kind: min(int(share * size), size - 1) for kind, size in sizes.items()}
    missing = max(1, round(share * sum(sizes.values()))) - sum(quotas.values())
    by_loss = sorted(sizes, key=lambda kind: (quotas[kind] - share * sizes[kind], kind))
    for kind in [kind for kind in by_loss if quotas[kind] < sizes[kind] - 1][: max(0, missing)]:
        quotas[kind] += 1
    return quotas
