"""Errors a user can cause or has to know of.

Messages read *where: what was found; what was expected. Next step.* in one line. Only ``dd_sfm.cli``
prints them and turns them into exit codes; broken invariants of our own use ``assert``.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class DDSfMError(Exception):
    """Base of all errors whose message is meant for the user."""

    exit_code = 1


class UsageError(DDSfMError):
    """The command line, a configuration or a path given by the user is wrong (exit code 2)."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file or override holds an unknown key or a value of the wrong kind."""


class InputError(DDSfMError):
    """A video, image, mask, calibration or sequence cannot be used."""


class WeightsError(DDSfMError):
    """Weights are missing, corrupt, or of another architecture."""


class DeviceError(DDSfMError):
    """The requested device is not there."""


class ShapeError(DDSfMError):
    """Arrays that must agree in shape do not."""


class OutputError(DDSfMError):
    """The output cannot be written, or exists and belongs to something else."""


class ReconstructionError(DDSfMError):
    """No model could be made from the matches."""


class TrainingError(DDSfMError):
    """A training cannot go on."""


class StoppedError(DDSfMError):
    """The user stopped the work; what is needed to go on is written."""

    exit_code = 130


def is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error: compiled code makes a SystemError of the interrupt that falls into it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def telling_of_stop(text: Callable[[], str]) -> Iterator[None]:
    """Make a StoppedError of Ctrl-C, and of SIGTERM, with a text made when it comes."""
    try:
        with _interrupted_by_sigterm():
            yield
    except (KeyboardInterrupt, SystemError) as error:
        if not is_interrupt(error):
            raise
        raise StoppedError(text()) from error


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let ``kill`` and a batch system's time limit end the work as Ctrl-C does.

    COLMAP sets a handler of its own when it is imported, which prints a stack as if something had crashed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
