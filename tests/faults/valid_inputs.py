"""Small valid inputs of every kind that is read, and the functions by which commands read them."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from conftest import moving_frames  # noqa: E402
from converting import write_small_run  # noqa: E402
from plane import CAMERA, FRAMES, plane_model, write_truth  # noqa: E402
from surfaces import FILES  # noqa: E402

Reads = Iterator[Callable[[], object]]


@dataclass(frozen=True)
class Kind:
    """``make`` writes valid inputs into a folder; ``read`` gives the calls that read them, each to be tried by itself.

    ``command``: arguments of a command that reads the same, of which a sample is run as a process of its own.
    """

    make: Callable[[Path], None]
    read: Callable[[Path], Reads]
    command: Callable[[Path], list[str]] | None = None


def _only(folder: Path, *suffixes: str) -> Path:
    """The file of a case; the folder itself where it is gone."""
    inside = folder.iterdir() if folder.is_dir() else ()
    found = sorted(p for p in inside if not suffixes or p.suffix in suffixes)
    return found[0] if found else folder


def _choose(folder: Path, makers: list[Callable[[Path], object]]) -> None:
    """A folder for each input: a case takes one of them."""
    for k, make in enumerate(makers):
        place = folder / f"{k:02d}"
        place.mkdir(parents=True)
        make(place)


# Videos, images, DICOM


def make_videos(folder: Path) -> None:
    from videos import numbered

    _choose(
        folder,
        [
            lambda place: numbered(place / "clip.mp4", 6),
            lambda place: numbered(place / "clip.mkv", 6),
            lambda place: numbered(place / "clip.avi", 6, "mjpeg"),
            lambda place: numbered(place / "clip.mpg", 6, "mpeg2video"),
            lambda place: numbered(place / "clip.webm", 6, "libvpx-vp9"),
            lambda place: numbered(place / "clip.ts", 6, form="mpegts"),
        ],
    )


def read_frames_of(path: Path) -> None:
    """Read a source as the first stage does."""
    from dd_sfm.io.video import iter_frames, open_source

    source = open_source(path)
    for _ in iter_frames(source, range(min(source.frame_count, 8)), {}):
        pass


def read_source(folder: Path) -> Reads:
    yield lambda: read_frames_of(_only(folder))


def extract(folder: Path) -> list[str]:
    return ["extract", str(_only(folder)), "-o", str(folder.parent / "out"), "--quiet"]


def make_images(folder: Path) -> None:
    from PIL import Image

    def images(suffix: str, deep: bool = False) -> Callable[[Path], None]:
        def make(place: Path) -> None:
            (place / "images").mkdir()
            for k, frame in enumerate(moving_frames(3)):
                path = place / "images" / f"{k:03d}{suffix}"
                if deep:
                    cv2.imwrite(str(path), frame.astype(np.uint16) * 257)
                else:
                    Image.fromarray(frame).save(path)

        return make

    kinds = (".png", ".jpg", ".tif", ".webp", ".bmp", ".jp2", ".ppm", ".gif")
    _choose(folder, [*map(images, kinds), images(".png", deep=True), images(".tif", deep=True)])


def make_dicoms(folder: Path) -> None:
    from dicoms import by_ffmpeg, jpeg, video_stream, write_dicom
    from pydicom.uid import JPEGBaseline8Bit

    frames = moving_frames(3)

    def series(place: Path) -> None:
        (place / "series").mkdir()
        for k, frame in enumerate(frames):
            write_dicom(place / "series" / f"{k}.dcm", [frame], InstanceNumber=k + 1)

    def video(place: Path) -> None:
        stream = video_stream(frames, "libx264", "mp4")
        write_dicom(place / "clip.dcm", frames, syntax="1.2.840.10008.1.2.4.102", data=[stream])

    grey = [frame[..., 0].astype(np.uint16) * 16 for frame in frames]
    lossless = [by_ffmpeg("jpegls", frame[..., 0], "gray") for frame in frames]
    _choose(
        folder,
        [
            lambda place: write_dicom(place / "clip.dcm", frames),
            lambda place: write_dicom(
                place / "clip.dcm", frames, syntax=JPEGBaseline8Bit, data=list(map(jpeg, frames)), FrameTime="40"
            ),
            lambda place: write_dicom(place / "clip.dcm", grey, bits=12),
            lambda place: write_dicom(
                place / "clip.dcm", [f[..., 0] for f in frames], syntax="1.2.840.10008.1.2.4.80", data=lossless
            ),
            series,
            video,
        ],
    )


# Masks, settings, calibrations


def make_masks(folder: Path) -> None:
    (folder / "images").mkdir(parents=True)
    for k, frame in enumerate(moving_frames(3)):
        cv2.imwrite(str(folder / "images" / f"{k:03d}.png"), frame)
        for place in ("mask", "masks"):
            (folder / place).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "masks" / f"{k:03d}.png"), np.full((120, 160), 255, np.uint8))
    cv2.imwrite(str(folder / "mask" / "mask.png"), np.full((120, 160), 255, np.uint8))


def read_masks(folder: Path) -> Reads:
    from dd_sfm.io.video import open_source
    from dd_sfm.pipeline.user_masks import read_user_masks

    def read(path: Path) -> None:
        masks = read_user_masks(path, open_source(folder / "images"))
        for number in range(3):
            masks.of_frame(number)

    yield lambda: read(_only(folder / "mask"))
    yield lambda: read(folder / "masks")


def make_settings(folder: Path) -> None:
    from dd_sfm.config import Config, dump_config
    from dd_sfm.synthetic.settings import preset
    from dd_sfm.training.config import TrainConfig

    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(dump_config(Config())))
    (folder / "synth.yaml").write_text(yaml.safe_dump(dump_config(preset("colon", "real"))))
    (folder / "train.yaml").write_text(yaml.safe_dump(dump_config(TrainConfig())))
    (folder / "data.yaml").write_text(
        "train: [clips/a:0-100@0.5, {path: clips/b, frames: [0, 10], weight: 2}]\nvalidation: [clips/c]\n"
    )


def read_settings(folder: Path) -> Reads:
    from dd_sfm.config import Config, load_config
    from dd_sfm.synthetic.settings import SynthSettings
    from dd_sfm.training.config import TrainConfig
    from dd_sfm.training.sources.spec import read_data_file

    yield lambda: load_config(Config, folder / "config.yaml")
    yield lambda: load_config(SynthSettings, folder / "synth.yaml")
    yield lambda: load_config(TrainConfig, folder / "train.yaml")
    yield lambda: read_data_file(folder / "data.yaml")


def make_calibrations(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, content in _calibrations().items():
        (folder / name).write_text(content)
    write_small_model(folder / "model")
    shutil.copyfile(folder / "model" / "cameras.bin", folder / "cameras.bin")
    shutil.rmtree(folder / "model")
    np.save(folder / "k.npy", CAMERA.matrix)
    np.savez(folder / "k.npz", camera_matrix=CAMERA.matrix, dist_coeffs=np.zeros(5))


def _calibrations() -> dict[str, str]:
    """A file of each form that a calibration may have."""
    matrix = "[100.0, 0.0, 79.5, 0.0, 100.0, 59.5, 0.0, 0.0, 1.0]"
    opencv = f"""%YAML:1.0
