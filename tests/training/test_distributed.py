"""Two processes on the CPU: the same weights in both, from pairs that neither shares with the other."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from plane_sequence import write_run

from dd_sfm.training.distributed import ProcessGroup
from dd_sfm.training.pairs import pair_numbers

WORKER = """
import sys
import torch
import torch.distributed as dist
import numpy as np
sys.path.insert(0, "tests")
from dd_sfm.training.distributed import process_group
from dd_sfm.training.pairs import PairDataset, load_batches
from dd_sfm.training.sources.open_sources import open_source, sampling_shares
from dd_sfm.training.sources.spec import DataPath
from dd_sfm.training.trainer import Trainer
from training.test_loop import small
from pathlib import Path

folder, out = map(Path, sys.argv[1:])
torch.set_num_threads(1)
cpu = torch.device("cpu")
with process_group(cpu) as group:
    config = small(steps=3, batch=2)
    source = open_source(DataPath(folder), config, lambda f, w: np.ones(f[0].shape[:2], bool))
    dataset = PairDataset(sampling_shares([source], config.mix), config)
    trainer = Trainer(config, out, cpu, group)
    seen = []
    for pairs in load_batches(dataset, 0, config, group.rank, group.world_size):
        seen += [round(float(p["images"].sum()), 3) for p in pairs]
        trainer.train_step(pairs)
    assert group.any(group.rank == 1, cpu)
    assert not group.any(False, cpu)
    state = {"state": trainer.averaged_network.state_dict(), "network": trainer.network.state_dict(), "seen": seen}
    torch.save(state, out / f"rank{group.rank}.pt")
"""


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_no_pair_is_drawn_twice(world_size):
    numbers = [n for step in range(5) for rank in range(world_size) for n in pair_numbers(step, 4, rank, world_size)]
    assert sorted(numbers) == list(range(20 * world_size))


def test_a_group_of_one_changes_nothing():
    value = torch.tensor([1.0, 2.0])
    ProcessGroup().average([value])
    assert value.tolist() == [1, 2]
    assert ProcessGroup().any(True, torch.device("cpu"))
    assert ProcessGroup().is_main


def torchrun(*arguments, cwd=ROOT):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [str(a) for a in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_both_processes_hold_the_same_weights(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    ran = torchrun(script, write_run(tmp_path / "run"), tmp_path)
    assert ran.returncode == 0, ran.stderr
    first, second = (torch.load(tmp_path / f"rank{r}.pt", weights_only=True) for r in (0, 1))
    for kind in ("state", "network"):
        for name, value in first[kind].items():
            assert torch.equal(value, second[kind][name]), name
    assert len(first["seen"]) == len(second["seen"]) == 6
    assert not set(first["seen"]) & set(second["seen"])


@pytest.mark.slow
def test_the_command_in_two_processes(tmp_path):
    run = write_run(tmp_path / "run")
    out = tmp_path / "out"
    settings = ("steps=4", "working_height_px=112", "augment.crop=[64,64]", "workers=1", "validate_every=4")
    ran = torchrun(
        "-m", "dd_sfm", "train", f"{run}:0-7", "--validation", f"{run}:8-11", "-o", out, "--device", "cpu",
        "--threads", "1", "--batch", "2", *(a for s in settings for a in ("--set", s)),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    # One process speaks and writes.
    assert ran.stderr.count("weights: ") == 1
    records = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == [4, 4]
    assert np.isfinite(records[0]["loss"])
