"""The training state between steps as named tensors: weights, the optimiser's moments, the carry, and the weights' average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plmtrain.errors import CheckpointError
from plmtrain.optim.base import StatefulOptimizer
from plmtrain.optim.optimizer import load_state_tensors, state_tensors
from plmtrain.programs.learner import Learner
from plmtrain.programs.program import Carry
from plmtrain.training.average import WeightAverage
from plmtrain.training.checkpoint import Checkpoint
from plmtrain.training.group import Group
from plmtrain.training.tensor_file import byte_size


@dataclass
class TrainingState:
    """The tensors of a run's state between two steps; ``Progress`` has the rest.

    Args:
        learner: the learner within what was wrapped.
        optimizer: the learner's optimiser.
        carry: the program's carry for this process's rows.
        average: the moving average of the weights; None if the run has none.
    """

    learner: Learner
    optimizer: StatefulOptimizer
    carry: Carry
    average: WeightAverage | None = None

    def tensors(self, group: Group) -> dict[str, Mapping[str, Tensor]]:
        """Return all tensors by group, with the carry of all processes in the order of their rows.

        All processes must call it. What is sharded is gathered, for the main process alone.
        """
        return {
            "model": group.collected(self.learner.state_dict()),
            "optimizer": group.collected(state_tensors(self.optimizer, self.learner.named_parameters())),
            "carry": {name: group.gather(tensor) for name, tensor in sorted(self.carry.items())},
            "average": group.collected({} if self.average is None else self.average.tensors()),
        }

    def restore(self, checkpoint: Checkpoint, group: Group) -> None:
        """Restore everything but the weights from a checkpoint; each process takes its own shards, and the carry of its own rows.

        The weights are loaded by ``load_weights`` before they are sharded.

        Raises:
            CheckpointError: if the checkpoint holds another learner's tensors.
        """
        load_state_tensors(self.optimizer, self.learner.named_parameters(), checkpoint.load("optimizer"))
        self.carry = {
            name: torch.tensor_split(tensor, group.size)[group.rank].to(group.device)
            for name, tensor in checkpoint.load("carry").items()
        }
        if self.average is not None:
            self.average.restore(checkpoint.load("average"))


def checkpoint_size(learner: nn.Module, kept: int, carry: int) -> int:
    """Return the bytes of a checkpoint: weights, the moments and the average of each trained weight, and the carry.

    Args:
        learner: the unwrapped learner; its weights need not be in memory (``torch.device("meta")``).
        kept: the numbers that are kept beside each trained weight, such as moments.
        carry: the bytes of the carry of all processes.
    """
    trained = {name: weight for name, weight in learner.named_parameters() if weight.requires_grad}
    return byte_size(learner.state_dict()) + kept * byte_size(trained) + carry


def load_result(learner: nn.Module, checkpoint: Checkpoint) -> None:
    """Load the weights that a checkpoint is the result of training with: the average, if there is one.

    Raises:
        CheckpointError: as from ``load_weights``.
    """
    load_weights(learner, checkpoint)
    learner.load_state_dict(checkpoint.load("average"), strict=False)


def load_weights(learner: nn.Module, checkpoint: Checkpoint) -> None:
    """Load the learner's weights from a checkpoint.

    Raises:
        CheckpointError: if a tensor is missing, unknown or of another shape.
    """
    try:
        learner.load_state_dict(checkpoint.load("model"))
    except RuntimeError as error:
        raise CheckpointError(
            "the checkpoint holds another model's weights",
            f"{checkpoint.path}: {' '.join(str(error).split())[:300]}",
            "check that config.yaml beside it was not edited",
        ) from error
