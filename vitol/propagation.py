r"""Sending gradients and relevance through one forward pass of an unmodified model.

While a `Propagation` is active, every differentiable torch function that the model calls is replaced by one of the
same value whose backward pass returns either the gradient or, under a set of relevance rules, the relevance of
its inputs. So `torch.autograd.grad(logits, matrices, one_hot)` gives both in turn, for any batch size, and the
graph takes care of residual connections, selections and reshapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import grad
from torch.overrides import TorchFunctionMode

from vitol.attention import CaptureError
from vitol.relevance import Rules, product_halves, stabilised_ratio

# Names of torch functions, `__add__` as add. Relevance moves with the entries:
_MOVING = frozenset(
    "alias cat chunk clone concat contiguous dropout expand expand_as feature_dropout flatten flip get getitem "
    "index_select movedim narrow permute repeat repeat_interleave reshape reshape_as roll select split squeeze stack "
    "swapaxes tensor_split to transpose type type_as unbind unflatten unsqueeze view view_as "
    "float double half bfloat16".split()
)
# Relevance stays as it is, entry by entry:
_UNCHANGED = frozenset(
    "gelu silu relu relu6 leaky_relu elu selu mish hardswish hardsigmoid hardtanh sigmoid tanh softplus quick_gelu "
    "layer_norm rms_norm normalize neg".split()
)
_SUMS = frozenset("add radd add_ sub".split())
_PRODUCTS = frozenset("mul multiply rmul".split())
_QUOTIENTS = frozenset("div divide truediv".split())
_MATRIX_PRODUCTS = frozenset("matmul bmm".split())


class Propagation(TorchFunctionMode):
    """What the functions of a forward pass do in its backward passes.

    Attributes:
        rules: The rules of relevance; None for gradients.

    Args:
        batch: B. Sums are shared out per image, along the first axis, so tensors must have it there.
        linear_type: The float type of the matrix products in the backward pass of linear layers. Their sums are of
            one sign where relevance is shared out, so that they bear a narrower type than the rest.
    """

    def __init__(self, batch: int, linear_type: torch.dtype) -> None:
        super().__init__()
        self.rules: Rules | None = None
        self.batch = batch
        self.linear_type = linear_type
        self._narrow: dict[int, tuple[Tensor, Tensor]] = {}

    def narrowed(self, parameter: Tensor) -> Tensor:
        """Return a parameter in the type of the linear layers' products, converted once."""
        # The parameter is kept beside its copy, so that no other takes its id.
        kept, copy = self._narrow.get(id(parameter), (None, None))
        if kept is not parameter:
            copy = parameter.to(self.linear_type)
            self._narrow[id(parameter)] = (parameter, copy)
        assert copy is not None
        return copy

    @contextmanager
    def under(self, rules: Rules | None) -> Iterator[None]:
        """Let backward passes inside the `with` carry relevance by the rules, or gradients."""
        before, self.rules = self.rules, rules
        try:
            yield
        finally:
            self.rules = before

    def __torch_function__(
        self, function: Callable, types: object, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a torch function, or its replacement if its result depends on the image."""
        kwargs = kwargs or {}
        if not torch.is_grad_enabled() or not any(_depends(item) for item in (*args, *kwargs.values())):
            return function(*args, **kwargs)
        name = getattr(function, "__name__", str(function)).removeprefix("__").removesuffix("__")
        if name == "linear":
            return _Linear.apply(self, *_linear_arguments(*args, **kwargs))
        if name == "softmax":
            return self._softmaxed(function, args, kwargs)
        both = len(args) == 2 and _depends(args[0]) and _depends(args[1])
        if both and name in _MATRIX_PRODUCTS | _PRODUCTS:
            return _Ruled.apply(self, _halves, function, *args)
        if both and name in {"add", "radd"} and not kwargs:
            return _Ruled.apply(self, self._sum, function, *args)
        if not both and name in _MATRIX_PRODUCTS | {"mean"}:
            return self._of_one(_contributions, function, args, kwargs)
        if not both and name in _PRODUCTS | _QUOTIENTS | _UNCHANGED:
            return self._of_one(_unchanged, function, args, kwargs)
        result = function(*args, **kwargs)
        if name in _MOVING or (name in _SUMS and not both) or not _depends(result):
            return result
        raise CaptureError(f"relevance has no rule for torch's {name}, which this model calls")

    def _of_one(self, rule: Callable, function: Callable, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        """Replace a function of which one argument depends on the image."""
        at = next(index for index, item in enumerate(args) if _depends(item))
        before, after = args[:at], args[at + 1 :]
        return _Ruled.apply(self, rule, lambda x: function(*before, x, *after, **kwargs), args[at])

    def _softmaxed(self, function: Callable, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        dimension = kwargs["dim"] if "dim" in kwargs else args[1]

        def rule(inputs: list[Tensor], output: Tensor, relevance: Tensor, _: Callable) -> list[Tensor]:
            assert self.rules is not None
            return [self.rules.softmax(inputs[0], output, dimension, relevance)]

        return self._of_one(rule, function, args, kwargs)

    def _sum(self, inputs: list[Tensor], output: Tensor, relevance: Tensor, _: Callable) -> list[Tensor]:
        assert self.rules is not None
        if len(output) != self.batch or any(summand.shape != output.shape for summand in inputs):
            shapes = " and ".join(str(tuple(summand.shape)) for summand in inputs)
            raise CaptureError(
                f"relevance cannot be shared between summands of shapes {shapes}; needed: equal shapes with the "
                f"{self.batch} images first"
            )
        return list(self.rules.add(inputs[0], inputs[1], relevance))


def _halves(inputs: list[Tensor], output: Tensor, relevance: Tensor, pull: Callable) -> list[Tensor]:
    return product_halves(inputs, pull(stabilised_ratio(relevance, output)))


def _contributions(inputs: list[Tensor], output: Tensor, relevance: Tensor, pull: Callable) -> list[Tensor]:
    return [inputs[0] * pull(stabilised_ratio(relevance, output))[0]]


def _unchanged(inputs: list[Tensor], output: Tensor, relevance: Tensor, _: Callable) -> list[Tensor]:
    return [relevance.sum_to_size(inputs[0].shape)]


@contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """No autocast and no TF32 until the `with` is left: relevance divides by sums that may be close to zero."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


class _Ruled(torch.autograd.Function):
    """A torch function whose backward pass follows a rule, or torch's own gradient."""

    @staticmethod
    def forward(ctx: Any, propagation: Propagation, rule: Callable, function: Callable, *args: Any) -> Tensor:
        with torch.enable_grad():
            inputs = [
                item.detach().requires_grad_(needed) if isinstance(item, Tensor) else item
                for item, needed in zip(args, ctx.needs_input_grad[3:], strict=True)
            ]
            output = function(*inputs)
        ctx.state = (propagation, rule, inputs, output, output._version)
        return output.detach()

    @staticmethod
    def backward(ctx: Any, *arrived: Tensor) -> tuple[Tensor | None, ...]:
        propagation, rule, inputs, output, version = ctx.state
        if output._version != version:
            raise CaptureError("relevance cannot follow a model that changes an activation in place")
        active = [item for item in inputs if isinstance(item, Tensor) and item.requires_grad]

        def pull(signal: Tensor) -> list[Tensor]:
            return list(grad(output, active, signal, retain_graph=True))

        if propagation.rules is None:
            returned = iter(pull(arrived[0]))
        else:
            returned = iter(rule(inputs, output.detach(), arrived[0], pull))
        return None, None, None, *(next(returned) if needed else None for needed in ctx.needs_input_grad[3:])


class _Linear(torch.autograd.Function):
    """A linear layer with frozen weights."""

    @staticmethod
    def forward(
        ctx: Any, propagation: Propagation, x: Tensor, weight: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        output = F.linear(x, weight, bias)
        kind = propagation.linear_type
        kept = output.detach().to(kind)
        ctx.state = (propagation, x.to(kind), propagation.narrowed(weight), bias, kept, kept._version)
        return output

    @staticmethod
    def backward(ctx: Any, *arrived: Tensor) -> tuple[Tensor | None, ...]:
        propagation, x, weight, bias, output, version = ctx.state
        signal = arrived[0].to(weight.dtype)
        if propagation.rules is None:
            returned = signal @ weight
        else:
            bias = None if bias is None else propagation.narrowed(bias)
            if output._version != version:  # the model went on in place, such as EVA with a bias of its own
                output = F.linear(x, weight, bias)
            returned = propagation.rules.linear(x, weight, bias, output, signal)
        return None, returned.to(arrived[0].dtype), None, None


def _linear_arguments(
    input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Put the arguments of torch's linear, which models also give by name, in order."""
    return input, weight, bias


def _depends(item: object) -> bool:
    """Whether something is, or holds, a tensor that depends on the image."""
    if isinstance(item, Tensor):
        return item.requires_grad
    return isinstance(item, tuple | list) and any(_depends(part) for part in item)
