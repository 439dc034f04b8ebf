"""The tracks that a mapper is given."""

import numpy as np

from dd_sfm.structures import Tracks


def mapper_tracks(tracks: Tracks, per_frame: int, size: tuple[int, int], *, min_views: int = 3) -> Tracks:
    """The tracks a mapper needs: long and reliable ones first, well spread over every frame.

    Args:
        tracks: All tracks.
        per_frame: About how many tracks a frame may have.
        size: Width and height of the frames in source pixels.
        min_views: Fewest observations of a track.

    Returns:
        The chosen tracks, renumbered.
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
    filled = np.zeros(len(used))
    chosen = np.zeros(tracks.count, bool)
    for track in np.argsort(-worth, kind="stable"):
        if length[track] < min_views:
            continue
        places = bucket[starts[track] : starts[track + 1]]
        if (filled[places] < quota[places]).mean() >= 0.5:
            chosen[track] = True
            filled[places] += 1
    rows = chosen[tracks.track]
    number = np.cumsum(chosen) - 1
    return Tracks(
        number[tracks.track[rows]], tracks.frame[rows], tracks.xy[rows], tracks.score[rows], tracks.anchor[rows]
    )
