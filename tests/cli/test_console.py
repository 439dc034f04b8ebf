from dd_sfm.cli import console


def test_without_a_terminal_progress_is_told_in_lines(monkeypatch, capsys):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(console, "_last_line", console._LastLine())
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    progress = console.make_progress(quiet=False)
    console.make_say(quiet=False)("match ...")
    assert list(progress(range(5), total=5, label="match")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err.splitlines() == [
        "match ...", "  match: 1 of 5, about 160 s left", "  match: 3 of 5, about 67 s left",
    ]  # fmt: skip
    assert list(console.make_progress(quiet=True)(range(2), total=2, label="match")) == [0, 1]
    assert capsys.readouterr().err == ""


def test_without_a_terminal_each_long_step_is_named(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(console, "_last_line", console._LastLine())
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    progress, say = console.make_progress(quiet=False), console.make_say(quiet=False)
    say("map ...")
    # COLMAP's global mapper has no progress to tell: its name comes at once.
    list(progress(range(1), total=1, label="map, global mapper"))
    list(progress(range(9), total=9, label="soon after another line"))
    now[0] += 20
    list(progress(range(9), total=9, label="depth"))
    for _ in progress(range(9), total=9, label="measure"):
        now[0] += 2
    assert capsys.readouterr().err.splitlines() == [
        "map ...", "  map, global mapper ...", "  depth ...", "  measure ...",
    ]  # fmt: skip
