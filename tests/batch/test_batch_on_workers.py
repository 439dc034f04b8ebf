"""Batches on workers of Dask: real processes, some of which are killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from conftest import moving_frames, write_video

from dd_sfm.batch.dask_engine import cluster_engine, local_engine
from dd_sfm.batch.record import BatchRecord
from dd_sfm.batch.resources import Machine, Need
from dd_sfm.batch.schedule import do_all
from dd_sfm.batch.storage import Store
from dd_sfm.batch.task import Command, Ending, Outcome, VideoTask
from dd_sfm.errors import InputError, OutputError

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PATHS = (ROOT, ROOT / "tests", ROOT / "tests" / "batch")
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, PATHS))}
CALIBRATION = "150,150,80,60"


def kill_the_worker_once(task):
    """Work that takes its worker with it the first time, and for one video every time."""
    mark = Path(task.out)
    if task.name == "deadly" or (task.name == "unlucky" and not mark.exists()):
        mark.write_text("x")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return Outcome(Ending.DONE, "", {"points": 1}, machine=str(os.getpid()))


def do(tasks, engine, tmp_path):
    record = BatchRecord(Store(str(tmp_path)), "m", {task.name: None for task in tasks})
    said = []
    try:
        do_all(tasks, engine, record, dict.fromkeys(record.videos, ""), said.append)
    finally:
        engine.close()
    return record.videos, said


@pytest.fixture
def importable(monkeypatch):
    """Workers are new processes, which find the functions of this file as a module."""
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    monkeypatch.setattr(kill_the_worker_once, "__module__", "test_batch_on_workers")


def test_a_killed_worker_costs_one_try_of_its_video_and_nothing_else(tmp_path, importable):
    names = [*(f"v{k}" for k in range(8)), "unlucky", "deadly", *(f"w{k}" for k in range(8))]
    tasks = [VideoTask(name, Command.EXTRACT, (), (), str(tmp_path / name)) for name in names]
    engine = local_engine(2, Need(1, 1.0), Machine(2, 8.0, 0), work=kill_the_worker_once)
    videos, said = do(tasks, engine, tmp_path)
    assert {name for name, video in videos.items() if video["status"] == "failed"} == {"deadly"}
    assert videos["deadly"]["error"] == "its worker was killed, or lost (tried 2 times)"
    assert {name: video["tries"] for name, video in videos.items() if video["tries"] > 1} == {"unlucky": 2, "deadly": 2}
    assert "unlucky: its worker was killed, or lost; tried once more" in said
    assert json.loads((tmp_path / "batch.json").read_text())["done"] == 17


def test_gpus_are_shared_out_among_the_workers_of_a_machine(tmp_path):
    engine = local_engine(2, Need(1, 1.0, 0.5), Machine(2, 8.0, 1))
    try:
        deadline = time.monotonic() + 30
        while engine.free_places() < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [worker.gpus for worker in engine._workers.values()] == ["0", "0"]
    finally:
        engine.close()


@pytest.fixture
def cluster(tmp_path, importable):
    """A scheduler and two workers as they are started on a cluster."""
    note = tmp_path / "scheduler.json"

    def start(*words):
        return subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_scheduler" if words[0] == "scheduler" else
             "distributed.cli.dask_worker", *words[1:], "--scheduler-file", str(note), "--no-dashboard"],
            cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    processes = [start("scheduler", "--port", "0", "--host", "127.0.0.1")]
    workers = [
        start("worker", "--nthreads", "4", "--no-nanny", "--memory-limit", "9GB", "--resources", "GPU=1")
        for _ in range(2)
    ]
    deadline = time.monotonic() + 60
    while not note.is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    yield SimpleNamespace(address=json.loads(note.read_text())["address"], workers=workers, scheduler=processes[0])
    for process in [*processes, *workers]:
        process.kill()
        process.wait()


def sleep_and_tell(task):
    """Work that takes a while and says where it was done."""
    time.sleep(0.4)
    return Outcome(Ending.DONE, machine=str(os.getpid()))


def test_workers_of_a_cluster_take_what_they_have_room_for_and_may_go(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(sleep_and_tell, "__module__", "test_batch_on_workers")
    engine = cluster_engine(cluster.address, Need(2, 3.0))
    engine._work = sleep_and_tell
    deadline = time.monotonic() + 60
    while engine.free_places() < 4:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    # Four threads, two a video.
    assert engine.free_places() == 4
    tasks = [VideoTask(f"v{k}", Command.EXTRACT, (), (), str(tmp_path / str(k))) for k in range(16)]
    threading.Timer(0.7, cluster.workers[0].kill).start()
    videos, _ = do(tasks, engine, tmp_path)
    assert [video["error"] for video in videos.values() if video["error"]] == []
    assert {video["machine"] for video in videos.values()} >= {str(cluster.workers[1].pid)}
    # Those that it was doing, and maybe those whose results were still there.
    assert 1 <= sum(video["tries"] == 2 for video in videos.values()) <= 4


def test_a_scheduler_that_is_gone_is_told(tmp_path, cluster):
    engine = cluster_engine(cluster.address, Need(1, 1.0))
    cluster.scheduler.kill()
    cluster.scheduler.wait()
    tasks = [VideoTask("a", Command.EXTRACT, (), (), str(tmp_path / "a"))]
    with pytest.raises(OutputError, match="the scheduler of the workers is gone"):
        do(tasks, engine, tmp_path)


def test_a_cluster_with_another_version_is_refused(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr("dd_sfm.batch.dask_engine.__version__", "9.9")

    def connect_until_there_is_a_worker():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            cluster_engine(cluster.address, Need(1, 1.0)).close()
            time.sleep(0.2)

    with pytest.raises(InputError, match=r"has dd-sfm 0\.\d.*; expected 9\.9 on all of them"):
        connect_until_there_is_a_worker()


@pytest.fixture
def forty(tmp_path):
    """Forty clips of a few frames, of which five are broken, each in its own way."""
    folder = tmp_path / "clips"
    folder.mkdir()
    content = write_video(folder / "whole.avi", moving_frames(4)).read_bytes()
    (folder / "whole.avi").unlink()
    broken = {3: b"", 11: b"no video", 19: content[:600], 27: b"\x00" * 5000, 38: content[:4] + b"x" * 900}
    for k in range(40):
        (folder / f"clip{k:02d}.avi").write_bytes(broken.get(k, content))
    return folder


def dd_sfm_batch(folder, out, *more):
    manifest = folder.parent / "batch.yaml"
    videos = [{"source": str(path)} for path in sorted(folder.glob("*.avi"))]
    manifest.write_text(json.dumps({"defaults": {"command": "extract", "calibration": CALIBRATION}, "videos": videos}))
    return subprocess.Popen(
        [sys.executable, "-m", "dd_sfm", "batch", str(manifest), "-o", str(out), "--workers", "2", *more],
        cwd=folder.parent, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def record_of(out):
    try:
        return json.loads((out / "batch.json").read_text())
    except FileNotFoundError:
        return {"videos": []}


def wait_until(true, timeout_s=120):
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def videos_at_work(process):
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if any("video_process" in word for word in child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def test_forty_clips_of_which_five_are_broken_and_a_worker_that_is_killed(forty, tmp_path):
    out = tmp_path / "out"
    process = dd_sfm_batch(forty, out)
    wait_until(lambda: len(record_of(out)["videos"]) >= 6)
    wait_until(lambda: videos_at_work(process))
    # A worker is the parent of the process of a video.
    os.kill(videos_at_work(process)[0].ppid(), signal.SIGKILL)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1, said
    content = record_of(out)
    failed = [video["name"] for video in content["videos"] if video["status"] == "failed"]
    assert failed == ["clip03", "clip11", "clip19", "clip27", "clip38"]
    assert (content["done"], content["failed"], content["waiting"]) == (35, 5, [])
    assert "tried once more" in said
    assert [video["tries"] for video in content["videos"]].count(2) == 1
    assert all(video["error"] for video in content["videos"] if video["status"] == "failed")
    assert all((out / name / "frames.json").is_file() for name in ("clip00", "clip39"))
    assert len(list((out / "pictures").glob("*.jpg"))) == 35
    assert "40 videos: 35 done, 5 failed" in (out / "batch.html").read_text()


def test_ctrl_c_stops_a_batch_which_then_goes_on(forty, tmp_path):
    for path in sorted(forty.glob("*.avi"))[8:]:
        path.unlink()
    out = tmp_path / "out"
    process = dd_sfm_batch(forty, out)
    wait_until(lambda: len(record_of(out)["videos"]) >= 2)
    wait_until(lambda: videos_at_work(process))
    working = videos_at_work(process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "stopped; videos that are done are kept. Repeat the command to go on" in said
    assert not any(psutil.pid_exists(child.pid) for child in working)
    before = record_of(out)
    assert before["waiting"]
    process = dd_sfm_batch(forty, out)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1
    content = record_of(out)
    assert content["skipped"] == before["done"]
    assert (content["done"] + content["skipped"], content["failed"]) == (7, 1)


def test_a_batch_that_is_killed_leaves_nothing_at_work(forty, tmp_path):
    out = tmp_path / "out"
    process = dd_sfm_batch(forty, out)
    wait_until(lambda: videos_at_work(process))
    working = videos_at_work(process)
    process.kill()
    process.communicate()
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in working), 30)


def test_fields_of_tasks_are_all_sent(importable):
    task = VideoTask("a", Command.COMPARE, (), ("--x",), "/out", gpu=True, visible_gpus="1", overwrite=True)
    from distributed.protocol import deserialize, serialize

    assert deserialize(*serialize(task)) == replace(task)


def test_a_hundred_videos_on_simulated_workers_take_little_longer_than_they_must(tmp_path):
    from simulated_cluster import simulate

    found = simulate(100, 20, 400, tmp_path)
    assert found["least_s"] <= found["in_order_s"] <= found["seconds"] < found["in_order_s"] + 15
