"""An LSTM layer with a projection and two clips (Sak et al. 2014; TensorFlow's LSTMCell, with which ELMo was trained).

At each step::

    i, j, f, o = W x + R h + b
    c = clip(sigmoid(f + 1) * c + sigmoid(i) * tanh(j))
    h = clip(P (sigmoid(o) * tanh(c)))

Torch's LSTM has projections but no clips, and does not return the cells of each step, which would show whether a clip was
reached: ELMo's are, all the time. The products of all steps with W are one before the recurrence, and the gradients of R and P
are one product each after it: a recurrence that autograd records adds as many products to the gradient of each matrix as there
are steps. On a CPU this takes 1.3 to 2.5 times as long as torch's LSTM, and 0.6 times as long as the recorded recurrence.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from plmtrain.nn.bf16_products import products_of

_FORGET_BIAS = 1.0
"""Added to the forget gate, as TensorFlow does: it is no part of the bias."""


class LSTMState(NamedTuple):
    """The state of a layer after each step, without a gradient."""

    outputs: Tensor
    """[time, batch, projection]."""
    cells: Tensor
    """[time, batch, cells]."""


class ProjectedLSTM(nn.Module):
    """One layer in one direction.

    Args:
        width: the size of the input.
        cells: the number of memory cells.
        projection: the size of the output.
        cell_clip: the largest absolute value of a cell; None for no limit.
        projection_clip: the largest absolute value of an output; None for no limit.
    """

    def __init__(self, width: int, cells: int, projection: int, cell_clip: float | None, projection_clip: float | None) -> None:
        super().__init__()
        self.cell_clip, self.projection_clip = cell_clip or math.inf, projection_clip or math.inf
        # Of the input and of the preceding output, side by side as in TensorFlow.
        self.weight = nn.Parameter(torch.empty(4 * cells, width + projection))
        self.bias = nn.Parameter(torch.zeros(4 * cells))
        self.projection_weight = nn.Parameter(torch.empty(projection, cells))
        nn.init.xavier_uniform_(self.weight)
        nn.init.xavier_uniform_(self.projection_weight)

    def forward(self, hidden: Tensor, output: Tensor, cells: Tensor) -> tuple[Tensor, LSTMState]:
        """Read a sequence.

        Args:
            hidden: [time, batch, width].
            output: [batch, projection] the output before the first step.
            cells: [batch, cells] the memory cells before it.

        Returns:
            The outputs, [time, batch, projection], and the states after each step.
        """
        width = hidden.shape[2]
        gates = functional.linear(hidden, self.weight[:, :width], self.bias)
        outputs, after = _Recurrence.apply(  # type: ignore[no-untyped-call]
            gates, self.weight[:, width:], self.projection_weight, output, cells, self.cell_clip, self.projection_clip
        )
        return outputs, LSTMState(outputs.detach(), after)


class _Recurrence(torch.autograd.Function):
    """All steps of a layer, and their gradients. Nothing flows back into the state before the first step."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        state_weight: Tensor,
        projection_weight: Tensor,
        output: Tensor,
        cells: Tensor,
        cell_clip: float,
        projection_clip: float,
    ) -> tuple[Tensor, Tensor]:
        device = inputs.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else inputs.dtype
        recurrent, projecting = state_weight.to(kind).t(), projection_weight.to(kind).t()
        # The gates and cells of a sum over many steps are kept in fp32 whatever the products' type.
        gates = inputs.float() if inputs.dtype != torch.float32 else inputs.clone()
        steps, batch = gates.shape[:2]
        outputs = gates.new_empty(steps + 1, batch, len(projection_weight))
        memory = gates.new_empty(steps + 1, batch, projection_weight.shape[1])
        exposed = torch.empty_like(memory[1:])  # sigmoid(o) * tanh(c)
        outputs[0], memory[0] = output, cells
        for step in range(steps):
            if kind == torch.float32:
                gates[step].addmm_(outputs[step], recurrent)
            else:
                gates[step] += outputs[step].to(kind) @ recurrent
            entering, candidate, forgetting, exposing = gates[step].chunk(4, dim=1)
            entering.sigmoid_()
            candidate.tanh_()
            forgetting.add_(_FORGET_BIAS).sigmoid_()
            exposing.sigmoid_()
            torch.mul(forgetting, memory[step], out=memory[step + 1])
            memory[step + 1].addcmul_(entering, candidate).clamp_(-cell_clip, cell_clip)
            torch.tanh(memory[step + 1], out=exposed[step]).mul_(exposing)
            outputs[step + 1] = exposed[step].to(kind) @ projecting
            outputs[step + 1].clamp_(-projection_clip, projection_clip)
        ctx.save_for_backward(gates, memory, outputs, exposed, state_weight, projection_weight)
        ctx.kind, ctx.clips = kind, (cell_clip, projection_clip)
        after = memory[1:]
        ctx.mark_non_differentiable(after)
        return outputs[1:], after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None, None]:
        gates, memory, outputs, exposed, state_weight, projection_weight = ctx.saved_tensors
        kind, (cell_clip, projection_clip) = ctx.kind, ctx.clips
        recurrent, projecting = state_weight.to(kind), projection_weight.to(kind)
        of_gates, of_outputs = torch.empty_like(gates), torch.empty_like(outputs[1:])
        of_output, of_cells = torch.zeros_like(outputs[0]), torch.zeros_like(memory[0])
        aten, products = torch.ops.aten, products_of(gates.device)
        for step in reversed(range(len(gates))):
            of_output += outer[step]
            aten.hardtanh_backward.grad_input(
                of_output, outputs[step + 1], -projection_clip, projection_clip, grad_input=of_outputs[step]
            )
            with products:
                of_exposed = (of_outputs[step].to(kind) @ projecting).to(gates.dtype)
            entering, candidate, forgetting, exposing = gates[step].chunk(4, dim=1)
            of_entering, of_candidate, of_forgetting, of_exposing = of_gates[step].chunk(4, dim=1)
            cells = torch.tanh(memory[step + 1])
            of_cells += aten.tanh_backward(of_exposed * exposing, cells)
            of_cells = aten.hardtanh_backward(of_cells, memory[step + 1], -cell_clip, cell_clip)
            aten.sigmoid_backward.grad_input(of_cells * candidate, entering, grad_input=of_entering)
            aten.tanh_backward.grad_input(of_cells * entering, candidate, grad_input=of_candidate)
            aten.sigmoid_backward.grad_input(of_cells * memory[step], forgetting, grad_input=of_forgetting)
            aten.sigmoid_backward.grad_input(of_exposed * cells, exposing, grad_input=of_exposing)
            of_cells *= forgetting
            with products:
                of_output = (of_gates[step].to(kind) @ recurrent).to(gates.dtype)
        gates_by_row, before = of_gates.flatten(0, 1).to(kind), outputs[:-1].flatten(0, 1).to(kind)
        with products:
            of_recurrent = gates_by_row.t() @ before
            of_projecting = of_outputs.flatten(0, 1).to(kind).t() @ exposed.flatten(0, 1).to(kind)
        return (
            of_gates,
            of_recurrent.to(state_weight.dtype),
            of_projecting.to(projection_weight.dtype),
            None,
            None,
            None,
            None,
        )