---
image_width: 160
image_height: 120
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: {matrix}
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data: [ 0.1, 0.01, 0., 0., 0. ]
"""
    ros = f"""image_width: 160
image_height: 120
camera_name: scope
camera_matrix: {{rows: 3, cols: 3, data: {matrix}}}
distortion_model: plumb_bob
distortion_coefficients: {{rows: 1, cols: 5, data: [0.1, 0.01, 0, 0, 0]}}
"""
    kalibr = """cam0:
  camera_model: pinhole
  intrinsics: [100.0, 100.0, 79.5, 59.5]
  distortion_model: equidistant
  distortion_coeffs: [0.1, 0.01, 0.0, 0.0]
  resolution: [160, 120]
"""
    orb = "".join(
        f"Camera.{k}: {v}\n"
        for k, v in {"type": '"PinHole"', "fx": 100.0, "fy": 100.0, "cx": 79.5, "cy": 59.5, "k1": 0.1, "k2": 0.0,
                     "p1": 0.0, "p2": 0.0, "width": 160, "height": 120}.items()
    )  # fmt: skip
    camodocal = """model_type: KANNALA_BRANDT
camera_name: scope
image_width: 160
image_height: 120
projection_parameters: {k2: 0.1, k3: 0.0, k4: 0.0, k5: 0.0, mu: 100.0, mv: 100.0, u0: 79.5, v0: 59.5}
"""
    xml = f"""<?xml version="1.0"?>
