"""Best IoU of a score map's boxes at every cut, over all contours (V2) or of the largest one (V1), in compiled code.

H x W score map of levels 0-255, k ground-truth boxes, s segments, e edges, p peaks of columns.

**Boxes.** A *cut* c, 0 to 254, parts the map into foreground (level > c) and background. Boxes are those that
`cv2.findContours` and `cv2.boundingRect` give: the rectangle of every 8-connected component of the foreground, and of
every hole, a 4-connected component of the background that does not touch the frame, the rectangle one pixel larger on
each side; their far corner one pixel further, clamped to the map. Equal to the reference evaluator
(`clovaai/wsolevaluation@96f4b88`) to the last bit: IoUs are quotients of the same integers.

**Component tree.** While the cut falls, components of the foreground only appear, grow and merge. Union-find follows
them: over pixels that takes 50,000 nodes for a map of 224 x 224, here it takes about 1,200. Each row is parted at its
valleys into *segments*, which rise to a peak and fall again: of a segment, the bright pixels are one run, or none. So

- the nodes are segments, bright from the level of their peak down;
- an edge joins two segments that meet, in a row or in neighbouring rows, with the highest level at which bright pixels
  of both touch;
- a component enters a new row only with the peak of a segment, and a new column only with a peak of that column (the
  brightest pixel of the run there): its rectangle changes nowhere else.

Segments, edges and peaks are sorted by level; a sweep from 255 down meets every change of every component once, and
credits the IoU of a rectangle to all cuts over which it stands. Holes are components of the inverted map.

**The largest contour** is the outer border of a component that lies in no hole. To find it, every hole is filled up to
the level at which it opens to the frame. At any cut this leaves just those components, without holes, and then the area
within a border (`cv2.contourArea`, a polygon through pixel centres) is a sum over cells of 2 x 2 pixels: 1 where all
four are foreground, 1/2 where three are. Of equal areas the reference takes the first contour of OpenCV's list: that of
the component whose first pixel in reading order comes last.

The module is long because numba's cache notices a change in a function's own file only: all that is compiled is here.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

TOP = 255  # the highest level
CUTS = TOP  # a cut at the top leaves no foreground


@njit(nogil=True, cache=True)
def best_of_images(
    scores: np.ndarray,
    truths: np.ndarray,
    ends: np.ndarray,
    of_all: np.ndarray,
    of_largest: np.ndarray,
    largest: bool,
) -> None:
    """Stretch and quantise each image's scores, and find its best IoU at every cut.

    Args:
        scores: Maps scaled to the image, finite float32 (n, H, W).
        truths: Ground-truth boxes of all images, one image after the other, int64 (k, 4).
        ends: Where each image's boxes start and, next, end, (n + 1,) or longer.
        of_all: Written to, (n, 255); see `best_at_cuts`.
        of_largest: Likewise if `largest`; else it may have no rows.
        largest: Whether to find the largest contours.
    """
    for image in range(len(scores)):
        own = truths[ends[image] : ends[image + 1]]
        own_largest = of_largest[image] if largest else of_all[image]
        best_at_cuts(_levels(scores[image]), own, of_all[image], own_largest, largest)


@njit(nogil=True, cache=True)
def _levels(scores: np.ndarray) -> np.ndarray:
    """Stretch scores to [0, 1] and quantise them, in float32 and in the reference's order of operations."""
    height, width = scores.shape
    lowest = highest = scores[0, 0]
    for y in range(height):
        for x in range(width):
            lowest, highest = min(lowest, scores[y, x]), max(highest, scores[y, x])
    levels = np.zeros((height, width), np.uint8)
    reach = highest - lowest
    if reach > 0:
        for y in range(height):
            for x in range(width):
                levels[y, x] = np.uint8((scores[y, x] - lowest) / reach * np.float32(255))
    return levels


