"""What is expected to come in a run, up to its end."""

from types import SimpleNamespace

import pytest

from dd_sfm.cli.reporter import Reporter
from dd_sfm.cli.shows import Nothing
from dd_sfm.config import Config, load_config
from dd_sfm.pipeline import run as run_module
from dd_sfm.pipeline.expected_time import DEPTH_S, expected_depth, expected_parts
from dd_sfm.pipeline.stages import STAGES
from dd_sfm.progress import Part, WithMore, begin_stage
from dd_sfm.viz.report.after_run import report_on


class Told:
    """Progress that takes note of what it is told."""

    def __init__(self):
        self.parts, self.stages = [], []

    def __call__(self, items, *, total, label):
        return iter(items)

    def plan(self, parts):
        self.parts = list(parts)

    def begin(self, stage):
        self.stages.append(stage)


@pytest.mark.parametrize("features", ["learned", "sift"])
def test_a_finished_run_goes_on_with_its_coverage(features):
    config = Config(features=features)
    assert [part.stage for part in expected_parts(config, STAGES, 50)][-1] == "coverage"
    assert "coverage" not in {part.stage for part in expected_parts(config, STAGES[:-1], 50)}


def test_an_estimate_of_the_camera_is_planned():
    known, open_ = (expected_parts(Config(), STAGES[:1], 300, calibrated=calibrated) for calibrated in (True, False))
    assert [part.label for part in known] == ["read frames"]
    assert [part.label for part in open_] == [
        "estimate camera: read frames", "estimate camera: describe", "estimate camera: match",
        "estimate camera: map, global mapper", "read frames",
    ]  # fmt: skip
    assert sum(part.seconds for part in open_[:-1]) > 5
    # Too few frames tell no focal length, and none is estimated where that is switched off.
    assert expected_parts(Config(), STAGES[:1], 9, calibrated=False) == expected_parts(Config(), STAGES[:1], 9)
    config = load_config(Config, None, ["camera.estimate=false"])
    assert expected_parts(config, STAGES[:1], 300, calibrated=False) == known


def test_coverage_and_page_are_stages_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setattr(run_module, "is_covered", lambda out: False)
    for name in ("run_coverage", "run_metrics", "write_metrics"):
        monkeypatch.setattr(run_module, name, lambda *arguments, **named: {"stages_kept": []})
    method = SimpleNamespace(weights=lambda config: None)
    told, request = Told(), SimpleNamespace(out=tmp_path, source=tmp_path / "clip.mp4")
    work = SimpleNamespace(out=tmp_path, progress=told, config=Config(), method=method, device="cpu")
    run_module._finish(work, SimpleNamespace(seconds=lambda stage: 1.0), [], lambda line: None)
    monkeypatch.setattr("dd_sfm.viz.report.run_report.write_run_report", lambda *arguments, **named: None)
    report_on(request, told, lambda line: None)
    assert told.stages == ["coverage", "report"]


def test_what_follows_a_run_is_part_of_what_is_left(monkeypatch, tmp_path):
    frames = SimpleNamespace(records=[0] * 30, kept=[0] * 10)
    config = Config()
    assert expected_depth(config, tmp_path, every_frame=True) == []
    monkeypatch.setattr("dd_sfm.pipeline.expected_time.read_frames", lambda run: frames)
    (some,), (every,) = (expected_depth(config, tmp_path, every_frame=is_all) for is_all in (False, True))
    assert every.seconds == 30 * DEPTH_S
    assert some.seconds == pytest.approx(10 / config.dense.every * DEPTH_S)
    made = Reporter(Nothing(), lambda: 0.0)
    progress = WithMore(made, lambda: [every])
    progress.plan([Part("densify", "depth", 2.0)])
    begin_stage(progress, "densify")
    assert list(progress(range(2), total=2, label="depth")) == [0, 1]
    # A little less than planned, as what was done before took no time on this clock.
    assert made._time.standing().overall == pytest.approx(every.seconds * 5 / (5 + 2))
    begin_stage(progress, "depth")
    assert made._time.standing().left == pytest.approx(every.seconds * 5 / (5 + 2))
