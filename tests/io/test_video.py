import shutil
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from videos import HEIGHT, WIDTH, damage, interlaced, number_in, numbered, picture, write

from dd_sfm.errors import InputError
from dd_sfm.io import video_file
from dd_sfm.io.video import iter_frames, open_source
from dd_sfm.io.video_decoder import Decoder
from dd_sfm.io.video_packets import read_packets
from dd_sfm.notes import NoteCode
from dd_sfm.structures import DropReason

KINDS = {
    "a.mp4": ("libx264", None, {}),
    "a.mkv": ("libx264", "matroska", {}),
    "live.mkv": ("libx264", "matroska", {"live": "1"}),
    "a.ts": ("libx264", "mpegts", {}),
    "a.flv": ("libx264", "flv", {}),
    "h.avi": ("libx264", "avi", {}),
    "a.h264": ("libx264", "h264", {}),
    "a.hevc": ("libx265", "hevc", {}),
    "a.vob": ("mpeg2video", "vob", {}),
    "a.m2v": ("mpeg2video", "mpeg2video", {}),
    "a.mjpeg": ("mjpeg", "mjpeg", {}),
    "x.avi": ("mpeg4", "avi", {}),
    "a.webm": ("libvpx-vp9", "webm", {}),
    "b.webm": ("libvpx", "webm", {}),
    "a.wmv": ("wmv2", "asf", {}),
    "f.mp4": ("libx264", "mp4", {"movflags": "frag_keyframe+empty_moov"}),
}
"""Codec, format, and settings of the container."""


def make(folder, name, count=60, first=0):
    codec, form, container = KINDS[name]
    fast = {"deadline": "realtime", "cpu-used": "8"}
    options = {"libx265": {"x265-params": "log-level=none"}, "libvpx": fast, "libvpx-vp9": fast}.get(codec, {})
    return numbered(folder / name, count, codec, first, form=form, container=container, options=options)


def read(path, numbers=None):
    info = open_source(path)
    return {
        n: number_in(image) for n, image in iter_frames(info, range(info.frame_count) if numbers is None else numbers)
    }


def codes(path):
    return [note.code for note in open_source(path).notes]


@pytest.mark.parametrize("name", KINDS)
def test_every_container_is_read_to_its_end_in_the_order_of_display(tmp_path, name):
    path = make(tmp_path, name)
    info = open_source(path)
    assert (info.width, info.height, info.frame_count) == (WIDTH, HEIGHT, 60)
    assert info.notes == ()
    assert read(path) == {k: k for k in range(60)}
    assert read(path, [3, 17, 40, 58, 59, 80]) == {k: k for k in (3, 17, 40, 58, 59)}
    assert info.fps == pytest.approx(25, abs=0.01)
    assert info.time_s(30) == pytest.approx(1.2, abs=0.002)


def test_one_damaged_packet_loses_one_frame(tmp_path):
    path = damage(make(tmp_path, "a.mp4"), [20])
    found = read(path)
    assert open_source(path).frame_count == 60
    assert len(found) == 59
    assert [found[k] for k in range(0, 18)] == list(range(18))
    assert [found[k] for k in range(24, 60)] == list(range(24, 60))


@pytest.mark.parametrize(
    ("packets", "left"),
    [([0, 1, 2], range(6, 60)), ([57, 58, 59], [*range(55), 56, 58]), ([8, 31, 44], None), ([0, 30], None)],
    ids=["first", "last", "some", "keys"],
)
def test_what_is_not_damaged_is_read(tmp_path, packets, left):
    path = damage(make(tmp_path, "a.mp4"), packets)
    found = read(path)
    assert open_source(path).frame_count == 60
    if left is not None:
        assert list(found) == list(left)
    assert len(found) >= 60 - 6 * len(packets)
    # Frames that are sought are those that are read one after the other.
    assert list(read(path, range(50, 60))) == [k for k in found if k >= 50]


