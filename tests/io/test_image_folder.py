"""Folders of images as people hand them over."""

import cv2
import numpy as np
import pytest
from conftest import moving_frames
from PIL import Image

from dd_sfm.config import FramesConfig
from dd_sfm.errors import InputError
from dd_sfm.io import image_files
from dd_sfm.io.video import iter_frames, open_source
from dd_sfm.notes import NoteCode
from dd_sfm.pipeline.frame_selection import chosen_numbers
from dd_sfm.structures import DropReason

COUNT = 12


def write_folder(folder, suffix=".png", count=COUNT):
    folder.mkdir()
    frames = moving_frames(count)
    for k, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"frame{k}{suffix}"), np.ascontiguousarray(frame[..., ::-1]))
    return frames


def read_all(folder):
    info = open_source(folder)
    return info, dict(iter_frames(info, range(info.frame_count)))


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero_tail(path):
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2] + bytes(size - size // 2))


def flip_bytes(path):
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 8] = bytes(b ^ 0x5A for b in data[middle : middle + 8])
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp", ".jp2", ".ppm", ".gif"])
@pytest.mark.parametrize("damage", [cut_short, lambda p: p.write_bytes(b""), lambda p: p.write_text("some text\n")])
def test_one_file_that_cannot_be_decoded_is_skipped(tmp_path, suffix, damage):
    write_folder(tmp_path / "images", suffix)
    damage(tmp_path / "images" / f"frame10{suffix}")
    info, found = read_all(tmp_path / "images")
    assert sorted(found) == [k for k in range(COUNT) if k != 10]
    assert info.frame_count == COUNT
    assert info.names[10] == f"frame10{suffix}"


@pytest.mark.parametrize(("suffix", "damage"), [(".png", flip_bytes), (".jpg", zero_tail), (".jp2", zero_tail)])
def test_damage_within_a_file(tmp_path, suffix, damage):
    write_folder(tmp_path / "images", suffix)
    damage(tmp_path / "images" / f"frame3{suffix}")
    _, found = read_all(tmp_path / "images")
    assert sorted(found) == [k for k in range(COUNT) if k != 3]


def test_the_reason_is_told(tmp_path):
    write_folder(tmp_path / "images", ".jpg", count=40)
    for k, damage in ((4, cut_short), (7, lambda p: p.write_bytes(b"")), (9, lambda p: p.write_text("text"))):
        damage(tmp_path / "images" / f"frame{k}.jpg")
    unusable = open_source(tmp_path / "images").unusable
    assert {k: reason for k, (reason, _) in unusable.items()} == dict.fromkeys((4, 7, 9), DropReason.UNDECODABLE)
    assert unusable[4][1] == "cannot be decoded (the file is cut short)"
    assert unusable[7][1] == "the file is empty"
    assert unusable[9][1] == "not an image that can be decoded"


def test_more_than_a_tenth_undecodable_is_refused(tmp_path):
    write_folder(tmp_path / "images")
    for k in (3, 5):
        cut_short(tmp_path / "images" / f"frame{k}.png")
    with pytest.raises(InputError, match=r"2 of 12 images cannot be decoded \(frame3.png: .*; frame5.png: .*tenth"):
        open_source(tmp_path / "images")


def test_files_that_systems_leave_are_ignored(tmp_path):
    frames = write_folder(tmp_path / "images", ".png")
    for name in ("._frame0.png", ".hidden.jpg", "Thumbs.db", ".DS_Store", "desktop.ini", "notes.txt"):
        (tmp_path / "images" / name).write_bytes(b"\0\5\x16\7junk")
    (tmp_path / "images" / "__MACOSX").mkdir()
    info, found = read_all(tmp_path / "images")
    assert info.names == tuple(f"frame{k}.png" for k in range(COUNT))
    assert all((found[k] == frames[k]).all() for k in range(COUNT))


@pytest.mark.parametrize("name", ["frame{}.png", "FRAME{}.JPG", "frame{}", "frame{}.dat"])
def test_content_counts_not_the_name(tmp_path, name):
    frames = write_folder(tmp_path / "images", ".bmp")
    for k in range(COUNT):
        (tmp_path / "images" / f"frame{k}.bmp").rename(tmp_path / "images" / name.format(k))
    _, found = read_all(tmp_path / "images")
    assert all((found[k] == frames[k]).all() for k in range(COUNT))


