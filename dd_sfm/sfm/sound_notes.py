"""What is said of frames that were taken out of a model, and of models that were split."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from dd_sfm.notes import Note, NoteCode
from dd_sfm.sfm.piece_notes import frame_names
from dd_sfm.sfm.pose_check import OF_SEVERAL
from dd_sfm.sfm.sound_models import SoundModels
from dd_sfm.structures import FloatArray, FrameSet


def sound_notes(sound: SoundModels, frames: FrameSet) -> list[Note]:
    """Frames that were left out and splits, by their reasons; nothing where all holds."""
    notes = []
    if sound.unconfirmed:
        text = "nothing that the mapper did not use confirms the poses: do not trust them. Use more frames"
        notes.append(Note(NoteCode.POSES_UNCONFIRMED, text))
    for why in sorted(set(sound.left_out.values())):
        which = [k for k in sorted(sound.left_out) if sound.left_out[k] == why]
        count, told = ("1 frame was", why) if len(which) == 1 else (f"{len(which)} frames were", OF_SEVERAL[why])
        text = f"{count} taken out of the model: {frame_names(which, frames)}: {told}"
        notes.append(Note(NoteCode.FRAMES_TAKEN_OUT, text))
    return notes + split_notes(sound.splits, frames)


def split_notes(splits: Mapping[int, str], frames: FrameSet) -> list[Note]:
    """Where models were split, and why, by the first frame after each split."""
    notes = []
    for position, why in sorted(splits.items()):
        told = f"of that and those after it, {OF_SEVERAL[why]}"
        text = f"the model was split before frame {frames.frames[position].label}: {told}"
        notes.append(Note(NoteCode.MODEL_SPLIT, text))
    return notes


def standing_splits(splits: Mapping[int, str], models: Sequence[Mapping[int, FloatArray]]) -> dict[int, str]:
    """Splits whose two sides are still in different models."""
    number = {position: k for k, poses in enumerate(models) for position in poses}
    earlier = {after: before for before, after in pairwise(sorted(number))}
    return {k: why for k, why in splits.items() if k in earlier and number[k] != number[earlier[k]]}
