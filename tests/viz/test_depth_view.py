"""Depth maps in the page: what the model knows of the depth of a frame."""

import numpy as np
import pytest
from converting import FIRST, write_dense_run
from plane import DEPTH_MM, OWN

from dd_sfm.io.scene import open_scene
from dd_sfm.viz.browser.serve import served
from dd_sfm.viz.render.cloud_view import open_cloud_view
from dd_sfm.viz.render.colours import UNKNOWN_RGB
from dd_sfm.viz.render.depth_view import DEPTH_PICTURES, DepthView
from dd_sfm.viz.render.view_state import ViewState
from dd_sfm.viz.render.viewpoints import find_viewpoint

SIGMA, FRAME = 0.02, FIRST + 7


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("depth") / "run"
    write_dense_run(folder, SIGMA)
    return folder


@pytest.mark.parametrize(("kind", "true_mm"), [("depth", DEPTH_MM), ("error of the depth", DEPTH_MM * SIGMA)])
def test_depth_and_its_error_are_those_of_the_surface(run, kind, true_mm):
    cloud = open_cloud_view(run)
    viewpoint = find_viewpoint(f"camera:{FRAME}", cloud, cloud.xyz, 160, 120)
    for mm_per_unit, unit in ((None, "scene units"), (1 / OWN.scale, "mm")):
        picture, scale = DEPTH_PICTURES[kind](DepthView(lambda: open_scene(run), mm_per_unit), viewpoint)
        assert picture.shape == (120, 160, 3)
        assert (picture != UNKNOWN_RGB).any(-1).mean() > 0.8
        assert scale.label.endswith(f"[{unit}]")
        expected = true_mm * (OWN.scale if mm_per_unit is None else 1)
        assert scale.low == pytest.approx(expected, rel=1e-2)


def test_the_page_shows_depth_beside_the_picture(run):
    state = ViewState((open_cloud_view(run),))
    with served(state, "front", port=0) as (page, _):
        frames = page.panel.frames
        frames.go(FRAME, None)
        page.settle()
        points = np.array(frames._model.image)
        assert frames._legend.content == ""
        for kind in ("depth", "error of the depth"):
            frames._kind.value = kind
            page.ask("frame")
            page.settle()
            assert frames._model.image.shape == points.shape
            assert frames._model.label == kind
            assert not np.array_equal(frames._model.image, points)
            assert f"{kind} [scene units]" in frames._legend.content
        frames._kind.value = "points"
        page.ask("frame")
        page.settle()
        assert np.array_equal(frames._model.image, points)
        assert frames._legend.content == ""


def test_no_map_of_errors_is_offered_where_none_are_known(tmp_path):
    write_dense_run(tmp_path / "run", None)
    with served(ViewState((open_cloud_view(tmp_path / "run"),)), "front", port=0) as (page, _):
        assert page.panel.frames._kind.options == ("points", "depth")


def test_depth_that_cannot_be_drawn_is_told_and_all_else_is_drawn(tmp_path):
    write_dense_run(tmp_path / "run", SIGMA)
    state = ViewState((open_cloud_view(tmp_path / "run"),))
    with served(state, "front", port=0) as (page, _):
        (tmp_path / "run" / "points.ply").write_bytes(b"ply\n")
        frames = page.panel.frames
        frames._kind.value = "depth"
        page.settle()
        assert "points.ply" in frames._legend.content
        state.picks = [(0, 7), (0, 900)]
        page.ask("marks", "frame")
        page.settle()
        assert "distance: " in page.panel.measure._result.content
        frames._kind.value = "points"
        page.settle()
        assert frames._legend.content == ""
