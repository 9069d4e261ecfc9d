"""Images as the page carries them: photos as small JPEGs, plots as WebP, a map as bytes, and its colours."""

import base64
import io

import cv2
import matplotlib as mpl
import numpy as np
from PIL import Image

SIDE = 288  # pixels of a photo's longer side at most
GRID = 32  # of a map's: drawn smoothly, finer ones look the same
COLOURS = "inferno"  # perceptually uniform, as in vitol.figures


def photo_bytes(pixels: np.ndarray) -> bytes:
    """An image as a JPEG whose longer side has at most SIDE pixels.

    Args:
        pixels: RGB, (H, W, 3) uint8.

    Raises:
        ValueError: If it is not that.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise ValueError(f"the image is {pixels.shape} {pixels.dtype}; needed: (H, W, 3) uint8")
    buffer = io.BytesIO()
    shrunk(Image.fromarray(pixels)).save(buffer, "JPEG", quality=82, optimize=True)
    return buffer.getvalue()


def shrunk(image: Image.Image) -> Image.Image:
    """An image as RGB, its longer side at most SIDE pixels."""
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return small


def plot_bytes(png: bytes) -> bytes:
    """A PNG as a WebP that looks the same and takes a third of its bytes or less."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(buffer, "WEBP", quality=85, method=4)
    return buffer.getvalue()


def heat_bytes(localization_map: np.ndarray) -> np.ndarray:
    """A map stretched to 0-255, for drawing only; uint8 (h, w), its longer side at most GRID.

    Args:
        localization_map: Finite values on any grid, (h, w).
    """
    values = np.asarray(localization_map, np.float64)
    longest = max(values.shape)
    if longest > GRID:
        height, width = (max(round(side * GRID / longest), 1) for side in values.shape)
        values = np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA), np.float64)
    low, reach = values.min(), np.ptp(values)
    return np.round((values - low) / (reach or 1) * 255).astype(np.uint8)


def colour_table() -> bytes:
    """Red, green and blue of the 256 colours of heat."""
    return np.round(mpl.colormaps[COLOURS](np.arange(256))[:, :3] * 255).astype(np.uint8).tobytes()


def text_of(data: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(data).decode("ascii")
