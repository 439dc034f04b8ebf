"""Errors a user can cause or has to know of.

Messages read *where: what was found; what was expected. Next step.* in one line. Only ``dd_sfm.cli``
prints them and turns them into exit codes; broken invariants of our own use ``assert``.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

MOST_CHARACTERS = 2000
"""Of a line that is shown; the middle of a longer one is left out."""


class DDSfMError(Exception):
    """Base of all errors whose message is meant for the user."""

    exit_code = 1


def one_line(text: object) -> str:
    """A text as one line of characters that can be seen.

    What files are called and hold may be in it: a terminal would obey control characters, and names may be endless.
    """
    line = " ".join(str(text).split())
    if len(line) > MOST_CHARACTERS:
        line = f"{line[: MOST_CHARACTERS // 2]} ... {line[-MOST_CHARACTERS // 2 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def listed(names: Sequence[str], most: int) -> str:
    """Names with commas between them; of more than ``most`` the first ones."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def reason_of(error: BaseException) -> str:
    """Why something could not be read, in words: an error of the system without its number and path."""
    if isinstance(error, FileNotFoundError):
        return "not found"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"no {error}" if isinstance(error, KeyError) else str(error)


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


class ShortageError(DDSfMError):
    """The machine has run out of memory, disk or threads; with more of it the same command may well work."""


class ReconstructionError(DDSfMError):
    """No model could be made from the matches."""


class TrainingError(DDSfMError):
    """A training cannot go on."""


class StoppedError(DDSfMError):
    """The user stopped the work; what is needed to go on is written. The exit code is the shell's for the signal.

    ``resumes``: whether the same command goes on from what was finished, as long as it does not overwrite it.
    """

    def __init__(self, text: str, number: int = signal.SIGINT, *, resumes: bool = False) -> None:
        super().__init__(text)
        self.exit_code = 128 + number
        self.resumes = resumes


class Terminated(KeyboardInterrupt):
    """SIGTERM came: it stops the work as Ctrl-C does, with another exit code. Only the command line raises it."""


def interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C or SIGTERM behind an error, if any: compiled code makes its own of one that falls into it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return error
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def stoppable(text: Callable[[], str], *, resumes: bool = False) -> Iterator[None]:
    """Turn Ctrl-C within a block into a StoppedError.

    Args:
        text: Makes the message when the stop comes.
        resumes: See :class:`StoppedError`.

    Raises:
        StoppedError: If the user stops the work.
    """
    try:
        yield
    except DDSfMError:
        raise
    except (KeyboardInterrupt, Exception) as error:
        interrupt = interrupt_behind(error)
        if interrupt is None:
            raise
        number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
        raise StoppedError(text(), number, resumes=resumes) from error
