from dd_sfm.cli import console


def test_without_a_terminal_progress_is_told_in_lines(monkeypatch, capsys):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    progress = console.make_progress(quiet=False)
    assert list(progress(range(5), total=5, label="match")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err.splitlines() == [
        "  match: 1 of 5, about 160 s left", "  match: 3 of 5, about 53 s left",
    ]  # fmt: skip
    assert list(console.make_progress(quiet=True)(range(2), total=2, label="match")) == [0, 1]
    assert capsys.readouterr().err == ""
