"""Training: losses, penalties, the loop, checkpoints and the folder of a run."""

from neurornn.training.averaging import Ensemble
from neurornn.training.diagnostics import gradient_profile
from neurornn.training.loading import load_run
from neurornn.training.loop import need_matching, need_same_dt, resume, train
from neurornn.training.losses import LOSSES, masked_loss
from neurornn.training.penalties import PENALTIES
from neurornn.training.run_directory import RunDirectory
from neurornn.training.trainer import DivergedTraining, InterruptedTraining, TrainingRun, TrainingState

__all__ = [
    "LOSSES",
    "PENALTIES",
    "DivergedTraining",
    "Ensemble",
    "InterruptedTraining",
    "RunDirectory",
    "TrainingRun",
    "TrainingState",
    "gradient_profile",
    "load_run",
    "masked_loss",
    "need_matching",
    "need_same_dt",
    "resume",
    "train",
]
