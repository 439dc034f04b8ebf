import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import conftest
import cv2
import numpy as np
import pytest
from comparing import entry, thinned, usual_runs, write_comparison_run
from plane import plane_model, write_truth

from dd_sfm.cameras import PinholeCamera
from dd_sfm.errors import OutputError
from dd_sfm.evaluation.comparison.compare import compare_runs
from dd_sfm.structures import Model
from dd_sfm.viz.render.splat import project
from dd_sfm.viz.report.clouds import CAMERA_WIDTH_PX, camera_view
from dd_sfm.viz.report.interactive_view import interactive_view, points_that_fit
from dd_sfm.viz.report.matches import choose_pairs, match_figures
from dd_sfm.viz.report.page import _lead as page_lead
from dd_sfm.viz.report.page import page
from dd_sfm.viz.report.write import write_report

PICTURES = {
    "timeline.png", "camera_view.png", "clouds.png", "trajectories.png", "histograms.png", "matches_near.png",
    "matches_far.png",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    truth = write_truth(folder / "truth")
    lost = write_comparison_run(folder / "sift_default", None, features="sift")
    entries = [*usual_runs(folder), entry(lost, "no model from 16 frames <0 pairs>")]
    comparison = compare_runs(entries, truth)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conftest, "FIGURE_SCALE", 1.0)
        write_report(folder, comparison, title="clip <1>.mp4")
    return folder, comparison


class Outline(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "srcset", "action") and value]
        if tag not in ("meta", "link", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_says_that_the_camera_is_an_estimate(made):
    _, comparison = made

    def lead(source):
        columns = [replace(c, metrics={**c.metrics, "camera_from": source}) for c in comparison.columns[:2]]
        return page_lead(replace(comparison, columns=columns))

    assert "the same masks and camera for all runs (the camera estimated from the clip);" in lead("clip")
    assert "(the camera assumed, not calibrated);" in lead("assumed")
    assert "camera for all runs;" in lead("calibration")


def test_the_page_is_one_well_formed_file_that_fetches_nothing(made):
    text = (made[0] / "report.html").read_text()
    outline = Outline(text)
    assert outline.open == []
    assert all(link.startswith("data:") for link in outline.links)
    assert outline.tags.count("img") == len(PICTURES)
    styles = "".join(re.findall(r"<style>(.*?)</style>", text, re.S))
    assert "url(" not in styles
    assert "@import" not in styles
    assert "fetch(" not in (made[0] / "report.html").read_text().split('id="clouds"')[0]


def test_what_is_said_without_a_script(made):
    folder, comparison = made
    text = re.sub(r"<(script|style).*?</\1>", "", (folder / "report.html").read_text(), flags=re.S)
    assert comparison.figures["verdict"].replace("'", "&#x27;") in text
    assert "clip &lt;1&gt;.mp4" in text
    assert "no model from 16 frames &lt;0 pairs&gt;" in text
    assert f"{comparison.figures['runs']['learned']['points']:,}" in text
    assert "All points are shown." in text


SCRIPT = "</script><script>document.title='ran'</script><img src=x onerror=alert(1)>\"'"


def hostile(value):
    """The same with a script in every text, as file names, notes and figures of others may hold."""
    if isinstance(value, str):
        return value + SCRIPT
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()}
    return [hostile(item) for item in value] if isinstance(value, list | tuple) else value


def test_a_script_in_what_the_page_shows_does_not_run(made):
    _, comparison = made
    columns = [
        replace(c, label=c.label + SCRIPT, failure=c.failure and c.failure + SCRIPT, metrics=hostile(c.metrics))
        for c in comparison.columns
    ]
    spoilt = replace(comparison, columns=columns, figures=hostile(comparison.figures))
    payload, clouds = interactive_view(spoilt, 100)
    images = dict.fromkeys(PICTURES, b"png")
    text = page(spoilt, images, [], payload, clouds, title=f"clip{SCRIPT}.mp4")
    usual = page(comparison, images, [], *interactive_view(comparison, 100), title="clip.mp4")
    assert Outline(text).open == []
    assert Outline(text).tags == Outline(usual).tags
    assert SCRIPT not in text


