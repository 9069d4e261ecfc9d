"""The component tree of a score map: what its sets of bright pixels look like as the cut falls.

H x W values 0-255, s segments, e edges, p peaks of columns. A cut parts a map into *bright* pixels, above it, and the
rest. Bright pixels form components that, while the cut falls, only appear, grow and merge. Union-find follows them:
over pixels that takes 50,000 nodes for a map of 224 x 224, here it takes about 1,200. Each row is parted at its valleys
into *segments*, which rise to a peak and fall again: of a segment, the bright pixels are one run, or none. So

- the nodes are segments, bright from the level of their peak down;
- an edge joins two segments that meet, in a row or in neighbouring rows, with the highest level at which bright pixels
  of both touch;
- a component enters a new row only with the peak of a segment, and a new column only with a peak of that column (the
  brightest pixel of the run there): its rectangle changes nowhere else.

Nodes, edges and peaks are sorted by level; whoever sweeps the levels from 255 down meets every change of every
component once. `vitol.contours` does.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

TOP = 255  # the highest level


class ByLevel(NamedTuple):
    """Entries sorted by falling level: those of level v are `order[ends[v + 1] : ends[v]]`, int32."""

    order: np.ndarray
    ends: np.ndarray


class Tree(NamedTuple):
    """Segments, row by row, and what happens to their components.

    Attributes:
        first: First segment of each row, then s, (H + 1,).
        start: First column of each segment, then W, (s + 1,).
        row: Its row, (s,).
        column: The column of its peak, (s,).
        level: Its peak's level, (s,).
        edges: Level, segment, segment, (e, 3); only levels above 0.
        columns: Level, segment, column of the columns' peaks, (p, 3); likewise.
        segments_by_level, edges_by_level, columns_by_level: Their entries, sorted.
    """

    first: np.ndarray
    start: np.ndarray
    row: np.ndarray
    column: np.ndarray
    level: np.ndarray
    edges: np.ndarray
    columns: np.ndarray
    segments_by_level: ByLevel
    edges_by_level: ByLevel
    columns_by_level: ByLevel


@njit(nogil=True, cache=True)
def component_tree(values: np.ndarray, diagonal: bool) -> Tree:
    """Find the segments of a map, their edges and the peaks of its columns.

    Args:
        values: uint8 (H, W), contiguous.
        diagonal: Whether pixels that share a corner touch (8-connected components), or only those that share
            a side (4-connected).

    Returns:
        The tree; all arrays int32.
    """
    first, start, row, column, level = _segments(values)
    edges = _edges(values, first, start, diagonal)
    columns = _column_peaks(values, first, start)
    return Tree(
        first,
        start,
        row,
        column,
        level,
        edges,
        columns,
        by_level(level),
        by_level(edges[:, 0]),
        by_level(columns[:, 0]),
    )


@njit(nogil=True, cache=True)
def by_level(levels: np.ndarray) -> ByLevel:
    """Sort entries by falling level, those of a level in their order (a counting sort)."""
    ends = np.zeros(TOP + 2, np.int32)
    for level in levels:
        ends[level] += 1
    for level in range(TOP, -1, -1):
        ends[level] += ends[level + 1]
    place = ends[1:].copy()
    order = np.empty(len(levels), np.int32)
    for entry in range(len(levels)):
        order[place[levels[entry]]] = entry
        place[levels[entry]] += 1
    return ByLevel(order, ends)


@njit(nogil=True, cache=True)
def find(parent: np.ndarray, segment: int) -> int:
    """Root of a segment's component; the path to it is halved on the way."""
    while parent[segment] != segment:
        parent[segment] = parent[parent[segment]]
        segment = parent[segment]
    return segment


@njit(nogil=True, cache=True)
def unite(levels: np.ndarray, parent: np.ndarray, box: np.ndarray, a: int, b: int) -> tuple[int, int]:
    """Make two components one.

    Args:
        levels: Of the segments' peaks.
        parent: Written to, like `box`.
        box: Rectangles of the roots: first and last column and row, x0, y0, x1, y1, (s, 4).
        a: Root of one component.
        b: Root of the other.

    Returns:
        Which of the two roots is that of both, and which is none any more.
    """
    if levels[a] < levels[b]:  # the older component is usually the larger one
        a, b = b, a
    parent[b] = a
    box[a, 0], box[a, 1] = min(box[a, 0], box[b, 0]), min(box[a, 1], box[b, 1])
    box[a, 2], box[a, 3] = max(box[a, 2], box[b, 2]), max(box[a, 3], box[b, 3])
    return a, b


