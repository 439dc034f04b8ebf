import pytest
import yaml


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--organ", "lung"), "--organ lung: expected one of sinus, colon, bladder"),
        (("--difficulty", "odd"), "--difficulty odd: expected one of easy, real, hard"),
        (("--size", "10x"), "--size 10x: expected WIDTHxHEIGHT"),
        (("--size", "10x10"), "--size 10x10: expected even numbers from 96"),
        (("--size", "99998x99998"), "--size 99998x99998: expected even numbers from 96 to 4096"),
        (("--frames", 2), "--frames 2: expected 3 or more"),
        (("--set", "path.speed=99"), "path.speed 99.0 mm over 75 frames leaves the organ"),
        (("--set", "fps=0"), "fps 0.0: expected 0.1 to 1000"),
        (("--set", "effects.smoke=7"), "effects.smoke 7.0: expected 0 to 1"),
        (("--set", "lens.grian=1"), "did you mean 'lens.grain'?"),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(dd_sfm, tmp_path, options, message):
    ran = dd_sfm("synth", "-o", tmp_path / "clip", *options)
    assert ran.code == 2
    assert message in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not (tmp_path / "clip").exists()


def test_other_content_is_left_alone(dd_sfm, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    ran = dd_sfm("synth", "-o", tmp_path, "--overwrite")
    assert ran.code == 1
    assert "holds other files" in ran.err
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_a_scene_file_makes_the_clip_again(dd_sfm, tmp_path):
    small = ("--organ", "colon", "--frames", 3, "--size", "160x96", "--seed", 7, "--debris", 5)
    assert dd_sfm("synth", "-o", tmp_path / "a", *small).code == 0
    assert dd_sfm("synth", "-o", tmp_path / "b", "--config", tmp_path / "a" / "scene.yaml").code == 0
    assert (tmp_path / "a" / "clip.mp4").read_bytes() == (tmp_path / "b" / "clip.mp4").read_bytes()
    assert yaml.safe_load((tmp_path / "b" / "scene.yaml").read_text())["effects"]["debris"] == 5
