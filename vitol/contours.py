"""Best IoU of a score map's boxes at every cut, over all contours (V2) or of the largest one (V1).

H x W score map of levels 0-255, k ground-truth boxes. A *cut* c, 0 to 254, parts the map into foreground (level > c)
and background. Boxes are those that `cv2.findContours` and `cv2.boundingRect` give: the rectangle of every 8-connected
component of the foreground, and of every hole, a 4-connected component of the background that does not touch the
frame, the rectangle one pixel larger on each side; their far corner one pixel further, clamped to the map.

Foreground components are those of the map's component tree, holes those of the inverted map's: one sweep each, which
credits the IoU of a rectangle to all cuts over which it stands.

Equal to the reference evaluator (`clovaai/wsolevaluation@96f4b88`) to the last bit: IoUs are quotients of the same
integers.
"""

import numpy as np
from numba import njit

from vitol.component_tree import TOP, Tree, by_level, component_tree, find, unite
from vitol.largest_contour import credit_largest, filled
from vitol.rectangles import best_iou

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
        of_largest: Likewise.
        largest: Whether to find the largest contours.
    """
    for image in range(len(scores)):
        own = truths[ends[image] : ends[image + 1]]
        best_at_cuts(_levels(scores[image]), own, of_all[image], of_largest[image], largest)


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
        of_largest[:highest], of_largest[highest:] = 0.0, nothing
        credit_largest(filled(levels, background, opens), truths, of_largest)


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
