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
    """The user stopped the work; what is needed to go on is written. The exit code is the shell's for the signal."""

    def __init__(self, text: str, number: int = signal.SIGINT) -> None:
        super().__init__(text)
        self.exit_code = 128 + number


class Terminated(KeyboardInterrupt):
    """SIGTERM came: taken as Ctrl-C is, but told by the exit code."""


def interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C or SIGTERM behind an error, if any: compiled code makes its own of one that falls into it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return error
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def telling_of_stop(text: Callable[[], str]) -> Iterator[None]:
    """Make a StoppedError of Ctrl-C, and of SIGTERM, with a text made when it comes; the exit code is the shell's."""
    try:
        with _interrupted_by_sigterm():
            yield
    except DDSfMError:
        raise
    except (KeyboardInterrupt, Exception) as error:
        interrupt = interrupt_behind(error)
        if interrupt is None:
            raise
        number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
        raise StoppedError(text(), number) from error


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let ``kill`` and a batch system's time limit end the work as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _terminate(number: int, frame: object) -> None:
    raise Terminated
