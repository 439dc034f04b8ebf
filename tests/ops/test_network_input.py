import numpy as np
import torch

from dd_sfm.ops.network_input import network_input

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), np.uint8)


def test_channels_come_first_and_white_is_one():
    image = np.zeros((4, 6, 3), np.uint8)
    image[1, 2] = [255, 51, 0]
    batch = network_input(image, torch.device("cpu"))
    assert batch.shape == (1, 3, 4, 6)
    assert batch.dtype == torch.float32
    assert batch[0, :, 1, 2].tolist() == [1.0, np.float32(0.2), 0.0]
    assert float(batch.sum()) == float(batch[0, :, 1, 2].sum())


def test_a_stack_is_its_images():
    stack = network_input(IMAGES, torch.device("cpu"))
    assert torch.equal(stack, torch.cat([network_input(image, torch.device("cpu")) for image in IMAGES]))
    assert stack.is_contiguous(memory_format=torch.channels_last)
