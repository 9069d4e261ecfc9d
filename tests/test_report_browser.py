"""The report in a browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from gallery_data import small_contents, small_gallery
from playwright.sync_api import Browser, Page, expect, sync_playwright

from vitol.boxes import THRESHOLDS, best_ious, boxes_at, score_map
from vitol.failures import failures
from vitol.report.contents import Layer
from vitol.report.page import write_page

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"
)
PATIENCE = 120_000  # milliseconds; a busy machine is no fault of the page
TRIED = (0, 3, 4, 40, 165, 306, 500, 801, 999)  # of the 1,000 thresholds

OURS = small_gallery()
# Maps of a model without class scores come last.
GALLERY = replace(
    OURS, layers=(*OURS.layers, Layer("Few-shot", "Few-shot", "any", OURS.layers[1].maps, 0.165, "Chosen."))
)
CONTENTS = small_contents(galleries=(GALLERY, small_gallery(4, "fish, tiny")))


@dataclass
class Open:
    """A page that is open, and all that the browser said of it."""

    page: Page
    said: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def choose(self, **values: str) -> None:
        for name, value in values.items():
            self.page.select_option(f"#{name}", value)

    def layer(self, layer: Layer) -> None:
        self.choose(model=layer.model, method=layer.method)
        if layer.of != "any":
            self.choose(of=layer.of)

    def threshold(self, index: int) -> None:
        self.page.eval_on_selector(
            "#threshold",
            "(slider, at) => { slider.value = at; slider.dispatchEvent(new Event('input')); }",
            index,
        )

    def image(self, at: int) -> None:
        self.page.eval_on_selector_all("#thumbs button", f"buttons => buttons[{at}].click()")

    def text(self, name: str) -> str:
        return self.page.inner_text(f"#{name}")

    def shown(self) -> list[int]:
        """Which images pass the filters."""
        return self.page.eval_on_selector_all(
            "#thumbs li", "items => items.flatMap((item, at) => item.hidden ? [] : [at])"
        )

    def thumbs(self, count: int) -> None:
        """Wait until the gallery has so many images. (A function to wait for would be a string that the page evaluates
        again and again, which its content security policy forbids.)
        """
        expect(self.page.locator("#thumbs li")).to_have_count(count, timeout=PATIENCE)

    def drawn(self) -> str:
        """The canvas, once it shows what was chosen."""
        at = self.page.input_value("#threshold")
        self.page.wait_for_selector(f"#canvas[data-drawn$=' {at}']", timeout=PATIENCE)
        return self.page.evaluate("document.getElementById('canvas').toDataURL()")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE
        )
        yield running
        running.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(CONTENTS, path)
    return path


def opened(browser: Browser, file: Path, width: int = 1280, height: int = 900, scheme: str = "light") -> Open:
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    found = Open(page)
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("#canvas[data-drawn]")
    return found


@pytest.fixture
def report(browser: Browser, file: Path) -> Iterator[Open]:
    found = opened(browser, file)
    yield found
    assert found.said == []
    found.page.context.close()


def category(layer: Layer, image: int, threshold: int) -> str:
    box = boxes_at(score_map(layer.maps[image]), THRESHOLDS[threshold], "largest")
    return failures(box, [GALLERY.photos[image].truths]).categories[0]


def test_the_page_loads_without_errors_or_outside_requests(report):
    report.drawn()
    assert report.page.title() == "Test page"
    inside = ("file:", "data:", "blob:")
    assert [url for url in report.requests if not url.startswith(inside)] == []
    assert report.page.locator("nav a").count() == 4
    assert report.page.evaluate(
        "[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))"
    )


@pytest.mark.parametrize("number", range(3))
def test_boxes_and_ious_are_pythons_at_every_threshold_tried(report, number):
    layer = GALLERY.layers[number]
    report.layer(layer)
    for image in (0, 1, 5, 8):
        report.image(image)
        score, truths = score_map(layer.maps[image]), GALLERY.photos[image].truths
        curves = best_ious(score, truths)
        for threshold in TRIED:
            report.threshold(threshold)
            largest = boxes_at(score, THRESHOLDS[threshold], "largest")[0].tolist()
            every = boxes_at(score, THRESHOLDS[threshold]).tolist()
            assert report.text("largest-box") == ", ".join(map(str, largest))
            assert [int(corner) for corner in report.text("best-box").split(", ")] in every
            ious = [report.page.get_attribute(f"#{name}-iou", "data-value") for name in ("largest", "best")]
            assert [float(iou or -1) for iou in ious] == [curves.largest[threshold], curves.all[threshold]]
            assert report.page.get_attribute("#verdict", "data-outcome") == category(layer, image, threshold)


def test_the_slider_moves_the_box_and_the_mark(report, tmp_path):
    report.layer(GALLERY.layers[1])
    before, mark = report.drawn(), report.page.get_attribute("#mark", "x1")
    boxes = {report.text("largest-box")}
    for threshold in (100, 500, 800):
        report.threshold(threshold)
        boxes.add(report.text("largest-box"))
        assert report.text("threshold-value") == f"{threshold / 1000:.3f}"
    assert len(boxes) > 2
    assert report.drawn() != before and report.page.get_attribute("#mark", "x1") != mark
    report.page.click("#reset")
    assert report.text("threshold-value") == "0.165" and report.drawn() == before
    report.page.screenshot(path=tmp_path / "slider.png", full_page=True)


def test_boxes_are_drawn_where_they_are(report):
    report.choose(overlay="none", boxes="best")
    photo = GALLERY.photos[0]
    report.threshold(999)
    report.drawn()
    x0, y0, _, y1 = photo.truths[0].tolist()
    pixel = report.page.evaluate(
        "([x, y]) => { const c = document.getElementById('canvas');"
        "return [...c.getContext('2d').getImageData(x * c.width, y * c.height, 1, 1).data]; }",
        [x0 / 224, (y0 + y1) / 2 / 224],
    )
    assert pixel == [0, 224, 0, 255]
    shape = report.page.evaluate(
        "[document.getElementById('canvas').height, document.getElementById('canvas').width]"
    )
    assert shape[0] / shape[1] == pytest.approx(photo.pixels.shape[0] / photo.pixels.shape[1], rel=0.01)


def test_what_is_drawn_can_be_chosen(report):
    report.choose(model="p-ADL", method="GAR")
    report.threshold(500)
    pictures = set()
    for overlay in ("heat", "region", "none"):
        for boxes in ("largest", "best", "both"):
            report.choose(overlay=overlay, boxes=boxes)
            pictures.add(report.drawn())
    assert len(pictures) >= 6  # where the largest contour is the best one, both boxes may look alike


def test_a_click_on_the_curve_sets_the_threshold(report):
    curve = report.page.locator("#curve")
    box = curve.bounding_box()
    middle = (34 + 300) / 2 / 340  # of the plot, in parts of the drawing
    curve.click(position={"x": middle * box["width"], "y": 0.4 * box["height"]})
    assert float(report.text("threshold-value")) == pytest.approx(0.5, abs=0.005)


def test_the_curve_is_the_one_given_or_that_of_the_gallery(report):
    report.threshold(500)
    assert "all 40 images: at threshold 0.500, 45.0% reach IoU 0.3, 30.0%" in report.text("curve-note")
    layer = GALLERY.layers[2]
    report.layer(layer)
    report.threshold(306)
    curves = [
        best_ious(score_map(one), photo.truths).all[306]
        for one, photo in zip(layer.maps, GALLERY.photos, strict=True)
    ]
    shares = [
        f"{100 * np.mean(np.array(curves) >= delta):.1f}% reach IoU {delta}" for delta in (0.3, 0.5, 0.7)
    ]
    assert f"the 9 images of this gallery: at threshold 0.306, {', '.join(shares)}" in report.text(
        "curve-note"
    )


def test_filters_leave_the_images_that_they_name(report):
    layer = GALLERY.layers[1]
    report.layer(layer)
    photos, seen = range(len(GALLERY.photos)), set()
    for threshold in (306, 700):
        report.threshold(threshold)
        categories = [category(layer, at, threshold) for at in photos]
        seen |= set(categories)
        for outcome in ("right", "part", "more", "multi", "other"):
            report.choose(outcome=outcome)
            expected = [at for at in photos if categories[at] == outcome]
            assert report.shown() == expected
            assert report.text("count") == f"{len(expected)} of 9 images"
    assert len(seen) == 5
    report.choose(outcome="")
    wrong = [at for at in photos if layer.predicted[at] != GALLERY.photos[at].label]
    report.choose(correct="wrong")
    assert report.shown() == wrong
    report.choose(correct="right")
    assert report.shown() == [at for at in photos if at not in wrong]
    report.choose(correct="", subset="clutter")
    assert report.shown() == [1, 3, 5, 7]
    assert report.text("place") == "1 of 4" and "subset clutter" in report.text("caption")
    report.choose(correct="wrong")
    assert report.shown() == [] and report.text("place") == "does not pass the filters"


def test_without_a_classifier_nothing_is_predicted_right_or_wrong(report):
    for value, named in (("right", "predicted right"), ("wrong", "predicted as")):
        report.choose(correct=value)
        shown = report.shown()
        assert 0 < len(shown) < 9 and named in report.text("caption")
        report.choose(model="Few-shot")
        assert report.page.is_hidden("#correct") and report.shown() == list(range(9))
        assert "predicted" not in report.text("caption")
        report.choose(model="baseline")
        assert report.page.is_visible("#correct") and report.shown() == shown


def test_a_model_without_the_method_asked_for_does_not_make_it_forgotten(report):
    report.choose(model="p-ADL", method="GAR")
    report.choose(of="predicted")
    report.choose(model="Few-shot")
    report.choose(model="baseline")
    assert [report.page.input_value(f"#{name}") for name in ("method", "of")] == ["GAR", "predicted"]


def test_filters_follow_the_slider_and_the_image_stays(report):
    layer = GALLERY.layers[1]
    report.layer(layer)
    report.threshold(700)
    report.choose(outcome="part")
    chosen = report.text("caption")
    report.threshold(306)
    assert report.shown() == [at for at in range(9) if category(layer, at, 306) == "part"] == []
    assert report.text("caption") == chosen and report.text("place") == "does not pass the filters"


def test_tables_are_sorted_by_a_column_and_back(report):
    def names() -> list[str]:
        return report.page.locator("#table-1 .scroll:visible tbody th").all_inner_texts()

    head = report.page.locator("#table-1 .scroll:visible thead tr:last-child th")
    original = names()
    assert original == ["CAM", "GAR", "AR", "LRP"]
    for order, expected in (
        ("descending", ["AR", "LRP", "GAR", "CAM"]),  # 9.5 is no word: it comes after 70.4
        ("ascending", ["GAR", "LRP", "AR", "CAM"]),
        ("none", original),
    ):
        head.nth(2).locator("button").click()
        assert names() == expected
        assert head.nth(2).get_attribute("aria-sort") == order
    head.nth(0).locator("button").click()
    assert names() == ["AR", "CAM", "GAR", "LRP"]
    head.nth(1).locator("button").focus()
    report.page.keyboard.press("Enter")
    assert names() == ["GAR", "CAM", "AR", "LRP"]
    assert [head.nth(at).get_attribute("aria-sort") for at in range(3)] == ["none", "descending", "none"]


def test_a_table_of_several_metrics_shows_one_at_a_time(report):
    parts = report.page.locator("#table-1 .scroll")
    assert [parts.nth(at).is_visible() for at in (0, 1)] == [True, False]
    report.page.select_option("#table-1 select", "IoU50")
    assert [parts.nth(at).is_visible() for at in (0, 1)] == [False, True]


def test_keys_change_image_and_threshold(report):
    press = report.page.keyboard.press
    report.page.focus("#stage")
    press("ArrowRight")
    press("ArrowRight")
    assert report.text("place") == "3 of 9"
    press("ArrowLeft")
    assert report.text("place") == "2 of 9"
    for key, value in (("ArrowUp", "0.316"), ("ArrowDown", "0.306"), ("Shift+ArrowDown", "0.305")):
        press(key)
        assert report.text("threshold-value") == value
    report.page.focus("#threshold")
    press("ArrowRight")
    assert report.text("threshold-value") == "0.306" and report.text("place") == "2 of 9"
    assert report.page.get_attribute("#threshold", "aria-valuetext").startswith("0.306, IoU 0.")
    report.page.focus("#model")
    press("ArrowDown")
    assert report.text("place") == "2 of 9" and report.page.input_value("#model") == "p-ADL"
    report.page.focus("#next")
    press("Enter")
    assert report.text("place") == "3 of 9"


def test_stepping_wraps_and_skips_what_the_filters_leave_out(report):
    report.choose(subset="clutter")
    places = []
    for _ in range(5):
        places.append(report.text("place"))
        report.page.click("#next")
    assert places == ["1 of 4", "2 of 4", "3 of 4", "4 of 4", "1 of 4"]
    report.image(0)  # does not pass any more
    report.page.click("#next")
    assert report.text("place") == "1 of 4"
    report.image(0)
    report.page.click("#previous")
    assert report.text("place") == "4 of 4"


def test_another_run_brings_its_own_images(report):
    report.choose(run="1")
    report.thumbs(4)
    assert report.text("gallery-note") == "fish, tiny. A note." and report.text("place") == "1 of 4"
    report.choose(run="0")
    report.thumbs(9)


def test_names_are_shown_as_text(report):
    report.image(2)
    assert report.text("caption").startswith("tern of the sea · predicted as ani")


def test_the_theme_follows_the_system_until_it_is_chosen(browser, file):
    backgrounds = {}
    for scheme in ("light", "dark"):
        found = opened(browser, file, scheme=scheme)
        ground = "getComputedStyle(document.body).backgroundColor"
        backgrounds[scheme] = found.page.evaluate(ground)
        found.page.click("#theme")
        backgrounds[f"not {scheme}"] = found.page.evaluate(ground)
        found.page.reload()
        found.page.wait_for_selector("#canvas[data-drawn]")
        assert found.page.evaluate(ground) == backgrounds[f"not {scheme}"]
        assert found.said == []
        found.page.context.close()
    assert backgrounds["light"] == backgrounds["not dark"] != backgrounds["dark"] == backgrounds["not light"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_in_one_direction_only(browser, file, tmp_path, scheme):
    found = opened(browser, file, 360, 780, scheme)
    found.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    found.drawn()
    assert found.page.evaluate("document.documentElement.scrollWidth") == 360
    for name in ("canvas", "threshold", "curve", "thumbs"):
        box = found.page.locator(f"#{name}").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360, name
    found.page.screenshot(path=tmp_path / f"phone-{scheme}.png", full_page=True)
    assert found.said == []
    found.page.context.close()


def test_everything_to_choose_has_a_name_for_those_who_do_not_see_it(report):
    nameless = report.page.evaluate(
        "[...document.querySelectorAll('select, input, button')].filter(one => !(one.labels?.length "
        "|| one.getAttribute('aria-label') || one.textContent.trim())).map(one => one.outerHTML)"
    )
    assert nameless == []
