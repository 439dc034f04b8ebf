import functools
from dataclasses import replace

import numpy as np
import pytest

from dd_sfm.cli.training_clips import _differences, _settings
from dd_sfm.config import load_config
from dd_sfm.synthetic.lens import make_optics
from dd_sfm.synthetic.settings import SynthSettings, check_settings, preset
from dd_sfm.synthetic.variety import vary
from dd_sfm.training.config import RenderConfig, TrainConfig
from dd_sfm.training.sources.spec import RenderedScene

SMALL = replace(preset("colon", "real"), width=192, height=108, frames=20)


@functools.cache
def clips(variety, count=14):
    return [vary(replace(SMALL, seed=seed), variety) for seed in range(count)]


def test_no_variety_leaves_a_clip_as_it_is():
    assert clips(0.0, 3) == [replace(SMALL, seed=seed) for seed in range(3)]


def test_a_seed_has_one_scope():
    first = replace(SMALL, seed=0)
    assert vary(first, 1.0) == clips(1.0)[0] != first


def test_every_drawn_scope_can_be_rendered():
    for clip in clips(1.0):
        check_settings(clip)
        assert make_optics(clip).mask.mean() > 0.3


def test_lenses_light_and_compression_differ():
    found = clips(1.0)
    assert {clip.lens.camera.split()[0] for clip in found} == {"PINHOLE", "OPENCV", "OPENCV_FISHEYE"}
    exposure = np.array([clip.light.exposure for clip in found])
    assert exposure.min() < 0.3 < SMALL.light.exposure < exposure.max()
    assert min(clip.crf for clip in found) < 20 < 26 < max(clip.crf for clip in found)
    assert any(clip.effects.debris for clip in found)


def test_less_variety_stays_nearer_to_the_usual():
    far, near = (np.ptp([clip.lens.grain for clip in clips(variety)]) for variety in (1.0, 0.1))
    assert near < 0.3 * far


@pytest.mark.parametrize("seed", range(4))
def test_what_differs_from_the_preset_gives_the_same_clip(seed):
    config = TrainConfig(render=RenderConfig(variety=1.0, frames=20, width=192, height=108))
    clip = _settings(RenderedScene("bladder", seed), config)
    usual = replace(preset("bladder", "real"), width=192, height=108, frames=20, seed=seed)
    assert load_config(SynthSettings, overrides=_differences(clip), base=usual) == clip
