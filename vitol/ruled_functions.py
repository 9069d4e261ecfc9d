"""Torch functions whose backward pass returns the gradient, or the relevance of their inputs under a set of rules.

Which of the two is up to the `vitol.propagation.Propagation` they were called in, at the time of the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import grad

from vitol.attention import CaptureError
from vitol.relevance import Rules

if TYPE_CHECKING:
    from vitol.propagation import Propagation

# (rules, inputs, output, R of the output, pull) to R of the inputs that depend on the image; pull(S) sends S back to
# them as a gradient.
Rule = Callable[[Rules, list[Any], Tensor, Tensor, Callable[[Tensor], list[Tensor]]], list[Tensor]]


class RuledFunction(torch.autograd.Function):
    """A torch function whose backward pass follows a rule, or torch's own gradient."""

    @staticmethod
    def forward(ctx: Any, propagation: Propagation, rule: Rule, function: Callable, *args: Any) -> Tensor:
        """Call the function; what the backward passes need is kept."""
        with torch.enable_grad():
            inputs = [
                item.detach().requires_grad_(needed) if isinstance(item, Tensor) else item
                for item, needed in zip(args, ctx.needs_input_grad[3:], strict=True)
            ]
            output = function(*inputs)
        kept = [item for item in (*inputs, output) if isinstance(item, Tensor)]
        ctx.state = (propagation, rule, inputs, output, kept, [item._version for item in kept])
        return output.detach()

    @staticmethod
    def backward(ctx: Any, *arrived: Tensor) -> tuple[Tensor | None, ...]:
        """Send back what has arrived at the output: relevance if the propagation has rules, else the gradient."""
        propagation, rule, inputs, output, kept, versions = ctx.state
        _refuse_changes(kept, versions)
        active = [item for item in inputs if depends(item)]

        def pull(signal: Tensor) -> list[Tensor]:
            return list(grad(output, active, signal, retain_graph=True))

        if propagation.rules is None:
            returned = iter(pull(arrived[0]))
        else:
            returned = iter(rule(propagation.rules, inputs, output.detach(), arrived[0], pull))
        return None, None, None, *(next(returned) if needed else None for needed in ctx.needs_input_grad[3:])


class RuledLinear(torch.autograd.Function):
    """A linear layer with frozen weights."""

    @staticmethod
    def forward(
        ctx: Any, propagation: Propagation, x: Tensor, weight: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """Call the layer; input and output are kept in the type of the backward passes."""
        output = F.linear(x, weight, bias)
        kind = propagation.linear_type
        x, kept = x.detach().to(kind), output.detach().to(kind)
        ctx.state = (propagation, x, propagation.narrowed(weight), bias, kept, (x._version, kept._version))
        return output

    @staticmethod
    def backward(ctx: Any, *arrived: Tensor) -> tuple[Tensor | None, ...]:
        """Send back what has arrived at the output, as `RuledFunction` does."""
        propagation, x, weight, bias, output, versions = ctx.state
        _refuse_changes([x], versions[:1])
        signal = arrived[0].to(weight.dtype)
        if propagation.rules is None:
            returned = signal @ weight
        else:
            bias = None if bias is None else propagation.narrowed(bias)
            if output._version != versions[1]:  # the model went on in place, such as EVA adding a bias
                output = F.linear(x, weight, bias)
            returned = propagation.rules.linear(x, weight, bias, output, signal)
        return None, returned.to(arrived[0].dtype), None, None


def linear_arguments(
    input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Put the arguments of torch's linear, which models also give by name, in order."""
    return input, weight, bias


def _refuse_changes(tensors: list[Tensor], versions: Any) -> None:
    """Refuse tensors that are no longer what the forward pass saw."""
    if any(tensor._version != version for tensor, version in zip(tensors, versions, strict=True)):
        raise CaptureError("relevance cannot follow a model that changes an activation in place")


def depends(item: object) -> bool:
    """Whether something is, or holds, a tensor that depends on the image."""
    if isinstance(item, Tensor):
        return item.requires_grad
    return isinstance(item, tuple | list) and any(map(depends, item))
