r"""What the rivals share: features, a head that makes a map a class, the mean of which is the class's score.

B images, C classes, K classes asked for an image, D channels, h x w map grid. A method overrides what is its own: what
it does to the training (`step`), or to the map (`localize`). Everything else is CAM (Zhou et al., CVPR 2016), with the
head before the pooling, a 1 x 1 convolution, so that scores and maps come out of one pass: the same, as section 3.1 of
ACoL shows (Zhang et al., CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vitol.models import create_pretrained


class Features(nn.Module):
    """A timm convolutional network up to one of its stages: images to features.

    A stage is what lies between two halvings of the sides; timm numbers them from 0.

    Args:
        architecture: A timm name.
        weights: None for random ones, "hub" for timm's own, or the path of a safetensors file with timm's names for
            the whole network; those of its classifier are left out.
        stage: The last stage wanted, from 0; -1 for the network's last.
        options: Further arguments of the timm model, such as `output_stride` for larger maps.

    Attributes:
        body: timm's network; it returns the output of every stage.
        stages: The names of the stages' last modules in `body`, first stage first.
        channels: Of what it returns, D.

    Raises:
        ValueError: If the network has no such stages.
        CheckpointError: As `vitol.models.create_pretrained`.
    """

    body: Any

    def __init__(
        self,
        architecture: str,
        *,
        weights: str | Path | None = None,
        stage: int = -1,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        arguments: dict[str, Any] = {"features_only": True, **(options or {})}
        try:
            with torch.device("meta"):  # to look at its stages; no weights are drawn
                whole: Any = timm.create_model(architecture, pretrained=False, **arguments)
            count = len(whole.feature_info)
            if any(name.rpartition(".")[2] == "patch_embed" for name, _ in whole.named_modules()):
                raise RuntimeError("it embeds patches, as transformers do")
        except (AssertionError, AttributeError, RuntimeError) as error:
            raise ValueError(
                f"{architecture} has no stages ({error}); take a convolutional network of timm's, such as resnet50"
            ) from error
        if not -count <= stage < count:
            raise ValueError(f"stage {stage} of {architecture} does not exist; its stages are 0..{count - 1}")
        arguments["out_indices"] = tuple(range(stage % count + 1))

        def classifier() -> nn.Module:
            with torch.device("meta"):  # no weights are drawn, so that those drawn afterwards stay the same
                return timm.create_model(architecture, pretrained=False, **(options or {}))

        self.body = (
            timm.create_model(architecture, pretrained=False, **arguments)
            if weights is None
            else create_pretrained(architecture, weights, classifier, arguments)
        )
        # timm joins the names of nested modules when it cuts a network into stages.
        self.stages = [name.replace(".", "_") for name in self.body.feature_info.module_name()]
        self.channels: int = self.body.feature_info.channels()[-1]

    def end_of(self, stage: int) -> nn.Module:
        """The last module of a stage (negative: from the end), to put a hook on."""
        return self.body.get_submodule(self.stages[stage])

    def forward(self, images: Tensor) -> Tensor:
        """The last stage's output, (B, D, h, w), of images (B, 3, H, W)."""
        return self.body(images)[-1]


class Localizer(nn.Module):
    """CAM, and what every other method starts from: class maps whose means are the scores.

    Args:
        features: Images (B, 3, H, W) to features (B, D, h, w); its attribute `channels` is D.
        num_classes: C.
        neck: Channels of two 3 x 3 convolutions between features and head, each with a ReLU behind it; 0 for none.
            The evaluation of [8] gives them to VGG-16 and Inception-v3 (1024), and not to ResNet-50.
    """

    network: ClassVar[Callable[..., Features]] = Features
    """What the features of `on` come from."""
    features: Features
    head: nn.Module

    def __init__(self, features: Features, num_classes: int, *, neck: int = 0) -> None:
        super().__init__()
        self.features = features
        self.head = class_head(features.channels, num_classes, neck)

    @classmethod
    def on(
        cls,
        architecture: str,
        num_classes: int,
        *,
        weights: str | Path | None = None,
        stage: int = -1,
        options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Self:
        """Build the method on a timm network.

        Args:
            architecture: A timm name.
            num_classes: C.
            weights: As for the class's `network`; those of the head are random.
            stage: As for `network`.
            options: As for `network`.
            **settings: The method's own, see its class.

        Raises:
            ValueError, CheckpointError: As `network`, and as the class.
        """
        features = cls.network(architecture, weights=weights, stage=stage, options=options)
        return cls(features, num_classes, **settings)

    def no_weight_decay(self) -> set[str]:
        """Parameters that an optimizer of timm's leaves undecayed: those that the network names itself, if any."""
        own = getattr(self.features, "no_weight_decay", set[str])()
        return {f"features.{name}" for name in own}

    def class_maps(self, images: Tensor) -> Tensor:
        """A map of every class, (B, C, h, w); its mean is the class's score."""
        return self.head(self.features(images))

    def forward(
        self, images: Tensor, labels: Tensor | None = None, smoothing: float = 0.0
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Score images or, given their labels, take a step of training.

        Both go through here since several processes share gradients only of what a model's `forward` returns.

        Args:
            images: Normalised, (B, 3, H, W).
            labels: (B,), or None.
            smoothing: Of the labels, in cross-entropy losses.

        Returns:
            Scores (B, C); with labels what `step` returns.
        """
        return self.class_scores(images) if labels is None else self.step(images, labels, smoothing)

    def class_scores(self, images: Tensor) -> Tensor:
        """Logits, (B, C)."""
        return self.class_maps(images).mean(dim=(2, 3))

    def step(self, images: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """What one step of training minimises.

        Args:
            images: Normalised, (B, 3, H, W).
            labels: (B,).
            smoothing: Of the labels, in cross-entropy losses.

        Returns:
            The loss, and the logits (B, C) that the accuracy of the step is told from.
        """
        logits = self.class_scores(images)
        return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing), logits

    def localize(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and localization maps.

        Args:
            images: Normalised, (B, 3, H, W).
            classes: What to localize, (B, K).

        Returns:
            Logits (B, C), and maps (B, K, h, w) of any range; both detached, at least float32.
        """
        with torch.no_grad():
            maps = self.class_maps(images).float()
        return maps.mean(dim=(2, 3)), chosen(maps, classes)


def chosen(maps: Tensor, classes: Tensor) -> Tensor:
    """The maps of some classes, (B, K, h, w), of those of all, (B, C, h, w)."""
    index = classes[:, :, None, None].expand(-1, -1, *maps.shape[2:])
    return maps.gather(1, index)


def rescaled(maps: Tensor) -> Tensor:
    """Every map brought to [0, 1] by its own minimum and maximum, as the methods' authors do; a flat one to 0.

    Args:
        maps: (..., h, w).
    """
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)


def class_head(channels: int, num_classes: int, neck: int = 0, dropout: float = 0.0) -> nn.Sequential:
    """Features (B, D, h, w) to class maps (B, C, h, w): what `Localizer` calls neck, and a 1 x 1 convolution.

    Args:
        channels: D.
        num_classes: C.
        neck: Channels of two 3 x 3 convolutions before it, each with a ReLU behind it; 0 for none.
        dropout: Probability that in training a value is dropped before each convolution; 0 for no such layers.
    """
    drop = (nn.Dropout(dropout),) if dropout else ()
    layers: list[nn.Module] = []
    for before in (channels, neck) if neck else ():
        layers += [*drop, nn.Conv2d(before, neck, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, *drop, nn.Conv2d(neck or channels, num_classes, 1))
