"""What surrounds the birds of `mini`: textured scenes, things that are no birds, and the light.

Lengths are in image pixels. Nothing here has a head's colours.
"""

import math

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from vitol.datasets.drawing import (
    PLUMAGE,
    SCALE,
    SIZE,
    Bird,
    Colour,
    Polygon,
    corners,
    ellipse,
    limb,
    shade,
    turned,
)


def _noise(rng: Generator, cells: tuple[int, int]) -> np.ndarray:
    """Smooth noise of (columns, rows) bumps, (SIZE, SIZE, 1) in about [-1, 1]."""
    grid = rng.integers(0, 256, (cells[1], cells[0]), dtype=np.uint8)
    smooth = Image.fromarray(grid).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return (np.asarray(smooth, dtype=np.float64)[:, :, None] - 127.5) / 127.5


# Upper field's top and bottom colour, lower field's; (columns, rows) of coarse and fine noise.
_SCENES = {
    "sky": ((132, 166, 196), (196, 210, 216), (176, 196, 208), (206, 214, 212), (3, 8), (6, 16)),
    "meadow": ((166, 190, 204), (204, 212, 206), (130, 154, 86), (78, 106, 50), (8, 6), (48, 14)),
    "foliage": ((64, 92, 54), (92, 122, 66), (92, 122, 66), (52, 74, 46), (7, 7), (20, 20)),
    "water": ((150, 172, 170), (176, 190, 182), (112, 142, 152), (76, 106, 120), (7, 26), (20, 64)),
    "sand": ((190, 186, 170), (204, 196, 174), (188, 168, 130), (158, 136, 100), (5, 10), (40, 40)),
}


