"""A feature method in one file: ORB keypoints, matched to the frames after them and strung into tracks."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from dd_sfm.config import Config
from dd_sfm.features.dense_tracks import densify_tracks, map_inputs, map_tracks, points_inputs
from dd_sfm.features.method import Job
from dd_sfm.io.atomic import write_json
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.structures import FinishedModel, MapResult, MatchResult, Tracks


class OrbFeatures:
    """The feature method that ``features: orb`` names in the test."""

    resumes: frozenset[str] = frozenset()

    def check(self, config: Config) -> None:
        """Nothing is needed."""

    def weights(self, config: Config) -> str | None:
        """ORB is not learned."""
        return None

    def stage_inputs(self, config: Config) -> Mapping[str, Any]:
        """No settings of its own; the number counts up when the code changes what is found."""
        return {"describe": [], "match": ["orb", 1], "map": map_inputs(config), "densify": points_inputs(config)}

    def describe(self, job: Job) -> None:
        """Frames are described while they are matched."""

    def is_described(self, job: Job) -> bool:
        """There is nothing to keep."""
        return True

    def match(self, job: Job) -> MatchResult:
        """Follow keypoints from each frame to the next."""
        orb, matcher = cv2.ORB_create(3000, fastThreshold=4), cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True)
        found = [
            orb.detectAndCompute(
                cv2.cvtColor(read_image(f.path), cv2.COLOR_RGB2GRAY), read_mask(f.mask_path).astype(np.uint8)
            )
            for f in job.frames.frames
        ]
        numbers, count = [np.full(len(keypoints), -1) for keypoints, _ in found], 0
        for (first, (_, before)), (second, (_, after)) in pairwise(enumerate(found)):
            for match in matcher.match(before, after):
                if numbers[first][match.queryIdx] < 0:
                    numbers[first][match.queryIdx], count = count, count + 1
                numbers[second][match.trainIdx] = numbers[first][match.queryIdx]
        rows = [
            (number, position, *keypoints[k].pt)
            for position, (keypoints, _) in enumerate(found)
            for k, number in enumerate(numbers[position])
            if number >= 0
        ]
        table = np.array(sorted(rows))
        track = table[:, 0].astype(np.int64)
        folder = job.out / "match"
        folder.mkdir(exist_ok=True)
        write_json(folder / "matches.json", {"tracks": int(track[-1]) + 1})
        tracks = Tracks(
            track,
            table[:, 1].astype(np.int64),
            table[:, 2:].astype(np.float32),
            np.ones(len(table), np.float32),
            np.r_[True, np.diff(track) > 0],
        )
        return MatchResult(tracks, list(pairwise(range(len(found)))))

    def map(self, job: Job, tracks: Tracks) -> MapResult:
        """The mappers that the learned descriptor has."""
        return map_tracks(job, tracks)

    def points(self, job: Job, tracks: Tracks, found: MapResult) -> Iterator[FinishedModel]:
        """The points that the learned descriptor has."""
        return densify_tracks(job, tracks, found)
