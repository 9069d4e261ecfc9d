from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import drawn_by
from matplotlib.figure import Figure
from test_figures import check_texts, written

from vitol import sanity_figure as module
from vitol.boxes import score_map
from vitol.sanity_figure import sanity_figure

PARTS = ["none", "head", "block 2", "block 1", "embedding"]
METHODS = ["ar", "gar", "lrp", "relevance", "full-lrp", "attention", "gradcam", "legrad", "attnlrp"]
IMAGE = np.full((60, 80, 3), 128, np.uint8)


def frame(methods: list[str], parts: list[str] = PARTS) -> pd.DataFrame:
    rows = [
        (method, depth, part, 1 - 0.1 * depth - 0.02 * at * (depth > 0), 0.3 - 0.1 * at, 1.0, 64)
        for at, method in enumerate(methods)
        for depth, part in enumerate(parts)
    ]
    return pd.DataFrame(
        rows, columns=["method", "depth", "part", "similarity", "ci_low", "ci_high", "n_images"]
    )


def maps(methods: list[str], depths: int = len(PARTS)) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {method: rng.random((depths, 12, 12)) for method in methods}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures drawn in a test, which are then not written."""
    return drawn_by(module, monkeypatch)


def test_the_same_check_gives_the_same_bytes_and_another_gives_others(tmp_path):
    one, again, other = (tmp_path / name for name in ("one.png", "again.png", "other.png"))
    for path, methods in ((one, ["ar", "gar"]), (again, ["ar", "gar"]), (other, ["gar", "ar"])):
        sanity_figure(frame(methods), IMAGE, maps(methods), "mini", path)
    assert one.read_bytes() == again.read_bytes() != other.read_bytes()


@pytest.mark.parametrize("blocks", [2, 12])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_no_two_texts_overlap_or_leave_the_figure(drawn, blocks, count):
    parts = ["none", "head", *(f"block {at}" for at in range(blocks, 0, -1)), "embedding"]
    chosen = METHODS[:count]
    sanity_figure(frame(chosen, parts), IMAGE, maps(chosen, len(parts)), "mini, small: maps", Path("unused"))
    check_texts(drawn[0])


def test_lines_lie_at_the_frames_values_and_pictures_are_the_maps_in_order(drawn):
    of_check, of_image = frame(["ar", "gar"]), maps(["ar", "gar"])
    sanity_figure(of_check, IMAGE, of_image, "mini", Path("unused"))
    lines, image, *strip = drawn[0].axes
    for line, method in zip(lines.lines, ("ar", "gar"), strict=False):
        expected = of_check.loc[of_check["method"] == method, "similarity"]
        np.testing.assert_array_equal(line.get_ydata(), expected)
    assert [label.get_text() for label in lines.get_xticklabels()] == PARTS
    np.testing.assert_array_equal(image.images[0].get_array(), IMAGE)
    assert len(strip) == 2 * len(PARTS)
    expected = [score_map(one) for method in ("ar", "gar") for one in of_image[method]]
    for axes, heat in zip(strip, expected, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), heat)
    assert [axes.get_title() for axes in strip[: len(PARTS)]] == PARTS


def test_the_figure_names_its_methods_its_images_and_what_to_learn(drawn):
    sanity_figure(frame(["ar", "mine"]), IMAGE, maps(["ar", "mine"]), "mini, small: maps", Path("unused"))
    words = written(drawn[0])
    assert words.count("AR") == words.count("mine") == 2 and "mini, small: maps" in words
    text = " ".join(" ".join(words).split())
    assert "mean over 64 test images" in text and "it explains nothing of what they learned" in text


def test_maps_of_another_cascade_than_the_frames_are_refused():
    with pytest.raises(
        ValueError, match=r"maps at \{'ar': 5\} depths, but the frame has 5 of ar, gar; give the"
    ):
        sanity_figure(frame(["ar", "gar"]), IMAGE, maps(["ar"]), "mini", Path("unused"))
    with pytest.raises(ValueError, match=r"maps at \{'ar': 4\} depths, but the frame has 5 of ar"):
        sanity_figure(frame(["ar"]), IMAGE, maps(["ar"], 4), "mini", Path("unused"))
    with pytest.raises(ValueError, match="NaN, infinite"):
        sanity_figure(frame(["ar"]), IMAGE, {"ar": np.full((5, 4, 4), np.nan)}, "mini", Path("unused"))


def test_the_figure_does_not_load_torch():
    code = "import sys, vitol.sanity_figure; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