def backdrop(rng: Generator) -> Image.Image:
    """A textured background without objects: one of five scenes; RGB canvas of side SIZE * SCALE."""
    name = list(_SCENES)[int(rng.integers(len(_SCENES)))]
    *colours, coarse, fine = _SCENES[name]
    top, bottom, near, far = (np.array(colour) + rng.integers(-14, 15) for colour in colours)
    rows = np.arange(SIZE)[:, None, None]
    horizon = int(rng.integers(14, 46))
    above = rows + 1.5 * _noise(rng, (9, 3)) < horizon
    upper, lower = rows / horizon, (rows - horizon) / (SIZE - horizon)
    field = np.where(above, top + (bottom - top) * upper, near + (far - near) * lower)
    strength = np.where(above & (name != "foliage"), 0.5, 1.0)
    bumps = 16 * _noise(rng, (3, 3)) + strength * (16 * _noise(rng, coarse) + 14 * _noise(rng, fine))
    field = field + bumps + rng.integers(-8, 9, 3)
    pixels = np.clip(field, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((SIZE * SCALE, SIZE * SCALE), Image.Resampling.NEAREST)


def _wood(rng: Generator) -> Colour:
    bark = ((96, 76, 56), (72, 62, 54), (132, 112, 86))[int(rng.integers(3))]
    return shade(bark, offset=rng.integers(-12, 13, 3))


def _twig(rng: Generator, width: float) -> list[Polygon]:
    start, turn = rng.random(2) * SIZE, rng.random() * math.pi
    reach = np.array([math.cos(turn), math.sin(turn)]) * (12 + 40 * rng.random())
    colour = _wood(rng)
    fork = start + reach * 0.3 + turned(reach[None], 0.6)[0] * 0.5
    return [
        (limb(start - reach, start + reach, width), colour),
        (limb(start + reach * 0.3, fork, width * 0.7), colour),
    ]


def _leaf(rng: Generator) -> list[Polygon]:
    size = 3 + 5 * rng.random()
    blade = np.array([(-1, 0), (-0.4, -0.38), (0.3, -0.34), (1, 0), (0.3, 0.34), (-0.4, 0.38)]) * size
    turn, at = rng.random() * 2 * math.pi, rng.random(2) * SIZE
    colour = ((94, 124, 60), (62, 92, 48), (140, 146, 80), (150, 118, 70))[int(rng.integers(4))]
    colour = shade(colour, offset=rng.integers(-14, 15, 3))
    vein = limb((-size, 0.0), (size, 0.0), 0.5)
    return [(turned(blade, turn) + at, colour), (turned(vein, turn) + at, shade(colour, 0.75))]


def _stone(rng: Generator) -> list[Polygon]:
    x, y = rng.random(2) * SIZE
    a, turn, grey = 2.5 + 5 * rng.random(), rng.random() * math.pi, int(rng.integers(84, 176))
    colour = shade((grey, grey - 4, grey - 12), offset=rng.integers(-6, 7, 3))
    b = a * (0.55 + 0.3 * rng.random())
    shine = (ellipse(x - a * 0.2, y - b * 0.25, a * 0.55, b * 0.5, turn, steps=12), shade(colour, 1.2))
    return [(ellipse(x, y, a, b, turn, steps=12), colour), shine]


def _decoy(rng: Generator) -> list[Polygon]:
    """A blob with stripes in plumage colours: like a body with a tail, but without a head."""
    size, turn, at = 7 + 8 * rng.random(), rng.random() * 2 * math.pi, rng.random(2) * SIZE
    body, bars = (PLUMAGE[int(k)] for k in rng.integers(len(PLUMAGE), size=2))
    parts = [(limb((-0.2, 0.0), (-1.3, 0.1), 0.34), shade(bars, 0.9)), (ellipse(0, 0, 0.7, 0.45), body)]
    parts += [(limb((x, -0.34), (x + 0.1, 0.34), 0.13), shade(bars, 0.9)) for x in (-0.3, 0.05, 0.4)]
    return [(turned(points * size, turn) + at, colour) for points, colour in parts]


def perch(canvas: Image.Image, bird: Bird, rng: Generator) -> None:
    """Paint a branch under a bird's feet; it belongs to the background."""
    flip = -1 if bird.mirror else 1
    foot = turned(np.array([(0.05, 0.315)]), bird.tilt)[0] * (flip, 1) * bird.length + bird.centre
    turn = flip * bird.tilt + (rng.random() - 0.5) * 0.5
    along = np.array([math.cos(turn), math.sin(turn)])
    back, forth = 6 + 60 * rng.random(2)
    branch = limb(foot - along * back, foot + along * forth, 1.2 + rng.random())
    ImageDraw.Draw(canvas).polygon(corners(branch), fill=_wood(rng))


def litter(canvas: Image.Image, rng: Generator, cluttered: bool) -> None:
    """Paint things that are no birds: a few, or on a cluttered image many and bird-coloured ones."""
    brush = ImageDraw.Draw(canvas)
    kinds = ("twig", "leaf", "stone", "decoy") if cluttered else ("twig", "leaf", "stone")
    count = int(rng.integers(12, 19)) if cluttered else int(rng.integers(0, 5))
    for _ in range(count):
        kind = kinds[int(rng.integers(len(kinds)))]
        if kind == "twig":
            things = _twig(rng, 0.8 + (2.4 if cluttered else 0.8) * rng.random())
        else:
            things = {"leaf": _leaf, "stone": _stone, "decoy": _decoy}[kind](rng)
        for points, colour in things:
            brush.polygon(corners(points), fill=colour)


def light(pixels: np.ndarray, rng: Generator) -> np.ndarray:
    """Light an image from a random side and add sensor noise; (SIZE, SIZE, 3) uint8 in and out."""
    across = np.linspace(-1, 1, SIZE)
    slope_x, slope_y = rng.random(2) * 0.24 - 0.12
    gain = 0.80 + 0.24 * rng.random() + slope_x * across[None, :, None] + slope_y * across[:, None, None]
    tint = 1 + (rng.random(3) - 0.5) * 0.08
    grain = rng.integers(-3, 4, (SIZE, SIZE, 1)) + rng.integers(-3, 4, (SIZE, SIZE, 1))
    return np.clip(pixels * gain * tint + grain, 0, 255).astype(np.uint8)
