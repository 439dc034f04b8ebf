"""The page of a run on a phone and on paper: nothing runs over the rim, it can be turned by touch, and prints whole."""

import re

import pytest
from browsing import browser as browser
from comparing import write_comparison_run
from plane import FRAMES, plane_model

from dd_sfm.io.clouds import write_cloud
from dd_sfm.io.run_folder import read_metrics, write_metrics
from dd_sfm.pipeline.coverage import run_coverage
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.viz.report.run_report import write_run_report

pytestmark = pytest.mark.slow
TITLE = "a_very_long_name_of_a_video_without_any_break_that_fits_on_no_phone_" * 2


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    model = plane_model()
    run = write_comparison_run(tmp_path_factory.mktemp("run") / "learned", model, features="learned")
    write_cloud(run / "points.ply", to_cloud(model))
    coverage = run_coverage(run)
    assert coverage["measured_share"] > 0.5
    figures = {"frames_used": FRAMES, "frames_registered": FRAMES, "points": len(model.xyz), "coverage": coverage}
    write_metrics(run, read_metrics(run) | figures | {"degradations": [f"a note on {TITLE}"]})
    return write_run_report(run, title=TITLE)


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_nothing_runs_over_the_rim(browser, report, width):
    context = browser.new_context(
        viewport={"width": width, "height": 844}, is_mobile=width < 800, has_touch=width < 800
    )
    page = context.new_page()
    requests, problems = [], []
    page.on("request", lambda r: requests.append(r.url) if not r.url.startswith(("data:", "blob:")) else None)
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.goto(report.as_uri())
    page.wait_for_selector("#view[data-ready=true]", timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(
        "[...document.querySelectorAll('main *')].every((e) => e.getBoundingClientRect().right <= innerWidth + 1)"
    )
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 50)")
    assert page.locator("h3, .grid img").count() >= 8
    if width < 800:
        # A finger hits them, and the view leaves room to scroll the page beside it.
        assert page.evaluate("[...document.querySelectorAll('button')].every((b) => b.offsetHeight >= 36)")
        assert page.evaluate("document.getElementById('view').offsetHeight < 0.7 * innerHeight")
        page.locator("#view canvas").scroll_into_view_if_needed()
        page.tap("#view canvas")
        assert page.get_attribute("#turn", "aria-pressed") == "false"
    assert requests == [report.as_uri()]
    assert problems == []
    context.close()


def test_on_paper_pictures_stand_for_what_turns_and_none_is_cut(browser, report):
    context = browser.new_context(viewport={"width": 700, "height": 990})
    page = context.new_page()
    page.goto(report.as_uri())
    page.emulate_media(media="print")
    assert not page.locator("#interactive").is_visible()
    assert page.locator("main img").first.is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.verdict')).backgroundColor") == "rgba(0, 0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(
        "[...document.querySelectorAll('figure')].every((f) => getComputedStyle(f).breakInside === 'avoid')"
    )
    # Nothing is higher than a sheet of A4 within its margins.
    assert page.evaluate("[...document.images].every((i) => i.getBoundingClientRect().height < 269 / 25.4 * 96)")
    printed = page.pdf(format="A4", print_background=True)
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 8
    context.close()