<opencv_storage>
<image_width>160</image_width><image_height>120</image_height>
<camera_matrix type_id="opencv-matrix"><rows>3</rows><cols>3</cols><dt>d</dt>
<data>{matrix[1:-1].replace(",", "")}</data></camera_matrix>
<distortion_coefficients type_id="opencv-matrix"><rows>1</rows><cols>5</cols><dt>d</dt>
<data>0.1 0. 0. 0. 0.</data></distortion_coefficients>
</opencv_storage>
"""
    transforms = {"fl_x": 100.0, "fl_y": 100.0, "cx": 80.0, "cy": 60.0, "w": 160, "h": 120, "k1": 0.1, "frames": []}
    ocam = "5 -767.7 0 0.0005 0 0\n5 1 2 3 4 5\n59.5 79.5\n1.0 0.0 0.0\n120 160\n"
    c3vd = "width = 160\nheight = 120\ncx = 79.5\ncy = 59.5\na0 = 100.0\na1 = 0.0\na2 = -0.001\nc = 1\nd = 0\ne = 0\n"
    return {
        "numbers.txt": "100 100 80 60\n", "matrix.txt": "100 0 79.5\n0 100 59.5\n0 0 1\n",
        "cameras.txt": "# Camera list\n1 OPENCV 160 120 100 100 80 60 0.1 0 0 0\n", "jhu": "100\n80\n60\n100\n80\n60\n",
        "opencv.yaml": opencv, "ros.yaml": ros, "kalibr.yaml": kalibr, "orb.yaml": orb, "camodocal.yaml": camodocal,
        "opencv.xml": xml, "transforms.json": json.dumps(transforms), "calib_results.txt": ocam, "c3vd.txt": c3vd,
        "opencv.json": json.dumps({"camera_matrix": CAMERA.matrix.tolist(), "dist_coeffs": [0.1, 0, 0, 0, 0]}),
    }  # fmt: skip


def read_calibrations(folder: Path) -> Reads:
    from dd_sfm.io.calibration.read import calibration_file, open_calibration

    def read(path: Path) -> None:
        lens = open_calibration(str(path), width=160, height=120).lens
        lens.project(np.array([[0.1, 0.1, 1.0], [0.0, 0.0, -1.0]]))
        lens.unproject(np.array([[10.0, 10.0], [80.0, 60.0]]))

    for path in sorted(folder.iterdir()):
        if calibration_file(str(path)) is not None or path.is_dir():
            yield lambda path=path: read(path)


# Clouds, models, databases, truth, weights


def make_clouds(folder: Path) -> None:
    from dd_sfm.io.clouds import write_cloud, write_mesh
    from dd_sfm.sfm.point_cloud import to_cloud

    folder.mkdir(parents=True)
    model = plane_model(4.0)
    write_cloud(folder / "points.ply", to_cloud(model, np.linspace(0.001, 0.1, len(model.xyz))))
    faces = np.arange(30).reshape(-1, 3)
    write_mesh(folder / "mesh.ply", model.xyz[:30], faces, np.zeros((30, 3)), model.rgb[:30])
    lines = ["ply", "format ascii 1.0", "element vertex 3", *(f"property float {a}" for a in "xyz"), "end_header"]
    (folder / "ascii.ply").write_text("\n".join([*lines, "0 0 0", "1 0 0", "0 1 0"]) + "\n")


def read_clouds(folder: Path) -> Reads:
    from dd_sfm.io.clouds import face_count, read_cloud, read_faces
    from dd_sfm.viz.render.cloud_view import open_cloud_view

    for path in sorted(folder.iterdir()):
        yield lambda path=path: read_cloud(path)
        yield lambda path=path: read_faces(path)
        yield lambda path=path: face_count(path)
        yield lambda path=path: open_cloud_view(path)


def make_surfaces(folder: Path) -> None:
    from dd_sfm.io.transforms import itk_text

    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content())
    (folder / "start.tfm").write_text(itk_text(np.eye(4)))
    (folder / "start.json").write_text(json.dumps({"matrix": np.eye(4).tolist()}))
    (folder / "start.txt").write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n")
    (folder / "pairs.csv").write_text("0,0,0,1,1,1\n1,0,0,2,1,1\n0,1,0,1,2,1\n")


def read_surfaces(folder: Path) -> Reads:
    from dd_sfm.io.surfaces import read_surface
    from dd_sfm.registration.inputs import read_pairs, read_start, start_by_pairs
    from dd_sfm.registration.target import make_target

    for path in sorted(folder.iterdir()):
        if path.suffix in (".tfm", ".json", ".txt"):
            yield lambda path=path: read_start(path)
        elif path.suffix == ".csv":
            yield lambda path=path: start_by_pairs(*read_pairs(path), path.name)
        else:
            yield lambda path=path: make_target(read_surface(path), samples=100)


def write_small_model(folder: Path) -> None:
    """The plane's model of a few points, binary."""
    from dd_sfm.io.colmap_model import write_model
    from dd_sfm.structures import Frame, FrameSet

    model = plane_model(6.0)
    names = tuple(Frame(k, Path(f"{k:08d}.png"), Path(), k / 25) for k in range(FRAMES))
    write_model(folder, model, FrameSet(names, CAMERA, 120))


