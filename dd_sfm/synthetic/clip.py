"""Writes a rendered clip with its ground truth: video, masks, poses, depth, mesh, and a COLMAP model."""

import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from dd_sfm.cameras import pose_at, world_to_camera
from dd_sfm.config import dump_config
from dd_sfm.errors import OutputError
from dd_sfm.io.arrays import write_arrays
from dd_sfm.io.atomic import make_folder, output_error, sync, sync_all, write_bytes, write_text
from dd_sfm.io.clouds import write_mesh
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.images import write_mask
from dd_sfm.io.lens import COLMAP_MODELS, Lens
from dd_sfm.io.links import check_no_links
from dd_sfm.io.lock import LOCK, locked
from dd_sfm.io.video_writer import write_video
from dd_sfm.ops.pixels import inside_mask
from dd_sfm.progress import Part, Progress, begin_stage, plan_ahead, silent
from dd_sfm.structures import Frame, FrameSet, Model
from dd_sfm.synthetic.render import Rendered, Renderer, Scene, make_scene
from dd_sfm.synthetic.settings import SynthSettings, check_settings

SCENE_S, EXPOSURE_S, RENDER_S, TRUTH_S = 8.0, 0.04, 0.25, 4.0
"""Seconds on a usual machine: organ and path, a frame's exposure, a frame of 1 megapixel, what is written last."""
SETTINGS_FILE = "scene.yaml"
"""The settings; written last, so that a folder with it holds a complete clip."""
UNFINISHED_FILE = SETTINGS_FILE + ".partial"
"""The settings of a clip that is being rendered, or whose rendering was interrupted."""
CLIP_FILES = (
    SETTINGS_FILE, "clip.mp4", "mask.png", "truth.npz", "mesh.ply", "calibration.txt", f"masks/{'[0-9]' * 8}.png.png",
    "sparse/0/cameras.bin", "sparse/0/images.bin", "sparse/0/points3D.bin",
)  # fmt: skip
"""Patterns of the files of a clip: no other file is ever removed."""
_renderer: Renderer | None = None


