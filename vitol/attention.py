r"""Capturing attention matrices, and their gradients, from an unmodified timm vision transformer.

B images, N tokens (prefix tokens first), H heads, P prefix tokens, h x w patch grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from vitol.models import unfused_attention


class CaptureError(ValueError):
    """The attention of a model cannot be captured; the text names the module and the reason."""


class AttentionCapture:
    """The attention matrices of the latest forward pass, first block first.

    Made by `capture_attention`.
    """

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self._modules = modules
        self._seen: dict[str, Tensor] = {}

    def record(self, name: str, matrix: Tensor) -> Tensor:
        """Keep the matrix that a block's attention just computed; returns what the block goes on with.

        A matrix outside the autograd graph (all parameters before it are frozen) becomes a leaf of it.
        """
        if not matrix.requires_grad and torch.is_grad_enabled():
            matrix = matrix.detach().requires_grad_()
        self._seen[name] = matrix
        return matrix

    def matrices(self, batch: int, tokens: int) -> list[Tensor]:
        """Return every block's attention after softmax, (B, H, N, N) each.

        Args:
            batch: B, the number of images given to the model.
            tokens: N, prefix tokens and patches.

        Raises:
            CaptureError: If a block computed no matrix, or one of another shape.
        """
        for name, module in self._modules.items():
            if name not in self._seen:
                raise CaptureError(
                    f"{name} computed no attention matrix in the last forward pass; was the model called "
                    "inside the capture, and does this module's forward use its `attn_drop`?"
                )
            shape = tuple(self._seen[name].shape)
            heads = getattr(module, "num_heads", shape[1] if len(shape) == 4 else None)
            if len(shape) == 4 and shape[1] != heads:
                raise CaptureError(
                    f"{name} is a {type(module).__name__} of {heads} heads that makes {shape[1]} matrices an "
                    "image, so they are not what its values are weighted with"
                )
            if len(shape) != 4 or shape[0] != batch or shape[2:] != (tokens, tokens):
                raise CaptureError(
                    f"{name} attends with matrices of shape {shape}, not ({batch}, heads, {tokens}, "
                    f"{tokens}): rollout needs global self-attention over all tokens (windowed, pooled or "
                    "cross-covariance attention cannot be rolled out)"
                )
        return [self._seen[name] for name in self._modules]

    def gradients(self, score: Tensor, matrices: list[Tensor], *, keep_graph: bool = False) -> list[Tensor]:
        """Gradient of a score with respect to every matrix.

        Args:
            score: A scalar, as a rule the sum over images of one logit each: images do not interact, so
                every image gets the gradient of its own logit.
            matrices: What `matrices` returned.
            keep_graph: Whether another score of the same forward pass will follow.

        Returns:
            One gradient a block, (B, H, N, N). No parameter's `.grad` is touched.
        """
        return list(torch.autograd.grad(score, matrices, retain_graph=keep_graph))


@contextmanager
def capture_attention(model: nn.Module) -> Iterator[AttentionCapture]:
    """Capture the attention of every block during forward passes inside the `with`.

    timm's unfused path applies `attn_drop` to the softmax output, so a forward hook there sees the matrix.
    Fused attention is switched off, and parameters are frozen (their gradients are not wanted, and need
    not be computed), until the `with` is left; then hooks, flags and `requires_grad` are as found, also
    after an exception.

    Args:
        model: A timm model whose `blocks` have an `attn` each.

    Yields:
        The capture to ask for matrices after a forward pass.

    Raises:
        CaptureError: If the model has no blocks or a block no attention of this kind.
    """
    modules = _attention_modules(model)
    capture = AttentionCapture(modules)
    with ExitStack() as undo:
        for name, module in modules.items():

            def hook(_: nn.Module, __: object, output: Tensor, name: str = name) -> Tensor:
                return capture.record(name, output)

            after_softmax: nn.Module = module.attn_drop  # type: ignore[assignment]
            undo.callback(after_softmax.register_forward_hook(hook).remove)
        undo.enter_context(unfused_attention(model))
        for parameter in model.parameters():
            undo.callback(parameter.requires_grad_, parameter.requires_grad)
            parameter.requires_grad_(False)
        yield capture


def _attention_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The attention module of every block, by its name in the model."""
    blocks = getattr(model, "blocks", None)
    if not isinstance(blocks, nn.Module) or not len(list(blocks.children())):
        raise CaptureError(
            f"{type(model).__name__} has no `blocks` with attention to capture; "
            "maps need a timm vision transformer such as deit_tiny_patch16_224"
        )
    modules = {}
    for index, block in enumerate(blocks.children()):
        name = f"blocks.{index}.attn"
        attention = getattr(block, "attn", None)
        if attention is None:
            raise CaptureError(
                f"blocks.{index} is a {type(block).__name__} without `attn`: no attention to capture"
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
    return modules


def patch_grid(model: nn.Module, images: Tensor) -> tuple[int, int]:
    """Rows and columns (h, w) of the patch grid that the model makes of a batch of images (B, 3, H, W)."""
    embed = getattr(model, "patch_embed", None)
    if embed is None or not hasattr(embed, "dynamic_feat_size"):
        raise CaptureError(
            f"{type(model).__name__} has no timm `patch_embed`: its tokens cannot be laid out on a grid"
        )
    height, width = embed.dynamic_feat_size(tuple(images.shape[-2:]))
    return height, width


def readout_row(model: nn.Module, tokens: int) -> Tensor:
    """Return the weights with which the model's head reads the last block's tokens: where a rollout starts.

    The class token's unit row (the paper), the mean of class and distillation token for a distilled DeiT,
    the mean of all patches for average pooling.

    Args:
        model: A timm vision transformer.
        tokens: N, prefix tokens and patches.

    Returns:
        (N,), non-negative, summing to 1, on the CPU.

    Raises:
        CaptureError: If the model pools in a way that has no such row.
    """
    prefix = getattr(model, "num_prefix_tokens", 1)
    pool = getattr(model, "global_pool", "token")
    row = torch.zeros(tokens)
    if pool == "token":
        row[: 2 if hasattr(model, "head_dist") else 1] = 1
    elif pool == "avg":
        row[0 if getattr(model, "pool_include_prefix", False) else prefix :] = 1
    else:
        raise CaptureError(
            f"{type(model).__name__} pools its tokens by {pool!r}; only 'token' and 'avg' have a row"
        )
    return row / row.sum()
