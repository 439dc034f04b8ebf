"""What a run will take on a usual machine, part by part: only how the parts compare to each other counts."""

from collections.abc import Sequence
from pathlib import Path

from dd_sfm.config import Config, DenseConfig, MatchConfig
from dd_sfm.errors import InputError
from dd_sfm.io.run_folder import read_frames
from dd_sfm.progress import Part

FRAMES_S, DESCRIBE_S, MATCH_S, MAP_S = 0.04, 0.085, 0.24, 0.08
"""Seconds a frame of 1 megapixel on two cores with the default settings."""
ADJUST_S, SEARCH_S, MEASURE_S, COLOUR_S = 0.05, 0.11, 0.12, 0.02
"""The same for a round of adjusting poses, the last search of depths, measuring its points, and their colours."""
SIFT_S = {"describe": 0.05, "match": 0.06, "map": 0.04, "densify": 0.01}
BETWEEN_S = 0.02
"""A frame between key frames."""
COVERAGE_S, REPORT_S, DEPTH_S = 2.8, 4.8, 0.25
"""The coverage and the page of a run; a depth map."""
CAMERA_S = {"read frames": FRAMES_S, "describe": 0.08, "match": 0.08, "map, global mapper": 0.1}
"""A frame of those that a camera is estimated from, step by step; lens and poses are found together in the last one."""
LEAST_OF_CAMERA, MOST_OF_CAMERA, KEYS_OF_CAMERA = 15, 32, 256
"""How many frames that takes, at most, and among how many key frames are looked for."""
CAMERA_STEP = "estimate camera"
"""What goes before the names of these steps."""
KEY_FRAMES = 5
"""Before key frames are chosen, one in so many frames is expected to become one."""


def expected_parts(
    config: Config, stages: Sequence[str], chosen: int, used: int | None = None, *, calibrated: bool = True
) -> list[Part]:
    """The parts of the stages that are left of a run.

    Args:
        config: The settings.
        stages: Those that are to be done.
        chosen: How many frames of the source are looked at.
        used: How many of them the model is made of; None where that is not known yet.
        calibrated: Whether the camera is known; else it is estimated.
    """
    has_keys = config.frames.every == "auto"
    count = used or (max(1, chosen // KEY_FRAMES) if has_keys else min(chosen, config.frames.max_frames or chosen))
    camera = [] if calibrated or not config.camera.estimate else _camera(chosen, has_keys=has_keys)
    found = {"frames": [*camera, Part("frames", "read frames", FRAMES_S * chosen)]}
    if config.features != "learned":
        found |= {stage: [Part(stage, stage, seconds * count)] for stage, seconds in SIFT_S.items()}
    else:
        found["describe"] = [Part("describe", "describe", DESCRIBE_S * count)]
        found["match"] = [Part("match", "match", MATCH_S * _matching(config) * count)]
        found["map"] = [Part("map", "map, global mapper", MAP_S * count)]
        found["densify"] = _densify(config.dense, count)
    if has_keys:
        found["densify"].append(Part("densify", "poses between", BETWEEN_S * (chosen - count)))
    # A run that is finished goes on with its coverage.
    found["densify"].append(Part("coverage", "coverage", COVERAGE_S))
    return [part for stage in stages for part in found[stage]]


def expected_depth(config: Config, run: Path, *, every_frame: bool) -> list[Part]:
    """The depth maps of a run: of its references or, ``every_frame``, of all; none while its frames are not known."""
    try:
        frames = read_frames(run)
    except InputError:
        return []
    count = len(frames.records) if every_frame else len(frames.kept) / config.dense.every
    return [Part("depth", "depth", DEPTH_S * count)]


def _camera(chosen: int, *, has_keys: bool) -> list[Part]:
    """What estimating the camera takes, where the first stretch of the clip that is looked at tells it."""
    if chosen < LEAST_OF_CAMERA:
        return []
    count = min(chosen, MOST_OF_CAMERA)
    read = min(chosen, KEYS_OF_CAMERA) if has_keys else count
    return [
        Part("frames", f"{CAMERA_STEP}: {step}", seconds * (read if step == "read frames" else count))
        for step, seconds in CAMERA_S.items()
    ]


def _matching(config: Config) -> float:
    usual, match = MatchConfig(), config.match
    points = min(match.max_queries / usual.max_queries, (usual.query_spacing_px / match.query_spacing_px) ** 2)
    return points * 4 / config.pairs.reference_every


def _densify(config: DenseConfig, count: int) -> list[Part]:
    usual = DenseConfig()
    if not config.enabled:
        return [Part("densify", "colour", COLOUR_S * count)]
    references = count * usual.every / config.every
    rough = references * (usual.adjust_spacing_px / config.adjust_spacing_px) ** 2
    fine = references * (usual.spacing_px / config.spacing_px) ** 2
    rounds = config.adjust_rounds if config.adjust_points else 0
    parts = [
        Part("densify", f"round {number} of {rounds}: {step}", seconds * rough)
        for number in range(1, rounds + 1)
        for step, seconds in (("adjust", ADJUST_S), ("measure", ADJUST_S))
    ]
    return [
        *parts,
        Part("densify", "depth", SEARCH_S * fine),
        Part("densify", "measure", MEASURE_S * fine),
        Part("densify", "colour", COLOUR_S * count),
    ]
