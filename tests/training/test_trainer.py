import numpy as np
import pytest
import torch

pytest.importorskip("dd_sfm.io.jhu")

from dd_sfm.errors import OutputError, WeightsError
from dd_sfm.training.augment import AugmentConfig
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.pairs import PairDataset, augment_pair
from dd_sfm.training.sources.pair_sample import PairSample
from dd_sfm.training.sources.spec import DataPath
from dd_sfm.training.trainer import Trainer
from dd_sfm.training.validation import matching_accuracy

CPU = torch.device("cpu")


class ShiftSource:
    """A textured picture against itself moved by a few pixels."""

    def draw(self, rng, gap=None):
        picture = (np.kron(rng.random((40, 40, 3)), np.ones((6, 6, 1))) * 255).astype(np.uint8)
        shift = rng.integers(-6, 7, 2)
        moved = np.roll(picture, (shift[1], shift[0]), axis=(0, 1))
        mask = np.ones(picture.shape[:2], bool)
        xy = rng.uniform(20, 220, (400, 2))
        return PairSample(picture, moved, mask, mask, xy, xy + shift)


def small(**changes):
    augment = AugmentConfig(crop=(96, 112))
    return TrainConfig(**({"steps": 6, "warmup": 2, "points": 64, "augment": augment, "workers": 0} | changes))


def test_pair_n_does_not_depend_on_what_came_before():
    dataset = PairDataset([(ShiftSource(), 1.0)], small())
    first, _, again = dataset[3], dataset[0], dataset[3]
    assert torch.equal(first["images"], again["images"])
    assert torch.equal(first["xy"], again["xy"])
    assert not torch.equal(first["images"], dataset[4]["images"])


def test_augmented_points_stay_together():
    config = small(augment=AugmentConfig(crop=(96, 112), photometric=0.0, rotation_deg=0, scale=0, perspective=0))
    pair = augment_pair(ShiftSource().draw(np.random.default_rng(0)), np.random.default_rng(1), config)
    xy = pair["xy"].round().long()
    colours = [pair["images"][k, :, xy[k, :, 1], xy[k, :, 0]] for k in (0, 1)]
    # Rounding to whole pixels crosses the edge of a 6-pixel block now and then.
    assert ((colours[0] - colours[1]).abs().amax(0) < 0.1).float().mean() > 0.6


def test_a_pair_without_common_points_is_refused():
    sample = ShiftSource().draw(np.random.default_rng(0))
    empty = PairSample(sample.image0, sample.image1, sample.mask0, sample.mask1, sample.xy0[:3], sample.xy1[:3])
    assert augment_pair(empty, np.random.default_rng(0), small()) is None


def test_resumed_training_goes_on_bit_by_bit(tmp_path):
    torch.set_num_threads(1)
    config = small()
    dataset = PairDataset([(ShiftSource(), 1.0)], config)
    whole = Trainer(config, tmp_path, CPU)
    for step in range(4):
        whole.train_step([dataset[step]])
        if step == 1:
            whole.save()
    second = Trainer(config, tmp_path, CPU)
    assert second.resume()
    assert second.step == 2
    for step in range(2, 4):
        second.train_step([dataset[step]])
    for a, b in zip(
        whole.averaged_network.state_dict().values(), second.averaged_network.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)


def test_checkpoint_of_the_first_trainer_still_goes_on(tmp_path):
    trainer = Trainer(small(), tmp_path, CPU)
    trainer.step = 3
    trainer.save()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save({k: state[k] for k in ("network", "average", "optimiser", "step")}, tmp_path / "checkpoint.pt")
    second = Trainer(small(), tmp_path, CPU)
    assert second.resume()
    assert second.step == 3


def test_checkpoint_of_something_else_is_one_clear_line(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="not a checkpoint"):
        Trainer(small(), tmp_path, CPU).resume()


def test_what_is_kept_when_a_checkpoint_cannot_be_written(tmp_path):
    for kept in ("there is no checkpoint yet", "the last good checkpoint is kept"):
        path = tmp_path / "checkpoint.pt"
        path.with_name("checkpoint.pt.partial").mkdir()
        with pytest.raises(OutputError, match=kept):
            Trainer(small(), tmp_path, CPU).save()
        path.with_name("checkpoint.pt.partial").rmdir()
        path.touch()


def test_a_damaged_checkpoint_is_not_gone_on_from(tmp_path, monkeypatch):
    trainer = Trainer(small(), tmp_path, CPU)
    trainer.save()
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    middle = len(whole) // 2
    for content in (whole[:middle], whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :]):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"checkpoint.pt: damaged.*start over with --overwrite"):
            Trainer(small(), tmp_path, CPU).resume()
    path.write_bytes(whole)

    def load(*arguments, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("torch.load", load)
    # Nothing is wrong with the checkpoint.
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        Trainer(small(), tmp_path, CPU).resume()


@pytest.mark.slow
def test_it_learns(tmp_path):
    config = small(steps=60, warmup=5)
    torch.set_num_threads(2)
    trainer = Trainer(config, tmp_path, CPU)
    dataset = PairDataset([(ShiftSource(), 1.0)], config)
    losses = [trainer.train_step([dataset[step]]) for step in range(config.steps)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert matching_accuracy(trainer.averaged_network, ShiftSource(), CPU, pairs=2).overall.pck[2] > 0.3


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a/b", ("a/b", 0, None)), ("a/b:0-94", ("a/b", 0, 94)), ("a:b/c", ("a:b/c", 0, None))],
)
def test_data_path(text, expected):
    data = DataPath.parse(text)
    assert (str(data.path), data.first, data.last) == expected
