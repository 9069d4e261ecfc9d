"""The birds of `mini`: how one looks, how it sits in its image, and how it is painted.

A bird is a list of polygons around its body's centre, in units of its length, facing right with y down. It is
turned, mirrored, scaled and shifted into the image, painted on a canvas `SCALE` times as large, and painted a
second time, white on black, on its mask. Corners are whole canvas pixels, so that a seed gives the same image
on every machine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

SIZE = 64  # pixels of an image's side
SCALE = 4  # pixels of the canvas per pixel of the image

HEADS = {"red": (222, 22, 28), "blue": (28, 62, 240), "yellow": (255, 222, 10), "violet": (186, 30, 214)}
CLASSES = tuple(f"{colour}-{kind}" for colour in HEADS for kind in ("crested", "ringed"))
# Plumage, one colour a class: dull where heads are bright, so that only a head looks like a head.
PLUMAGE = (
    (122, 78, 44),  # chestnut
    (228, 214, 180),  # cream
    (98, 112, 130),  # slate
    (124, 128, 58),  # olive
    (46, 44, 52),  # soot
    (86, 146, 140),  # teal
    (206, 148, 92),  # tan
    (186, 140, 150),  # rose grey
)
TAIL_OF = (4, 2, 6, 1, 7, 0, 5, 3)  # the plumage a class's tail has: never that of its body

Colour = tuple[int, int, int]
Polygon = tuple[np.ndarray, Colour]


@dataclass(frozen=True)
class Bird:
    """One creature: what it is, which class each part looks like, and how it sits.

    Attributes:
        label: Its class; the head (colour, and crest or eye ring) is always the class's.
        body: The class whose plumage its body and wings have.
        tail: The class whose tail it has.
        length: Beak to tail, in image pixels, for a tail of middle length.
        mirror: Whether it faces left.
        tilt: Turn of the whole creature, radians, positive beak down.
        wing: Angle of the raised wing over the folded one, radians.
        tail_length: Of its body's length.
        tail_turn: Turn of the tail alone, radians.
        shades: Offsets added to the colours of body, tail and head.
        centre: Of its body, (x, y) image pixels.
    """

    label: int
    body: int
    tail: int
    length: float
    mirror: bool
    tilt: float
    wing: float
    tail_length: float
    tail_turn: float
    shades: tuple[Colour, Colour, Colour]
    centre: tuple[float, float] = (0.0, 0.0)


@cache
def _circle(steps: int) -> np.ndarray:
    angles = [2 * math.pi * k / steps for k in range(steps)]
    return np.array([(math.cos(t), math.sin(t)) for t in angles])


def ellipse(x: float, y: float, a: float, b: float, turn: float = 0.0, steps: int = 24) -> np.ndarray:
    """Outline of an ellipse around (x, y) with semi-axes a and b, turned by radians, (steps, 2)."""
    return np.array((x, y)) + turned(_circle(steps) * (a, b), turn)


def turned(points: np.ndarray, angle: float) -> np.ndarray:
    """Points (m, 2) turned about the origin by an angle in radians, from x towards y."""
    # Elementwise, not a matrix product: BLAS rounds differently from machine to machine.
    c, s = math.cos(angle), math.sin(angle)
    x, y = points[:, 0], points[:, 1]
    result = np.empty_like(points)
    result[:, 0], result[:, 1] = c * x - s * y, s * x + c * y
    return result


def limb(start: Sequence[float] | np.ndarray, end: Sequence[float] | np.ndarray, width: float) -> np.ndarray:
    """Outline of a straight bar between two different points, (4, 2)."""
    (x0, y0), (x1, y1) = start, end
    scale = width / 2 / math.hypot(x1 - x0, y1 - y0)
    dx, dy = (y0 - y1) * scale, (x1 - x0) * scale
    return np.array([(x0 + dx, y0 + dy), (x1 + dx, y1 + dy), (x1 - dx, y1 - dy), (x0 - dx, y0 - dy)])


def shade(colour: Sequence[int], gain: float = 1.0, offset: Sequence[int] | np.ndarray = (0, 0, 0)) -> Colour:
    """Colour x gain + offset; a gain above 1 mixes with white instead, so that no channel clips early."""
    mixed = [c * gain if gain <= 1 else c + (255 - c) * (gain - 1) for c in colour]
    r, g, b = (min(max(int(m) + int(o), 0), 255) for m, o in zip(mixed, offset, strict=True))
    return r, g, b


_WING = np.array([(0.07, 0.02), (0.02, -0.09), (-0.12, -0.12), (-0.30, -0.08), (-0.42, 0.02), (-0.33, 0.035)])
_WING = np.concatenate([_WING, [(-0.31, 0.07), (-0.22, 0.07), (-0.19, 0.10), (-0.10, 0.09), (-0.02, 0.09)]])


# Angle and distance from the head's centre, in its radii: three spikes.
_CREST = ((-2.85, 0.8), (-2.62, 2.05), (-2.2, 1.15), (-1.98, 2.45), (-1.65, 1.15), (-1.42, 2.2), (-0.95, 0.8))


def _wing(shoulder: tuple[float, float], angle: float, size: float) -> np.ndarray:
    return np.array(shoulder) + turned(_WING * size, angle)


def _feathers(bird: Bird) -> list[Polygon]:
    """Tail: three overlapping feathers, the middle one lighter."""
    colour = shade(PLUMAGE[TAIL_OF[bird.tail]], offset=bird.shades[1])
    reach = -bird.tail_length
    fan = []
    for turn, gain in ((0.24, 0.74), (-0.24, 0.86), (0.0, 1.0)):
        feather = np.array([(0.08, -0.04), (reach, -0.07), (reach - 0.04, 0.0), (reach, 0.07), (0.08, 0.04)])
        fan.append((np.array((-0.18, 0.04)) + turned(feather, turn + bird.tail_turn), shade(colour, gain)))
    return fan


def _head(bird: Bird) -> list[Polygon]:
    """Crest or eye ring, in the class's colour."""
    colour = shade(list(HEADS.values())[bird.label // 2], offset=bird.shades[2])
    x, y, r = 0.25, -0.20, 0.15
    horn, black = (70, 64, 60), (12, 10, 14)
    beak = np.array([(x + 0.09, y - 0.06), (x + 0.28, y + 0.035), (x + 0.09, y + 0.085)])
    parts = [(beak, horn)]
    if bird.label % 2 == 0:
        crest = np.array([(x + d * r * math.cos(t), y + d * r * math.sin(t)) for t, d in _CREST])
        parts += [(crest, shade(colour, 0.92)), (ellipse(x, y, r, r), colour)]
        return [*parts, (ellipse(x + 0.06, y - 0.02, 0.034, 0.034), black)]
    parts.append((ellipse(x, y, r, r), colour))
    rings = ((0.098, black), (0.082, (250, 250, 244)), (0.04, black))
    return parts + [(ellipse(x + 0.035, y - 0.015, radius, radius), tone) for radius, tone in rings]


def polygons(bird: Bird) -> list[Polygon]:
    """A bird's polygons in the order in which they are painted, corners in image pixels, (m, 2) each."""
    body = shade(PLUMAGE[bird.body], offset=bird.shades[0])
    wing, belly, leg = shade(body, 0.72), shade(body, 1.3), (84, 66, 50)
    parts: list[Polygon] = []
    if bird.wing > 0.5:
        parts.append((_wing((0.13, -0.07), bird.wing + 0.35, 1.05), shade(body, 0.55)))
    parts += _feathers(bird)
    for x in (-0.04, 0.07):
        parts.append((limb((x, 0.10), (x + 0.02, 0.30), 0.032), leg))
        parts.append((limb((x - 0.03, 0.30), (x + 0.09, 0.305), 0.03), leg))
    parts.append((ellipse(0.0, 0.0, 0.26, 0.155, -0.22), body))
    parts.append((ellipse(0.17, -0.10, 0.12, 0.13, 0.5), body))
    parts.append((ellipse(0.06, 0.055, 0.17, 0.085, -0.3), belly))
    parts.append((_wing((0.07, -0.05), bird.wing, 1.0), wing))
    parts.append((_wing((0.05, -0.055), bird.wing, 0.62), shade(body, 0.84)))
    parts += _head(bird)
    flip = np.array([-1.0 if bird.mirror else 1.0, 1.0])
    outlines, colours = zip(*parts, strict=True)
    placed = turned(np.concatenate(outlines), bird.tilt) * flip * bird.length + bird.centre
    ends = np.cumsum([len(outline) for outline in outlines])[:-1]
    return list(zip(np.split(placed, ends), colours, strict=True))


def head_circle(bird: Bird) -> tuple[float, float, float]:
    """Centre and radius of a bird's head, in image pixels: (x, y, r)."""
    x, y = turned(np.array([(0.25, -0.2)]), bird.tilt)[0] * (-1 if bird.mirror else 1, 1) * bird.length
    return float(x + bird.centre[0]), float(y + bird.centre[1]), 0.15 * bird.length


def corners(points: np.ndarray) -> list[tuple[int, int]]:
    """Image pixels (m, 2) to whole canvas pixels."""
    return [(x, y) for x, y in np.rint(points * SCALE).astype(int).tolist()]


def paint(canvas: Image.Image, birds: Sequence[Bird]) -> np.ndarray:
    """Paint birds on a canvas, later ones over earlier ones.

    Args:
        canvas: RGB image of side SIZE * SCALE, painted in place.
        birds: The birds, farthest first.

    Returns:
        Image pixels at least half covered by what is visible of each bird, (birds, SIZE, SIZE) bool.
    """
    brush = ImageDraw.Draw(canvas)
    masks = [Image.new("L", canvas.size) for _ in birds]
    stencils = [ImageDraw.Draw(mask) for mask in masks]
    for k, bird in enumerate(birds):
        for points, colour in polygons(bird):
            outline = corners(points)
            brush.polygon(outline, fill=colour)
            for j in range(k + 1):
                stencils[j].polygon(outline, fill=255 if j == k else 0)
    return np.array([np.asarray(mask.reduce(SCALE)) >= 128 for mask in masks])


def flock(rng: Generator, labels: Sequence[int], agreement: float) -> list[Bird]:
    """One bird, or two that overlap a little at most, of random pose and place inside the image.

    Args:
        rng: Source of all that is random.
        labels: The class of each, one or two.
        agreement: Probability that a body, and that a tail, is its class's; else it is any other class's.
    """
    longest = 46.0 if len(labels) == 1 else 34.0
    while True:
        birds = [_bird(rng, label, agreement, longest) for label in labels]
        if len(birds) == 1 or _apart(*birds):
            return birds
        longest = max(longest * 0.97, 23.0)


def _bird(rng: Generator, label: int, agreement: float, longest: float) -> Bird:
    """A bird somewhere inside the image, up to `longest` image pixels long."""

    def plumage() -> int:
        other = (label + int(rng.integers(1, len(CLASSES)))) % len(CLASSES)
        return label if rng.random() < agreement else other

    def jitter(spread: int) -> Colour:
        r, g, b = rng.integers(-spread, spread + 1, 3).tolist()
        return r, g, b

    body, tail = plumage(), plumage()
    bird = Bird(
        label=label,
        body=body,
        tail=tail,
        length=20 + (longest - 20) * rng.random(),
        mirror=bool(rng.integers(2)),
        tilt=(rng.random() - 0.5) * 0.87,
        wing=max(0.0, 1.6 * rng.random() - 0.4),
        tail_length=0.20 + 0.16 * rng.random(),
        tail_turn=(rng.random() - 0.5) * 0.7,
        shades=(jitter(12), jitter(12), jitter(10)),
    )
    x0, y0, x1, y1 = _extent(bird)
    room_x, room_y = SIZE - 2 - (x1 - x0), SIZE - 2 - (y1 - y0)
    x, y = 1 - x0 + max(room_x, 0.0) * rng.random(), 1 - y0 + max(room_y, 0.0) * rng.random()
    return replace(bird, centre=(x, y))


def _extent(bird: Bird) -> tuple[float, float, float, float]:
    points = np.concatenate([points for points, _ in polygons(bird)])
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x0, y0, x1, y1


def _apart(one: Bird, two: Bird) -> bool:
    """Whether two birds overlap a little at most, and neither covers the other's head."""
    boxes = [_extent(one), _extent(two)]
    sizes = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes]
    if _overlap(*boxes) > 0.08 * min(sizes):
        return False
    heads = [(x - r, y - r, x + r, y + r) for x, y, r in map(head_circle, (one, two))]
    return _overlap(heads[0], boxes[1]) == _overlap(heads[1], boxes[0]) == 0.0


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
