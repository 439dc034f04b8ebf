"""Pieces: stretches of frames over which the view follows, one or more a source."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from dd_sfm.errors import listed
from dd_sfm.io.source import SourceInfo
from dd_sfm.notes import Note, NoteCode
from dd_sfm.pipeline.cuts import Boundary, find_cuts
from dd_sfm.structures import FrameRecord

NAMED = 5
"""So many cuts are named in a note."""


def number_pieces(
    info: SourceInfo, records: Sequence[FrameRecord], boundaries: Sequence[Boundary]
) -> tuple[list[FrameRecord], list[Boundary]]:
    """Number the piece of each frame: it counts on at each source and each cut.

    Args:
        info: The source, or several as one.
        records: Of its frames, ascending.
        boundaries: Between the frames that are used.

    Returns:
        The records with their pieces, and the cuts.
    """
    cuts: list[Boundary] = []
    for part, span in zip(info.parts or (info,), info.spans, strict=True):
        own = [boundary for boundary in boundaries if boundary.after in span]
        # The frames of a folder of images have no times that tell a gap.
        timed = [] if part.names else [record for record in records if record.index in span]
        cuts += find_cuts(own, timed)
    starts = sorted({*(span.start for span in info.spans[1:]), *(cut.after for cut in cuts)})
    numbered, piece = [], 0
    for record in records:
        while piece < len(starts) and record.index >= starts[piece]:
            piece += 1
        numbered.append(replace(record, piece=piece))
    return numbered, cuts


def longest_piece(numbers: Sequence[int], boundaries: Sequence[Boundary]) -> Sequence[int]:
    """Of frames of one source, ascending, those of the longest piece."""
    starts = [bisect_left(numbers, cut.after) for cut in find_cuts(boundaries, ())]
    return max((numbers[start:end] for start, end in pairwise([0, *starts, len(numbers)])), key=len)


def cut_notes(info: SourceInfo, cuts: Sequence[Boundary]) -> list[Note]:
    """Where the cuts are."""
    if not cuts:
        return []
    named = listed([_where(info, cut) for cut in cuts], NAMED)
    found = "1 cut" if len(cuts) == 1 else f"{len(cuts)} cuts"
    text = f"{found} in the video, between frames {named}: the pieces are matched on their own, and where they overlap"
    return [Note(NoteCode.CUTS, text)]


def _where(info: SourceInfo, cut: Boundary) -> str:
    part, before = info.place(cut.before)
    _, after = info.place(cut.after)
    return f"{before} and {after}" + (f" of {info.parts[part].title}" if info.parts else "")


def unused_notes(info: SourceInfo, records: Sequence[FrameRecord]) -> list[Note]:
    """Sources of which no frame is used."""
    notes = []
    for part, span in zip(info.parts, info.spans, strict=False):
        own = [record for record in records if record.index in span]
        if own and not any(record.kept for record in own):
            reasons = sorted({record.dropped.value for record in own if record.dropped})
            text = f"none of the {len(own)} frames of {part.title} is used ({', '.join(reasons)}); frames.json says why"
            notes.append(Note(NoteCode.SOURCE_NOT_USED, text))
    return notes