def test_what_a_transport_stream_lost_is_said(tmp_path):
    path = damage(make(tmp_path, "a.ts"), [20])
    assert list(read(path)) == list(range(59))
    (note,) = open_source(path).notes
    assert note.code is NoteCode.FRAMES_MISSING
    assert note.text.startswith("by the times of the others 1 frame is missing")


def test_damage_at_the_end_takes_no_other_frames_with_it(tmp_path):
    path = damage(make(tmp_path, "a.mp4"), [59])
    assert len(read(path)) == 59


@pytest.mark.parametrize("name", ["a.ts", "a.vob", "a.m2v", "a.h264", "a.mjpeg"])
def test_joined_recordings_are_one_video(tmp_path, name):
    (tmp_path / "parts").mkdir()
    parts = [make(tmp_path / "parts", name, 30, first).rename(tmp_path / f"{first}") for first in (0, 30)]
    path = tmp_path / name
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert read(path) == {k: k for k in range(60)}
    assert read(path, [5, 31, 58]) == {5: 5, 31: 31, 58: 58}
    times = [open_source(path).time_s(k) for k in range(60)]
    assert times == pytest.approx([k / 25 for k in range(60)], abs=0.001)
    if name in ("a.ts", "a.vob"):
        assert codes(path) == [NoteCode.RECORDINGS_JOINED]


@pytest.mark.parametrize(
    "other", [{"mpegts_start_pid": "500"}, {"mpegts_start_pid": "500", "mpegts_pmt_start_pid": "5000"}]
)
def test_a_second_recording_may_be_a_stream_of_another_number(tmp_path, other):
    parts = [numbered(tmp_path / f"{k}.ts", 30, first=k, form="mpegts", container=c) for k, c in ((0, {}), (30, other))]
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert read(path) == {k: k for k in range(60)}
    assert read(path, [5, 31, 58]) == {5: 5, 31: 31, 58: 58}


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_frames_of_a_variable_rate_have_their_true_times(tmp_path, name):
    steps = np.random.default_rng(0).choice([20, 40, 40, 120, 33], 59)
    times = [0, *np.cumsum(steps).tolist()]
    path = numbered(tmp_path / name, times_ms=times)
    info = open_source(path)
    assert info.notes == ()
    assert read(path) == {k: k for k in range(60)}
    assert [info.time_s(k) for k in range(60)] == pytest.approx([t / 1000 for t in times], abs=0.001)
    assert info.fps == pytest.approx(59 / times[-1] * 1000, rel=0.001)


@pytest.mark.parametrize(("first", "order"), [(0, "tff"), (1, "bff")])
@pytest.mark.parametrize("flagged", [True, False], ids=["flagged", "not flagged"])
def test_fields_are_made_frames(tmp_path, first, order, flagged):
    options = {"crf": "12"} | ({"x264-params": f"{order}=1"} if flagged else {})
    images = [interlaced(k, first) for k in range(40)]
    path = write(tmp_path / "a.mp4", images, options=options)
    (note,) = open_source(path).notes
    assert note.code is NoteCode.INTERLACED
    assert f"({'lower' if first else 'upper'} lines first)" in note.text
    assert ("as it says" if flagged else "though it does not say so") in note.text
    assert read(path) == {k: k for k in range(40)}
    assert read(path, [7, 8, 30]) == {7: 7, 8: 8, 30: 30}
    with av.open(str(path)) as container:
        combed = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for number, image in iter_frames(open_source(path), [10, 21]):
        assert combing(image) < 0.6 * combing(combed[number])


def test_slight_combing_is_named_and_left(tmp_path):
    large = cv2.resize(picture(0), (480, 640), interpolation=cv2.INTER_CUBIC)
    half_a_pixel = np.float32([[1, 0, 0.5], [0, 1, 0]])
    images = [np.roll(large, k, 1) for k in range(12)]
    for image in images:
        image[1::2] = cv2.warpAffine(image, half_a_pixel, (480, 640))[1::2]
    path = write(tmp_path / "a.mp4", images, options={"crf": "12"})
    info = open_source(path)
    (note,) = info.notes
    assert note.code is NoteCode.INTERLACED
    assert "though it does not say so" in note.text
    assert note.text.endswith("so little that they are used as they are")
    assert info.video.display.fields is None