@pytest.mark.parametrize("suffix", [".webp", ".jp2", ".ppm", ".tif", ".bmp", ".avif", ".tga", ".pam", ".gif"])
def test_formats(tmp_path, suffix):
    (tmp_path / "images").mkdir()
    frames = moving_frames(3)
    for k, frame in enumerate(frames):
        path = tmp_path / "images" / f"{k}{suffix}"
        if suffix in (".tga", ".avif"):
            Image.fromarray(frame).save(path)
        else:
            cv2.imwrite(str(path), np.ascontiguousarray(frame[..., ::-1]))
    info, found = read_all(tmp_path / "images")
    assert (info.width, info.height) == (160, 120)
    assert all(np.abs(found[k].astype(int) - frames[k]).mean() < 6 for k in range(3))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_modes(tmp_path, mode):
    (tmp_path / "images").mkdir()
    pictures = [Image.fromarray(frame).convert(mode) for frame in moving_frames(3)]
    for k, picture in enumerate(pictures):
        picture.save(tmp_path / "images" / f"{k}.png")
    _, found = read_all(tmp_path / "images")
    for k, picture in enumerate(pictures):
        wanted = np.asarray(picture.convert("L" if mode == "LA" else "RGB").convert("RGB"))
        assert (found[k] == wanted).all()


def write_deep(folder, suffix, bits, colour=True):
    """Images whose levels 0 to 255 are those of the frames once they are scaled, a single one with the highest."""
    folder.mkdir()
    frames = moving_frames(COUNT)
    for k, frame in enumerate(frames):
        levels = (frame.astype(np.uint16) if colour else frame[..., 0].astype(np.uint16)) << (bits - 8)
        levels[0, 0] = 2**bits - 1
        cv2.imwrite(str(folder / f"{k}{suffix}"), np.ascontiguousarray(levels[..., ::-1] if colour else levels))
    return frames


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
def test_levels_of_more_than_eight_bits_are_scaled_by_their_range(tmp_path, suffix, bits):
    frames = write_deep(tmp_path / "images", suffix, bits)
    info, found = read_all(tmp_path / "images")
    assert all((found[k][1:] == frames[k][1:]).all() for k in range(COUNT))
    assert [note.code for note in info.notes] == [NoteCode.IMAGES_SCALED] * (bits < 16)
    if bits == 12:
        assert "12 of their 16 bits: level 4095 is read as white" in info.notes[0].text


def test_one_range_for_all_images(tmp_path):
    frames = write_deep(tmp_path / "images", ".png", 12, colour=False)
    dark = np.minimum(frames[5][..., 0].astype(np.uint16), 60) << 4
    cv2.imwrite(str(tmp_path / "images" / "5.png"), dark)
    _, found = read_all(tmp_path / "images")
    assert (found[5][..., 0] == np.minimum(frames[5][..., 0], 60)).all()


def test_levels_as_fractions(tmp_path):
    (tmp_path / "images").mkdir()
    frames = moving_frames(3)
    for k, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / "images" / f"{k}.tif"), frame[..., ::-1].astype(np.float32) / 255)
    _, found = read_all(tmp_path / "images")
    assert all((found[k] == frames[k]).all() for k in range(3))


STORED = {1: 1, 3: 3, 6: 8, 8: 6}
"""By EXIF's orientation the one that makes the stored picture of an upright one."""


def write_oriented(folder, orientations, suffix=".png", *, store_turned):
    folder.mkdir()
    frames = moving_frames(len(orientations))
    for k, (frame, orientation) in enumerate(zip(frames, orientations, strict=True)):
        exif = Image.Exif()
        exif[image_files.ORIENTATION_TAG] = orientation
        stored = image_files.turned(frame, STORED[orientation]) if store_turned else frame
        Image.fromarray(stored).save(folder / f"{k}{suffix}", exif=exif)
    return frames


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
@pytest.mark.parametrize("store_turned", [True, False], ids=["pictures turned", "tags only"])
@pytest.mark.parametrize("orientations", [[1, 1, 6, 6, 1, 8, 1], [1, 3, 3, 1, 1, 1, 3]])
def test_images_with_different_orientations_are_read_alike(tmp_path, suffix, orientations, store_turned):
    frames = write_oriented(tmp_path / "images", orientations, suffix, store_turned=store_turned)
    info, found = read_all(tmp_path / "images")
    assert (info.width, info.height) == (160, 120)
    limit = 0 if suffix == ".png" else 8
    assert all(np.abs(found[k].astype(int) - frames[k]).mean() <= limit for k in range(len(frames)))
    (note,) = info.notes
    assert note.code is NoteCode.IMAGES_TURNED


