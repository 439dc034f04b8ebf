import pytest

from dd_sfm.errors import OutputError
from dd_sfm.io.lock import LOCK, locked
from dd_sfm.training.distributed import ProcessGroup
from dd_sfm.training.history import HISTORY, append_record, finished_step, trim_history
from dd_sfm.training.output import check_output, held_by


def test_steps_after_the_checkpoint_and_half_a_line_leave_the_history(tmp_path):
    trim_history(tmp_path, 0)
    for step in (3, 6, 9):
        append_record(tmp_path, {"step": step})
    path = tmp_path / HISTORY
    whole = path.read_text()
    trim_history(tmp_path, 9)
    assert path.read_text() == whole
    path.write_text(whole + '{"step": 12, "fini')
    trim_history(tmp_path, 7)
    assert path.read_text() == '{"step": 3}\n{"step": 6}\n'
    append_record(tmp_path, {"step": 6, "finished": True})
    assert finished_step(tmp_path) == 6


def test_a_folder_is_for_one_training_and_known_when_it_was_hardly_begun(tmp_path):
    out = tmp_path / "out"
    with held_by(ProcessGroup(), out), pytest.raises(OutputError, match="another dd-sfm"), held_by(ProcessGroup(), out):
        pass
    assert list(out.iterdir()) == []
    (out / "training.yaml.partial").touch()
    check_output(out)
    # A lock that its holder removes as it ends is not held by who opened it before.
    with locked(out, keep=False), pytest.raises(OutputError), locked(out):
        pass
    assert not (out / LOCK).exists()
