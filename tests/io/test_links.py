"""Links in output folders: what they lead to is neither written to nor removed."""

import pytest

from dd_sfm.batch.storage import Store
from dd_sfm.errors import OutputError
from dd_sfm.features.descriptor_files import DescriptorFiles
from dd_sfm.io.checksums import ASIDE, put_aside
from dd_sfm.io.links import check_no_links
from dd_sfm.io.lock import LOCK, locked
from dd_sfm.io.run_layout import MADE_BY
from dd_sfm.io.staging import staged_folder
from dd_sfm.pipeline.compare import check_folder
from dd_sfm.pipeline.stages import STAGES, StageRecord
from dd_sfm.synthetic.clip import write_clip
from dd_sfm.synthetic.settings import SynthSettings
from dd_sfm.training.output import check_output

SAYS = r"a link to .*outside; expected a folder.*Remove the link"


@pytest.fixture
def outside(tmp_path):
    """A folder of the user, which must be as it is in the end."""
    folder = tmp_path / "outside"
    (folder / "0").mkdir(parents=True)
    for name in ("00000010.png.png", "0/images.bin", "batch.jpg", "report.html"):
        (folder / name).write_text("the user's")
    yield folder
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    assert found == {"00000010.png.png", "0", "0/images.bin", "batch.jpg", "report.html"}
    assert all(path.read_text() == "the user's" for path in folder.rglob("*") if path.is_file())


FOLDERS = [folder for stage in MADE_BY.values() for folder in stage if folder]

REPLACED = {f"{folder}/0" for folder in ("poses", "sparse", "camera.partial", "describe", "match", "map")}
"""Places of folders that a stage fills with folders of any name, or of models."""


@pytest.mark.parametrize("place", [f"{folder}{inner}" for folder in FOLDERS for inner in ("", "/0")])
def test_a_stage_writes_to_no_linked_folder(tmp_path, outside, place):
    run = tmp_path / "run"
    stage = next(stage for stage in STAGES if place.split("/")[0] in MADE_BY[stage])
    record = StageRecord.open(run, overwrite=False)
    record.begin(stage, "a")
    link = run / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(OutputError, match=SAYS):
        record.begin(stage, "a")
    # Made anew it loses a link in the place of its folder; one in it that is none of its own ends it, untouched.
    (run / "points.ply").write_text("an earlier result")
    if place == link.name or place in REPLACED:
        record.begin(stage, "b")
        assert not link.is_symlink()
        assert not (run / "points.ply").exists()
    else:
        with pytest.raises(OutputError, match=SAYS):
            record.begin(stage, "b")
        assert link.is_symlink()
        assert (run / "points.ply").exists()


def test_descriptors_made_again_while_matching_go_to_no_linked_folder(tmp_path, outside):
    run = tmp_path / "run"
    record = StageRecord.open(run, overwrite=False)
    (run / "descriptors").symlink_to(outside)
    # Those that are there are read wherever they lie.
    record.begin("match", "a")
    with pytest.raises(OutputError, match=SAYS):
        DescriptorFiles(run, None).save(0, None)


def test_a_run_folder_may_be_a_link(tmp_path):
    (tmp_path / "big_disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "big_disk")
    record = StageRecord.open(tmp_path / "run", overwrite=False)
    with locked(tmp_path / "run"):
        record.begin("frames", "a")
    assert {path.name for path in (tmp_path / "big_disk").iterdir()} == {LOCK, "stages.json"}


def test_damaged_files_are_put_to_no_linked_folder(tmp_path, outside):
    run = tmp_path / "run"
    run.mkdir()
    (run / "map.json").write_text("x")
    (run / ASIDE).symlink_to(outside)
    with pytest.raises(OutputError, match=SAYS):
        put_aside(run, [run / "map.json"])


def _fill_figures(out):
    with staged_folder(out, "report.json", {"made_by": "a"}, overwrite=True) as staging:
        (staging / "figures").mkdir()
        (staging / "figures" / "a.png").write_text("a")


def test_other_commands_write_to_no_linked_folder(tmp_path, outside):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("masks", "display", "pictures", "learned", "figures"):
        (out / name).symlink_to(outside)
    with pytest.raises(OutputError, match=SAYS):
        write_clip(SynthSettings(), out, jobs=1, overwrite=True, progress=lambda *_: None)
    with pytest.raises(OutputError, match=SAYS):
        check_output(out, overwrite=True)
    with pytest.raises(OutputError, match=SAYS):
        Store(str(out)).write("pictures/batch.jpg", b"")
    with pytest.raises(OutputError, match=SAYS):
        _fill_figures(out)
    assert not (out / "report.json").exists()
    (outside / "0").joinpath("stages.json").write_text("{}")
    (out / "learned").unlink()
    (out / "learned").symlink_to(outside / "0")
    with pytest.raises(OutputError, match="a link to"):
        check_folder(out)
    (outside / "0" / "stages.json").unlink()


def test_folders_that_are_none_are_passed(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").symlink_to(tmp_path / "nothing")
    check_no_links(tmp_path, ["a/b", "c", "a"])
