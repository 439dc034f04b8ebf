"""Lines for the user on what a stage left in the run folder."""

from pathlib import Path

from dd_sfm.config import CameraConfig
from dd_sfm.io.run_folder import ExtractedFrames, read_frames, read_matches, read_poses
from dd_sfm.pipeline.metrics import camera_figures
from dd_sfm.structures import DropReason


def stage_summary(out: Path, stage: str) -> str:
    """Where the result of a stage is, and how much it is."""
    if stage == "match":
        match = read_matches(out)
        return f"{out / 'tracks.npz'} ({match.tracks.count:,} tracks over {len(match.pairs):,} pairs of frames)"
    if stage == "densify":
        return f"{out / 'points.ply'}, {out / 'sparse' / '0'}, {out / 'report.html'}"
    frames = read_frames(out)
    used = len(frames.kept)
    if stage == "map":
        registered = len(read_poses(out).models[0])
        return f"{out / 'poses' / '0'} ({registered} of {used} frames have a pose)"
    return f"{out / 'frames'} ({used} of {frames.frames_in_source} frames), {out / 'masks'}"


def stage_notes(out: Path, stage: str) -> list[str]:
    """What went less well up to one of the stages before the last."""
    notes = [*read_frames(out).notes]
    notes += read_matches(out).notes if stage in ("match", "map") else []
    notes += read_poses(out).notes if stage == "map" else []
    return [note.text for note in notes]


def key_frames_line(frames: ExtractedFrames) -> str:
    """How many key frames there are, where frames between them were left out; "" otherwise."""
    between = frames.count(DropReason.BETWEEN_KEYS)
    if not between:
        return ""
    used = len(frames.kept)
    return f"key frames: {used} of {len(frames.records)} frames; those between them are located when the model is done"


def camera_line(frames: ExtractedFrames, settings: CameraConfig) -> str:
    """The focal length of a clip without a calibration, how sure it is, and where it comes from; "" with one."""
    figures = camera_figures(frames, frames.camera.fx)
    if figures["calibrated"]:
        return ""
    found = f"camera: focal length {figures['lens_focal_length_px']:.0f} px"
    sigma = frames.camera.focal_sigma
    is_named = settings.lens != "unknown"
    origin = (
        f"that of --lens {settings.lens}" if is_named else f"assumed: {settings.field_of_view_deg:g} degrees across"
    )
    if not sigma:
        return f"{found}, {origin}"
    found += f" +- {100 * sigma:.2g} %"
    if figures["camera_from"] == "clip":
        return f"{found}, estimated from the clip" + (
            f" and what is known of --lens {settings.lens}" if is_named else ""
        )
    more = "--calibration says" if is_named else "--calibration or --lens say"
    return f"{found}, {origin}, as the clip does not tell it. {more} more"