def make_models(folder: Path) -> None:
    from dd_sfm.io.colmap_source import rewrite_model

    write_small_model(folder / "binary")
    (folder / "text").mkdir()
    rewrite_model(folder / "binary", folder / "text", text=True)


def read_models(folder: Path) -> Reads:
    from dd_sfm.evaluation.model.pose_reference import open_run
    from dd_sfm.export.convert import convert
    from dd_sfm.io.calibration.read import open_calibration
    from dd_sfm.io.scene import open_scene
    from dd_sfm.progress import silent

    for name in ("binary", "text"):
        place = folder / name
        out = folder.parent / "out" / name
        yield lambda place=place: open_scene(place)
        yield lambda place=place: open_run(place)
        yield lambda place=place: open_calibration(str(place), width=160, height=120)
        for to in ("colmap-text", "ply", "tum", "hloc"):
            target = out.with_suffix(f".{to}") if to in ("ply", "tum") else out / to
            yield lambda place=place, target=target, to=to: convert(place, target, to, progress=silent)


def convert_model(folder: Path) -> list[str]:
    return ["convert", str(folder / "binary"), "-o", str(folder.parent / "out"), "--to", "colmap-text"]


def make_databases(folder: Path) -> None:
    folder.mkdir(parents=True)
    write_small_run(folder / "run")
    shutil.move(folder / "run" / "database.db", folder / "database.db")
    shutil.rmtree(folder / "run")


def read_databases(folder: Path) -> Reads:
    from dd_sfm.features.sift import read_tracks
    from dd_sfm.io.colmap_matches import database_matches, read_database_matches

    path = folder / "database.db"
    yield lambda: read_database_matches(path)
    yield lambda: database_matches(path, ("00000010.png", "00000012.png"))
    yield lambda: read_tracks(path, [f"{k + 10:08d}.png" for k in range(16)])


