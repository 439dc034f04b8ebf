"""What is said of frames that were taken out of a model, and of models that were split."""

from dd_sfm.notes import Note, NoteCode
from dd_sfm.sfm.sound_models import SoundModels
from dd_sfm.structures import FrameSet


def sound_notes(sound: SoundModels, frames: FrameSet) -> list[Note]:
    """Frames that were left out and splits, by their reasons; nothing where all holds."""
    notes = []
    if sound.unconfirmed:
        text = "nothing that the mapper did not use confirms the poses: do not trust them. Use more frames"
        notes.append(Note(NoteCode.POSES_UNCONFIRMED, text))
    for why in sorted(set(sound.left_out.values())):
        named = [frames.frames[k].label for k in sorted(sound.left_out) if sound.left_out[k] == why]
        which = "1 frame was" if len(named) == 1 else f"{len(named)} frames were"
        notes.append(Note(NoteCode.FRAMES_TAKEN_OUT, f"{which} taken out of the model: {', '.join(named)}: {why}"))
    for position, why in sorted(sound.splits.items()):
        text = f"the model was split before frame {frames.frames[position].label}: of that and those after it, {why}"
        notes.append(Note(NoteCode.MODEL_SPLIT, text))
    return notes
