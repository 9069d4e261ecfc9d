"""From image files to a model's input.

H x W input of the model, in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from timm.data import resolve_model_data_config
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F

from vitol.datasets.images import MEAN, STD
from vitol.threads import threads

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What counts as an image in a folder, upper or lower case; a file that is named is opened whatever its name."""


def find_photos(paths: Iterable[str | Path], leave_out: Path | None = None) -> list[Path]:
    """Image files that are named, and those in folders that are named, at any depth, sorted within a folder.

    Args:
        paths: Files and folders.
        leave_out: A folder whose files are not taken from a folder around it.

    Returns:
        Each file once, in the order of `paths`.

    Raises:
        ValueError: If a path is not there, or a folder holds no image.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
            kept = [file for file in inside if file.is_file() and not _below(file, leave_out)]
            if not kept:
                raise ValueError(f"{path} holds no image; looked for *{', *'.join(SUFFIXES)} at any depth")
        elif path.is_file():
            kept = [path]
        else:
            raise ValueError(f"{path} is neither a file nor a folder; give images, or folders of images")
        for file in kept:
            found.setdefault(file.resolve(), file)
    if not found:
        raise ValueError("no image was given; give at least one file or folder")
    return list(found.values())


def read_photo(path: Path) -> Image.Image:
    """Decode an image as it is meant to be seen: upright (EXIF), RGB, transparent parts white.

    Raises:
        ValueError: If it cannot be decoded, or has more than 8 bits a channel.
    """
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"mode {image.mode!r} has more than 8 bits a channel; convert it to 8 bits")
            if "A" in image.getbands() or "transparency" in image.info:
                coloured = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured)
            return image.convert("RGB")
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not an image that Pillow knows") from None
    # Pillow's decoders raise many types on damaged files (SyntaxError, struct.error, EOFError, ...).
    except Exception as error:
        known = error.strerror if isinstance(error, OSError) else None
        raise ValueError(
            f"{path} cannot be read as an image: {known or error or type(error).__name__}"
        ) from error


def photo_sizes(
    photos: Sequence[Path], progress: Callable[[int, int], object] | None = None
) -> list[tuple[int, int]]:
    """Decode every image to its end, in as many threads as there are processors.

    Args:
        photos: The files.
        progress: Told the images done and in all.

    Returns:
        Width and height of each, upright, in pixels.

    Raises:
        ValueError: If images cannot be decoded; the text names all of them.
    """
    sizes: list[tuple[int, int]] = []
    faults: list[str] = []

    def inspect(path: Path) -> tuple[int, int] | str:
        try:
            return read_photo(path).size
        except ValueError as error:
            return str(error)

    say = progress or (lambda *_: None)
    say(0, len(photos))
    with ThreadPoolExecutor(threads()) as pool:
        for done, result in enumerate(pool.map(inspect, photos), 1):
            if isinstance(result, str):
                faults.append(result)
            else:
                sizes.append(result)
            say(done, len(photos))
    if faults:
        raise ValueError("\n".join(faults))
    return sizes


@dataclass(frozen=True)
class Preparation:
    """How a photo becomes a model's input: resized straight to it (no crop), then normalised.

    Attributes:
        size: Height and width of the input, in pixels.
        mean: Of the red, green and blue that the model was trained on, with values in [0, 1].
        std: Their standard deviations.
        interpolation: "bilinear" or "bicubic", antialiased.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"

    def __call__(self, image: Image.Image) -> Tensor:
        """RGB image to a normalised tensor (3, H, W), float32."""
        resampling = Image.Resampling[self.interpolation.upper()]
        tensor = F.pil_to_tensor(image.resize(self.size[::-1], resampling))
        return F.normalize(F.to_dtype(tensor, torch.float32, scale=True), list(self.mean), list(self.std))

    @classmethod
    def of_pretrained(cls, model: nn.Module) -> Preparation:
        """What a pretrained timm model was trained with: its own mean, deviation and interpolation."""
        config = resolve_model_data_config(model)
        known = {"bilinear", "bicubic"} & {config["interpolation"]}
        return cls(
            input_size(model),
            tuple(config["mean"]),
            tuple(config["std"]),
            known.pop() if known else "bicubic",
        )

    @classmethod
    def of_record(cls, model: nn.Module, record: Mapping[str, Any]) -> Preparation:
        """What vitol's checkpoints are trained with: bilinear, mean and deviation as in the checkpoint's record.

        Raises:
            ValueError: If "mean" or "std" in the record is not three numbers, or a deviation is not above 0.
        """
        values = {}
        for key, default in (("mean", MEAN), ("std", STD)):
            numbers = record.get(key, default)
            lowest = 0.0 if key == "std" else float("-inf")
            if not (
                isinstance(numbers, Sequence)
                and len(numbers) == 3
                and all(isinstance(number, int | float) and number > lowest for number in numbers)
            ):
                raise ValueError(
                    f"the checkpoint's record has {key!r}: {numbers!r}; needed: three numbers, one a channel"
                    + (", above 0" if key == "std" else "")
                )
            values[key] = tuple(map(float, numbers))
        return cls(input_size(model), values["mean"], values["std"])


def input_size(model: nn.Module) -> tuple[int, int]:
    """Height and width that a timm model was built for."""
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    height, width = size or resolve_model_data_config(model)["input_size"][1:]
    return int(height), int(width)


def _below(file: Path, folder: Path | None) -> bool:
    return folder is not None and file.resolve().is_relative_to(folder.resolve())
