"""The feature methods by name: the values of the setting ``features`` and of ``--features``."""

from dd_sfm.errors import ConfigError
from dd_sfm.features.learned import LearnedFeatures
from dd_sfm.features.method import FeatureMethod
from dd_sfm.features.sift import SiftFeatures

METHODS: dict[str, FeatureMethod] = {
    "learned": LearnedFeatures(),
    "sift": SiftFeatures(),
}


def feature_method(name: str) -> FeatureMethod:
    """The method of a name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in METHODS:
        raise ConfigError(f"--features {name}: expected one of {', '.join(METHODS)}")
    return METHODS[name]
