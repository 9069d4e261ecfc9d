r"""Sending gradients and relevance through one forward pass of an unmodified model.

While a `Propagation` is active, every differentiable torch function that the model calls is replaced by one of the
same value whose backward pass returns either the gradient or, under a set of relevance rules, the relevance of
its inputs. So `torch.autograd.grad(logits, matrices, one_hot)` gives both in turn, for any batch size, and the
graph takes care of residual connections, selections and reshapes. What it has no rule for is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vitol.attention import CaptureError
from vitol.precision import no_tf32
from vitol.relevance import Rules, product_parts, stabilised_ratio
from vitol.ruled_functions import Rule, RuledFunction, RuledLinear, depends, linear_arguments

# Names of torch functions, `__add__` as add. Relevance moves with the entries:
_MOVING = frozenset(
    "alias cat chunk clone concat contiguous dropout expand expand_as feature_dropout flatten flip get getitem "
    "index_select movedim narrow permute repeat repeat_interleave reshape reshape_as roll select split squeeze stack "
    "swapaxes tensor_split to transpose type type_as unbind unflatten unsqueeze view view_as "
    "float double half bfloat16".split()
)
# Relevance stays as it is, entry by entry:
_UNCHANGED = frozenset(
    "gelu silu relu relu6 leaky_relu elu selu mish hardswish hardsigmoid hardtanh sigmoid tanh softplus normalize "
    "neg".split()
)
_SUMS = frozenset(("add", "radd"))
_PRODUCTS = frozenset(("mul", "multiply", "rmul"))
_QUOTIENTS = frozenset(("div", "divide", "truediv"))
_MATRIX_PRODUCTS = frozenset(("matmul", "bmm"))


class Propagation(TorchFunctionMode):
    """What the functions of a forward pass do in its backward passes.

    Attributes:
        rules: The rules of relevance; None for gradients.

    Args:
        batch: B. Sums are shared out per image, so tensors must have the images along their first axis.
        linear_type: The float type of the matrix products in the backward passes of linear layers. They bear a
            narrower type than the rest: what is ill-conditioned is division by sums close to zero.
        narrow: Parameters that are known in that type already, by the ones that the model will use.
    """

    def __init__(
        self, batch: int, linear_type: torch.dtype, narrow: dict[Tensor, Tensor] | None = None
    ) -> None:
        super().__init__()
        self.rules: Rules | None = None
        self.batch = batch
        self.linear_type = linear_type
        self._narrow = dict(narrow or {})
        self._running: list[str] = []
        self._adds_in_place = ""

    def narrowed(self, parameter: Tensor) -> Tensor:
        """Return a parameter in the type of the linear layers' products, converted once."""
        if parameter not in self._narrow:
            self._narrow[parameter] = parameter.to(self.linear_type)
        return self._narrow[parameter]

    @contextmanager
    def naming(self, model: nn.Module) -> Iterator[None]:
        """Let errors of forward passes inside the `with` name the module that was running."""

        def enter(module: nn.Module, _: object) -> None:
            self._running.append(f"{names[module]}, a {type(module).__name__},")

        def leave(*_: object) -> None:
            self._running.pop()

        names = {module: name or "the model" for name, module in model.named_modules()}
        with ExitStack() as undo:
            for module in names:
                undo.callback(module.register_forward_pre_hook(enter).remove)
                undo.callback(module.register_forward_hook(leave).remove)
            yield

    @contextmanager
    def under(self, rules: Rules | None) -> Iterator[None]:
        """Let backward passes inside the `with` carry relevance by the rules, or gradients.

        Raises:
            CaptureError: If the model adds a constant in place, which these rules would have to see.
        """
        if rules is not None and not rules.constants_get_nothing and self._adds_in_place:
            raise CaptureError(f"{self._adds_in_place} adds in place, which these rules cannot follow")
        before, self.rules = self.rules, rules
        try:
            yield
        finally:
            self.rules = before

    def __torch_function__(
        self, function: Callable, types: object, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a torch function, or its replacement if its result depends on the image."""
        kwargs = dict(kwargs or {})
        if not torch.is_grad_enabled() or not any(map(depends, (*args, *kwargs.values()))):
            return function(*args, **kwargs)
        name = getattr(function, "__name__", str(function)).removeprefix("__").removesuffix("__")
        if name == "linear":
            return RuledLinear.apply(self, *linear_arguments(*args, **kwargs))
        # What may depend on the image goes by position, whatever way the model gives it.
        args = (*args, *(kwargs.pop(key) for key in ("input", "other", "mat2") if key in kwargs))
        rule = self._rule_for(name, args, kwargs)
        if rule is not None:
            return RuledFunction.apply(self, rule, partial(function, **kwargs), *args)
        moves = name in _MOVING and not _drops_out(name, args, kwargs)
        in_place = name == "add_" and not depends(args[1:]) and not kwargs
        result = function(*args, **kwargs)
        if moves or in_place or not depends(result):
            self._adds_in_place = self._caller() if in_place else self._adds_in_place
            return result
        raise CaptureError(f"relevance has no rule for torch's {name} as {self._caller()} calls it")

    def _rule_for(self, name: str, args: tuple, kwargs: dict[str, Any]) -> Rule | None:
        """The rule of a function, if it has one for the arguments that depend on the image."""
        dependent = [at for at, item in enumerate(args) if depends(item)]
        if any(map(depends, kwargs.values())) or kwargs.get("inplace") or "alpha" in kwargs:
            return None
        if dependent == [0, 1]:
            if name in _MATRIX_PRODUCTS | _PRODUCTS:
                return _halves
            return self._shared if name in _SUMS else None
        if len(dependent) != 1 or not isinstance(args[dependent[0]], Tensor):
            return None
        if name in _SUMS or (name == "sub" and dependent == [0]):
            return _beside_constant
        if name in _MATRIX_PRODUCTS or name == "mean":
            return _by_contributions
        if name in _PRODUCTS or (name in _QUOTIENTS and dependent == [0]):
            return _unchanged
        if dependent != [0]:
            return None
        if name == "softmax":
            return partial(_softmax, kwargs["dim"] if "dim" in kwargs else args[1])
        if name in _NORMS:
            return _NORMS[name](*args[1:], **kwargs)
        return _unchanged if name in _UNCHANGED and True not in args[1:] else None

    def _shared(
        self, rules: Rules, inputs: list[Any], output: Tensor, relevance: Tensor, _: Callable
    ) -> list[Tensor]:
        if len(output) != self.batch or any(summand.shape != output.shape for summand in inputs):
            shapes = " and ".join(str(tuple(summand.shape)) for summand in inputs)
            raise CaptureError(
                f"relevance cannot be shared between summands of shapes {shapes}; needed: equal shapes with the "
                f"{self.batch} images first"
            )
        return list(rules.add(inputs[0], inputs[1], relevance))

    def _caller(self) -> str:
        return self._running[-1] if self._running else "this model"


@contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """No autocast and no TF32 until the `with` is left: relevance divides by sums that may be close to zero."""
    with no_tf32(), torch.autocast(device.type, enabled=False):
        yield


def _halves(_: Rules, inputs: list[Any], output: Tensor, relevance: Tensor, pull: Callable) -> list[Tensor]:
    return product_parts(inputs, pull(stabilised_ratio(relevance, output)), 0.5)


def _by_contributions(
    _: Rules, inputs: list[Any], output: Tensor, relevance: Tensor, pull: Callable
) -> list[Tensor]:
    return product_parts([_dependent(inputs)], pull(stabilised_ratio(relevance, output)), 1)


def _beside_constant(
    rules: Rules, inputs: list[Any], output: Tensor, relevance: Tensor, pull: Callable
) -> list[Tensor]:
    if rules.constants_get_nothing:
        return _unchanged(rules, inputs, output, relevance, pull)
    return _by_contributions(rules, inputs, output, relevance, pull)


def _unchanged(
    _: Rules, inputs: list[Any], output: Tensor, relevance: Tensor, pull: Callable
) -> list[Tensor]:
    return [relevance.sum_to_size(_dependent(inputs).shape)]


def _softmax(
    dimension: int, rules: Rules, inputs: list[Any], output: Tensor, relevance: Tensor, _: Callable
) -> list[Tensor]:
    return [rules.softmax(inputs[0], output, dimension, relevance)]


def _layer_norm(
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Rule:
    return partial(_norm, True, len(normalized_shape), weight, eps)


def _rms_norm(
    normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Rule:
    return partial(_norm, False, len(normalized_shape), weight, eps)


def _norm(
    centred: bool,
    axes: int,
    weight: Tensor | None,
    eps: float | None,
    rules: Rules,
    inputs: list[Any],
    output: Tensor,
    relevance: Tensor,
    _: Callable,
) -> list[Tensor]:
    eps = torch.finfo(output.dtype).eps if eps is None else eps
    return [rules.norm(inputs[0], weight, eps, axes, centred, output, relevance)]


_NORMS: dict[str, Callable[..., Rule]] = {"layer_norm": _layer_norm, "rms_norm": _rms_norm}


def _drops_out(name: str, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether a call is dropout at work."""
    return "dropout" in name and bool(kwargs.get("training", args[2] if len(args) > 2 else True))


def _dependent(inputs: list[Any]) -> Tensor:
    """The one input that depends on the image."""
    return next(item for item in inputs if depends(item))
