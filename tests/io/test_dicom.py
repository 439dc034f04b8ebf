"""DICOM files and folders as sources of frames."""

import gc
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import moving_frames

pytest.importorskip("pydicom")
from dicoms import PATIENT, by_ffmpeg, jpeg, jpeg2000, video_stream, write_dicom
from pydicom.pixels import convert_color_space
from pydicom.uid import generate_uid

from dd_sfm.errors import InputError
from dd_sfm.io import dicom_stream
from dd_sfm.io.video import iter_frames, open_source

COUNT = 5
IMPLICIT, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
JPEG, LOSSLESS_JPEG = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
MPEG2, H264, HEVC = "1.2.840.10008.1.2.4.101", "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.107"


def read_all(path):
    info = open_source(path)
    return info, dict(iter_frames(info, range(info.frame_count)))


def greys(frames):
    return [np.ascontiguousarray(frame[..., 0]) for frame in frames]


def furthest(found, frames):
    assert sorted(found) == list(range(len(frames)))
    shaped = [frame.reshape(*frame.shape[:2], -1).astype(int) for frame in frames]
    return max(np.abs(found[k] - frame).mean() for k, frame in enumerate(shaped))


def test_uncompressed_colour_and_times(tmp_path):
    frames = moving_frames(COUNT)
    info, found = read_all(write_dicom(tmp_path / "a.dcm", frames, FrameTime="40"))
    assert (info.width, info.height, info.frame_count, info.fps) == (160, 120, COUNT, 25)
    assert furthest(found, frames) == 0
    assert not info.notes
    assert open_source(write_dicom(tmp_path / "b.dcm", frames, CineRate=12)).fps == 12
    vector = open_source(write_dicom(tmp_path / "c.dcm", frames, FrameTimeVector=[0, 100, 100, 300, 100]))
    assert [vector.time_s(k) for k in range(COUNT)] == pytest.approx([0, 0.1, 0.2, 0.5, 0.6])


@pytest.mark.parametrize("name", ["clip", "clip.bin", "IM000001", "clip.mp4"])
def test_told_by_content_whatever_the_name(tmp_path, name):
    frames = moving_frames(COUNT)
    assert furthest(read_all(write_dicom(tmp_path / name, frames))[1], frames) == 0


@pytest.mark.parametrize("planar", [0, 1])
def test_uncompressed_ycbcr(tmp_path, planar):
    frames = moving_frames(COUNT)
    stored = np.stack([convert_color_space(frame, "RGB", "YBR_FULL") for frame in frames])
    pixels = (np.moveaxis(stored, 3, 1) if planar else stored).tobytes()
    tags = {"PhotometricInterpretation": "YBR_FULL", "PlanarConfiguration": planar}
    assert furthest(read_all(write_dicom(tmp_path / "a.dcm", frames, pixels=pixels, **tags))[1], frames) < 1.5


def test_uncompressed_ycbcr_with_half_the_chroma(tmp_path):
    frames = moving_frames(COUNT)
    ycc = np.stack([convert_color_space(frame, "RGB", "YBR_FULL") for frame in frames])
    pixels = np.stack([ycc[:, :, ::2, 0], ycc[:, :, 1::2, 0], ycc[:, :, ::2, 1], ycc[:, :, ::2, 2]], -1).tobytes()
    path = write_dicom(tmp_path / "a.dcm", frames, pixels=pixels, PhotometricInterpretation="YBR_FULL_422")
    assert furthest(read_all(path)[1], frames) < 3


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_grey_levels(tmp_path, bits, photometric):
    wanted = greys(moving_frames(COUNT))
    levels = [(255 - grey if photometric == "MONOCHROME1" else grey) for grey in wanted]
    stored = levels if bits == 8 else [grey.astype(np.uint16) << (bits - 8) for grey in levels]
    _, found = read_all(write_dicom(tmp_path / "a.dcm", stored, bits=bits, PhotometricInterpretation=photometric))
    assert furthest(found, wanted) == 0


