r"""Capturing attention matrices, and what flows back to them, from an unmodified timm vision transformer.

B images, N tokens (prefix tokens first), H heads, P prefix tokens, h x w patch grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from vitol.models import unfused_attention


class CaptureError(ValueError):
    """The attention of a model cannot be captured; the text names the module and the reason."""


class AttentionCapture:
    """What the blocks computed in the latest forward pass, first block first. Made by `capture_attention`.

    Attributes:
        entering: The tokens that entered the first block, (B, N, D), if the graph starts there.
        last_input: What the last attention module was given, (B, N, D), if activations are kept: after the first
            norm in a pre-norm block, the block's own input where attention and MLP run side by side.
        outputs: What every block returned, (B, N, D) each, if activations are kept.
    """

    def __init__(self, modules: dict[str, nn.Module], keep: Callable[[Tensor], Tensor] | None) -> None:
        self._modules = modules
        self._keep = keep
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._matrices: dict[str, Tensor] = {}
        self.entering: Tensor | None = None
        self.last_input: Tensor | None = None
        self.outputs: dict[int, Tensor] = {}

    def record(self, name: str, matrix: Tensor) -> Tensor:
        """Keep the matrix that a block's attention just computed; returns what the block goes on with.

        A matrix outside the autograd graph (all parameters before it are frozen) becomes a leaf of it.

        Raises:
            CaptureError: If there are not as many matrices as heads.
        """
        if not matrix.requires_grad and torch.is_grad_enabled():
            matrix = matrix.detach().requires_grad_()
        self._shapes[name] = tuple(matrix.shape)
        module = self._modules[name]
        heads = getattr(module, "num_heads", None)
        if heads is not None and matrix.ndim == 4 and matrix.shape[1] != heads:
            raise CaptureError(
                f"{name} is a {type(module).__name__} of {heads} heads that makes {matrix.shape[1]} matrices an "
                "image, so they are not what its values are weighted with"
            )
        lean = not torch.is_grad_enabled() and matrix.ndim == 4
        self._matrices[name] = self._keep(matrix) if self._keep and lean else matrix
        return matrix

    def matrices(self, batch: int, tokens: int) -> list[Tensor]:
        """Return every block's attention after softmax, (B, H, N, N) each, or what `keep` made of it.

        Args:
            batch: B, the number of images given to the model.
            tokens: N, prefix tokens and patches.

        Raises:
            CaptureError: If a block computed no matrix, or one of another shape.
        """
        for name in self._modules:
            if name not in self._shapes:
                raise CaptureError(
                    f"{name} computed no attention matrix in the last forward pass; was the model called "
                    "inside the capture, and does this module's forward use its `attn_drop`?"
                )
            shape = self._shapes[name]
            if len(shape) != 4 or shape[0] != batch or shape[2:] != (tokens, tokens):
                raise CaptureError(
                    f"{name} attends with matrices of shape {shape}, not ({batch}, heads, {tokens}, "
                    f"{tokens}): rollout needs global self-attention over all tokens (windowed, pooled or "
                    "cross-covariance attention cannot be rolled out)"
                )
        return [self._matrices[name] for name in self._modules]

    def pull_back(
        self,
        outputs: Tensor,
        signal: Tensor,
        visit: Callable[[int, Tensor], None] | None = None,
        *,
        also: Sequence[Tensor] = (),
        keep_graph: bool = False,
    ) -> tuple[Tensor, ...]:
        """Send a signal back from the model's outputs, and show what arrives at every matrix on its way.

        What is shown is freed when `visit` does not keep it, so a rollout during the pass, which runs in just
        the order that Eqs. 8 and 10 multiply in, needs no memory that grows with the number of blocks.

        Args:
            outputs: The model's outputs, (B, C): a forward pass in this capture with gradients enabled.
            signal: What to send back, (B, C); one-hot rows give every image the gradient of its own logit,
                since images do not interact.
            visit: Called with a block's number and the signal at its matrix, (B, H, N, N), last block first.
            also: Further tensors of the pass to report the signal of.
            keep_graph: Whether another signal will be sent through the same forward pass.

        Returns:
            The signals of `also`. No parameter's `.grad` is touched.

        Raises:
            CaptureError: If the forward pass kept no graph, or the outputs do not depend on every block's matrix.
        """
        if not outputs.requires_grad:
            raise CaptureError(
                "the forward pass in this capture ran without gradients; enable them around it"
            )
        matrices = [self._matrices[name] for name in self._modules]
        missed = set(range(len(matrices)))

        def show(block: int, arrived: Tensor) -> None:
            missed.discard(block)
            if visit is not None:
                visit(block, arrived)

        with ExitStack() as undo:
            for block, matrix in enumerate(matrices):

                def hook(arrived: Tensor, block: int = block) -> None:
                    show(block, arrived)

                undo.callback(matrix.register_hook(hook).remove)
            # The first matrix is behind all others: on the way to it the signal passes every block.
            wanted = [matrices[0], *also]
            signals = torch.autograd.grad(outputs, wanted, signal, retain_graph=keep_graph, allow_unused=True)
        if missed:
            names = ", ".join(list(self._modules)[block] for block in sorted(missed))
            raise CaptureError(f"the model's outputs do not depend on the attention of {names}")
        assert all(found is not None for found in signals), "what enters a block is on the way to its matrix"
        return signals[1:]


@contextmanager
def capture_attention(
    model: nn.Module,
    *,
    keep: Callable[[Tensor], Tensor] | None = None,
    from_tokens: bool = False,
    activations: bool = False,
) -> Iterator[AttentionCapture]:
    """Capture the attention of every block during forward passes inside the `with`.

    timm's unfused path applies `attn_drop` to the softmax output, so a forward hook there sees the matrix.
    Until the `with` is left, fused attention is switched off, parameters are frozen (their gradients are not
    wanted, and need not be computed) and models under `torch.compile` run eagerly (a compiled graph has no
    place for hooks). Then hooks, flags and `requires_grad` are as found, also after an exception. All this is
    done to the model itself: one capture of a model at a time, from one thread.

    Args:
        model: A timm model whose `blocks` have an `attn` each.
        keep: What to keep of a matrix (B, H, N, N) where gradients are disabled; all of it if None.
        from_tokens: Start the autograd graph at the tokens that enter the first block, instead of at its matrix.
        activations: Keep the last attention's input and every block's output too.

    Yields:
        The capture to ask for matrices after a forward pass.

    Raises:
        CaptureError: If the model has no blocks or a block no attention of this kind.
    """
    modules = attention_modules(model)
    blocks = list(model.blocks)  # type: ignore[arg-type]
    capture = AttentionCapture(modules, keep)

    def start(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        capture.entering = arguments[0].detach().requires_grad_()
        return (capture.entering, *arguments[1:])

    def see_input(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        capture.last_input = arguments[0]

    with ExitStack() as undo:
        undo.enter_context(torch.compiler.set_stance("force_eager"))
        if from_tokens:
            undo.callback(blocks[0].register_forward_pre_hook(start).remove)
        if activations:
            undo.callback(list(modules.values())[-1].register_forward_pre_hook(see_input).remove)
        for index, (name, module) in enumerate(modules.items()):

            def see_matrix(_: nn.Module, __: object, output: Tensor, name: str = name) -> Tensor:
                return capture.record(name, output)

            def see_output(_: nn.Module, __: object, output: Tensor, index: int = index) -> None:
                capture.outputs[index] = output

            after_softmax: nn.Module = module.attn_drop  # type: ignore[assignment]
            undo.callback(after_softmax.register_forward_hook(see_matrix).remove)
            if activations:
                undo.callback(blocks[index].register_forward_hook(see_output).remove)
        undo.enter_context(unfused_attention(model))
        if getattr(model, "grad_checkpointing", False):
            # A checkpointed block would run once more in the backward pass, outside of what surrounds the forward pass.
            undo.callback(setattr, model, "grad_checkpointing", model.grad_checkpointing)
            model.grad_checkpointing = False  # type: ignore[assignment]
        for parameter in model.parameters():
            if parameter.requires_grad and not parameter.is_inference():
                undo.callback(parameter.requires_grad_, True)
                parameter.requires_grad_(False)
        yield capture


def attention_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The attention module of every block, by its name in the model.

    Raises:
        CaptureError: If the model has no blocks, a block no attention of this kind, or something else attends too.
    """
    blocks = getattr(model, "blocks", None)
    if not isinstance(blocks, nn.Sequential | nn.ModuleList) or not len(blocks):
        raise CaptureError(
            f"{type(model).__name__} has no `blocks` with attention to capture{_where_else(model)}; maps need a "
            "timm vision transformer whose blocks all attend to the same tokens, such as deit_tiny_patch16_224"
        )
    modules = {}
    for index, block in enumerate(blocks):
        name = f"blocks.{index}.attn"
        attention = getattr(block, "attn", None)
        if attention is None and hasattr(block, "attn_drop"):
            # Attention and MLP side by side in one module, as in ViT-22B.
            name, attention = f"blocks.{index}", block
        if attention is None:
            raise CaptureError(
                f"blocks.{index} is a {type(block).__name__} without `attn`: no attention to capture"
                f"{_where_else(model)}"
            )
        if not isinstance(getattr(attention, "attn_drop", None), nn.Module) or not hasattr(
            attention, "fused_attn"
        ):
            raise CaptureError(
                f"{name} is a {type(attention).__name__} that does not pass its softmax through an "
                "`attn_drop` module with a `fused_attn` switch beside it, so its matrix cannot be "
                "seen from outside"
            )
        modules[name] = attention
    drops = {id(attention.attn_drop) for attention in modules.values()}
    if len(drops) < len(modules):
        raise CaptureError(
            "blocks share a module, so what passes through its `attn_drop` cannot be told apart; maps need blocks "
            "of their own"
        )
    for name, module in model.named_modules():
        captured = any(module is own for own in modules.values())
        if isinstance(getattr(module, "attn_drop", None), nn.Module) and not captured:
            raise CaptureError(
                f"{name} is a {type(module).__name__} beside the `attn` of the blocks: maps would leave it out"
            )
    return modules


def _where_else(model: nn.Module) -> str:
    """Where a model attends that cannot be captured, in words; nothing if no module in it is called attention."""
    for name, module in model.named_modules():
        kind = type(module).__name__
        if name and ("Attention" in kind or "Attn" in kind or hasattr(module, "attn_drop")):
            return f" ({name}: {kind})"
    return ""
