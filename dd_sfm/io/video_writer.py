"""H.264 video that browsers play, written through PyAV."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import OutputError


def write_video(path: Path, frames: Iterable[NDArray[Any]], *, fps: float, crf: int = 18) -> int:
    """Write RGB (H, W, 3) uint8 frames of one even size as an mp4; complete or not there at all.

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

    partial = path.with_name(path.name + ".partial")
    count = 0
    try:
        with av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream: Any = None
            for image in frames:
                if stream is None:
                    rate = Fraction(fps).limit_denominator(1001)
                    stream = container.add_stream("libx264", rate=rate)
                    stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
                    # One thread: the same bytes on every machine.
                    stream.options = {"crf": str(crf), "preset": "medium", "threads": "1"}
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                container.mux(stream.encode(picture))
                count += 1
            if stream is not None:
                container.mux(stream.encode())
        partial.replace(path)
    except (OSError, av.error.FFmpegError) as error:
        raise OutputError(f"{path}: cannot be written ({error}); choose another output folder") from error
    finally:
        # Also when it is the making of the frames that fails.
        partial.unlink(missing_ok=True) if partial.parent.is_dir() else None
    return count
