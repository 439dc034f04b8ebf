"""A line for the user on what a stage left in the run folder."""

from pathlib import Path

from dd_sfm.io.run_folder import read_frames, read_matches, read_poses


def stage_summary(out: Path, stage: str) -> str:
    """Where the result of a stage is, and how much it is."""
    if stage == "match":
        match = read_matches(out)
        return f"{out / 'tracks.npz'} ({match.tracks.count:,} tracks over {len(match.pairs):,} pairs of frames)"
    if stage == "densify":
        return f"{out / 'points.ply'}, {out / 'sparse' / '0'}"
    frames = read_frames(out)
    used = len(frames.kept)
    if stage == "map":
        registered = len(read_poses(out).models[0])
        return f"{out / 'poses' / '0'} ({registered} of {used} frames have a pose)"
    return f"{out / 'frames'} ({used} of {frames.frames_in_source} frames), {out / 'masks'}"
