from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import drawn_by
from matplotlib.figure import Figure
from test_figures import check_texts

from vitol import drop_mask_figure as module
from vitol.drop_mask_figure import drop_mask_figure
from vitol.overlays import NO_BOXES, Overlay

PICTURE = Overlay(np.full((60, 80, 3), 200, np.uint8), "a $bird", None, np.array([[8, 6, 40, 30]]), NO_BOXES)


def masks(images: int = 2, blocks: int = 12) -> np.ndarray:
    """Everything kept but one patch more in each block, along the diagonal."""
    kept = np.ones((images, blocks, 14, 14), bool)
    for block in range(blocks):
        kept[:, block, range(block), range(block)] = False
    return kept


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return drawn_by(module, monkeypatch)


def test_the_same_masks_give_the_same_bytes_and_others_give_others(tmp_path):
    one, again, other = (tmp_path / name for name in ("one.png", "again.png", "other.png"))
    for path in (one, again):
        drop_mask_figure([PICTURE] * 2, masks(), path, "n=2")
    drop_mask_figure([PICTURE] * 2, masks()[:, ::-1], other, "n=2")
    assert one.read_bytes() == again.read_bytes() != other.read_bytes()


def test_a_strip_is_the_image_with_its_box_and_a_mask_a_block_dark_where_dropped(drawn):
    drop_mask_figure([PICTURE], masks(1, 3), Path("unused.png"))
    image, *strip = drawn[0].axes
    np.testing.assert_allclose(image.patches[0].get_bbox().extents, [0.1, 0.1, 0.5, 0.5])
    assert [axes.texts[0].get_text() for axes in strip] == ["0 of 196", "1 of 196", "2 of 196"]
    for axes, kept in zip(strip, masks(1, 3)[0], strict=True):
        shown = np.asarray(axes.images[0].get_array())
        patches = shown.reshape(14, 16, 14, 16, 3).mean(axis=(1, 3, 4))
        assert np.array_equal(patches > 128, kept)


def test_no_two_texts_overlap_or_leave_the_figure(drawn):
    caption = "mini (test, n=1000), small, seed 0, p-ADL MMp. Dark patches are dropped. " * 3
    drop_mask_figure([PICTURE] * 2, masks(), Path("unused.png"), caption)
    check_texts(drawn[0])


@pytest.mark.parametrize(
    ("count", "kept", "text"),
    [
        (0, masks(1), r"0 images and masks \(1, 12, 14, 14\) bool; needed: at least one image"),
        (2, masks(1), r"2 images and masks \(1, 12, 14, 14\) bool; needed: .* \(2, blocks, h, w\)"),
        (1, masks(1)[0], r"1 images and masks \(12, 14, 14\) bool"),
        (1, masks(1).astype(float), r"1 images and masks \(1, 12, 14, 14\) float64"),
    ],
)
def test_masks_that_are_none_are_refused(count, kept, text):
    with pytest.raises(ValueError, match=text):
        drop_mask_figure([PICTURE] * count, kept, Path("unused.png"))