def test_twelve_bits_said_to_be_sixteen_and_levels_with_a_sign(tmp_path):
    wanted = greys(moving_frames(COUNT))
    stored = [grey.astype(np.uint16) << 4 for grey in wanted]
    info, found = read_all(write_dicom(tmp_path / "a.dcm", stored, bits=16))
    assert furthest(found, wanted) == 0
    assert "12 of their 16 bits" in info.notes[0].text
    signed = [(grey.astype(np.int16) << 4) - 2048 for grey in wanted]
    _, found = read_all(write_dicom(tmp_path / "b.dcm", signed, bits=12, PixelRepresentation=1))
    # The lowest level is black.
    assert furthest(found, [grey - min(map(np.min, wanted)) for grey in wanted]) < 2


def test_palette(tmp_path):
    table = np.arange(256, dtype=np.uint16) * 257
    tags = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, order in (("Red", table), ("Green", table[::-1].copy()), ("Blue", table // 2)):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = order.tobytes()
    stored = greys(moving_frames(COUNT))
    _, found = read_all(write_dicom(tmp_path / "a.dcm", stored, **tags))
    assert furthest(found, [np.dstack([grey, 255 - grey, grey // 2]) for grey in stored]) < 1


@pytest.mark.parametrize("syntax", [IMPLICIT, DEFLATED])
def test_other_ways_to_store_frames(tmp_path, syntax):
    frames = moving_frames(COUNT)
    assert furthest(read_all(write_dicom(tmp_path / "a.dcm", frames, syntax=syntax))[1], frames) == 0


def test_jpeg(tmp_path):
    frames = moving_frames(COUNT)
    data = [jpeg(frame) for frame in frames]
    path = write_dicom(tmp_path / "a.dcm", frames, syntax=JPEG, data=data, PhotometricInterpretation="YBR_FULL_422")
    assert furthest(read_all(path)[1], frames) < 2


def test_jpeg_2000(tmp_path):
    frames = moving_frames(COUNT)
    data = [jpeg2000(frame) for frame in frames]
    path = write_dicom(tmp_path / "a.dcm", frames, syntax=JPEG_2000, data=data, PhotometricInterpretation="YBR_RCT")
    assert furthest(read_all(path)[1], frames) < 1
    deep = [grey.astype(np.uint16) << 4 for grey in greys(frames)]
    path = write_dicom(tmp_path / "b.dcm", deep, syntax=JPEG_2000, data=[jpeg2000(d) for d in deep], bits=16)
    assert furthest(read_all(path)[1], greys(frames)) < 1


@pytest.mark.parametrize(("syntax", "codec"), [(JPEG_LS, "jpegls"), (LOSSLESS_JPEG, "ljpeg")])
def test_lossless_jpeg_and_jpeg_ls(tmp_path, syntax, codec):
    frames = moving_frames(COUNT)
    kind = "rgb24" if codec == "jpegls" else "bgr24"
    data = [by_ffmpeg(codec, f if codec == "jpegls" else np.ascontiguousarray(f[..., ::-1]), kind) for f in frames]
    assert furthest(read_all(write_dicom(tmp_path / "a.dcm", frames, syntax=syntax, data=data))[1], frames) < 1


@pytest.mark.parametrize(
    ("syntax", "codec", "container", "rate"),
    [
        (MPEG2, "mpeg2video", "mpegts", 25), (MPEG2, "mpeg2video", "mpeg2video", 25), (H264, "libx264", "mp4", 10),
        (H264, "libx264", "mpegts", 10), (H264, "libx264", "h264", 10), (HEVC, "libx265", "mpegts", 10),
        (f"{H264}.1", "libx264", "mp4", 10),
    ],
)  # fmt: skip
def test_a_video_within(tmp_path, syntax, codec, container, rate):
    frames = moving_frames(12)
    data = video_stream(frames, codec, container, rate)
    parts = [data[:3000], data[3000:]] if syntax.endswith(".1") else [data]
    path = write_dicom(tmp_path / "a.dcm", frames, syntax=syntax, data=parts, FrameTime=str(1000 / rate))
    info, found = read_all(path)
    assert info.path == path
    assert info.fps == pytest.approx(rate, rel=0.01)
    assert furthest(found, frames) < 8


@pytest.mark.parametrize("open_files", [dicom_stream.OPEN_FILES, Path("nowhere")])
def test_the_copy_of_a_video_has_no_name_where_the_system_allows_it(tmp_path, monkeypatch, open_files):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr(dicom_stream, "OPEN_FILES", open_files)
    frames = moving_frames(6)
    data = [video_stream(frames, "libx264", "mp4")]
    path = write_dicom(tmp_path / "a.dcm", frames, syntax=H264, data=data)
    assert dicom_stream.extract_stream(path).path.read_bytes().startswith(data[0])
    _, found = read_all(path)
    assert furthest(found, frames) < 8
    # Nothing is left of a process that is killed.
    assert bool(list(scratch.iterdir())) != open_files.is_dir()


@pytest.mark.parametrize("open_files", [dicom_stream.OPEN_FILES, Path("nowhere")])
def test_a_video_is_copied_once_and_the_copy_goes_when_nobody_uses_it(tmp_path, monkeypatch, open_files):
    def copies():
        if open_files.is_dir():
            # Several open files may be the same one.
            return len({file for path in open_files.iterdir() if "/scratch/" in (file := os.path.realpath(path))})
        return len(list((tmp_path / "scratch").iterdir()))

    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    monkeypatch.setattr(dicom_stream, "OPEN_FILES", open_files)
    frames = moving_frames(3)
    data = [video_stream(frames, "libx264", "mp4")]
    paths = [write_dicom(tmp_path / f"{k}.dcm", frames, syntax=H264, data=data) for k in range(6)]
    copied = []
    monkeypatch.setattr(dicom_stream, "_copy", lambda *given, real=dicom_stream._copy: copied.append(real(*given)))
    opened = [open_source(path) for path in paths for _ in range(3)]
    assert len(copied) == len(paths)
    assert opened[0].video.path == opened[2].video.path
    dicom_stream._extract.cache_clear()
    reading = iter_frames(opened.pop(), [0, 1, 2])
    next(reading)
    gc.collect()
    assert copies() == len(paths)
    opened.clear()
    gc.collect()
    assert copies() == 1
    assert len(list(reading)) == 2
    del reading
    gc.collect()
    assert copies() == 0


def test_a_video_of_which_nothing_can_be_decoded(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", moving_frames(3), syntax=H264, data=[b"nothing." * 100])
    with pytest.raises(InputError, match=r"a\.dcm: a DICOM video of which no frame can be decoded"):
        open_source(path)


def test_one_damaged_frame_is_skipped(tmp_path):
    frames = moving_frames(COUNT)
    data = [jpeg(frame) for frame in frames]
    data[2] = data[2][:200]
    path = write_dicom(tmp_path / "a.dcm", frames, syntax=JPEG, data=data, PhotometricInterpretation="YBR_FULL_422")
    info, found = read_all(path)
    assert info.frame_count == COUNT
    assert sorted(found) == [0, 1, 3, 4]
    assert sorted(dict(iter_frames(info, [1, 2, 4]))) == [1, 4]


def test_a_compression_without_decoder_is_named(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", moving_frames(3), syntax="1.2.840.10008.1.2.4.203", data=[b"abcd"] * 3)
    with pytest.raises(InputError, match="High-Throughput JPEG 2000.* for which there is no decoder.*pip install"):
        open_source(path)


def write_series(folder, frames, order, names="image{}.dcm", **tags):
    folder.mkdir(exist_ok=True)
    for k, frame in enumerate(frames):
        write_dicom(folder / names.format(k), [frame], InstanceNumber=order[k], **tags)
    return folder


@pytest.mark.parametrize("names", ["image{}.dcm", "IM{}", "{}.bin"])
def test_a_folder_in_the_order_of_instance_numbers(tmp_path, names):
    frames = moving_frames(12)
    order = [7, 2, 11, 1, 3, 5, 4, 6, 12, 8, 10, 9]
    folder = write_series(tmp_path / "images", frames, order, names)
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "._image0.dcm").write_bytes(b"junk")
    info, found = read_all(folder)
    assert info.names == tuple(names.format(order.index(k)) for k in range(1, 13))
    assert furthest(found, [frames[order.index(k)] for k in range(1, 13)]) == 0


def test_the_largest_series_of_a_folder(tmp_path):
    folder = write_series(tmp_path / "images", moving_frames(6), range(6))
    write_series(folder, moving_frames(2), range(2), "other{}.dcm", SeriesInstanceUID=generate_uid())
    info, found = read_all(folder)
    assert len(found) == 6
    assert info.notes[0].text == "2 of 8 DICOM files in images are of other series or sizes and are left out"


def test_a_damaged_file_of_a_folder(tmp_path):
    folder = write_series(tmp_path / "images", moving_frames(12), range(12))
    (folder / "image4.dcm").write_bytes((folder / "image4.dcm").read_bytes()[:3000])
    _, found = read_all(folder)
    assert sorted(found) == [k for k in range(12) if k != 4]


def test_folders_of_an_export_are_hinted_at(tmp_path):
    inner = tmp_path / "DICOM" / "ST000000" / "SE000000"
    inner.mkdir(parents=True)
    write_series(inner, moving_frames(3), range(3), "IM{}")
    with pytest.raises(InputError, match=f"Did you mean {inner}?"):
        open_source(tmp_path)


@pytest.mark.parametrize("kind", ["frames", "video", "folder"])
def test_nothing_of_the_patient_is_written_or_printed(tmp_path, dd_sfm, kind):
    frames = moving_frames(8)
    source = tmp_path / "source.dcm"
    if kind == "folder":
        write_series(source, frames, range(8))
    else:
        stream = {"syntax": H264, "data": [video_stream(frames, "libx264", "mp4")]} if kind == "video" else {}
        write_dicom(source, frames, **stream)
    ran = dd_sfm("extract", source, "-o", tmp_path / "run", "--device", "cpu")
    assert ran.code == 0, ran.err
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len([path for path in written if path.parent.name == "frames"]) == 8
    told = [ran.out.encode(), ran.err.encode(), *(path.read_bytes() for path in written), *(bytes(p) for p in written)]
    secrets = [part for value in PATIENT.values() for part in value.split("^") if len(part) > 3]
    assert not [secret for secret in secrets if any(secret.encode() in text for text in told)]


def test_pydicom_is_asked_for(tmp_path, monkeypatch):
    path = write_dicom(tmp_path / "a.dcm", moving_frames(3))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    says = r'a\.dcm: a DICOM file, for which pydicom .*pip install "dd-sfm\[dicom\]"'
    for source in (path, tmp_path):
        with pytest.raises(InputError, match=says):
            open_source(source)


@pytest.mark.parametrize("length", [20, 300])
def test_a_damaged_header_tells_nothing_of_the_patient(tmp_path, length, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write_dicom(tmp_path / "a.dcm", moving_frames(3), PatientBirthDate="Secretdate")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"Secretman") + length])
    caplog.clear()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(InputError) as error:
            open_source(path)
    assert "a.dcm: " in str(error.value)
    told = str(error.value) + caplog.text + "".join(str(warning.message) for warning in warned)
    assert not [value for value in (*PATIENT.values(), "Secretman", "Secretdate") if value in told and len(value) > 1]
