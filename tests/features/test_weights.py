import re

import pytest
import torch

from dd_sfm.errors import WeightsError
from dd_sfm.features.networks import build_network
from dd_sfm.features.weights import check_weights, list_weights, load_weights, read_training_sources, save_weights

CPU = torch.device("cpu")


def test_round_trip(tmp_path):
    network = build_network("compact", dim=32).eval()
    path = tmp_path / "w.safetensors"
    save_weights(path, network, "compact", {"dim": 32}, half=False)
    read = load_weights(str(path), CPU)
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(read(image), network(image))


def test_half_precision_halves_the_file(tmp_path):
    network = build_network("compact")
    for half in (False, True):
        save_weights(tmp_path / f"{half}.safetensors", network, "compact", {}, half=half)
    sizes = [(tmp_path / f"{half}.safetensors").stat().st_size for half in (False, True)]
    assert sizes[1] < 0.55 * sizes[0]


def test_a_flipped_bit_is_found(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, build_network("compact"), "compact", {})
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w.safetensors: damaged .* Copy or train them again"):
        load_weights(str(path), CPU)


def test_shipped_weights_load_and_are_small():
    from dd_sfm.resources import models_folder

    assert "compact" in list_weights()
    for name in list_weights():
        check_weights(name)
        assert load_weights(name, CPU).training is False
        assert (models_folder() / name / "weights.safetensors").stat().st_size < 10e6
        assert (models_folder() / name / "README.md").is_file()


@pytest.mark.parametrize("name", list_weights())
def test_cards_name_what_their_weights_were_trained_on(name):
    from dd_sfm.resources import models_folder

    card = (models_folder() / name / "README.md").read_text()
    [row] = re.findall(r"^\| recorded in the file \|(.*)\|$", card, re.MULTILINE)
    assert sorted(re.findall(r"`([\w-]+)`", row)) == sorted(read_training_sources(name))


@pytest.mark.parametrize("training", ["", "[]", "{", '{"data": 3}'])
def test_weights_that_do_not_say_what_they_were_trained_on(tmp_path, training):
    path = tmp_path / "w.safetensors"
    save_weights(path, build_network("compact"), "compact", {}, extra={"training": training})
    assert read_training_sources(str(path)) == []


def test_other_tensors_are_named(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, build_network("compact", dim=32), "compact", {})
    for load in (lambda: load_weights(str(path), CPU), lambda: check_weights(str(path))):
        with pytest.raises(WeightsError, match=r"of another shape \(centre.running_mean"):
            load()


def test_options_that_the_network_does_not_know(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, build_network("compact"), "compact", {"depth": 9})
    with pytest.raises(WeightsError, match="options of compact cannot be used"):
        load_weights(str(path), CPU)
