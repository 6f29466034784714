import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from neurornn import CorruptFile, InputError, files
from neurornn.training.checkpoint import load_checkpoint, save_checkpoint


class Hostile:
    """What it unpickles to is a file on the reader's disk."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def saved(tmp_path):
    content = {
        "step": 3,
        "network": {"bias": torch.arange(40.0), "weight": torch.eye(3, dtype=torch.float64)},
        "best_loss": float("inf"),
        "trial_stream": np.random.default_rng(0).bit_generator.state,
        "metrics": [{"step": 1, "loss": 0.5}],
    }
    save_checkpoint(tmp_path / "checkpoint.pt", content)
    return content, tmp_path / "checkpoint.pt"


def test_a_checkpoint_comes_back_as_it_was(saved):
    content, path = saved
    again = load_checkpoint(path)
    assert again.keys() == content.keys()
    for name, tensor in content["network"].items():
        assert torch.equal(again["network"][name], tensor)
    for key in ("step", "best_loss", "trial_stream", "metrics"):
        assert again[key] == content[key]


def test_one_flipped_bit_anywhere_is_refused(saved):
    _, path = saved
    data = path.read_bytes()
    for place in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(CorruptFile, match=r"checkpoint\.pt'"):
            load_checkpoint(path)


@pytest.mark.parametrize("cut", [1, 40, 60, 500, None])
def test_a_truncated_checkpoint_is_refused(saved, cut):
    _, path = saved
    path.write_bytes(path.read_bytes()[:-cut] if cut else b"")
    with pytest.raises(CorruptFile, match=r"the checkpoint .* is cut short or none of neurornn's"):
        load_checkpoint(path)


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    planted = tmp_path / "planted"
    buffer = io.BytesIO()
    torch.save({"network": Hostile(planted)}, buffer)
    for data in (buffer.getvalue(), pickle.dumps(Hostile(planted))):
        files.atomic_write(tmp_path / "checkpoint.pt", files.seal(data))
        with pytest.raises(CorruptFile, match=r"the checkpoint .* cannot be read \(.+\): take another copy"):
            load_checkpoint(tmp_path / "checkpoint.pt")
    assert not planted.exists()


def test_a_missing_checkpoint_is_told(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*checkpoint\.pt"):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_torch_itself_reads_a_checkpoint(saved):
    content, path = saved
    assert torch.load(path, weights_only=True)["step"] == content["step"]