def make_truth(folder: Path) -> None:
    write_truth(folder)


def read_truths(folder: Path) -> Reads:
    from dd_sfm.io.truth import read_rigid_truth, read_truth

    def read() -> None:
        truth = read_truth(folder)
        if len(truth.depth_frames):
            truth.correspondences(int(truth.depth_frames[0]), 0, np.array([[10.0, 10.0], [80.0, 60.0]]))

    yield read
    yield lambda: read_rigid_truth(folder)


def make_weights(folder: Path) -> None:
    from dd_sfm.features.networks import build_network
    from dd_sfm.features.weights import save_weights

    folder.mkdir(parents=True)
    network = build_network("compact", dim=16)
    save_weights(folder / "own.safetensors", network, "compact", {"dim": 16}, extra={"training": '{"data": ["a"]}'})


def read_weights(folder: Path) -> Reads:
    import torch

    from dd_sfm.features.weights import check_weights, load_weights, read_architecture, read_training_sources

    path = str(folder / "own.safetensors")
    yield lambda: check_weights(path)
    yield lambda: load_weights(path, torch.device("cpu"))
    yield lambda: read_architecture(path)
    yield lambda: read_training_sources(path)


# Sequences and runs


def make_sequences(folder: Path) -> None:
    from dd_sfm.export.convert import convert
    from dd_sfm.progress import silent

    write_small_run(folder / "run")
    convert(folder / "run", folder / "jhu", "jhu", progress=silent)
    convert(folder / "run", folder / "nerf", "nerfstudio", progress=silent)
    shutil.rmtree(folder / "run")


def read_sequences(folder: Path) -> Reads:
    from dd_sfm.evaluation.model.pose_reference import open_pose_reference
    from dd_sfm.io.jhu import read_sequence
    from dd_sfm.io.scene import open_scene

    yield lambda: read_sequence(folder / "jhu")
    yield lambda: open_scene(folder / "jhu")
    yield lambda: open_pose_reference(folder / "jhu")


