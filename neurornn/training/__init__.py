"""Training: losses, the loop, checkpoints and the folder of a run."""

from neurornn.training.loading import load_run
from neurornn.training.loop import DivergedTraining, TrainingRun, need_matching, need_same_dt, train
from neurornn.training.losses import masked_loss
from neurornn.training.run_directory import RunDirectory

__all__ = [
    "DivergedTraining",
    "RunDirectory",
    "TrainingRun",
    "load_run",
    "masked_loss",
    "need_matching",
    "need_same_dt",
    "train",
]
