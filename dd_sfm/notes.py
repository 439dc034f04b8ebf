"""What went less well in a run: a code that programs can ask for, and a sentence for the user."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class NoteCode(StrEnum):
    """What a note is about; the values are written to a run's files."""

    VIDEO_ENDS_EARLY = "video_ends_early"
    INTERLACED = "interlaced"
    PIXELS_NOT_SQUARE = "pixels_not_square"
    VIDEO_TURNED = "video_turned"
    OTHER_VIDEO_STREAMS = "other_video_streams"
    RECORDINGS_JOINED = "recordings_joined"
    FRAMES_MISSING = "frames_missing"
    FRAMES_UNDECODABLE = "frames_undecodable"
    FRAMES_OF_OTHER_SIZE = "frames_of_other_size"
    IMAGES_TURNED = "images_turned"
    IMAGES_SCALED = "images_scaled"
    FRAMES_BLANK = "frames_blank"
    FRAMES_OF_OTHER_FIELD = "frames_of_other_field"
    DICOM_LEFT_OUT = "dicom_left_out"
    STEREO_HALF = "stereo_half"
    SIDE_BY_SIDE = "side_by_side"
    FRAMES_MASKED = "frames_masked"
    FRAMES_WITHOUT_MASK = "frames_without_mask"
    EDITED_MASKS_NOT_USED = "edited_masks_not_used"
    KEY_FRAMES = "key_frames"
    FRAMES_FEATURELESS = "frames_featureless"
    FRAMES_OBSCURED = "frames_obscured"
    FRAMES_BLURRED = "frames_blurred"
    FRAMES_WITHOUT_MOTION = "frames_without_motion"
    SOURCE_NOT_USED = "source_not_used"
    CUTS = "cuts"
    CALIBRATION_FIELD_OF_VIEW = "calibration_field_of_view"
    CALIBRATION_CENTRE = "calibration_centre"
    CALIBRATION_FOCAL_LENGTH = "calibration_focal_length"
    CALIBRATION_SCALED = "calibration_scaled"
    CALIBRATION_CROPPED = "calibration_cropped"
    LENS_ENDS_EARLY = "lens_ends_early"
    FIELD_NOT_KEPT = "field_not_kept"
    NO_CALIBRATION = "no_calibration"
    CAMERA_ESTIMATED = "camera_estimated"
    FEW_MATCHES = "few_matches"
    INSTRUMENTS_MASKED = "instruments_masked"
    FRAMES_IN_BOTH_RUNS = "frames_in_both_runs"
    FRAMES_NOT_LOCALIZED = "frames_not_localized"
    DESCRIBED_AGAIN = "described_again"
    FRAMES_NOT_REGISTERED = "frames_not_registered"
    FRAMES_REGISTERED_LATE = "frames_registered_late"
    FRAMES_TAKEN_OUT = "frames_taken_out"
    MODEL_SPLIT = "model_split"
    POSES_UNCONFIRMED = "poses_unconfirmed"
    FEW_FRAMES = "few_frames"
    MODELS_DOUBTED = "models_doubted"
    FALLBACK_MAPPER = "fallback_mapper"
    MAPPER_ENDED = "mapper_ended"
    SEVERAL_MODELS = "several_models"
    MODELS_JOINED = "models_joined"
    MODEL_SCALES = "model_scales"
    PIECES_JOINED = "pieces_joined"
    PIECES_APART = "pieces_apart"
    SCALE_JUMP = "scale_jump"
    KNOWN_POSES = "known_poses"
    KNOWN_POSES_DISAGREE = "known_poses_disagree"
    SCENE_MOVES = "scene_moves"
    NO_DEPTH_MAPS = "no_depth_maps"
    NO_DEPTH_AGREEMENT = "no_depth_agreement"
    FEW_DEPTHS_AGREE = "few_depths_agree"
    DENSE_SEARCH_ON_CPU = "dense_search_on_cpu"
    UNCERTAIN_POINTS = "uncertain_points"
    COVERAGE_UNKNOWN = "coverage_unknown"
    UNKNOWN = "unknown"
    """A note of a run of an older version, which stored only the sentence."""

    @property
    def doubts_camera(self) -> bool:
        """Whether the camera may be another one than assumed, so that errors expected of points hold only with it."""
        return self in (
            NoteCode.NO_CALIBRATION,
            NoteCode.CALIBRATION_FIELD_OF_VIEW,
            NoteCode.CALIBRATION_CENTRE,
            NoteCode.CALIBRATION_FOCAL_LENGTH,
        )


OLDER_SENTENCES = {
    "no calibration:": NoteCode.NO_CALIBRATION,
    "calibration: the principal point": NoteCode.CALIBRATION_CENTRE,
    "calibration: a focal length": NoteCode.CALIBRATION_FIELD_OF_VIEW,
    "calibration: the focal length": NoteCode.CALIBRATION_FOCAL_LENGTH,
}
"""How the sentences began that doubt the camera, in runs of the version that stored no codes."""


@dataclass(frozen=True)
class Note:
    """One thing that went less well. ``text`` is a whole sentence without a full stop."""

    code: NoteCode
    text: str

    def as_json(self) -> dict[str, str]:
        """The note as a run's files hold it."""
        return {"code": self.code.value, "text": self.text}

    @classmethod
    def from_json(cls, value: Any) -> "Note":
        """Read a note; older versions stored the sentence alone.

        Raises:
            TypeError: If ``value`` is neither an object nor a text.
            KeyError: If it has no text.
        """
        if isinstance(value, str):
            code = next((code for start, code in OLDER_SENTENCES.items() if value.startswith(start)), NoteCode.UNKNOWN)
            return cls(code, value)
        code_text, text = str(value["code"]), str(value["text"])
        return cls(NoteCode(code_text) if code_text in set(NoteCode) else NoteCode.UNKNOWN, text)