def make_runs(folder: Path) -> None:
    """A finished run with all files that its stages leave."""
    from dd_sfm.config import Config, dump_config
    from dd_sfm.features.packed_map import PackedMap, save_packed
    from dd_sfm.io import run_folder
    from dd_sfm.io.atomic import write_array, write_json
    from dd_sfm.io.clouds import write_cloud, write_mesh
    from dd_sfm.io.edited_masks import mask_hash, record_masks
    from dd_sfm.io.known_poses import KnownFrame, KnownPoses, write_known_poses
    from dd_sfm.io.run_config import write_config
    from dd_sfm.io.trajectory import FramePose, write_trajectory
    from dd_sfm.notes import Note, NoteCode
    from dd_sfm.pipeline.stages import STAGES
    from dd_sfm.sfm.point_cloud import to_cloud
    from dd_sfm.sfm.track_builder import PairFound, ReferenceMatches
    from dd_sfm.structures import DropReason, FrameRecord, MapResult, MatchResult, Tracks, VerifiedPairs, WorkingGrid

    run = folder / "run"
    model = write_small_run(run)
    records = [FrameRecord(k + 10, k / 25, 1.0, source="clip.mp4") for k in range(FRAMES)]
    records.append(FrameRecord(40, 1.6, 0.1, DropReason.BLURRED, "blurred"))
    notes = (Note(NoteCode.FRAMES_BLURRED, "1 of 17 frames left out as blurred"),)
    frames = run_folder.ExtractedFrames("clip.mp4", 160, 120, 25.0, 41, CAMERA, None, 104, "png", tuple(records), notes)
    run_folder.write_frames(run, frames)
    times = {"seconds": {"frames": 1.0, "total": 2.0}, "frames_used": 16}
    texts = {"degradations": [notes[0].text], "degradation_codes": [notes[0].code]}
    run_folder.write_metrics(run, {"points": len(model.xyz), "features": "learned", "models": [16], **texts, **times})
    write_config(run, {**dump_config(Config()), "versions": {}, "device_used": "cpu"})
    write_cloud(run / "points.ply", to_cloud(model, np.linspace(0.001, 0.1, len(model.xyz))))
    stages = {name: {"fingerprint": "0" * 64, "done": True, "seconds": 1.0} for name in STAGES}
    run_folder.write_stages(run, run_folder.StoredStages("clip.mp4", stages))
    (run / "descriptors").mkdir()
    run_folder.write_grid(run, WorkingGrid(0.5, (0, 0), 80, 60, 2), 2)
    write_array(run / "descriptors" / "basis.npy", np.eye(16, dtype=np.float32))
    ones = np.ones((30, 40), bool)
    save_packed(run / "descriptors" / "00000010.npz", PackedMap(np.ones((1200, 16), np.int8), ones, ones))
    write_array(run / "descriptors" / "00000010.pooled.npy", np.ones(16, np.float32))
    keep = np.bincount(model.point)[model.point] > 1
    track = np.unique(model.point[keep], return_inverse=True)[1]
    count = len(track)
    xy, score = model.xy[keep].astype(np.float32), np.ones(count, np.float32)
    tracks = Tracks(track, model.frame[keep], xy, score, np.zeros(count, bool))
    run_folder.write_matches(run, MatchResult(tracks, [(0, 1), (1, 2)], list(notes)))
    poses = MapResult([model.cam_from_world], [CAMERA], "global", VerifiedPairs(2, 2, 99), {"global": 1.0}, list(notes))
    run_folder.write_poses(run, poses)
    run_folder.write_point_figures(run, [{"points": 10, "frames_registered": 16, "depth_maps": 3}])
    (run / "matches").mkdir()
    found = {1: PairFound(np.arange(5), np.ones((5, 2), np.float32), np.ones(5, np.float32), 0.9)}
    ReferenceMatches(0, np.ones((6, 2), np.float32), np.zeros(0, np.int64), found).save(
        run / "matches" / "00000000.npz"
    )
    known = {r.name: KnownFrame(model.cam_from_world[k], 0.1, 0.2) for k, r in enumerate(records[:3])}
    write_known_poses(run, KnownPoses("path.tum", False, "mm", 0.5, 0.5, {"models_placed": [True]}, known))
    write_trajectory(run, [FramePose(r, 0, model.cam_from_world[k]) for k, r in enumerate(records[:3])])
    hashes = {path.name: mask_hash(path) for path in sorted((run / "masks").iterdir())}
    record_masks(run, {**hashes, "00000010.png.png": "0" * 16}, {"source": "clip.mp4"})
    write_mesh(
        run / "mesh.ply",
        model.xyz[:30],
        np.arange(30).reshape(-1, 3),
        np.zeros((30, 3)),
        comments=["made by dd-sfm mesh"],
    )
    (run / "evaluation").mkdir()
    (run / "evaluation" / "cloud.png").write_bytes(b"png")
    write_json(run / "evaluation.json", {"made_by": "dd-sfm evaluate model", "figures": {"ate_mm": 1.0}})


def read_runs(folder: Path) -> Reads:
    """What open, view, convert, evaluate, overlay, mesh and a repeated reconstruct read; then what --overwrite does."""
    run = folder / "run"
    yield from _read_opened(run)
    yield from _read_stages(run)
    yield from _other_commands(run)
    yield lambda: _start_over(run)


def _read_opened(run: Path) -> Reads:
    import dd_sfm

    def opened(name: str) -> None:
        value = getattr(dd_sfm.open_run(run), name)
        if name in ("masks", "frames"):
            for item in list(value)[:2]:
                value[item] if name == "masks" else dd_sfm.open_run(run).image(item.index)
        if name == "models":
            _ = [model.observations for model in value]

    for name in (
        "models", "camera", "poses", "all_poses", "observations", "points", "frames", "masks", "metrics", "notes",
        "unit", "config",
    ):  # fmt: skip
        yield lambda name=name: opened(name)


