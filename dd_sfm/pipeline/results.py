"""What the stages match and map leave in the run folder for the next one, and a line on what a stage made."""

import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.features.match import MatchResult
from dd_sfm.io.atomic import write_bytes, write_json
from dd_sfm.io.colmap_database import VerifiedPairs
from dd_sfm.pipeline.frames import frame_counts
from dd_sfm.sfm.mapping import MapResult
from dd_sfm.structures import Tracks


def save_match(out: Path, result: MatchResult) -> None:
    """Write ``tracks.npz``."""
    buffer = io.BytesIO()
    arrays = {name: getattr(result.tracks, name) for name in ("track", "frame", "xy", "score", "anchor")}
    notes = np.array(json.dumps(result.notes))
    np.savez(buffer, pairs=np.array(result.pairs, np.int64).reshape(-1, 2), notes=notes, **arrays)
    write_bytes(out / "tracks.npz", buffer.getvalue())


def load_match(out: Path) -> MatchResult:
    """Read ``tracks.npz``."""
    with np.load(out / "tracks.npz") as arrays:
        tracks = Tracks(**{name: arrays[name] for name in ("track", "frame", "xy", "score", "anchor")})
        pairs = [(int(i), int(j)) for i, j in arrays["pairs"]]
        return MatchResult(tracks, pairs, json.loads(str(arrays["notes"])))


def save_map(out: Path, result: MapResult) -> None:
    """Write ``map.json``."""
    content = asdict(result)
    content["models"] = [{str(k): np.asarray(v).tolist() for k, v in poses.items()} for poses in result.models]
    write_json(out / "map.json", content)


def load_map(out: Path) -> MapResult:
    """Read ``map.json``."""
    content = json.loads((out / "map.json").read_text())
    models = [{int(k): np.array(v) for k, v in poses.items()} for poses in content["models"]]
    cameras = [PinholeCamera(**c) for c in content["cameras"]]
    pairs = VerifiedPairs(**content["pairs"])
    # Runs of earlier versions call the mapper a rung.
    mapper = content["mapper"] if "mapper" in content else content["rung"]
    return MapResult(models, cameras, mapper, pairs, content["seconds"], content["notes"])


def made(out: Path, stage: str) -> str:
    """What a stage left in the run folder: places and numbers, for a line on the screen."""
    if stage == "match":
        match = load_match(out)
        return f"{out / 'tracks.npz'} ({match.tracks.count:,} tracks over {len(match.pairs):,} pairs of frames)"
    if stage == "map":
        found, used = load_map(out), _used(out)
        return f"{out / 'poses' / '0'} ({len(found.models[0])} of {used} frames have a pose)"
    if stage in ("frames", "describe"):
        return f"{out / 'frames'} ({_used(out)} of {frame_counts(out)[0]} frames), {out / 'masks'}"
    return f"{out / 'points.ply'}, {out / 'sparse' / '0'}"


def _used(out: Path) -> int:
    return sum(record["kept"] for record in json.loads((out / "frames.json").read_text())["frames"])
