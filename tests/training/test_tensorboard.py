import builtins

import pytest

from neurornn import InputError, RateRNN, resume, train
from neurornn.training import tensorboard

QUICK = {"n_steps": 8, "batch_size": 4, "evaluate_every": 4, "n_evaluation_trials": 16, "progress": False}


class Writer:
    """What TensorBoard's writer was told, in order."""

    told = None

    def __init__(self, folder, purge_step=None):
        self.told.append(("purge", purge_step))

    def add_scalar(self, name, value, step):
        self.told.append((name, value, step))

    def flush(self):
        pass

    def close(self):
        self.told.append("closed")


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(tensorboard, "need_tensorboard", lambda: Writer)
    monkeypatch.setattr("neurornn.training.loop.need_tensorboard", lambda: Writer)
    monkeypatch.setattr(Writer, "told", [])
    return Writer.told


def losses(told):
    return [(entry[2], entry[1]) for entry in told if entry[0] == "loss"]


def test_every_row_is_written_once_and_in_order(flip_flop, told, tmp_path):
    run = train(RateRNN(2, 4, 2), flip_flop, **QUICK, tensorboard=True, directory=tmp_path / "run")
    assert losses(told) == list(zip(run.history.step.values, run.history.loss.values, strict=True))
    assert ("evaluation_score", float(run.history.evaluation_score[-1]), 8) in told
    assert told[-1] == "closed"


def test_a_resumed_run_goes_on_where_it_was(flip_flop, told, tmp_path):
    def fail(state):
        if state.step == 4:
            raise RuntimeError("the power went off")

    settings = {**QUICK, "tensorboard": True, "directory": tmp_path / "run"}
    with pytest.raises(RuntimeError, match="power"):
        train(RateRNN(2, 4, 2, seed=0), flip_flop, **settings, callbacks=[fail])
    # The checkpoint of step 4 was not written when the callback failed: that of step 0 is taken up.
    first = losses(told)
    run = resume(tmp_path / "run", progress=False)
    assert first == []
    assert losses(told) == list(zip(run.history.step.values, run.history.loss.values, strict=True))


def test_without_tensorboard_it_is_told_before_anything_is_written(flip_flop, monkeypatch, tmp_path):
    own = builtins.__import__

    def missing(name, *arguments, **named):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return own(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"needs TensorBoard, .* pip install 'neurornn\[tensorboard\]'"):
        train(RateRNN(2, 4, 2), flip_flop, **QUICK, tensorboard=True, directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()