def _read_stages(run: Path) -> Reads:
    from dd_sfm.config import CameraConfig
    from dd_sfm.features.descriptor_files import DescriptorFiles
    from dd_sfm.io import run_folder
    from dd_sfm.io.edited_masks import check_edited
    from dd_sfm.io.run_layout import read_evaluation
    from dd_sfm.pipeline.metrics import run_metrics
    from dd_sfm.pipeline.stage_summary import camera_line
    from dd_sfm.pipeline.stages import STAGES, StageRecord
    from dd_sfm.sfm.track_builder import ReferenceMatches

    yield lambda: camera_line(run_folder.read_frames(run), CameraConfig())
    yield lambda: run_folder.read_stages(run, STAGES)
    yield lambda: [StageRecord.open(run, overwrite=False).is_done(s, "0" * 64) for s in STAGES]
    yield lambda: [StageRecord.open(run, overwrite=False).seconds(s) for s in STAGES]
    yield lambda: run_folder.load_frames(run)
    yield lambda: run_folder.read_undistortion(run)
    yield lambda: run_folder.read_sources(run)
    yield lambda: run_folder.read_matches(run)
    yield lambda: run_folder.read_poses(run)
    yield lambda: run_folder.read_point_figures(run)
    yield lambda: read_evaluation(run)
    kept = dict.fromkeys(STAGES, 1.0)
    yield lambda: run_metrics(
        run, features="learned", lens="", weights=None, device="cpu", seconds=kept, kept=list(STAGES), coverage={}
    )
    yield lambda: check_edited(run, (160, 120))
    yield lambda: DescriptorFiles(run, None).is_begun() and run_folder.read_grid(run)
    yield lambda: DescriptorFiles(run, None).basis()
    yield lambda: DescriptorFiles(run, None).load(10)
    yield lambda: DescriptorFiles(run, None).pooled([10])
    yield lambda: ReferenceMatches.load(run / "matches" / "00000000.npz", FRAMES)


def _other_commands(run: Path) -> Reads:
    from dd_sfm.benchmark.run_times import read_run_times, run_times_table
    from dd_sfm.evaluation.model.pose_reference import open_pose_reference, open_run
    from dd_sfm.export.convert import convert
    from dd_sfm.pipeline.reopened import reopen
    from dd_sfm.progress import silent
    from dd_sfm.viz.render.cloud_view import open_cloud_view

    yield lambda: open_cloud_view(run)
    yield lambda: reopen(run)
    yield lambda: run_times_table(read_run_times([run, run]))
    yield lambda: open_run(run)
    yield lambda: open_pose_reference(run)
    for to in ("nerfstudio", "tum", "hloc"):
        target = run.parents[1] / "out" / (f"{to}.tum" if to == "tum" else to)
        yield lambda target=target, to=to: convert(run, target, to, progress=silent)


def _start_over(run: Path) -> None:
    """What reconstruct does to a folder before its first stage, with --overwrite."""
    from dd_sfm.io.lock import locked
    from dd_sfm.io.run_config import write_config
    from dd_sfm.pipeline.run_log import logging_to
    from dd_sfm.pipeline.stages import StageRecord, make_run_folder

    make_run_folder(run)
    with locked(run):
        record = StageRecord.open(run, overwrite=True)
        record.claim(run)
        with logging_to(run / "run.log"):
            write_config(run, {})
            record.begin("frames", "1" * 64)


def convert_run(folder: Path) -> list[str]:
    out = folder.parent / "out"
    return ["convert", str(folder / "run"), "-o", str(out), "--to", "colmap", "--copy-images", "--overwrite"]


# Batches


