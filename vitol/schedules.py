"""The training schedules of section 4.3 of the paper."""

from vitol.recipe import Recipe


def _schedule(epochs: int, lr: float, decay_every: int, batch_size: int) -> Recipe:
    """A schedule with what all of them share."""
    return Recipe(
        epochs=epochs,
        lr=lr,
        decay_every=decay_every,
        decay_factor=0.1,
        warmup_epochs=0,
        weight_decay=0.0,
        batch_size=batch_size,
        optimizer="adamw",
        precision="bf16",
        label_smoothing=0.0,
        clip_norm=0.0,
    )


SCHEDULES = {
    "imagenet": _schedule(epochs=10, lr=1e-4, decay_every=3, batch_size=256),
    "cub-baseline": _schedule(epochs=50, lr=1e-4, decay_every=10, batch_size=64),
    "cub-padl": _schedule(epochs=15, lr=1e-5, decay_every=5, batch_size=64),
}
"""Of p-ADL on ImageNet, and of CUB's baseline and p-ADL on top of it.

The paper states rates, their decay, the weight decay, and the epochs of the first two. Batch sizes, the optimizer, the
precision and the epochs of the third are chosen here, as params.yaml of the project says and explains.
"""
