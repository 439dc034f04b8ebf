import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import ROOT, texture
from plane import plane_model, to_own_world, write_run, write_truth

from dd_sfm.features.networks import build_network
from dd_sfm.features.weights import save_weights
from dd_sfm.io.colmap_source import rewrite_model
from dd_sfm.io.lock import locked

DEMO = ROOT / "demo_videos" / "sinus"


@pytest.fixture
def refused(dd_sfm):
    """Runs evaluate, and checks that it fails with one line that holds a text."""

    def call(*arguments, says, code=1):
        ran = dd_sfm("evaluate", *arguments)
        lines = [line for line in ran.err.splitlines() if line.strip()]
        assert ran.code == code, ran.err
        assert len(lines) == 1, ran.err
        assert says in lines[0], lines[0]

    return call


@pytest.fixture
def truth(tmp_path):
    return write_truth(tmp_path / "truth")


@pytest.fixture
def model(tmp_path):
    return write_run(tmp_path / "run" / "sparse" / "0", to_own_world(plane_model(1.0))).parents[1]


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures of the evaluation are not drawn, but for one that is empty."""
    empty = np.zeros((8, 8, 3), np.uint8)
    monkeypatch.setattr(
        "dd_sfm.viz.render.evaluation_plots.write_figures",
        lambda folder, *arguments: cv2.imwrite(str(folder / "cloud.png"), empty),
    )


@pytest.mark.parametrize("command", ["model", "matching"])
def test_help_has_an_example(dd_sfm, command):
    ran = dd_sfm("evaluate", command, "--help")
    assert ran.code == 0
    assert f"Example: dd-sfm evaluate {command}" in ran.out


def test_model_prints_a_table_and_writes_figures_and_pictures(dd_sfm, model, truth):
    ran = dd_sfm("evaluate", "model", model, "--reference", truth, "--best", "100")
    assert ran.code == 0, ran.err
    for text in (
        "16 registered of 16", "position error rms", "error of observations", "error of points",
        "surface with a point", "best points by error_px", "motion error",
    ):  # fmt: skip
        assert text in ran.out
    assert "WARNING" not in ran.out
    figures = json.loads((model / "evaluation.json").read_text())
    assert figures["trajectory"]["ate_max"] < 1e-9
    assert figures["surface"]["best"][0]["points"] == 100
    names = sorted(p.name for p in (model / "evaluation").iterdir())
    assert names == ["cloud.png", "errors.png", "reference.tum", "trajectory.png", "trajectory.tum"]
    lines = (model / "evaluation" / "trajectory.tum").read_text().splitlines()
    wanted = (model / "evaluation" / "reference.tum").read_text().splitlines()
    assert np.loadtxt(lines) == pytest.approx(np.loadtxt(wanted), abs=1e-7)
    # Its own figures are replaced without a word.
    assert dd_sfm("evaluate", "model", model, "--reference", truth, "--quiet").out == ""


def test_figures_of_a_runs_model_go_into_the_run(undrawn, dd_sfm, refused, model, truth, tmp_path):
    records = [{"index": k, "time_s": k / 25, "kept": True, "reason": "", "source": ""} for k in range(16)]
    (model / "frames.json").write_text(json.dumps({"width": 160, "height": 120, "frames": records}))
    main, further = model / "sparse" / "0", model / "sparse" / "1"
    shutil.copytree(main, further)
    files = sorted(main.iterdir())
    ran = dd_sfm("evaluate", "model", main, "--reference", truth, "--quiet")
    assert ran.code == 0, ran.err
    assert (model / "evaluation.json").is_file()
    assert sorted(main.iterdir()) == files
    refused(
        "model",
        further,
        "--reference",
        truth,
        says="where the evaluation of the first is kept; expected another folder",
        code=2,
    )
    ran = dd_sfm("evaluate", "model", further, "--reference", truth, "-o", tmp_path / "out", "--quiet")
    assert ran.code == 0, ran.err
    assert sorted(further.iterdir()) == [further / f.name for f in files]


def test_model_writes_elsewhere(undrawn, dd_sfm, model, truth, tmp_path):
    ran = dd_sfm("evaluate", "model", model, "--reference", truth, "-o", tmp_path / "new" / "place", "--quiet")
    assert ran.code == 0, ran.err
    assert (tmp_path / "new" / "place" / "evaluation.json").is_file()
    assert not (model / "evaluation.json").exists()


def test_another_reference_is_named_when_it_is_replaced(undrawn, dd_sfm, model, truth, tmp_path):
    other = write_run(tmp_path / "other", plane_model(4.0))
    assert "replaced" not in dd_sfm("evaluate", "model", model, "--reference", truth).err
    ran = dd_sfm("evaluate", "model", model, "--reference", other)
    assert f"replaced: the evaluation against {truth}; -o FOLDER keeps one of each" in ran.err
    assert "replaced" not in dd_sfm("evaluate", "model", model, "--reference", other).err


def test_a_reference_of_another_video_is_warned_of(undrawn, dd_sfm, truth, tmp_path):
    poses = plane_model(4.0).cam_from_world
    mixed = replace(plane_model(4.0), cam_from_world={k: poses[(7 * k) % 16] for k in poses})
    other = write_run(tmp_path / "other", to_own_world(mixed))
    ran = dd_sfm("evaluate", "model", other, "--reference", truth, "-o", tmp_path / "out")
    assert ran.code == 0
    assert "WARNING" in ran.out
    [warning] = json.loads((tmp_path / "out" / "evaluation.json").read_text())["warnings"]
    assert "show the same video?" in warning
    # Not even --quiet hides it.
    ran = dd_sfm("evaluate", "model", other, "--reference", truth, "-o", tmp_path / "out", "--quiet")
    assert ran.err.strip() == f"warning: {warning}"


def test_three_frames_are_enough_and_two_are_not(undrawn, dd_sfm, refused, truth, tmp_path):
    poses = plane_model(4.0).cam_from_world
    for count, folder in ((3, tmp_path / "three"), (2, tmp_path / "two")):
        few = replace(plane_model(4.0), cam_from_world={k: poses[k] for k in range(count)})
        seen = few.frame < count
        write_run(folder, to_own_world(replace(few, point=few.point[seen], frame=few.frame[seen], xy=few.xy[seen])))
    ran = dd_sfm("evaluate", "model", tmp_path / "three", "--reference", truth, "--quiet")
    assert (ran.code, ran.err) == (0, "")
    refused("model", tmp_path / "two", "--reference", truth, says="2 frames in common")


def test_a_file_of_the_users_is_kept(undrawn, dd_sfm, refused, model, truth):
    mine = model / "evaluation.json"
    mine.write_text('{"marks": [1, 2]}')
    refused("model", model, "--reference", truth, says="is not from dd-sfm evaluate model")
    assert mine.read_text() == '{"marks": [1, 2]}'
    assert dd_sfm("evaluate", "model", model, "--reference", truth, "--overwrite", "--quiet").code == 0
    assert "surface" in json.loads(mine.read_text())


def test_a_run_that_is_being_written_is_let_alone(undrawn, dd_sfm, refused, model, truth, tmp_path):
    (model / "stages.json").touch()
    with locked(model):
        refused("model", model, "--reference", truth, says="is writing to it")
        ran = dd_sfm("mesh", model)
        assert (ran.code, "is writing to it" in ran.err) == (1, True)
        assert dd_sfm("evaluate", "model", model, "--reference", truth, "-o", tmp_path / "out", "--quiet").code == 0
    assert not (model / "evaluation.json").exists()
    assert not (model / "mesh.ply").exists()


def test_pictures_of_the_users_are_kept(dd_sfm, refused, model, truth, tmp_path):
    out = tmp_path / "out"
    mine = out / "evaluation" / "cloud.png"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    arguments = ("model", model, "--reference", truth, "-o", out)
    refused(*arguments, says="cloud.png: exists and is not from dd-sfm evaluate model; expected a new file")
    assert mine.read_text() == "mine"
    assert dd_sfm("evaluate", *arguments, "--overwrite", "--quiet").code == 0
    assert mine.read_bytes().startswith(b"\x89PNG")
    assert dd_sfm("evaluate", *arguments, "--quiet").code == 0


def test_model_that_cannot_be_measured(refused, model, truth, tmp_path):
    refused("model", tmp_path / "none", "--reference", truth, says="not found; expected a run folder")
    refused("model", truth, "--reference", truth, says="no model found")
    refused("model", model, "--reference", tmp_path, says="neither truth.npz")
    far = write_run(tmp_path / "far", plane_model(4.0), first=100)
    refused("model", far, "--reference", truth, says="no frame in common")
    file = tmp_path / "file"
    file.touch()
    refused("model", model, "--reference", truth, "-o", file / "out", says="cannot be written")
    refused("model", model, "--reference", truth, "--best", "1k", says="'1k' is not a number", code=2)
    refused("model", model, "--reference", truth, "--gaps", "0,1", says="whole numbers above zero", code=2)


def test_matching_refuses_what_it_does_not_know(refused, tmp_path):
    refused("matching", tmp_path, says="expected one of them")
    refused("matching", DEMO, "--against", "orb", says="--against orb: unknown; expected sift or flow", code=2)
    refused("matching", DEMO, "--preset", "papr", says="--preset papr: unknown; expected paper", code=2)
    refused("matching", DEMO, "--preset", "paper", "--thresholds", "3", says="leave out one of the two", code=2)
    refused("matching", DEMO, "--thresholds", "-1,2", says="expected numbers above zero", code=2)
    refused("matching", DEMO, "--weights", "compakt", says="did you mean 'compact'?")
    mine = tmp_path / "mine.json"
    mine.write_text("[]")
    refused("matching", DEMO, "-o", mine, says="is not from dd-sfm evaluate matching")


def test_matching_on_a_model_with_images(dd_sfm, tmp_path, model):
    write_plane_images(model / "images")
    out = tmp_path / "deep" / "matching.json"
    arguments = ("--gaps", "1,4", "--pairs", 1, "--set", "describe.working_height_px=240", "--device", "cpu")
    ran = dd_sfm("evaluate", "matching", model, "--against", "flow", *arguments, "--preset", "paper", "-o", out)
    assert ran.code == 0, ran.err
    assert "thresholds in working pixels" in ran.out
    content = json.loads(out.read_text())
    assert content["thresholds"] == [3.0, 6.0, 12.0]
    assert content["threshold_unit"] == "working px"
    rows = content["results"]
    assert [(r["method"], r["gap"]) for r in rows] == [(m, gap) for m in ("compact-rendered", "flow") for gap in (1, 4)]
    # Three working pixels are two source pixels here.
    assert rows[0]["working_px_per_source_px"] == pytest.approx(1.5)
    assert rows[0]["thresholds_px"] == pytest.approx([2.0, 4.0, 8.0])
    # The images show what the model says: flow follows them.
    assert rows[2]["pck"][1] > 0.95


def test_refined_rows_stand_beside_the_plain_ones(dd_sfm, tmp_path, model):
    write_plane_images(model / "images")
    out = tmp_path / "matching.json"
    arguments = (
        "--gaps",
        "1,99",
        "--pairs",
        1,
        "--set",
        "describe.working_height_px=240",
        "--device",
        "cpu",
        "-o",
        out,
    )
    ran = dd_sfm("evaluate", "matching", model, "--against", "sift,flow", "--align", "--windows", *arguments)
    assert ran.code == 0, ran.err
    assert ran.err.count("no pair with common points at gap 99") == 1
    assert "sift, aligned" in ran.out
    rows = {r["method"]: r for r in json.loads(out.read_text())["results"]}
    learned = ["compact-rendered", "compact-rendered, aligned", "compact-rendered, windows"]
    assert list(rows) == [*learned, "sift", "sift, aligned", "sift, windows", "flow"]
    # None is left out, and the model is exact: what is refined gets better.
    assert len({(r["pairs"], r["points"]) for r in rows.values()}) == 1
    for name in ("compact-rendered", "sift"):
        assert rows[f"{name}, aligned"]["median_error_px"] < rows[name]["median_error_px"]
        assert rows[f"{name}, windows"]["median_error_px"] < rows[name]["median_error_px"]


def test_matching_on_a_model_by_its_own_path_and_as_text(dd_sfm, model, tmp_path):
    write_plane_images(model / "images")
    arguments = ("--gaps", "1", "--pairs", 1, "--set", "describe.working_height_px=128", "--device", "cpu")
    text = tmp_path / "text"
    shutil.copytree(model / "images", text / "images")
    (text / "sparse").mkdir()
    rewrite_model(model / "sparse" / "0", text / "sparse", text=True)
    found = []
    for folder in (model, model / "sparse" / "0", text, text / "sparse"):
        ran = dd_sfm("evaluate", "matching", folder, *arguments, "-o", tmp_path / "m.json", "--quiet")
        assert ran.code == 0, ran.err
        found.append(
            [(r["points"], r["median_error_px"]) for r in json.loads((tmp_path / "m.json").read_text())["results"]]
        )
    assert found == [found[0]] * 4


def test_matching_warns_of_what_the_weights_were_trained_on(dd_sfm, model, tmp_path):
    write_plane_images(model / "images")
    weights, out = tmp_path / "w.safetensors", tmp_path / "m.json"
    arguments = ("--gaps", "1", "--pairs", 1, "--set", "describe.working_height_px=128", "--device", "cpu", "--quiet")

    def warnings(data, trained_on):
        extra = {"training": json.dumps({"data": trained_on})}
        save_weights(weights, build_network("compact"), "compact", {}, extra=extra)
        ran = dd_sfm("evaluate", "matching", data, "--weights", weights, *arguments, "-o", out)
        assert ran.code == 0, ran.err
        found = json.loads(out.read_text())["warnings"]
        assert ran.err.splitlines() == [f"warning: {w}" for w in found]
        return found

    [warning] = warnings(model, ["other", "run"])
    assert warning == (
        f"{model}: {weights} was trained on 'run', by its own record: if these are the same frames, the figures are "
        "better than on others"
    )
    assert "'run:0-9'" in warnings(f"{model}:8-15", ["run:0-9"])[0]
    assert warnings(f"{model}:10-15", ["run:0-9"]) == []
    assert warnings(model, ["runs", "sparse"]) == []


def test_matching_on_a_model_without_images(refused, model):
    refused("matching", model, says="is in neither frames/ nor images/")


def write_plane_images(folder):
    """What the cameras of the plane see: a texture of 10 pixels a millimetre."""
    folder.mkdir()
    picture = texture(600, 700)
    for k, pose in plane_model(8.0).cam_from_world.items():
        x, y = np.meshgrid(np.arange(160.0), np.arange(120.0))
        local = np.stack([(x - 79.5) / 100, (y - 59.5) / 100, np.ones_like(x)], -1) * 20.0 - pose[:, 3]
        world = local @ pose[:, :3]
        places = ((world[..., :2] + [22, 22]) * 10).astype(np.float32)
        image = cv2.remap(picture, places[..., 0], places[..., 1], cv2.INTER_LINEAR)
        cv2.imwrite(str(folder / f"{k:08d}.png"), image[..., ::-1])
