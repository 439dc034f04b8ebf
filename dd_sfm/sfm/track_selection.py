"""The tracks that a mapper is given."""

import numpy as np
from numpy.typing import NDArray

from dd_sfm.ops.compiled import BoolArray, Float64Array, Int64Array, compiled_for_workers
from dd_sfm.structures import Tracks


def mapper_tracks(tracks: Tracks, per_frame: int, size: tuple[int, int], *, min_views: int = 3) -> NDArray[np.bool_]:
    """Which tracks (T,) a mapper needs: long and reliable ones first, well spread over every frame.

    Args:
        tracks: All tracks.
        per_frame: About how many tracks a frame may have.
        size: Width and height of the frames in source pixels.
        min_views: Fewest observations of a track.
    """
    side = 8
    cell = np.clip((tracks.xy / np.array(size) * side).astype(np.int64), 0, side - 1)
    bucket = (tracks.frame * side + cell[:, 1]) * side + cell[:, 0]
    used, bucket = np.unique(bucket, return_inverse=True)
    _, per_bucket_frame = np.unique(used // (side * side), return_inverse=True)
    quota = np.ceil(per_frame / np.maximum(np.bincount(per_bucket_frame), 1))[per_bucket_frame]
    starts = np.searchsorted(tracks.track, np.arange(tracks.count + 1))
    length = np.diff(starts)
    worth = np.add.reduceat(tracks.score, starts[:-1]) if tracks.count else np.zeros(0)
    order = np.argsort(-worth, kind="stable")
    return np.asarray(_choose(order[length[order] >= min_views], starts, bucket, quota))


@compiled_for_workers
def _choose(order: Int64Array, starts: Int64Array, bucket: Int64Array, quota: Float64Array) -> BoolArray:
    """Which tracks (T,) are taken, one after the other, where half of their observations find room."""
    chosen, filled = np.zeros(len(starts) - 1, np.bool_), np.zeros(len(quota), np.int64)
    for track in order:
        places = bucket[starts[track] : starts[track + 1]]
        room = 0
        for place in places:
            room += filled[place] < quota[place]
        if 2 * room >= len(places):
            chosen[track] = True
            for place in places:
                filled[place] += 1
    return chosen
