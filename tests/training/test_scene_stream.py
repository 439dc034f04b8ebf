import pickle
import threading

import numpy as np
import pytest

from dd_sfm.cli.training_clips import StreamRenderer
from dd_sfm.errors import ConfigError, UsageError
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.leakage import check_streams, find_in_training_record
from dd_sfm.training.sources.frames import store_frames
from dd_sfm.training.sources.pair_sample import PairSample
from dd_sfm.training.sources.scene_stream import SceneStream, SceneStreamWarps, source_at
from dd_sfm.training.sources.spec import DataPath, RenderedScene, rendered_scenes
from dd_sfm.training.sources.warp import WarpSource


class Scene:
    """In the place of a rendered clip: every pixel of its frames is the number of the scene."""

    def __init__(self, number):
        self.number = number
        mask = np.ones((40, 48), bool)
        image = np.full((40, 48, 3), number, np.uint8)
        self.frames = store_frames(f"scene{number}", (0,), [image], [mask], 10)

    def draw(self, rng, gap=None):
        image, mask, points = self.frames.image(0), self.frames.mask(0), np.zeros((0, 2))
        return PairSample(image, image, mask, mask, points, points)


@pytest.fixture
def made():
    return []


@pytest.fixture
def stream(made):
    def make(number):
        made.append((number, threading.current_thread() is threading.main_thread()))
        return Scene(number)

    return SceneStream(Scene(0), make, every=10)


def scene_of(source, number):
    return int(source_at(source, number).draw(np.random.default_rng(0)).image0[0, 0, 0])


def test_a_pair_is_of_the_scene_of_its_number(stream, made):
    assert [scene_of(stream, n) for n in (0, 9, 10, 19, 20)] == [0, 0, 1, 1, 2]
    stream._prefetched.result()
    # Each once, and by a thread while the scene before is in use.
    assert made == [(1, False), (2, False), (3, False)]


def test_a_training_that_is_resumed_begins_with_its_own_scene(stream, made):
    assert scene_of(stream, 57) == 5
    assert made[0] == (5, True)


def test_warps_are_of_the_same_scene(stream):
    warps = SceneStreamWarps(stream)
    assert isinstance(source_at(warps, 0), WarpSource)
    assert scene_of(warps, 31) == 3
    assert scene_of(stream, 31) == 3


def test_without_a_number_the_first_scene_is_drawn_from(stream, made):
    for source in (stream, SceneStreamWarps(stream)):
        assert source.draw(np.random.default_rng(0)).image0.max() == 0
    assert made == []


def test_a_scene_that_failed_ahead_of_time_is_tried_again_when_it_is_needed():
    tries = []

    def make(number):
        tries.append(number)
        if number == 1 and tries.count(1) == 1:
            raise OSError("disk full")
        if number == 3:
            raise OSError("disk still full")
        return Scene(number)

    source = SceneStream(Scene(0), make, every=10)
    assert [scene_of(source, n) for n in (9, 10, 20)] == [0, 1, 2]
    assert tries[:2] == [1, 1]
    with pytest.raises(OSError, match="disk still full"):
        source.at(30)


def test_other_sources_know_no_numbers():
    scene = Scene(4)
    assert source_at(scene, 99) is scene


def test_the_series_on_the_command_line():
    (scene,) = rendered_scenes(DataPath.parse("synth:colon:100+@2"))
    assert (scene.organ, scene.seed, scene.weight, scene.is_stream) == ("colon", 100, 2.0, True)
    assert not rendered_scenes(DataPath.parse("synth:colon:100"))[0].is_stream
    with pytest.raises(ConfigError, match=r"expected .* synth:ORGAN:SEED\+"):
        rendered_scenes(DataPath.parse("synth:colon:100-104+"))


def test_scenes_to_come_are_not_measured_on():
    series = [DataPath.parse("synth:colon:100+")]
    check_streams(series, [DataPath.parse(v) for v in ("synth:colon:99", "synth:sinus:100", "a/clip")])
    with pytest.raises(UsageError, match=r"is colon 104, one of the scenes of synth:colon:100\+"):
        check_streams(series, [DataPath.parse("synth:colon:104")])
    with pytest.raises(UsageError, match="an endless stream of scenes"):
        check_streams([], series)


def test_a_rendered_clip_is_known_by_its_organ_and_seed(tmp_path):
    (tmp_path / "scene.yaml").write_text("organ: colon\nseed: 104\n")
    clip = DataPath(tmp_path)
    with pytest.raises(UsageError, match="is colon 104, one of the scenes"):
        check_streams([DataPath.parse("synth:colon:100+")], [clip])
    check_streams([DataPath.parse("synth:colon:105+"), DataPath.parse("synth:sinus:0+")], [clip])
    assert find_in_training_record(clip, ["other", "synth:colon:100+"]) == "synth:colon:100+"
    assert find_in_training_record(clip, ["synth:colon:105+", "synth:sinus:0+"]) is None


def test_a_series_goes_to_processes_that_start_afresh():
    pickle.loads(pickle.dumps(StreamRenderer(RenderedScene("colon", 7), TrainConfig())))
