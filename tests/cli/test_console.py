"""What commands show while they work."""

import io
import json
import sys

import pytest
from typer.main import get_command

from dd_sfm.cli import console, reporter, shows
from dd_sfm.cli.app import app
from dd_sfm.cli.reporter import Reporter, wants_json
from dd_sfm.cli.time_left import Standing, TimeLeft, duration
from dd_sfm.progress import OneOfSeveral, Part, begin_stage, plan_ahead, silent


@pytest.fixture
def now(monkeypatch):
    """The time, which tests set."""
    moment = [100.0]
    monkeypatch.setattr(shows.time, "monotonic", lambda: moment[0])
    return moment


@pytest.fixture
def shown(now, monkeypatch):
    """Makes the reporter of the commands that follow."""

    def make(show):
        made = Reporter(show, lambda: now[0])
        monkeypatch.setattr(reporter, "_current", made)
        return made

    return make


def test_without_a_terminal_progress_is_told_in_lines(now, shown, capsys):
    shown(shows.Lines())
    console.make_say(quiet=False)("match ...")
    for _ in console.make_progress(quiet=False)(range(5), total=5, label="match"):
        now[0] += 4
    assert capsys.readouterr().err.splitlines() == [
        "match ...", "  match: 2 of 5, about 12 s left", "  match: 4 of 5, about 4 s left",
    ]  # fmt: skip
    assert list(console.make_progress(quiet=True)(range(2), total=2, label="match")) == [0, 1]
    console.make_say(quiet=True)("nothing")
    assert capsys.readouterr().err == ""


def test_without_a_terminal_each_long_step_is_named(now, shown, capsys):
    shown(shows.Lines())
    progress, say = console.make_progress(quiet=False), console.make_say(quiet=False)
    say("map ...")
    # COLMAP's global mapper has no progress to tell: its name comes at once.
    list(progress(range(1), total=1, label="map, global mapper"))
    list(progress(range(9), total=9, label="soon after another line"))
    now[0] += 6
    list(progress(range(9), total=9, label="depth"))
    assert capsys.readouterr().err.splitlines() == ["map ...", "  map, global mapper ...", "  depth ..."]


def test_what_has_no_progress_to_tell_is_no_longer_silent_than_others(now, shown, capsys):
    made = shown(shows.Lines())
    for _ in range(20):
        now[0] += 1
        made.show.ticks(made._time.standing())
    begin_stage(made, "map")
    for _ in made([None], total=1, label="map, global mapper"):
        for _ in range(9):
            now[0] += 1
            made.show.ticks(made._time.standing())
    assert capsys.readouterr().err.splitlines() == [
        "  working: 6 s so far", "  working: 14 s so far", "  map, global mapper ...",
        "  map, global mapper: 8 s so far",
    ]  # fmt: skip


def test_json_tells_stages_steps_and_the_end_a_line_each(now, shown, capsys):
    made = shown(shows.JsonLines())
    plan_ahead(made, [Part("match", "match", 6.0), Part("map", "map, global mapper", 3.0)])
    begin_stage(made, "match")
    console.make_say(quiet=False)("match ...")
    for _ in made(range(4), total=4, label="match"):
        now[0] += 2
    console.print_warnings(["the light\nflickers"])
    made.end(1, "no model")
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line["event"] for line in lines] == ["stage", "message", *["progress"] * 5, "warning", "end"]
    assert lines[3] == {
        "event": "progress", "stage": "match", "step": "match", "done": 1, "of": 4, "seconds": 2.0, "left": 6.0,
        "overall": 9.0, "elapsed": 2.0,
    }  # fmt: skip
    assert lines[-2]["text"] == "the light flickers"
    assert lines[-1] == {"event": "end", "code": 1, "error": "no model", "elapsed": 8.0}
    assert captured.err.splitlines() == ["warning: the light flickers", "dd-sfm: no model"]
    assert not console.has_tables(quiet=False)


