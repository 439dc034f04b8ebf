"""Videos handed out and tried again, with an engine that only acts as if; and which of them are left."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from dd_sfm.batch.engine import SerialEngine
from dd_sfm.batch.page import page
from dd_sfm.batch.record import BatchRecord, read_record
from dd_sfm.batch.resources import Machine, Need, places, share_out
from dd_sfm.batch.schedule import do_all, duration
from dd_sfm.batch.storage import Store
from dd_sfm.batch.task import Command, Ending, Input, Outcome, VideoTask
from dd_sfm.errors import OutputError

METRICS = {"frames_used": 12, "frames_registered": 11, "points": 1234, "degradations": ["dark"], "peak_rss_mb": 900}


def tasks_called(*names):
    return [VideoTask(name, Command.EXTRACT, (Input("", f"/{name}.mp4"),), (), f"/out/{name}") for name in names]


class ScriptedEngine:
    """Ends videos in the order in which they came, as they are told to; several at once."""

    def __init__(self, endings=None, most=2):
        self.endings, self.most = endings or {}, most
        self.running, self.begun, self.stopped = [], [], False

    def free_places(self):
        return self.most - len(self.running)

    def submit(self, task):
        assert len(self.running) < self.most
        self.running.append(task)
        self.begun.append(task)

    def wait(self, timeout_s):
        if not self.running:
            return []
        task = self.running[0]
        script = self.endings.get(task.name, [])
        outcome = script.pop(0) if script else Outcome(Ending.DONE, "", METRICS, ("dark",), b"jpeg")
        if isinstance(outcome, BaseException):
            raise outcome
        return [(self.running.pop(0), outcome)]

    def stop(self):
        self.stopped = True

    def close(self):
        pass


def done_with(tmp_path, engine, tasks, said=None):
    record = BatchRecord(Store(str(tmp_path)), "m.yaml", {task.name: None for task in tasks})
    inputs = {task.name: f"inputs of {task.name}" for task in tasks}
    lines = [] if said is None else said
    record.skip(read_record(record.store), tasks, inputs)
    do_all(record.left(tasks), engine, record, inputs, lines.append)
    return json.loads((tmp_path / "batch.json").read_text())


def results_of(tmp_path, *names):
    for name in names:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "frames.json").write_text("{}")


def test_one_that_fails_does_not_stop_the_others(tmp_path):
    said = []
    engine = ScriptedEngine({"b": [Outcome(Ending.FAILED, "b.mp4: broken")]})
    content = done_with(tmp_path, engine, tasks_called("a", "b", "c"), said)
    assert [(v["name"], v["status"], v["error"]) for v in content["videos"]] == [
        ("a", "done", None), ("b", "failed", "b.mp4: broken"), ("c", "done", None),
    ]  # fmt: skip
    assert (content["total"], content["done"], content["failed"], content["waiting"]) == (3, 2, 1, [])
    assert content["videos"][0]["metrics"] == METRICS
    assert (tmp_path / "pictures" / "a.jpg").read_bytes() == b"jpeg"
    assert said[1] == "2 of 3, 1 failed, about 0 s left: b failed, b.mp4: broken, 0 s"
    assert said[2].startswith("3 of 3, 1 failed: c done, 11 of 12 frames, 1,234 points")


def test_a_killed_one_is_tried_once_more_and_then_failed(tmp_path):
    killed = Outcome(Ending.KILLED, "its worker was killed, or lost")
    engine = ScriptedEngine({"a": [killed], "b": [killed, killed]})
    tasks = [replace(task, overwrite=True) for task in tasks_called("a", "b")]
    content = done_with(tmp_path, engine, tasks)
    a, b = content["videos"]
    assert (a["status"], a["tries"]) == ("done", 2)
    assert (b["status"], b["tries"]) == ("failed", 2)
    assert b["error"] == "its worker was killed, or lost (tried 2 times)"
    # The second try goes on from what the first one finished.
    assert [task.overwrite for task in engine.begun if task.name == "a"] == [True, False]


def test_a_repeated_batch_does_what_is_missing_failed_or_changed(tmp_path):
    tasks = tasks_called("a", "b", "c", "d")
    done_with(tmp_path, ScriptedEngine({"b": [Outcome(Ending.FAILED, "broken")]}), tasks)
    # Without its result c is not done, and d is no longer in the manifest.
    results_of(tmp_path, "a", "b")
    engine = ScriptedEngine()
    content = done_with(tmp_path, engine, tasks_called("a", "b", "c"))
    assert [task.name for task in engine.begun] == ["b", "c"]
    assert [(v["name"], v["status"]) for v in content["videos"]] == [("a", "skipped"), ("b", "done"), ("c", "done")]
    assert content["videos"][0]["metrics"] == METRICS
    results_of(tmp_path, "c")
    engine = ScriptedEngine()
    done_with(tmp_path, engine, [replace(task, overwrite=task.name == "a") for task in tasks_called("a", "b")])
    assert [task.name for task in engine.begun] == ["a"]


def test_ctrl_c_asks_what_runs_to_end_and_keeps_what_is_done(tmp_path):
    engine = ScriptedEngine({"b": [KeyboardInterrupt(), Outcome(Ending.STOPPED, "stopped")]})
    with pytest.raises(KeyboardInterrupt):
        done_with(tmp_path, engine, tasks_called("a", "b", "c", "d"))
    content = json.loads((tmp_path / "batch.json").read_text())
    assert engine.stopped
    # What ended while it was waited for counts.
    assert [v["name"] for v in content["videos"]] == ["a", "c"]
    assert content["waiting"] == ["b", "d"]


def test_the_record_is_written_as_videos_end(tmp_path):
    seen = []

    class Looking(ScriptedEngine):
        def submit(self, task):
            seen.append(json.loads((tmp_path / "batch.json").read_text())["done"])
            super().submit(task)

    done_with(tmp_path, Looking(most=1), tasks_called("a", "b", "c"))
    assert seen == [0, 1, 2]


def test_a_damaged_or_foreign_record_is_not_overwritten(tmp_path):
    store = Store(str(tmp_path))
    assert read_record(store) == {}
    (tmp_path / "batch.json").write_text('{"made_by": "dd-sfm batch", "videos": [{"na')
    with pytest.raises(OutputError, match="damaged"):
        read_record(store)
    (tmp_path / "batch.json").write_text('{"made_by": "me"}')
    with pytest.raises(OutputError, match="not from dd-sfm batch"):
        read_record(store)
    (tmp_path / "batch.json").unlink()
    (tmp_path / "batch.html").write_text("mine")
    with pytest.raises(OutputError, match=r"batch\.html: exists"):
        read_record(store)


def test_the_engine_without_workers_survives_what_goes_wrong_in_a_video(tmp_path):
    def work(task):
        if task.name == "b":
            raise ZeroDivisionError("none")
        return Outcome(Ending.DONE)

    content = done_with(tmp_path, SerialEngine(work), tasks_called("a", "b", "c"))
    assert [v["status"] for v in content["videos"]] == ["done", "failed", "done"]
    assert content["videos"][1]["error"] == "unexpected ZeroDivisionError: none"


class Tags(HTMLParser):
    """The tags of a page and where they lead."""

    def __init__(self, text):
        super().__init__()
        self.found, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.links += [value for key, value in attrs if key in ("href", "src")]


def test_the_page_escapes_everything(tmp_path):
    evil = "<script>alert('\"&1')<"
    outcome = Outcome(Ending.DONE, "", {"learned": {"points": 5}, "verdict": evil}, (evil,), b"x")
    failed = Outcome(Ending.FAILED, evil)
    tasks = tasks_called(evil, "javascript:alert(1)", "waits" + evil)
    record = BatchRecord(Store(str(tmp_path)), evil, {task.name: None for task in tasks})
    record.enter(tasks[0], outcome, "", 1)
    record.enter(tasks[1], failed, "", 1)
    record.save()
    text = (tmp_path / "batch.html").read_text()
    tags = Tags(text)
    assert "script" not in tags.found
    assert not any(tag in ("iframe", "object", "base", "form") for tag in tags.found)
    assert all(link.startswith("./") or link == "data:," for link in tags.links)
    assert "learned: 5 points" in text
    assert "&lt;script&gt;" in text


def test_a_record_that_holds_what_is_no_text_has_a_page(tmp_path):
    found = {"name": "a", "status": "done", "metrics": METRICS, "degradations": [], "picture": "p/\ud800.jpg"}
    record = BatchRecord(Store(str(tmp_path)), "videos-\udce4.yaml", {"a": found})
    record.save()
    text = (tmp_path / "batch.html").read_text()
    assert r"videos-\udce4.yaml" in text
    assert 'src="./p/%3F.jpg"' in text


def test_the_page_shows_failed_videos_first_and_a_row_for_each():
    videos = [
        {"name": "a", "status": "skipped", "metrics": METRICS, "degradations": ["dark", "short"], "picture": "p/a.jpg"},
        {"name": "b", "status": "failed", "error": "broken", "metrics": {}, "degradations": []},
    ]  # fmt: skip
    text = page({"manifest": "m", "total": 3, "done": 0, "failed": 1, "skipped": 1, "waiting": ["c"], "videos": videos})
    assert "3 videos: 0 done, 1 done before, 1 failed, 1 waiting" in text
    assert text.index("broken") < text.index("11 of 12 frames")
    assert "<li>dark</li><li>short</li>" in text
    assert 'src="./p/a.jpg"' in text
    assert Tags(text).links.count("./a/report.html") == 1
    # Frames alone have no page, nor has what failed.
    assert "./b/report.html" not in text


@pytest.mark.parametrize(
    ("machine", "videos", "more", "expected"),
    [
        (Machine(2, 16, 0), 40, {}, (2, 1)),
        (Machine(8, 16, 0), 40, {}, (4, 2)),
        (Machine(64, 500, 0), 5, {}, (5, 12)),
        (Machine(8, 2, 0), 40, {}, (1, 8)),
        (Machine(8, 64, 0), 40, {"workers": 2}, (2, 4)),
        (Machine(8, 64, 0), 40, {"cores": 3}, (2, 3)),
        (Machine(2, 64, 0), 40, {"workers": 4, "cores": 1}, (4, 1)),
        (Machine(16, 500, 2), 40, {}, (2, 8)),
        (Machine(16, 500, 2), 40, {"gpus": 0.25}, (8, 2)),
        (Machine(16, 500, 2), 40, {"gpus": 0}, (16, 1)),
    ],
)
def test_cores_and_memory_are_shared_out(machine, videos, more, expected):
    count, need = share_out(machine, videos, memory_gb=3.0, **more)
    assert (count, need.cores) == expected


@pytest.mark.parametrize(
    ("threads", "memory_gb", "gpus", "need", "expected"),
    [
        (16, 0, 0, Need(4, 3.0), 4),
        (16, 8, 0, Need(4, 3.0), 2),
        (1, 0, 0, Need(4, 3.0), 1),
        (16, 2, 0, Need(1, 3.0), 0),
        (16, 0, 1, Need(1, 3.0, 0.5), 2),
        (16, 0, 0, Need(1, 3.0, 1.0), 0),
    ],
)
def test_a_worker_of_a_cluster_takes_what_it_has_room_for(threads, memory_gb, gpus, need, expected):
    assert places(threads, memory_gb * 1e9, gpus, need) == expected


def test_durations_read_well():
    assert [duration(s) for s in (7.4, 200, 20_000)] == ["7 s", "3 min", "5.6 h"]