def test_each_image_is_turned_as_it_fits_the_others(tmp_path):
    frames = write_oriented(tmp_path / "images", [1, 6, 1, 1, 8, 1], store_turned=True)
    exif = Image.Exif()
    exif[image_files.ORIENTATION_TAG] = 6
    Image.fromarray(frames[3]).save(tmp_path / "images" / "3.png", exif=exif)
    info, found = read_all(tmp_path / "images")
    assert all((found[k] == frames[k]).all() for k in range(len(frames)))
    (note,) = info.notes
    assert note.text == (
        "3 of 6 images have an EXIF orientation of their own: turned upright 2, "
        "read as stored, which fits the others, 1"
    )


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png", ".webp"])
def test_a_single_image_names_its_folder(tmp_path, suffix):
    exif = Image.Exif()
    exif[image_files.ORIENTATION_TAG] = 6
    Image.fromarray(moving_frames(1)[0]).save(tmp_path / f"a{suffix}", exif=exif)
    with pytest.raises(InputError, match=f"1 frame; expected at least 3. Did you mean its folder, {tmp_path}?"):
        chosen_numbers(open_source(tmp_path / f"a{suffix}"), FramesConfig())


def test_images_that_are_all_turned_the_same_way(tmp_path):
    frames = write_oriented(tmp_path / "images", [6] * 4, store_turned=True)
    info, found = read_all(tmp_path / "images")
    assert not info.notes
    assert all((found[k] == frames[k]).all() for k in range(4))


def test_a_turned_image_of_another_size_names_the_reason(tmp_path):
    write_oriented(tmp_path / "images", [1, 6, 1, 1], store_turned=True)
    Image.fromarray(moving_frames(1)[0][:100]).save(tmp_path / "images" / "2.png")
    with pytest.raises(InputError, match="2.png: 160x100 pixels; expected 160x120 as in 0.png"):
        open_source(tmp_path / "images")
    write_oriented(tmp_path / "more", [1, 1, 6, 1, 3], store_turned=True)
    (tmp_path / "more" / "1.png").write_bytes((tmp_path / "more" / "2.png").read_bytes())
    Image.fromarray(moving_frames(1)[0].swapaxes(0, 1)).save(tmp_path / "more" / "3.png")
    with pytest.raises(InputError, match="3.png: 120x160 pixels; expected 160x120"):
        open_source(tmp_path / "more")


def test_a_few_images_of_another_size_are_left_out(tmp_path):
    write_folder(tmp_path / "images", count=20)
    Image.fromarray(moving_frames(1)[0][:100]).save(tmp_path / "images" / "frame7.png")
    info, found = read_all(tmp_path / "images")
    assert info.unusable == {7: (DropReason.OTHER_SIZE, "160x100 pixels; the others have 160x120")}
    assert 7 not in found
    # The first one is no more than any other.
    Image.fromarray(moving_frames(1)[0][:100]).save(tmp_path / "images" / "frame0.png")
    info, _ = read_all(tmp_path / "images")
    assert set(info.unusable) == {0, 7}
    assert (info.width, info.height) == (160, 120)


@pytest.mark.parametrize("inside", ["left", "left/images"])
def test_a_folder_of_folders_is_told_where_images_are(tmp_path, inside):
    (tmp_path / inside).parent.mkdir(exist_ok=True)
    write_folder(tmp_path / inside, count=3)
    (tmp_path / "__MACOSX").mkdir()
    with pytest.raises(InputError, match=f"no image found.*Did you mean {tmp_path / inside}"):
        open_source(tmp_path)


def test_a_folder_of_several_folders(tmp_path):
    for name in ("b", "a"):
        write_folder(tmp_path / name, count=3)
    with pytest.raises(InputError, match=f"folders of images: name one of them, {tmp_path / 'a'}, {tmp_path / 'b'}"):
        open_source(tmp_path)


def test_opening_decodes_few_images(tmp_path, monkeypatch):
    write_folder(tmp_path / "images", count=40)
    decoded = []
    read = image_files.read_levels
    monkeypatch.setattr("dd_sfm.io.image_folder.read_levels", lambda path: decoded.append(path) or read(path))
    monkeypatch.setattr("dd_sfm.io.image_files.read_levels", lambda path: decoded.append(path) or read(path))
    open_source(tmp_path / "images")
    assert len(decoded) <= 3
