"""Which frames and pieces of a run, several sources or both sides of a cut, are in one model, and which are not."""

from collections.abc import Collection, Mapping, Sequence

from dd_sfm.errors import listed
from dd_sfm.notes import Note, NoteCode
from dd_sfm.structures import FloatArray, FrameSet, ModelScale

NAMED = 8
"""So many frames are named in a note."""
OF_MODELS = (
    NoteCode.FRAMES_NOT_REGISTERED, NoteCode.SEVERAL_MODELS, NoteCode.PIECES_JOINED, NoteCode.PIECES_APART
)  # fmt: skip
"""Codes of what :func:`model_notes` tells."""
LEAST_FRAMES = 3
"""Frames of a piece in a model from which on it counts as part of it; it is none of a piece with fewer."""


def model_notes(
    models: Sequence[Mapping[int, FloatArray]], frames: FrameSet, taken_out: Collection[int] = ()
) -> list[Note]:
    """Which frames are in no model, or not in the first one, and what became of the pieces.

    Args:
        models: The poses of each model by frame position.
        frames: All frames.
        taken_out: Positions of frames of which another note tells why they are in no model.
    """
    notes = []
    missing = [k for k in range(len(frames)) if k not in models[0] and k not in taken_out]
    if missing:
        where = "in the largest model" if len(models) > 1 else "in the model"
        named = frame_names(missing, frames)
        text = f"{len(missing)} of {len(frames)} frames could not be registered {where}: {named}"
        notes.append(Note(NoteCode.FRAMES_NOT_REGISTERED, text))
    if len(models) > 1:
        sizes = ", ".join(model_text(poses, frames) for poses in models)
        text = f"no mapper joined all frames: {len(models)} models of {sizes} frames"
        notes.append(Note(NoteCode.SEVERAL_MODELS, text))
    return notes + piece_notes(models, frames)


def scale_notes(
    models: Sequence[Mapping[int, FloatArray]], scales: Sequence[ModelScale], frames: FrameSet
) -> list[Note]:
    """The scales of further models relative to the first; nothing where there is one model."""
    named = []
    for poses, found in list(zip(models, scales, strict=False))[1:]:
        first, last = (frames.frames[position].label for position in (min(poses), max(poses)))
        told = "unknown, as too little was found in both"
        if found.scale is not None and found.sigma is not None:
            told = f"{found.scale:.2f} +- {100 * found.sigma:.0f} %"
        named.append(f"of frames {first} to {last}: {told}")
    text = f"units of the first model in one unit of the model {'; '.join(named)}"
    return [Note(NoteCode.MODEL_SCALES, text)] if named else []


def piece_notes(models: Sequence[Mapping[int, FloatArray]], frames: FrameSet) -> list[Note]:
    """What became of the pieces; nothing where there is only one.

    Args:
        models: The poses of each model by frame position.
        frames: All frames.
    """
    pieces = frames.pieces
    if len(pieces) == 1:
        return []
    held = [[piece for piece in pieces if _is_part(piece, poses)] for poses in models]
    together = [some for some in held if len(some) > 1]
    joined = [", ".join(piece_name(frames, piece) for piece in some) for some in together]
    notes = [Note(NoteCode.PIECES_JOINED, f"one model joins {text}") for text in joined]
    lost = [piece for piece in pieces if not any(piece in some for some in held)]
    apart = [*held, *([piece] for piece in lost)]
    if len(apart) > 1:
        groups = " | ".join(", ".join(piece_name(frames, piece) for piece in some) for some in apart if some)
        text = f"no tissue was found that these have in common, so that they are not in one model: {groups}"
        notes.append(Note(NoteCode.PIECES_APART, text))
    if lost:
        names = ", ".join(piece_name(frames, piece) for piece in lost)
        notes.append(Note(NoteCode.PIECES_APART, f"in no model at all: {names}"))
    return notes


def frame_names(positions: Sequence[int], frames: FrameSet) -> str:
    """Frames by name, the first ones where there are many."""
    return listed([frames.frames[position].label for position in positions], NAMED)


def model_text(poses: Mapping[int, FloatArray], frames: FrameSet) -> str:
    """How many frames a model has, and where there are several pieces of which."""
    if len(frames.pieces) == 1:
        return str(len(poses))
    counts = [(piece, sum(position in piece for position in poses)) for piece in frames.pieces]
    parts = [f"{count} of {piece_name(frames, piece)}" for piece, count in counts if count]
    return f"{len(poses)} ({', '.join(parts)})"


def piece_name(frames: FrameSet, piece: range) -> str:
    """The first and the last frame of a piece."""
    return f"frames {frames.frames[piece[0]].label} to {frames.frames[piece[-1]].label}"


def _is_part(piece: range, poses: Mapping[int, FloatArray]) -> bool:
    return sum(position in poses for position in piece) >= min(LEAST_FRAMES, len(piece))
