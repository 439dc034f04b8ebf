"""``run.log``: what a run did, and the error that ended it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dd_sfm.errors import DDSfMError, StoppedError, one_line
from dd_sfm.io.atomic import output_error

logger = logging.getLogger(__name__)


class _RunLog(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A log that cannot be written, as on a full disk, hides no error that is about to be told."""


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Send the package's log to a file while a run lasts, with the error that ends it.

    Raises:
        OutputError: If the file cannot be written.
    """
    try:
        if path.is_symlink():
            # What it leads to is elsewhere and stays as it is.
            path.unlink()
        handler = _RunLog(path, encoding="utf-8")
    except OSError as error:
        raise output_error(path, error) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    package = logging.getLogger("dd_sfm")
    level = package.level
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    except StoppedError as stopped:
        logger.info("%s", stopped)
        raise
    except DDSfMError as error:
        logger.error("%s", one_line(error))
        raise
    except Exception:
        logger.exception("unexpected")
        raise
    finally:
        package.removeHandler(handler)
        package.setLevel(level)
        with suppress(OSError):
            handler.close()