def make_batches(folder: Path) -> None:
    (folder / "out").mkdir(parents=True)
    videos = [{"name": "a", "source": "a.mp4", "options": {"every": 3}}, {"name": "b", "source": ["b.mp4", "c.mp4"]}]
    (folder / "videos.yaml").write_text(yaml.safe_dump({"videos": videos, "defaults": {"quality": "preview"}}))
    (folder / "videos.json").write_text(json.dumps({"videos": videos}))
    (folder / "videos.csv").write_text("name,source,every\na,a.mp4,3\nb,b.mp4,\n")
    done = {"name": "a", "status": "done", "error": None, "run": "out/a", "picture": "pictures/a.jpg", "seconds": 1.0}
    done |= {"tries": 1, "metrics": {"points": 10, "models": [3]}, "degradations": ["a note"], "inputs": "0" * 64}
    content = {"made_by": "dd-sfm batch", "version": "0", "manifest": "videos.yaml", "total": 1, "videos": [done]}
    (folder / "out" / "batch.json").write_text(json.dumps(content))


def read_batches(folder: Path) -> Reads:
    from dd_sfm.batch.manifest import read_manifest
    from dd_sfm.batch.page import page
    from dd_sfm.batch.record import BatchRecord, read_record
    from dd_sfm.batch.storage import Store

    def read() -> None:
        store = Store(str(folder / "out"))
        videos = read_record(store)
        page(BatchRecord(store, "videos.yaml", dict(videos)).content())

    for name in ("videos.yaml", "videos.json", "videos.csv"):
        yield lambda name=name: read_manifest(str(folder / name))
    yield read


# Measured poses


def make_paths(folder: Path) -> None:
    rows = [(k, 0.1 * k, 0.2, -0.3 * k, 0.0, 0.1, 0.0, 0.995) for k in range(6)]
    tum = "# timestamp tx ty tz qx qy qz qw\n" + "".join(" ".join(map(str, row)) + "\n" for row in rows)
    table = "time_s,x_mm,y_mm,z_mm,qx,qy,qz,qw\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    named = "name;q_w;q_x;q_y;q_z;tx;ty;tz\n" + "".join(f"{k:04d}.png;1;0;0;0;{k};2;3\n" for k in range(6))
    model = "# images\n" + "".join(f"{k} 1 0 0 0 {k} 2 3 1 {k:04d}.png\n1 2 -1\n" for k in range(1, 6))
    files = {"a.tum": tum, "b.csv": table, "c.csv": named, "images.txt": model}
    _choose(folder, [lambda place, name=name: (place / name).write_text(files[name]) for name in files])


def read_paths(folder: Path) -> Reads:
    from dd_sfm.config import PosesConfig
    from dd_sfm.evaluation.model.path_reference import path_reference
    from dd_sfm.sfm.known_poses import FrameKeys, camera_poses, open_given, ways_to_read

    def read() -> None:
        given = open_given(PosesConfig(str(_only(folder))))
        numbers = np.arange(6, dtype=np.float64)
        keys = FrameKeys(numbers, numbers / 25, tuple((f"{k:04d}",) for k in range(6)))
        for way in ways_to_read(given, keys, 0.0, 0.5):
            camera_poses(given, way, 0.0, np.eye(3, 4))

    yield read
    yield lambda: path_reference(_only(folder), {k: k / 25 for k in range(6)})


KINDS: dict[str, Kind] = {
    "video": Kind(make_videos, read_source, extract),
    "images": Kind(make_images, read_source, extract),
    "dicom": Kind(make_dicoms, read_source, extract),
    "masks": Kind(make_masks, read_masks),
    "settings": Kind(make_settings, read_settings),
    "calibration": Kind(make_calibrations, read_calibrations),
    "clouds": Kind(make_clouds, read_clouds),
    "surfaces": Kind(make_surfaces, read_surfaces),
    "models": Kind(make_models, read_models, convert_model),
    "database": Kind(make_databases, read_databases),
    "truth": Kind(make_truth, read_truths),
    "weights": Kind(make_weights, read_weights),
    "sequence": Kind(make_sequences, read_sequences),
    "run": Kind(make_runs, read_runs, convert_run),
    "paths": Kind(make_paths, read_paths),
}
if importlib.util.find_spec("dd_sfm.batch"):
    KINDS["batch"] = Kind(make_batches, read_batches)
