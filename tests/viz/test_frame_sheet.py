import cv2
import numpy as np
from conftest import circle_mask

from dd_sfm.viz.render.frame_sheet import GAP_PX, frame_sheet, write_sheet


def flat(level, count):
    return [np.full((120, 160, 3), level + k, np.uint8) for k in range(count)]


def test_frames_are_spread_evenly_and_cut_to_the_field_of_view(tmp_path):
    clips = [("one", flat(50, 10), circle_mask(radius=40)), ("two", flat(150, 2), circle_mask(radius=30))]
    sheet = frame_sheet(clips, columns=4, tile_px=79)
    assert sheet.shape[0] == 2 * 79 + GAP_PX
    # Frames 0, 3, 6 and 9 of the first clip, a tile being as wide as the circle; both frames of the second.
    assert [int(sheet[60, 40 + k * (79 + GAP_PX), 0]) for k in range(4)] == [50, 53, 56, 59]
    assert [int(sheet[150, 40 + k * (79 + GAP_PX), 0]) for k in range(4)] == [150, 151, 0, 0]
    # Its label is written over the first one.
    assert sheet[:30, :79].max() > 200
    write_sheet(tmp_path / "sheet.png", sheet)
    assert np.array_equal(cv2.imread(str(tmp_path / "sheet.png"))[..., ::-1], sheet)
