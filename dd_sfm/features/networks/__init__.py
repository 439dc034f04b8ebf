"""Networks that describe every pixel: tensors in, tensors out."""

from typing import Any

from torch import nn

from dd_sfm.features.networks.compact import CompactNet
from dd_sfm.features.networks.fc_densenet import FCDenseNet

ARCHITECTURES: dict[str, type[nn.Module]] = {"compact": CompactNet, "fc_densenet": FCDenseNet}


def build_network(architecture: str, **options: Any) -> nn.Module:
    """A network by the name of its architecture, with random weights."""
    return ARCHITECTURES[architecture](**options)