def test_the_time_left_follows_what_parts_took(now):
    time = TimeLeft(lambda: now[0])
    time.plan([Part("a", "a", 10), Part("b", "one", 20), Part("b", "two", 20), Part("c", "c", 5)])
    time.begin_stage("a")
    assert (time.standing().left, time.standing().overall) == (10, 55)
    step = time.begin_step("a", 1)
    now[0] += 35
    time.end_step(step)
    time.begin_stage("b")
    # 35 s in place of 10, with 5 s that speak for the usual speed: 40 / 15 as slow.
    assert time.standing().left == pytest.approx(40 * 40 / 15)
    assert time.standing().overall == pytest.approx(45 * 40 / 15)
    step = time.begin_step("one", 10)
    now[0] += 10
    step.done = 5
    assert time.standing().left == pytest.approx(10 + 20 * 40 / 15)
    time.end_step(step)
    unplanned = time.begin_step("something else", 3)
    assert time.standing().left is None
    time.note = "loss 2.1"
    time.end_step(unplanned)
    assert time.standing().note == ""
    time.begin_stage("c")
    assert (time.standing().stage, time.standing().step, time.standing().done) == ("c", "", None)
    assert time.standing().left == time.standing().overall > 0


def test_runs_of_a_comparison_leave_its_plan_alone(now, shown):
    made = shown(shows.Nothing())
    plan_ahead(made, [Part("sift: map", "map", 5.0), Part("learned: map", "map", 7.0)])
    run = OneOfSeveral(made, "learned")
    plan_ahead(run, [])
    begin_stage(run, "map")
    assert made._time.standing().stage == "learned: map"
    assert made._time.standing().overall == 7
    plan_ahead(silent, [])
    begin_stage(silent, "map")


def test_words():
    standing = Standing("densify", "", None, None, 75.0, 20.0, 340.0, 100.0)
    assert shows.words(standing) == "densify: 75 s so far, about 5 min 40 s left in all"
    assert [duration(s) for s in (9.4, 99.4, 100, 700, 7000)] == ["9 s", "99 s", "1 min 40 s", "12 min", "1.9 h"]


def test_json_is_asked_for_by_one_name_where_another_file_has_it(dd_sfm):
    assert wants_json(["reconstruct", "clip.mp4", "--json"])
    assert not wants_json(["calibrate", "board.mp4", "--json", "figures.json"])
    assert wants_json(["bench", "--json-lines"])
    assert not wants_json(["reconstruct", "clip.mp4", "--quiet"])


def test_what_is_wrong_with_a_command_line_is_told_in_json_too(dd_sfm, tmp_path):
    ran = dd_sfm("reconstruct", tmp_path / "nothing.mp4", "-o", tmp_path / "run", "--json")
    (end,) = [json.loads(line) for line in ran.out.splitlines()]
    assert (ran.code, end["code"]) == (1, 1)
    assert ran.err == f"dd-sfm: {end['error']}\n"
    ran = dd_sfm("reconstruct", "--json", "--no-such-option")
    assert json.loads(ran.out)["code"] == ran.code == 2


def test_stages_of_a_run_are_told_in_json(dd_sfm, tiny_clip, tmp_path):
    ran = dd_sfm("extract", tiny_clip, "-o", tmp_path / "run", "--calibration", "90,90,80,60", "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert (ran.code, ran.err) == (0, "")
    stage, last = lines[0], [line for line in lines if line["event"] == "progress"][-1]
    assert (stage["event"], stage["stage"]) == ("stage", "frames")
    assert (last["step"], last["done"], last["of"], last["overall"]) == ("read frames", 12, 12, 0.0)
    assert lines[-1]["event"] == "end"


def test_every_command_that_can_be_quiet_can_speak_json():
    commands = get_command(app).commands
    subcommands = commands.pop("evaluate").commands
    for name, command in {**commands, **subcommands}.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--quiet" in options) == ("--json-lines" in options), name
        # Only where --json FILE is another option it is not the short name.
        assert ("--json" in options) or "--json-lines" not in options, name


def test_on_a_terminal_clocks_go_on_also_where_its_size_is_not_told(now, shown, monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    made = shown(shows.Bars())
    begin_stage(made, "map")
    for _ in range(4):
        now[0] += 1.5
        made.show.ticks(made._time.standing())
    assert "map: 0" in sys.stderr.getvalue()
    plan_ahead(made, [Part("map", "map, global mapper", 60.0)])
    for _ in made(range(2), total=2, label="map, global mapper"):
        now[0] += 3
        made.show.ticks(made._time.standing())
    made.say("done")
    told = sys.stderr.getvalue()
    assert "map, global mapper:   0%" in told
    assert "left in all" in told
    assert told.endswith("done\n")
