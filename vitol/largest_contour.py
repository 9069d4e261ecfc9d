"""Best IoU of the largest contour's box at every cut of a score map (V1); cuts and boxes as in `vitol.contours`.

The largest contour is the outer border of a component that lies in no hole. To find it, every hole is filled up to the
level at which it opens to the frame. At any cut this leaves just those components, without holes, and then the area
within a border (`cv2.contourArea`, a polygon through pixel centres) is a sum over cells of 2 x 2 pixels: 1 where all
four are foreground, 1/2 where three are. Of equal areas the reference takes the first contour of OpenCV's list: that of
the component whose first pixel in reading order comes last.
"""

import numpy as np
from numba import njit

from vitol.component_tree import TOP, Tree, by_level, component_tree, find, unite
from vitol.rectangles import best_iou


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
def credit_largest(scores: np.ndarray, truths: np.ndarray, best: np.ndarray) -> None:
    """Sweep a map without holes and give every cut the IoU of the component with the largest border."""
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
            x1, y1 = min(box[top, 2] + 1, width - 1), min(box[top, 3] + 1, height - 1)
            best[level - 1] = best_iou(box[top, 0], box[top, 1], x1, y1, truths)


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
