"""The dense search on a GPU does what it does on the CPU: in CUDA's simulator on a few pixels, on a GPU on many."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cuda_search_cases import few_pixels, searched
from slanted import every_pixel

from dd_sfm.config import Config, RuntimeConfig
from dd_sfm.errors import DeviceError
from dd_sfm.features.learned import LearnedFeatures
from dd_sfm.mvs.device import dense_search_for
from dd_sfm.mvs.kernels.dense_search import DenseSearch
from dd_sfm.structures import WorkingGrid

TESTS = Path(__file__).parents[1]


def compare(found, expected):
    known = expected["inverse"] > 0
    assert known.mean() > 0.6
    assert ((found["inverse"] > 0) == known).mean() > 0.99
    known &= found["inverse"] > 0
    assert found["inverse"][known] == pytest.approx(expected["inverse"][known], rel=1e-3)
    assert found["information"][known] == pytest.approx(expected["information"][known], rel=0.05)
    assert found["correlation"] == pytest.approx(expected["correlation"], abs=2e-3)
    assert (found["chosen"] == expected["chosen"]).mean() > 0.99
    assert ((found["score"] > 0.6) == (expected["score"] > 0.6)).mean() > 0.99
    seen = (found["score"] > 0.6) & (expected["score"] > 0.6)
    assert found["place"][seen] == pytest.approx(expected["place"][seen], abs=0.01)


def test_in_the_simulator_as_on_the_cpu(tmp_path):
    path = tmp_path / "found.npz"
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    environment["PYTHONPATH"] = f"{TESTS.parent}:{TESTS}"
    script = TESTS / "mvs" / "cuda_search_cases.py"
    done = subprocess.run([sys.executable, script, path], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    compare(dict(np.load(path)), searched(DenseSearch, few_pixels()))


@pytest.mark.gpu
def test_on_a_gpu_as_on_the_cpu():
    from dd_sfm.mvs.kernels.cuda_search import CudaSearch

    pixels = every_pixel(2)
    compare(searched(CudaSearch, pixels), searched(DenseSearch, pixels))


def test_without_a_compiler_for_the_gpu(monkeypatch):
    grid = WorkingGrid(1.0, (0, 0), 40, 30, 2)
    monkeypatch.setattr("dd_sfm.mvs.device.why_not_on_gpu", lambda: "no compiler")
    assert not dense_search_for(torch.device("cuda"), grid, 5).on_gpu
    assert not dense_search_for(torch.device("cpu"), grid, 5).on_gpu
    monkeypatch.setattr("dd_sfm.features.learned.why_not_on_gpu", lambda: "no compiler")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    LearnedFeatures().check(Config(runtime=RuntimeConfig(device="auto")))
    with pytest.raises(DeviceError, match=r"--device cuda: numba cannot compile .* \(no compiler\); expected"):
        LearnedFeatures().check(Config(runtime=RuntimeConfig(device="cuda")))