@njit(nogil=True, cache=True)
def best_at_cuts(
    levels: np.ndarray, truths: np.ndarray, of_all: np.ndarray, of_largest: np.ndarray, largest: bool
) -> None:
    """Find the best IoU of any box with any ground-truth box, at every cut.

    Args:
        levels: The quantised score map, uint8 (H, W), contiguous.
        truths: Ground-truth boxes in pixels of the map, int64 (k, 4).
        of_all: Written to: the best IoU over all contours, float64 (255,).
        of_largest: Written to if `largest`: that of the largest contour, (255,).
        largest: Whether to find the largest contours.
    """
    height, width = levels.shape
    highest = levels.max()
    # Without foreground the reference has the box of one pixel; with it there is always a component.
    nothing = best_iou(0, 0, 0, 0, truths)
    of_all[:highest], of_all[highest:] = 0.0, nothing
    opens = np.zeros(height * ((width + 1) // 2), np.uint8)
    _credit_components(levels, truths, of_all, False, opens)
    background = _credit_components(~levels, truths, of_all, True, opens)
    if largest:
        of_largest[highest:] = nothing
        boxes = np.empty((CUTS, 4), np.int32)
        _boxes_without_holes(filled(levels, background, opens), boxes)
        for cut in range(highest):
            of_largest[cut] = best_iou(boxes[cut, 0], boxes[cut, 1], boxes[cut, 2], boxes[cut, 3], truths)


@njit(nogil=True, cache=True)
def largest_boxes(levels: np.ndarray, boxes: np.ndarray) -> None:
    """Find the box of the largest contour at every cut.

    Args:
        levels: The quantised score map, uint8 (H, W), contiguous.
        boxes: Written to: x0, y0, x1, y1, zeros where there is no foreground, int32 (255, 4).
    """
    height, width = levels.shape
    boxes[:] = 0
    opens = np.zeros(height * ((width + 1) // 2), np.uint8)
    background = _credit_components(~levels, np.empty((0, 4), np.int64), np.zeros(CUTS), True, opens)
    _boxes_without_holes(filled(levels, background, opens), boxes)


@njit(nogil=True, cache=True)
def best_iou(x0: int, y0: int, x1: int, y1: int, truths: np.ndarray) -> float:
    """Best IoU of a box with the ground truth (k, 4); corners are inclusive."""
    best = 0.0
    area = (x1 - x0 + 1) * (y1 - y0 + 1)
    for k in range(len(truths)):
        tx0, ty0, tx1, ty1 = truths[k, 0], truths[k, 1], truths[k, 2], truths[k, 3]
        width = min(x1, tx1) - max(x0, tx0) + 1
        height = min(y1, ty1) - max(y0, ty0) + 1
        if width > 0 and height > 0:
            both = width * height
            best = max(best, both / (area + (tx1 - tx0 + 1) * (ty1 - ty0 + 1) - both))
    return best


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


@njit(nogil=True, cache=True)
def _credit_components(
    values: np.ndarray, truths: np.ndarray, best: np.ndarray, holes: bool, opens: np.ndarray
) -> Tree:
    """Sweep a map and credit the IoU of every component's rectangle to the cuts over which it stands.

    With `holes`, values are an inverted map's, components that touch the frame do not count, and `opens` is
    written to: for each segment the level from which its component touches the frame. Returns the map's tree.
    """
    height, width = values.shape
    tree = component_tree(values, not holes)
    sides = by_level(_side_levels(values) if holes else np.empty(0, np.uint8))
    n = len(tree.row)
    parent = np.arange(n).astype(np.int32)
    ring = parent.copy()  # the next segment of the same component
    box = np.empty((n, 4), np.int32)
    iou = np.empty(n)
    since = np.empty(n, np.int32)  # the level from which iou holds
    open_ = np.zeros(n, np.bool_)  # touches the frame
    changed = np.empty(n, np.int32)  # roots to be measured again at the end of the level
    changed_at = np.zeros(n, np.int32)
    for level in range(TOP, 0, -1):
        count = 0
        for i in range(tree.segments_by_level.ends[level + 1], tree.segments_by_level.ends[level]):
            a = tree.segments_by_level.order[i]
            box[a, 0] = box[a, 2] = tree.column[a]
            box[a, 1] = box[a, 3] = tree.row[a]
            changed[count], changed_at[a] = a, level
            count += 1
            if holes and (tree.row[a] == 0 or tree.row[a] == height - 1):
                open_[a], opens[a] = True, level
        for i in range(sides.ends[level + 1], sides.ends[level]):
            y, right = sides.order[i] // 2, sides.order[i] % 2
            r = find(parent, tree.first[y + 1] - 1 if right else tree.first[y])
            if not open_[r]:
                if changed_at[r] != level:
                    _credit(best, iou[r], since[r], level, holes)
                open_[r] = True
                _open_ring(ring, r, level, opens)
        for i in range(tree.edges_by_level.ends[level + 1], tree.edges_by_level.ends[level]):
            e = tree.edges_by_level.order[i]
            a, b = find(parent, tree.edges[e, 1]), find(parent, tree.edges[e, 2])
            if a == b:
                continue
            for r in (a, b):
                if changed_at[r] != level and not open_[r]:
                    _credit(best, iou[r], since[r], level, holes)
                    changed[count], changed_at[r] = r, level
                    count += 1
            if open_[a] != open_[b]:
                _open_ring(ring, b if open_[a] else a, level, opens)
                open_[a] = open_[b] = True
            kept, gone = unite(tree.level, parent, box, a, b)
            ring[kept], ring[gone] = ring[gone], ring[kept]
        for i in range(tree.columns_by_level.ends[level + 1], tree.columns_by_level.ends[level]):
            p = tree.columns_by_level.order[i]
            r, x = find(parent, tree.columns[p, 1]), tree.columns[p, 2]
            if not open_[r] and (x < box[r, 0] or x > box[r, 2]):
                if changed_at[r] != level:
                    _credit(best, iou[r], since[r], level, holes)
                    changed[count], changed_at[r] = r, level
                    count += 1
                box[r, 0], box[r, 2] = min(box[r, 0], x), max(box[r, 2], x)
        grown = 1 if holes else 0
        for i in range(count):
            r = changed[i]
            if parent[r] == r and not open_[r]:
                x1, y1 = min(box[r, 2] + grown + 1, width - 1), min(box[r, 3] + grown + 1, height - 1)
                iou[r] = best_iou(box[r, 0] - grown, box[r, 1] - grown, x1, y1, truths)
                since[r] = level
    for r in range(n):
        if parent[r] == r and not open_[r] and tree.level[r] > 0:
            _credit(best, iou[r], since[r], 0, holes)
    return tree


@njit(nogil=True, cache=True)
def _credit(best: np.ndarray, iou: float, since: int, until: int, inverted: bool) -> None:
    """Raise the best IoU of the cuts just below the levels from `since` down to `until` + 1."""
    for level in range(until + 1, since + 1):
        cut = TOP - level if inverted else level - 1
        best[cut] = max(best[cut], iou)


@njit(nogil=True, cache=True)
def _side_levels(values: np.ndarray) -> np.ndarray:
    """The levels at the left and right frame, row by row, (2 H,)."""
    levels = np.empty(2 * len(values), np.uint8)
    levels[::2], levels[1::2] = values[:, 0], values[:, -1]
    return levels


@njit(nogil=True, cache=True)
def _open_ring(ring: np.ndarray, member: int, level: int, opens: np.ndarray) -> None:
    """Note the level for all segments of a component."""
    a = member
    while True:
        opens[a] = level
        a = ring[a]
        if a == member:
            break


@njit(nogil=True, cache=True)
def filled(levels: np.ndarray, tree: Tree, opens: np.ndarray) -> np.ndarray:
    """Fill the holes: each pixel rises to the lowest level that a 4-connected path to the frame climbs to.

    `tree` is the inverted map's, and `opens` tells for its segments from which level they are connected to the frame.
    """
    risen = levels.copy()
    for a in range(len(tree.row)):
        y = tree.row[a]
        if opens[a] < tree.level[a]:
            end = tree.start[a + 1] if a + 1 < tree.first[y + 1] else levels.shape[1]
            for x in range(tree.start[a], end):
                risen[y, x] = max(risen[y, x], TOP - opens[a])
    return risen


@njit(nogil=True, cache=True)
def _boxes_without_holes(scores: np.ndarray, boxes: np.ndarray) -> None:
    """Sweep a map without holes and write, for every cut with foreground, the box of the largest border, (255, 4)."""
    height, width = scores.shape
    tree = component_tree(scores, True)
    cells, cell_segment = _cells(scores, tree.first, tree.start)
    cells_by_level = by_level(cells)
    n = len(tree.row)
    parent = np.arange(n).astype(np.int32)
    box = np.empty((n, 4), np.int32)
    area = np.zeros(n, np.int32)  # in halves of a pixel
    pixel = np.empty(n, np.int32)  # orders components like their first pixel
    roots = np.empty(n, np.int32)
    count = counted = 0
    for level in range(TOP, 0, -1):
        for i in range(tree.segments_by_level.ends[level + 1], tree.segments_by_level.ends[level]):
            a = tree.segments_by_level.order[i]
            box[a, 0] = box[a, 2] = tree.column[a]
            box[a, 1] = box[a, 3] = tree.row[a]
            pixel[a] = tree.row[a] * width + tree.column[a]
            roots[count] = a
            count += 1
        for i in range(tree.edges_by_level.ends[level + 1], tree.edges_by_level.ends[level]):
            e = tree.edges_by_level.order[i]
            a, b = find(parent, tree.edges[e, 1]), find(parent, tree.edges[e, 2])
            if a == b:
                continue
            kept, gone = unite(tree.level, parent, box, a, b)
            area[kept] += area[gone]
            pixel[kept] = min(pixel[kept], pixel[gone])
        for i in range(tree.columns_by_level.ends[level + 1], tree.columns_by_level.ends[level]):
            p = tree.columns_by_level.order[i]
            r, x = find(parent, tree.columns[p, 1]), tree.columns[p, 2]
            box[r, 0], box[r, 2] = min(box[r, 0], x), max(box[r, 2], x)
        kept = 0
        for i in range(count):
            if parent[roots[i]] == roots[i]:
                roots[kept] = roots[i]
                kept += 1
        count = kept
        if count > 1:  # otherwise areas can wait
            while counted < cells_by_level.ends[level]:
                area[find(parent, cell_segment[cells_by_level.order[counted] // 2])] += 1
                counted += 1
        if count > 0:
            top = roots[0]
            for r in roots[1:count]:
                if area[r] > area[top] or (area[r] == area[top] and pixel[r] > pixel[top]):
                    top = r
            boxes[level - 1, 0], boxes[level - 1, 1] = box[top, 0], box[top, 1]
            boxes[level - 1, 2] = min(box[top, 2] + 1, width - 1)
            boxes[level - 1, 3] = min(box[top, 3] + 1, height - 1)


@njit(nogil=True, cache=True)
def _cells(values: np.ndarray, first: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From which levels the cells of 2 x 2 pixels count half and whole, (2 c,), and their segment, (c,).

    A cell's segment is that of its brighter upper pixel, which is among the first three of the cell.
    """
    height, width = values.shape
    levels = np.empty(2 * (height - 1) * (width - 1), np.uint8)
    segments = np.empty(len(levels) // 2, np.int32)
    c = 0
    for y in range(height - 1):
        a = first[y]
        for x in range(width - 1):
            if a + 1 < first[y + 1] and start[a + 1] <= x:
                a += 1
            # The next pixel's segment is another one only if it is brighter: segments begin by rising.
            across = a + 1 < first[y + 1] and start[a + 1] == x + 1
            segments[c] = a + 1 if across else a
            left, right = values[y, x], values[y, x + 1]
            upper0, upper1 = min(left, right), max(left, right)
            left, right = values[y + 1, x], values[y + 1, x + 1]
            lower0, lower1 = min(left, right), max(left, right)
            levels[2 * c] = min(max(upper0, lower0), upper1, lower1)
            levels[2 * c + 1] = min(upper0, lower0)
            c += 1
    return levels, segments
