"""The report in a real browser: no request, no error, a view that draws and obeys its buttons."""

import cv2
import numpy as np
import pytest
from browsing import browser as browser
from comparing import usual_runs

from dd_sfm.evaluation.comparison.compare import compare_runs
from dd_sfm.viz.report.write import write_report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    return write_report(folder, compare_runs(usual_runs(folder)), title="clip.mp4")


@pytest.fixture
def page(browser, report):
    """The open report; afterwards nothing may have been fetched and nothing have gone wrong."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, reduced_motion="reduce")
    opened = context.new_page()
    requests, problems = [], []
    opened.on("request", lambda r: requests.append(r.url) if not r.url.startswith(("data:", "blob:")) else None)
    opened.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    opened.on("pageerror", lambda e: problems.append(str(e)))
    opened.goto(report.as_uri())
    opened.wait_for_selector("#view[data-ready=true]", timeout=60_000)
    yield opened
    assert requests == [report.as_uri()]
    assert problems == []
    context.close()


def drawing(page):
    """The view as (H, W, 3) integers."""
    page.wait_for_timeout(150)
    encoded = np.frombuffer(page.locator("#view canvas").screenshot(), np.uint8)
    # Without the frame around it.
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[3:-3, 3:-3].astype(int)


def ink(picture):
    """Share of the pixels that are not white."""
    return float((picture.min(2) < 250).mean())


def halves(picture):
    middle = picture.shape[1] // 2
    return ink(picture[:, : middle - 4]), ink(picture[:, middle + 4 :])


def test_both_clouds_are_drawn_side_by_side(page):
    left, right = halves(drawing(page))
    assert left > 0.05
    assert 0.005 < right < left


def test_the_buttons_do_what_they_say(page):
    both = drawing(page)
    page.click("#show-sift")
    alone = drawing(page)
    assert page.get_attribute("#show-sift", "aria-pressed") == "false"
    assert not page.locator('#view-names [data-cloud="sift"]').is_visible()
    assert abs(alone - both).max() > 50
    page.click("#show-cameras")
    without = drawing(page)
    assert ink(without) < ink(alone)
    page.click("#show-learned")
    assert ink(drawing(page)) == 0
    for name in ("#show-cameras", "#show-sift", "#show-learned"):
        page.click(name)
    assert (drawing(page) == both).all()
    page.click("#split")
    assert abs(drawing(page) - both).max() > 50


def test_colours_and_their_legend(page):
    photo = drawing(page)
    assert not page.locator("#view-legend").is_visible()
    page.check("input[value=error]")
    error = drawing(page)
    assert abs(error - photo).max() > 50
    assert " px" in page.locator("#view-legend").inner_text()
    page.check("input[value=length]")
    assert " views" in page.locator("#view-legend").inner_text()
    assert abs(drawing(page) - error).max() > 50
    page.check("input[value=photo]")
    assert (drawing(page) == photo).all()


def test_point_size(page):
    before = halves(drawing(page))[1]
    page.fill("#size", "8")
    assert halves(drawing(page))[1] > 1.3 * before


def test_dragging_turns_and_reset_turns_back(page):
    before = drawing(page)
    box = page.locator("#view canvas").bounding_box()
    x, y = box["x"] + box["width"] / 4, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 120, y + 30, steps=4)
    page.mouse.up()
    page.wait_for_timeout(400)
    assert abs(drawing(page) - before).max() > 50
    page.click("#reset")
    page.wait_for_timeout(1500)
    assert (drawing(page) == before).all()


def test_it_turns_by_itself_when_asked(page):
    assert page.get_attribute("#turn", "aria-pressed") == "false"
    page.click("#turn")
    first = drawing(page)
    page.wait_for_timeout(1500)
    assert abs(drawing(page) - first).max() > 50
    page.click("#turn")


def test_pictures_load_and_nothing_runs_over_the_rim(page):
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 300)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert ink(drawing(page)) > 0.02


def test_without_javascript_the_report_reads_on(browser, report):
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(report.as_uri())
    assert plain.locator("table").is_visible()
    assert plain.locator("img").count() == 7
    assert not plain.locator("#view-controls").is_visible()
    assert "needs JavaScript" in plain.locator("noscript").inner_text()
    context.close()