@njit(nogil=True, cache=True)
def _segments(values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Part each row at its valleys; a valley belongs to the segment on its left."""
    height, width = values.shape
    most = height * ((width + 1) // 2)
    first = np.empty(height + 1, np.int32)
    start, row, column, level = (
        np.empty(most + 1, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
    )
    s = -1
    for y in range(height):
        first[y] = s + 1
        falling = True
        before = np.uint8(0)
        for x in range(width):
            value = values[y, x]
            if x == 0 or value > before:
                if falling:
                    s += 1
                    start[s] = x
                    row[s] = y
                    falling = False
                column[s] = x
                level[s] = value
            elif value < before:
                falling = True
            before = value
    s += 1
    first[height] = s
    start[s] = width
    return first, start[: s + 1], row[:s], column[:s], level[:s]


@njit(nogil=True, cache=True)
def _edges(values: np.ndarray, first: np.ndarray, start: np.ndarray, diagonal: bool) -> np.ndarray:
    """Level, segment, segment of every pair of segments that touch at a level above 0."""
    height, width = values.shape
    reach = 1 if diagonal else 0
    edges = np.empty((5 * len(start), 3), np.int32)  # staircases of two rows' segments, and within the rows
    both = np.empty(width, np.uint8)  # from which level a pixel and one below it are bright
    e = 0
    for y in range(height):
        above = values[y]
        for a in range(first[y] + 1, first[y + 1]):
            e = _joined(edges, e, above[start[a] - 1], a - 1, a)
        if y + 1 == height:
            break
        below = values[y + 1]
        wide = _widened(below, first[y + 1], first[y + 2], start) if diagonal else below
        for x in range(width):
            both[x] = min(above[x], wide[x])
        leftmost = first[y + 1]
        for a in range(first[y], first[y + 1]):
            a0, a1 = start[a], _end(start, a, first[y + 1], width)
            for b in range(leftmost, first[y + 2]):
                b0, b1 = start[b], _end(start, b, first[y + 2], width)
                if b1 <= a0 - reach:
                    leftmost = b + 1
                    continue
                if b0 >= a1 + reach:
                    break
                touch = np.uint8(0)
                for level in both[max(a0, b0) : max(a0, b0, min(a1, b1))]:
                    touch = max(touch, level)
                if diagonal and a0 < b0 <= a1:
                    touch = max(touch, min(above[b0 - 1], below[b0]))
                if diagonal and a0 <= b1 < a1:
                    touch = max(touch, min(above[b1], below[b1 - 1]))
                e = _joined(edges, e, touch, a, b)
    return edges[:e]


@njit(nogil=True, cache=True)
def _joined(edges: np.ndarray, e: int, level: np.uint8, a: int, b: int) -> int:
    """Write an edge, and return the number of edges."""
    if level == 0:
        return e
    edges[e, 0], edges[e, 1], edges[e, 2] = level, a, b
    return e + 1


@njit(nogil=True, cache=True)
def _end(start: np.ndarray, segment: int, row_end: int, width: int) -> int:
    """One past a segment's last column."""
    return start[segment + 1] if segment + 1 < row_end else width


@njit(nogil=True, cache=True)
def _widened(line: np.ndarray, begin: int, end: int, start: np.ndarray) -> np.ndarray:
    """For every pixel of a row the brightest of itself and its two neighbours, if of the same segment."""
    width = len(line)
    wide = line.copy()
    for x in range(1, width):
        wide[x] = max(wide[x], line[x - 1])
    for x in range(width - 1):
        wide[x] = max(wide[x], line[x + 1])
    for b in range(begin + 1, end):
        x = start[b]  # a segment begins by rising: only its first pixel and the valley before look across
        wide[x] = line[x] if x + 1 == _end(start, b, end, width) else max(line[x], line[x + 1])
        wide[x - 1] = line[x - 1] if x - 1 == start[b - 1] else max(line[x - 1], line[x - 2])
    return wide


@njit(nogil=True, cache=True)
def _column_peaks(values: np.ndarray, first: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Level, segment and column of the last pixel of every plateau that a column rises to and falls from."""
    height, width = values.shape
    peaks = np.empty((width * ((height + 1) // 2), 3), np.int32)
    p = 0
    rising = np.ones(width, np.uint8)
    words = -(-width // 8)
    falls = np.zeros(8 * words, np.uint8)  # where a column falls after rising: seldom, so looked at by eights
    eights = falls.view(np.uint64)
    nothing = np.zeros((1, width), np.uint8)
    for y in range(height):
        line = values[y]
        below = values[y + 1] if y + 1 < height else nothing[0]
        for x in range(width):
            up, down = np.uint8(below[x] > line[x]), np.uint8(below[x] < line[x])
            falls[x] = rising[x] & down
            rising[x] = (rising[x] & ~down) | up
        segment = first[y]
        for word in range(words):
            if eights[word] == 0:
                continue
            for x in range(8 * word, min(8 * word + 8, width)):
                if falls[x]:
                    while segment + 1 < first[y + 1] and start[segment + 1] <= x:
                        segment += 1
                    peaks[p, 0], peaks[p, 1], peaks[p, 2] = line[x], segment, x
                    p += 1
    return peaks[:p]
