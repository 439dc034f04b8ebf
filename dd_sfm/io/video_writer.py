"""H.264 video that browsers play, written through PyAV."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.io.encoded import write_encoded


def write_video(path: Path, frames: Iterable[NDArray[Any]], *, fps: float, crf: int = 18) -> int:
    """Write RGB (H, W, 3) uint8 frames of one even size as an mp4; see :func:`write_encoded`.

    Args:
        path: The file.
        frames: Images, taken one at a time.
        fps: Frames a second.
        crf: H.264 quality; 18 looks lossless, 23 is common.

    Returns:
        The number of frames written.

    Raises:
        OutputError: If the file cannot be written.
    """
    import av

    def add_stream(container: Any) -> Any:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.pix_fmt = "yuv420p"
        # One thread: the same bytes on every machine.
        stream.options = {"crf": str(crf), "preset": "medium", "threads": "1"}
        return stream

    def to_picture(image: NDArray[Any]) -> Any:
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")

    return write_encoded(
        path,
        frames,
        container_format="mp4",
        add_stream=add_stream,
        to_picture=to_picture,
        options={"movflags": "+faststart"},
    )
