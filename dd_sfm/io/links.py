"""Links in output folders: nothing is written to, or removed from, what they lead to.

An output folder may itself be a link, which the user who names it has made. One in it may have come with a folder from
elsewhere, and lead to files that no command has made.
"""

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from dd_sfm.errors import OutputError


def check_no_links(out: Path, folders: Iterable[str], but: Collection[Path] = ()) -> None:
    """Check that folders in an output folder, and all folders in them, are no links; they may be missing.

    Args:
        out: The output folder, which may be a link.
        folders: Paths relative to it.
        but: Links that may be there, as they are about to be replaced.

    Raises:
        OutputError: If one is.
    """
    for folder in folders:
        inside = Path(folder)
        places = [out / place for place in (*reversed(inside.parents[:-1]), inside)]
        if any(place in but for place in places):
            continue
        for place in places:
            check_is_no_link(out, place)
        for top, names, _ in os.walk(out / inside):
            for name in names:
                if Path(top, name) not in but:
                    check_is_no_link(out, Path(top, name))


def check_is_no_link(out: Path, folder: Path) -> None:
    """Check that a folder in an output folder is no link.

    Raises:
        OutputError: If it is.
    """
    if folder.is_symlink():
        raise OutputError(
            f"{folder}: a link to {folder.readlink()}; expected a folder, as nothing is written to where a link in "
            f"{out} leads. Remove the link, or make {out} itself one"
        )