def test_pictures_are_whole_and_not_empty(made):
    folder = made[0] / "figures"
    assert {p.name for p in folder.iterdir()} == PICTURES
    for path in folder.iterdir():
        picture = cv2.imread(str(path))
        assert picture.shape[1] >= 1100
        assert picture.std() > 5
        # Nothing runs over the rim: that would be cropped.
        rim = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (rim == 255).all()


def test_every_number_is_in_the_json(made):
    content = json.loads((made[0] / "report.json").read_text())
    assert content["made_by"] == "dd-sfm compare"
    assert set(content["runs"]) == {"learned", "sift", "sift_default"}
    assert content["runs"]["learned"]["metrics"]["seconds"]["total"] == 13.5
    assert content["runs"]["sift"]["truth"]["surface"]["completeness_1mm"] > 0
    assert "report.html" in content["files"]
    assert "figures/clouds.png" in content["files"]


def test_a_report_is_replaced_and_other_files_stay(made, monkeypatch):
    monkeypatch.setattr(conftest, "FIGURE_SCALE", 1.0)
    folder, comparison = made
    (folder / "mine.txt").write_text("mine")
    before = (folder / "report.html").read_text()
    write_report(folder, comparison, title="clip <1>.mp4")
    assert (folder / "report.html").read_text() == before
    assert (folder / "mine.txt").read_text() == "mine"