def combing(image):
    """How much lines differ from both of their neighbours, above the number."""
    rows = image[:48].astype(float).mean(2)
    return np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean()


def test_mpeg_2_fields_are_made_frames(tmp_path):
    images = [interlaced(k) for k in range(40)]
    path = write(tmp_path / "a.vob", images, "mpeg2video", form="vob", options={"flags": "+ilme+ildct", "b": "3M"})
    assert codes(path) == [NoteCode.INTERLACED]
    assert read(path) == {k: k for k in range(40)}


def test_whole_frames_that_say_they_are_interlaced_are_left_as_they_are(tmp_path):
    path = numbered(tmp_path / "a.mp4", 40, options={"x264-params": "tff=1"})
    (note,) = open_source(path).notes
    assert "left as they are" in note.text
    with av.open(str(path)) as container:
        whole = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert all((image == whole[n]).all() for n, image in iter_frames(open_source(path), range(40)))


def test_still_frames_are_taken_as_they_say(tmp_path):
    path = write(tmp_path / "a.mp4", [picture(3)] * 20, options={"x264-params": "tff=1"})
    (note,) = open_source(path).notes
    assert "as each frame says" in note.text
    assert set(read(path).values()) == {3}


def test_fields_are_found_after_a_black_beginning(tmp_path):
    images = [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 40 + [interlaced(k) for k in range(40, 100)]
    path = write(tmp_path / "a.mp4", images, key_every=250)
    assert codes(path) == [NoteCode.INTERLACED]


@pytest.mark.parametrize(
    ("aspect", "size"), [((16, 15), (102, 64)), ((64, 45), (137, 64)), ((8, 9), (96, 72)), ((1, 1), (96, 64))]
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_pixels_become_square(tmp_path, name, aspect, size):
    codec, form, _ = KINDS[name]
    path = numbered(tmp_path / name, 12, codec, form=form, aspect=Fraction(*aspect))
    info = open_source(path)
    assert (info.width, info.height) == size
    assert all(image.shape == (size[1], size[0], 3) for _, image in iter_frames(info, range(12)))
    assert read(path) == {k: k for k in range(12)}
    assert codes(path) == ([] if aspect == (1, 1) else [NoteCode.PIXELS_NOT_SQUARE])


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_frames_are_turned_as_players_do(tmp_path, turn):
    path = numbered(tmp_path / "a.mp4", 12, turn_deg=turn)
    info = open_source(path)
    assert (info.width, info.height) == ((96, 64) if turn == 180 else (64, 96))
    ((_, image),) = iter_frames(info, [5])
    assert number_in(np.rot90(image, -turn // 90)) == 5
    assert codes(path) == [NoteCode.VIDEO_TURNED]


def test_the_largest_of_two_videos_is_read(tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as output:
        streams = [output.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, scale in zip(streams, (0.5, 1), strict=True):
            stream.width, stream.height, stream.pix_fmt = int(WIDTH * scale), int(HEIGHT * scale), "yuv420p"
        for k in range(20):
            for stream in streams:
                image = cv2.resize(picture(k), (stream.width, stream.height), interpolation=cv2.INTER_AREA)
                output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        for stream in streams:
            output.mux(stream.encode())
    info = open_source(path)
    assert (info.width, info.height, info.frame_count) == (96, 64, 20)
    assert read(path) == {k: k for k in range(20)}
    (note,) = info.notes
    assert "96x64 pixels is read, not 48x32" in note.text


def test_frames_of_another_size_are_passed_over_with_that_reason(tmp_path):
    parts = []
    for k, (count, size) in enumerate([(20, (WIDTH, HEIGHT)), (10, (64, 48)), (20, (WIDTH, HEIGHT))]):
        images = [cv2.resize(picture(n), size) for n in range(20 * k, 20 * k + count)]
        parts.append(write(tmp_path / f"{k}.ts", images, "mpeg2video", form="mpegts"))
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    info, skipped = open_source(path), {}
    found = dict(iter_frames(info, range(info.frame_count), skipped))
    assert info.frame_count == 50
    assert list(found) == [*range(20), *range(30, 50)]
    assert list(skipped) == list(range(20, 30))
    assert skipped[25] == (DropReason.OTHER_SIZE, "another size: 64x48 pixels, most have 96x64")


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le"])
def test_colours_are_right_for_every_format_of_pixels(tmp_path, pixels):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, :32], image[:, 32:64], image[:, 64:] = (200, 60, 40), (40, 180, 90), (230, 230, 230)
    path = write(tmp_path / "a.mkv", [image] * 3, pixels=pixels, options={"crf": "8"})
    ((_, found),) = iter_frames(open_source(path), [1])
    for column in (16, 48, 80):
        assert found[32, column].tolist() == pytest.approx(image[32, column].tolist(), abs=4)


def test_a_file_cut_off_is_read_as_far_as_it_goes(tmp_path):
    path = numbered(tmp_path / "a.mp4", container={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    info = open_source(path)
    assert 20 < info.frame_count < 60
    (note,) = info.notes
    assert note.code is NoteCode.VIDEO_ENDS_EARLY
    assert "of the 60 frames that its header promises" in note.text
    assert len(read(path)) >= info.frame_count - 2


def test_what_is_no_video_is_named(tmp_path):
    path = make(tmp_path, "a.mp4")
    (tmp_path / "cut.mp4").write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"cut.mp4: .*the index of this mp4 or mov is missing"):
        open_source(tmp_path / "cut.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match=r"text.mp4: no frame can be decoded; expected a video"):
        open_source(tmp_path / "text.mp4")
    with av.open(str(tmp_path / "sound.m4a"), "w") as output:
        stream = output.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 48000), np.float32), format="fltp")
        frame.sample_rate = 48000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    with pytest.raises(InputError, match=r"sound.m4a: no video in it .*streams: audio"):
        open_source(tmp_path / "sound.m4a")


def test_the_end_of_a_long_video_is_reached_without_decoding_what_is_before(tmp_path, monkeypatch):
    path = write(
        tmp_path / "a.mp4", [picture(k % 256) for k in range(3000)], options={"preset": "ultrafast"}, key_every=50
    )
    info = open_source(path)
    decoded, read_past = [], []
    of_packet, place = Decoder._decoded, Decoder.decode

    def count(self, packet):
        decoded.append(packet)
        return of_packet(self, packet)

    def note_place(self, first, last, only=None):
        self._go_to(first)
        read_past.append(first - self._next)
        return place(self, first, last, only)

    monkeypatch.setattr(Decoder, "_decoded", count)
    monkeypatch.setattr(Decoder, "decode", note_place)
    found = {n: number_in(image) for n, image in iter_frames(info, range(2580, 2600))}
    assert found == {k: k % 256 for k in range(2580, 2600)}
    assert len(decoded) < 80
    assert read_past == [0]


def test_names_of_files_are_no_protocols(tmp_path, monkeypatch):
    path = make(tmp_path, "a.mp4")
    for name in ("concat:1.mp4", "a b%03d.mp4", "Ünïcode.mp4"):
        shutil.copy(path, tmp_path / name)
        assert open_source(tmp_path / name).frame_count == 60


def test_what_was_found_of_many_videos_is_known(tmp_path, monkeypatch):
    paths = [shutil.copy(numbered(tmp_path / "a.mp4", 3), tmp_path / f"{k}.mp4") for k in range(8)]
    opened = []
    monkeypatch.setattr(video_file, "read_packets", lambda *given: opened.append(given) or read_packets(*given))
    for _ in range(3):
        for path in paths:
            open_source(path)
    assert len(opened) == len(paths)
