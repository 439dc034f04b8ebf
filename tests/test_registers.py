"""What can be chosen by a name is offered in one place and done in another: both hold the same names.

CONTRIBUTING.md lists them, under "Where to add".
"""

from typing import get_args, get_type_hints

import pytest

from dd_sfm.config import Mapper
from dd_sfm.config_checks import check_config
from dd_sfm.features.networks import ARCHITECTURES
from dd_sfm.presets import QUALITIES, quality_config
from dd_sfm.sfm.mappers import MAPPERS
from dd_sfm.synthetic.organs import SHAPES
from dd_sfm.synthetic.settings import Organ
from dd_sfm.training.config import TrainConfig


@pytest.mark.parametrize(
    ("offered", "registered"),
    [
        pytest.param(get_type_hints(TrainConfig)["architecture"], ARCHITECTURES, id="networks"),
        pytest.param(Mapper, MAPPERS, id="mappers"),
        pytest.param(Organ, SHAPES, id="organs"),
    ],
)
def test_what_is_offered_is_registered(offered, registered):
    assert get_args(offered) == tuple(registered)


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_quality_is_a_configuration_of_its_own(quality, dd_sfm):
    others = [quality_config(name, where=name) for name in QUALITIES if name != quality]
    config = quality_config(quality, where=quality)
    check_config(config)
    assert config not in others
    assert quality in dd_sfm("reconstruct", "--help").out