def test_a_page_of_someone_else_is_never_replaced(made, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(OutputError, match=r"report.html: exists and is not from dd-sfm compare"):
        write_report(tmp_path, made[1], title="clip")
    assert (tmp_path / "report.html").read_text() == "mine"
    (tmp_path / "report.html").unlink()
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(OutputError, match=r"report.json: exists and is not from dd-sfm compare"):
        write_report(tmp_path, made[1], title="clip")


def test_an_output_that_is_a_file(made, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file; expected a folder"):
        write_report(tmp_path / "file", made[1], title="clip")


def test_large_clouds_are_thinned_and_the_page_says_so(made):
    comparison = made[1]
    payload, clouds = interactive_view(comparison, 1000)
    text = page(comparison, {}, [], payload, clouds, title="clip")
    total = comparison.figures["runs"]["learned"]["points"]
    assert payload["clouds"][0]["count"] == 1000
    assert f"Thinned for this view only. learned: 1,000 of {total:,} points, chosen at random" in text
    assert "SIFT, tuned: " not in text.split("Thinned")[1].split("</p>")[0]


def test_the_larger_cloud_takes_the_room_that_the_smaller_leaves(made):
    comparison = made[1]
    many, few = (comparison.figures["runs"][name]["points"] for name in ("learned", "sift"))
    assert many > few > 0
    for room in (100_000, 2 * few + 2000, 3 * few + 3000):
        fit = points_that_fit(comparison, room * 24)
        assert min(fit, many) + min(fit, few) <= room
        assert fit >= room // 2
    assert points_that_fit(comparison, 24 * (many + few)) == many
    assert points_that_fit(comparison, 0) == 1000


def test_what_the_view_draws(made):
    payload, _ = interactive_view(made[1])
    learned, sift = payload["clouds"]
    xyz = np.frombuffer(base64.b64decode(learned["xyz"]), "<f4").reshape(-1, 3)
    assert len(xyz) == learned["count"]
    # The plane faces the cameras: all at one depth, upright, with the cameras in front (+z).
    assert np.ptp(xyz[:, 2]) < 1e-4
    centres = np.frombuffer(base64.b64decode(learned["cameras"]["centres"]), "<f4").reshape(-1, 3)
    assert (centres[:, 2] > xyz[0, 2]).all()
    axes = np.frombuffer(base64.b64decode(learned["cameras"]["axes"]), "<f4").reshape(-1, 3, 3)
    assert np.allclose(axes[:, 2], [0, 0, -1], atol=1e-4)
    errors = np.frombuffer(base64.b64decode(sift["error"]), "<u2") / 1000
    assert np.allclose(errors, made[1].column("sift").points.mean_error_px, atol=6e-4)


@pytest.mark.parametrize("lost", ["learned", "sift"])
def test_a_report_of_one_model(tmp_path, lost):
    entries = [entry(e.folder, "no model" if e.name == lost else "") for e in usual_runs(tmp_path / "runs")]
    write_report(tmp_path / "out", compare_runs(entries), title="clip")
    text = (tmp_path / "out" / "report.html").read_text()
    assert "found no model.</strong> no model" in text
    assert 'id="split"' not in text


def test_a_report_of_models_that_share_nothing(tmp_path):
    full = plane_model()
    runs = [
        entry(write_comparison_run(tmp_path / name, thinned(full, 2, frames=part), features="sift"))
        for name, part in (("learned", range(8)), ("sift", range(8, 16)))
    ]
    write_report(tmp_path / "out", compare_runs(runs), title="clip")
    text = (tmp_path / "out" / "report.html").read_text()
    assert "share no registered image" in text
    assert "Not aligned: SIFT, tuned." in text


def test_matches_are_verified_and_judged_by_the_truth(made):
    content = json.loads((made[0] / "report.json").read_text())
    rows = {(r["pair"], r["run"]): r for r in content["match_pairs"]}
    near = rows["near", "learned"]
    assert near["verified"] > 0.8 * near["matches"] > 100
    assert near["right_share"] > 0.99
    assert rows["near", "sift"]["matches"] < near["matches"]


def test_the_pairs_start_where_the_truth_is_known(made):
    comparison = made[1]
    assert [(b - a) for _, a, b in choose_pairs(replace(comparison, ground_truth=None))] == [3, 8]
    assert all(first in (0, 5, 10, 15) for _, first, _ in choose_pairs(comparison))


def test_matches_are_judged_in_the_frames_that_the_reference_calls_otherwise(tmp_path):
    entries = usual_runs(tmp_path)
    truth = write_truth(tmp_path / "truth")
    with np.load(truth / "truth.npz") as content:
        # The clip has five frames more at its start.
        shifted = dict(content) | {n: np.concatenate([content[n][:5], content[n]]) for n in ("R", "c")}
        np.savez(truth / "truth.npz", **shifted | {"depth_frames": content["depth_frames"] + 5})
    for one in entries:
        records = json.loads((one.folder / "frames.json").read_text())
        for record in records["frames"]:
            record["source"] = f"{record['index'] + 5:04d}.png"
        (one.folder / "frames.json").write_text(json.dumps(records))
    _, numbers = match_figures(compare_runs(entries, truth))
    assert {row["right_share"] > 0.9 for row in numbers if row["right_share"] is not None} == {True}
    assert any(row["right_share"] is not None for row in numbers)


def test_only_the_third_run_found_a_model(tmp_path):
    model = thinned(plane_model(), 4)
    lost = [entry(write_comparison_run(tmp_path / n, None, features=n), "no model") for n in ("learned", "sift")]
    found = entry(write_comparison_run(tmp_path / "sift_default", model, features="sift"))
    write_report(tmp_path / "out", compare_runs([*lost, found]), title="clip")
    assert "Neither the learned descriptor nor SIFT, tuned found a model." in (tmp_path / "out/report.html").read_text()


def test_a_part_of_a_frame_of_a_camera_whose_pixels_are_not_square():
    camera, none = PinholeCamera(400, 300, 300.0, 360.0, 190.0, 160.0), np.zeros(0, np.int64)
    pose = np.eye(3, 4)
    xyz = np.array([[0.1, -0.2, 2.0], [0.3, 0.2, 1.5]])
    model = Model(
        camera, {5: pose}, xyz, np.zeros((2, 3), np.uint8), np.zeros(2), none, none, np.zeros((0, 2))
    )  # fmt: skip
    left, top, right, bottom = 80, 40, 320, 280
    view = camera_view(model, 5, (left, top, right, bottom))
    scale = CAMERA_WIDTH_PX / (right - left)
    whole = project(xyz, camera, pose).xy
    assert (view.camera.width, view.camera.height) == (CAMERA_WIDTH_PX, CAMERA_WIDTH_PX)
    assert np.allclose(project(xyz, view.camera, view.cam_from_world).xy, (whole - [left, top] + 0.5) * scale - 0.5)
