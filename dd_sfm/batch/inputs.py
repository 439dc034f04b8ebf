"""What videos are made from: whether it is there, and whether it is what an earlier call was given."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dd_sfm.batch.storage import identity, is_url, without_secrets
from dd_sfm.batch.task import RUNS_OF_COMPARISON, Input, VideoTask
from dd_sfm.errors import DDSfMError
from dd_sfm.io.edited_masks import edited_masks

LOOKING_THREADS = 16
"""Object stores answer slowly, and many questions at once."""


@dataclass(frozen=True)
class Inputs:
    """What was found of the inputs of videos, by their names.

    ``known``: a text that is another when inputs or options are; ``size``: bytes of the sources; ``faults``: what is
    missing, a line each.
    """

    known: dict[str, str]
    size: dict[str, int]
    faults: tuple[str, ...]

    def largest_first(self, tasks: Sequence[VideoTask]) -> list[VideoTask]:
        """Videos in the order in which they are begun: the last ones to end are then short, and few cores idle."""
        return sorted(tasks, key=lambda task: -self.size[task.name])


def look_at(tasks: Sequence[VideoTask], where: Callable[[str, str], str]) -> Inputs:
    """Look at all inputs of videos.

    Args:
        tasks: The videos.
        where: Gives the place in the manifest of a video's option, by their names, for messages.
    """
    places = {one.location for task in tasks for one in task.inputs}
    with ThreadPoolExecutor(LOOKING_THREADS) as pool:
        found = dict(zip(places, pool.map(_identity, places), strict=True))
    faults = [
        f"{where(task.name, name)}: {name} {without_secrets(one.location)}: {found[one.location]}"
        for task in tasks
        for one in task.inputs
        for name in [one.option or "source"]
        if isinstance(found[one.location], str)
    ]
    known = {task.name: _fingerprint(task, found) for task in tasks}
    return Inputs(known, {task.name: _size(task, found) for task in tasks}, tuple(faults))


def _size(task: VideoTask, found: Mapping[str, Any]) -> int:
    sources = [found[one.location] for one in task.inputs if not one.option]
    return sum(int(size or 0) for source in sources if isinstance(source, list) for _, size, _ in source)


def _identity(location: str) -> list[Any] | str:
    """See :func:`dd_sfm.batch.storage.identity`; of what cannot be looked at, why."""
    try:
        return identity(location)
    except FileNotFoundError:
        return "not found; expected a file or folder"
    except DDSfMError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"cannot be read ({error}); expected a file or folder"


def _fingerprint(task: VideoTask, found: Mapping[str, Any]) -> str:
    inputs = [[one.option, one.part, _shown(one), found[one.location]] for one in task.inputs]
    # Of a run that a user has looked at and whose masks were edited, all that depends on them is to be done again.
    runs = [] if is_url(task.out) else [Path(task.out), *(Path(task.out, name) for name in RUNS_OF_COMPARISON)]
    edited = [sorted(edited_masks(run).items()) for run in runs]
    text = json.dumps([task.command, task.arguments, inputs, edited], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _shown(one: Input) -> str:
    """A location as it is compared: a signature of a URL is another each time."""
    return without_secrets(one.location)
