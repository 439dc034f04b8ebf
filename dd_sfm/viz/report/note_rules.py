"""Which notes of a run ask for another recording, or another call, and by which rule of :mod:`.advice`."""

from dd_sfm.notes import NoteCode

NOTE_RULES: dict[NoteCode, str | None] = {
    # What is wrong with the file or the picture.
    NoteCode.VIDEO_ENDS_EARLY: "sound_file",
    NoteCode.FRAMES_MISSING: "sound_file",
    NoteCode.FRAMES_UNDECODABLE: "sound_file",
    NoteCode.SIDE_BY_SIDE: "one_half",
    # The camera.
    NoteCode.CALIBRATION_FIELD_OF_VIEW: "check_calibration",
    NoteCode.CALIBRATION_CENTRE: "check_calibration",
    NoteCode.CALIBRATION_FOCAL_LENGTH: "check_calibration",
    NoteCode.LENS_ENDS_EARLY: "calibrate_to_the_rim",
    NoteCode.NO_CALIBRATION: "calibrate",
    NoteCode.CAMERA_ESTIMATED: "calibrate",
    # The poses.
    NoteCode.FEW_MATCHES: "stay_near",
    NoteCode.SEVERAL_MODELS: "keep_in_view",
    NoteCode.PIECES_APART: "keep_in_view",
    NoteCode.FRAMES_TAKEN_OUT: "steady_path",
    NoteCode.MODEL_SPLIT: "steady_path",
    NoteCode.SCALE_JUMP: "steady_path",
    NoteCode.POSES_UNCONFIRMED: "more_frames",
    NoteCode.SCENE_MOVES: "hold_still",
    # The points.
    NoteCode.NO_DEPTH_MAPS: "move_sideways",
    NoteCode.NO_DEPTH_AGREEMENT: "move_sideways",
    NoteCode.FEW_DEPTHS_AGREE: "clear_view",
    NoteCode.UNCERTAIN_POINTS: "move_sideways",
    # What the rules ask the figures for: the frames used, other models, and others of which a few do no harm.
    NoteCode.FEW_FRAMES: None,
    NoteCode.MODELS_DOUBTED: None,
    NoteCode.FRAMES_FEATURELESS: None,
    NoteCode.FRAMES_OBSCURED: None,
    NoteCode.FRAMES_BLURRED: None,
    NoteCode.FRAMES_NOT_REGISTERED: None,
    NoteCode.FRAMES_NOT_LOCALIZED: None,
    NoteCode.INSTRUMENTS_MASKED: None,
    # What was mended, or was chosen so, or costs only time.
    NoteCode.INTERLACED: None,
    NoteCode.PIXELS_NOT_SQUARE: None,
    NoteCode.VIDEO_TURNED: None,
    NoteCode.OTHER_VIDEO_STREAMS: None,
    NoteCode.RECORDINGS_JOINED: None,
    NoteCode.FRAMES_OF_OTHER_SIZE: None,
    NoteCode.IMAGES_TURNED: None,
    NoteCode.IMAGES_SCALED: None,
    NoteCode.FRAMES_BLANK: None,
    NoteCode.FRAMES_OF_OTHER_FIELD: None,
    NoteCode.DICOM_LEFT_OUT: None,
    NoteCode.STEREO_HALF: None,
    NoteCode.FRAMES_MASKED: None,
    NoteCode.FRAMES_WITHOUT_MASK: None,
    NoteCode.EDITED_MASKS_NOT_USED: None,
    NoteCode.KEY_FRAMES: None,
    NoteCode.FRAMES_WITHOUT_MOTION: None,
    NoteCode.SOURCE_NOT_USED: None,
    NoteCode.CUTS: None,
    NoteCode.CALIBRATION_SCALED: None,
    NoteCode.CALIBRATION_CROPPED: None,
    NoteCode.FIELD_NOT_KEPT: None,
    NoteCode.FRAMES_REGISTERED_LATE: None,
    NoteCode.FALLBACK_MAPPER: None,
    NoteCode.MAPPER_ENDED: None,
    NoteCode.FRAMES_IN_BOTH_RUNS: None,
    NoteCode.MODELS_JOINED: None,
    NoteCode.KNOWN_POSES: None,
    NoteCode.KNOWN_POSES_DISAGREE: None,
    NoteCode.MODEL_SCALES: None,
    NoteCode.PIECES_JOINED: None,
    NoteCode.DENSE_SEARCH_ON_CPU: None,
    NoteCode.DESCRIBED_AGAIN: None,
    NoteCode.COVERAGE_UNKNOWN: None,
    NoteCode.UNKNOWN: None,
}
"""By the code of a note the rule that speaks wherever it stands, whatever the figures are; None: none has to."""


def codes_of(rule: str) -> frozenset[NoteCode]:
    """The codes for which a rule has to speak."""
    return frozenset(code for code, name in NOTE_RULES.items() if name == rule)
