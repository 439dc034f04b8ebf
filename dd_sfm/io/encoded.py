"""Videos and animations written through PyAV: one frame in memory at a time, and atomically."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dd_sfm.errors import OutputError
from dd_sfm.io.atomic import atomic_file, output_error
from dd_sfm.io.shortage import shortage


class _FrameError(Exception):
    """Wraps an error raised while a frame is made, to tell it from errors of writing."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _taken(frames: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    try:
        yield from frames
    except Exception as error:
        raise _FrameError(error) from error


def write_encoded(
    path: Path,
    frames: Iterable[NDArray[Any]],
    *,
    container_format: str,
    add_stream: Callable[[Any], Any],
    to_picture: Callable[[NDArray[Any]], Any],
    options: dict[str, str] | None = None,
) -> int:
    """Encode RGB (H, W, 3) uint8 frames of one size.

    Args:
        path: The file.
        frames: Images, taken one at a time.
        container_format: As FFmpeg calls it.
        add_stream: Adds the stream to an open container; its size is set here.
        to_picture: From a frame to what the stream encodes.
        options: Of the container.

    Returns:
        The number of frames written.

    Raises:
        OutputError: If the file cannot be written.
    """
    import av

    count = 0
    try:
        with (
            atomic_file(path) as partial,
            av.open(str(partial), "w", format=container_format, options=options or {}) as container,
        ):
            stream: Any = None
            for image in _taken(frames):
                if stream is None:
                    stream = add_stream(container)
                    stream.height, stream.width = image.shape[:2]
                container.mux(stream.encode(to_picture(image)))
                count += 1
            if stream is not None:
                container.mux(stream.encode())
    except _FrameError as error:
        raise error.reason from error.reason.__cause__
    except OSError as error:
        raise output_error(path, error) from error
    except av.error.FFmpegError as error:
        if shortage(error, ""):
            raise
        raise OutputError(f"{path}: cannot be written ({error}); choose another output folder") from error
    return count
