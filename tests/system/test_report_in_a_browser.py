"""The page of a run in a real browser: sliders, keys, numbers, and no request."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cdeep3m.report.write import write_report
from example_runs import make_prediction, make_training

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install playwright")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here (Debian: apt install chromium)"),
]
SHAPE = (4, 200, 220)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder with images/, labels/, a prediction and a training, each with its page."""
    root = tmp_path_factory.mktemp("runs")
    write_report(make_prediction(root, shape=SHAPE), labels=root / "labels")
    write_report(make_training(root))
    return root


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Open a page; what goes wrong in it, or leaves it, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    wrong = []

    def open_(path):
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("console", lambda message: wrong.append(f"console: {message.text}"))
        page.on("request", lambda request: wrong.append(request.url) if re.match("https?|wss?", request.url) else None)
        page.goto(path.as_uri())
        return page

    yield open_
    context.close()
    assert wrong == []


@pytest.fixture
def page(open_page, runs):
    page = open_page(runs / "predicted" / "report.html")
    shown(page, "2 128 45")
    return page


def shown(page, state):
    page.wait_for_function("state => document.documentElement.dataset.shown === state", arg=state)


def number(page, name):
    return float(page.locator(f"#{name}").inner_text().removesuffix(" %"))


def volumes(runs):
    folders = (runs / "predicted" / "ensembled", runs / "labels")
    return [np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]) for folder in folders]


def canvas(page, name):
    """Pixels of a canvas, shape (y, x, 3)."""
    script = """name => { const c = document.getElementById(name);
        return [c.height, c.width, Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)]; }"""
    height, width, values = page.evaluate(script, name)
    return np.array(values, np.uint8).reshape(height, width, 4)[..., :3]


@pytest.mark.parametrize("threshold", [1, 90, 200, 250])
def test_scores_follow_the_threshold(page, runs, threshold):
    page.locator("#threshold").fill(str(threshold))
    shown(page, f"2 {threshold} 45")
    maps, labels = volumes(runs)
    found, true = maps >= threshold, labels > 0
    precision, recall = (found & true).sum() / found.sum(), (found & true).sum() / true.sum()
    assert number(page, "precision") == pytest.approx(precision, abs=6e-4)
    assert number(page, "recall") == pytest.approx(recall, abs=6e-4)
    assert number(page, "f1") == pytest.approx(2 * precision * recall / (precision + recall), abs=6e-4)
    assert number(page, "iou") == pytest.approx((found & true).sum() / (found | true).sum(), abs=6e-4)
    assert number(page, "share-all") == pytest.approx(found.mean() * 100, abs=0.06)
    assert number(page, "share-plane") == pytest.approx(found[2].mean() * 100, abs=0.06)
    assert number(page, "objects-plane") == ndimage.label(found[2], np.ones((3, 3)))[1]


def test_what_is_not_defined_is_a_dash(page):
    page.locator("#threshold").fill("255")
    shown(page, "2 255 45")
    assert page.locator("#precision").inner_text() == "–"
    assert page.locator("#curve-dot").get_attribute("visibility") == "hidden"


def test_pixels_are_those_of_the_files(page, runs):
    maps, labels = volumes(runs)
    image = np.asarray(Image.open(sorted((runs / "images").glob("*.png"))[2]))
    drawn = {name: canvas(page, name) for name in ("image", "map", "overlay")}
    for name, plane in (("map", maps[2]), ("image", image)):
        np.testing.assert_array_equal(drawn[name], np.repeat(plane[..., None], 3, axis=2))
    found, true = maps[2] >= 128, labels[2] > 0
    expected = np.repeat(image[..., None], 3, axis=2).astype(float)
    for area, colour in (
        (found & true, (60, 200, 90)),
        (found & ~true, (240, 70, 60)),
        (true & ~found, (70, 130, 255)),
    ):
        expected[area] += 0.45 * (np.array(colour) - expected[area])
    np.testing.assert_allclose(drawn["overlay"], expected, atol=0.51)


def test_the_plane_slider_goes_through_z(page):
    page.locator("#plane").fill("0")
    shown(page, "0 128 45")
    assert page.locator("#plane-value").inner_text().strip() == "1"


def test_everything_works_from_the_keyboard(page):
    for name, key, state in (
        ("threshold", "ArrowRight", "2 129 45"),
        ("opacity", "ArrowLeft", "2 129 40"),
        ("plane", "ArrowRight", "3 129 40"),
    ):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == name
        page.keyboard.press(key)
        shown(page, state)
    assert page.locator("#threshold-value").inner_text() == "0.51"


def test_marks_in_the_charts_follow_the_threshold(page):
    places = []
    for threshold in (20, 230):
        page.locator("#threshold").fill(str(threshold))
        shown(page, f"2 {threshold} 45")
        places.append(
            [
                float(page.locator(f"#{mark}").get_attribute(name))
                for mark, name in (("histogram-cut", "x1"), ("curve-dot", "cx"))
            ]
        )
    (cut_low, dot_low), (cut_high, dot_high) = places
    assert cut_high - cut_low == pytest.approx((468 - 56) * 210 / 256, abs=1)
    assert dot_high < dot_low, "recall falls as the threshold rises"


def test_controls_are_named_and_pictures_described(page):
    for name in ("threshold", "opacity", "plane"):
        assert page.locator(f"label[for={name}]").count() == 1
    assert page.locator("canvas:not([aria-label])").count() == 0
    assert page.locator("svg:not([aria-label])").count() == 0
    assert page.locator("h1").count() == 1


def test_a_narrow_screen_does_not_scroll_sideways(page):
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_printing_keeps_pictures_and_hides_sliders(page):
    page.emulate_media(media="print")
    assert not page.locator("#threshold").is_visible()
    assert page.locator("#overlay").is_visible()


def test_a_training_shows_its_curves_and_patches(open_page, runs):
    page = open_page(runs / "trained" / "report.html")
    assert page.locator("svg.chart").count() == 2
    assert page.locator(".pair img").count() == 8
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
