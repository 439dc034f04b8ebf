"""What a call must leave as it was: settings and handlers of the whole process."""

import ctypes
import logging
import os
import random
import signal
from typing import Any

import cv2
import numpy as np
import pytest
import torch


def system_handlers() -> dict[int, bytes]:
    """The handlers of SIGINT and SIGTERM as the system knows them, which Python may not."""
    libc = ctypes.CDLL(None)
    found = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        # The handler is the first field of struct sigaction.
        action = ctypes.create_string_buffer(256)
        assert libc.sigaction(int(number), None, action) == 0
        found[int(number)] = action.raw[:8]
    return found


def process_state() -> dict[str, Any]:
    """Threads, seeds, environment, logging and signal handlers."""
    state = {
        "torch threads": torch.get_num_threads(),
        "torch gradients": torch.is_grad_enabled(),
        "torch default type": torch.get_default_dtype(),
        "torch seed": torch.get_rng_state().numpy().tobytes(),
        "OpenCV threads": cv2.getNumThreads(),
        "OpenCV log": cv2.utils.logging.getLogLevel(),
        "NumPy seed": np.random.get_state()[1].tobytes(),
        "Python seed": random.getstate(),
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "system signals": system_handlers(),
    }
    for name in ("", "dd_sfm"):
        logger = logging.getLogger(name)
        state[f"log {name}"] = (logger.level, list(logger.handlers), logger.disabled, logger.propagate)
    return state


def colmap_log() -> list[Any]:
    """COLMAP's log settings."""
    import pycolmap

    names = ("minloglevel", "alsologtostderr", "logtostderr", "stderrthreshold")
    return [getattr(pycolmap.logging, name) for name in names]


@pytest.fixture
def leaves_the_process_alone(capfd):
    """Nothing is printed, and no setting of the process is another one afterwards."""
    before, log = process_state(), colmap_log()
    yield
    after = process_state()
    assert {name for name in before if before[name] != after[name]} == set()
    assert colmap_log() == log
    assert capfd.readouterr() == ("", "")