def write_clip(
    settings: SynthSettings,
    out: Path,
    *,
    jobs: int | None,
    overwrite: bool,
    progress: Progress,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Render a clip into a folder.

    Args:
        settings: What to render.
        out: Made when missing; a folder with other content is refused, an interrupted clip starts again.
        jobs: Processes; None for one a core.
        overwrite: Replace an earlier clip; other files beside it stay.
        progress: Shows the frames.
        say: Told that the work begins.

    Returns:
        Figures for the command line: frames, vertices of the mesh, points of the model.

    Raises:
        OutputError: If the folder holds something else or cannot be written.
        ConfigError: If the settings cannot be rendered.
    """
    check_settings(settings)
    _check_folder(out, overwrite)
    plan_ahead(progress, _expected_parts(settings))
    begin_stage(progress, "scene")
    say("scene ...")
    # Before the folder is touched: the path may turn out not to fit the organ.
    scene = make_scene(settings, progress)
    with _open_folder(out, settings, overwrite=overwrite):
        points = _write_files(scene, out, jobs, progress)
    return {"frames": settings.frames, "vertices": len(scene.mesh.vertices), "points": points}


def _expected_parts(settings: SynthSettings) -> list[Part]:
    frame_s = RENDER_S * settings.width * settings.height / 1e6
    return [
        Part("scene", "scene", SCENE_S),
        Part("scene", "exposure", EXPOSURE_S * settings.frames),
        Part("render", "render", frame_s * settings.frames),
        Part("truth", "truth", TRUTH_S),
    ]


def is_complete(out: Path) -> bool:
    """Whether a folder holds a clip that was rendered to the end."""
    return (out / SETTINGS_FILE).is_file()


def _check_folder(out: Path, overwrite: bool) -> None:
    try:
        content = {path.name for path in out.iterdir()} - {LOCK} if out.exists() else set()
    except OSError as error:
        raise output_error(out, error) from error
    check_no_links(out, ("masks", "sparse"))
    if is_complete(out) and not overwrite:
        raise OutputError(f"{out}: holds a clip already; expected a new folder. Replace it with --overwrite")
    if content and not content & {SETTINGS_FILE, UNFINISHED_FILE, f"{UNFINISHED_FILE}.partial"}:
        raise OutputError(
            f"{out}: holds other files; expected a new folder, or that of a rendered clip with --overwrite"
        )


@contextmanager
def _open_folder(out: Path, settings: SynthSettings, *, overwrite: bool) -> Iterator[None]:
    """A folder with nothing of an earlier clip, for this process alone; complete when all went well."""
    make_folder(out)
    with locked(out):
        # Once more: another process may have finished a clip while this one made its scene.
        _check_folder(out, overwrite)
        # The settings are written first, so that the folder of an interrupted clip is recognised.
        write_text(out / UNFINISHED_FILE, yaml.safe_dump(dump_config(settings), sort_keys=False))
        try:
            for pattern in CLIP_FILES:
                for path in {*out.glob(pattern), *out.glob(f"{pattern}.partial")} - {out / UNFINISHED_FILE}:
                    path.unlink()
            (out / "masks").mkdir(exist_ok=True)
        except OSError as error:
            raise output_error(out, error) from error
        yield
        try:
            sync_all(out, (path for path in out.rglob("*") if path.is_file()))
            (out / UNFINISHED_FILE).replace(out / SETTINGS_FILE)
            sync(out)
        except OSError as error:
            raise output_error(out, error) from error


def _write_files(scene: Scene, out: Path, jobs: int | None, progress: Progress) -> int:
    """Everything but the settings; returns how many points COLMAP's model has, 0 for a lens that it does not know."""
    settings = scene.settings
    depths: dict[int, NDArray[np.float32]] = {}

    begin_stage(progress, "render")

    def images() -> Iterator[NDArray[np.uint8]]:
        with _rendered_frames(scene, jobs) as frames:
            for k, frame in enumerate(progress(frames, total=settings.frames, label="render")):
                write_mask(out / "masks" / f"{k:08d}.png.png", frame.usable)
                if k % settings.depth_every == 0:
                    depths[k] = frame.depth
                yield frame.image

    write_video(out / "clip.mp4", images(), fps=settings.fps, crf=settings.crf)
    begin_stage(progress, "truth")
    renderer = Renderer(scene)
    write_mask(out / "mask.png", renderer.optics.mask)
    _write_truth(out / "truth.npz", scene, renderer, depths)
    write_mesh(out / "mesh.ply", scene.mesh.vertices, scene.mesh.faces, scene.mesh.normals)
    write_text(out / "calibration.txt", _calibration(renderer))
    model, frames = true_model(scene, renderer, depths, progress=progress)
    if renderer.optics.lens.model not in COLMAP_MODELS:
        return 0
    write_model(out / "sparse" / "0", model, frames, lens=renderer.optics.lens)
    return len(model.xyz)


@contextmanager
def _rendered_frames(scene: Scene, jobs: int | None) -> Iterator[Iterator[Rendered]]:
    """The frames in order, made by several processes."""
    count = min(jobs or len(os.sched_getaffinity(0)), scene.settings.frames)
    if count == 1:
        _start_worker(scene)
        yield map(_render_frame, range(scene.settings.frames))
        return
    with ProcessPoolExecutor(count, get_context("spawn"), _start_worker, (scene,)) as pool:
        yield pool.map(_render_frame, range(scene.settings.frames))


def _start_worker(scene: Scene) -> None:
    global _renderer
    cv2.setNumThreads(1)
    _renderer = Renderer(scene)


def _render_frame(frame: int) -> Rendered:
    assert _renderer is not None
    return _renderer.render(frame)


def _write_truth(path: Path, scene: Scene, renderer: Renderer, depths: dict[int, NDArray[np.float32]]) -> None:
    """``truth.npz``: what :class:`dd_sfm.io.truth.RenderedTruth` holds, and vertices_mm.

    Poses are R (world_from_cam) and c; depth is uint16 times depth_unit_mm. With deformation above 0 the depth is that
    of each frame, the vertices are those at rest.
    """
    lens = renderer.optics.lens
    depth = np.stack([depths[k] for k in sorted(depths)])
    # Two micrometres: far below what a mesh of 0.3 mm resolves, and it compresses twice as well as 16 full bits.
    unit = max(0.002, float(depth.max()) / 65500)
    buffer = io.BytesIO()
    arrays = {
        "lens_model": np.array(lens.model),
        "lens_params": np.array(lens.params),
        **_as_before(lens),
        "R": scene.path.rotation,
        "c": scene.path.centre,
        "depth": np.round(depth / unit).astype(np.uint16),
        "depth_unit_mm": np.array(unit),
        "depth_frames": np.array(sorted(depths), np.int64),
        "vertices_mm": scene.mesh.vertices,
        "deformation": np.array(scene.settings.effects.deformation),
    }
    write_arrays(buffer, arrays, compressed=True)
    write_bytes(path, buffer.getvalue())


def _as_before(lens: Lens) -> dict[str, Any]:
    """What versions without other lenses read, of lenses that it describes."""
    if lens.model not in ("PINHOLE", "OPENCV"):
        return {}
    return {"K": lens.pinhole.matrix, "distortion": np.array(lens.params[4:] or np.zeros(4))}


def _calibration(renderer: Renderer) -> str:
    """A COLMAP ``cameras.txt``."""
    lens = renderer.optics.lens
    return (
        "# Camera list with one line of data per camera:\n#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n"
        f"1 {lens.model} {lens.width} {lens.height} {' '.join(f'{v:.12g}' for v in lens.params)}\n"
    )


def true_model(
    scene: Scene,
    renderer: Renderer,
    depths: dict[int, NDArray[np.float32]],
    points_per_frame: int = 400,
    progress: Progress = silent,
) -> tuple[Model, FrameSet]:
    """The true cameras with surface points, each seen where nothing hides it; pixels are exactly the clip's."""
    settings, optics = scene.settings, renderer.optics
    points = _surface_points(scene, depths, points_per_frame, renderer)
    poses, rows = {}, []
    for k in progress(range(settings.frames), total=settings.frames, label="truth"):
        poses[k] = pose_at(scene.path.rotation[k].T, scene.path.centre[k])
        xy, depth = optics.lens.project(world_to_camera(points, poses[k]))
        seen = np.flatnonzero((depth > 0.5) & inside_mask(optics.mask, xy))
        reached = renderer.blockers(k).distance(scene.path.centre[k], points[seen] - scene.path.centre[k])
        seen = seen[np.abs(reached - 1) < 2e-3]
        rows.append((seen, np.full(len(seen), k), xy[seen]))
    point, frame = np.concatenate([r[0] for r in rows]), np.concatenate([r[1] for r in rows])
    place = np.concatenate([r[2] for r in rows])
    views = np.bincount(point, minlength=len(points))
    number = np.cumsum(views >= 2) - 1
    keep = views[point] >= 2
    order = np.lexsort((frame[keep], point[keep]))
    xyz = points[views >= 2]
    names = tuple(Frame(i, Path(f"{i:08d}.png"), Path(), i / settings.fps) for i in range(settings.frames))
    grey = np.full((len(xyz), 3), 200, np.uint8)
    order = np.flatnonzero(keep)[order]
    camera = optics.lens.pinhole
    model = Model(camera, poses, xyz, grey, np.zeros(len(xyz)), number[point[order]], frame[order], place[order])
    return model, FrameSet(names, camera, camera.height)


def _surface_points(
    scene: Scene, depths: dict[int, NDArray[np.float32]], count: int, renderer: Renderer
) -> NDArray[np.float64]:
    """Places that random pixels of the frames with depth see (N, 3), in mm."""
    rng = np.random.default_rng([scene.settings.seed, 99])
    rays = np.zeros((*renderer.optics.mask.shape, 3), np.float32)
    rays[renderer.optics.mask] = renderer.optics.rays
    found = []
    for frame, depth in depths.items():
        chosen = rng.permutation(np.flatnonzero(depth))[:count]
        local = rays.reshape(-1, 3)[chosen] * depth.reshape(-1)[chosen, None]
        found.append(local @ scene.path.rotation[frame].T + scene.path.centre[frame])
    return np.concatenate(found).astype(np.float64)
