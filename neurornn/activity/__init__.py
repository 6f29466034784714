"""Activity: what a network does on trials, recorded and looked up by label."""

from neurornn.activity.accessor import RNNAccessor
from neurornn.activity.conditions import condition_average
from neurornn.activity.epochs import align, epoch
from neurornn.activity.from_arrays import activity_from_arrays
from neurornn.activity.from_nwb import activity_from_nwb
from neurornn.activity.interventions import (
    INTERVENTIONS,
    Clamp,
    Disconnection,
    InputPulse,
    Intervention,
    Lesion,
    Pulse,
    Stimulation,
    WeightPerturbation,
)
from neurornn.activity.origin import read_origin, rebuild_network, rebuild_task
from neurornn.activity.populations import population
from neurornn.activity.recording import record
from neurornn.activity.reproduction import Reproduction, reproduce

__all__ = [
    "INTERVENTIONS",
    "Clamp",
    "Disconnection",
    "InputPulse",
    "Intervention",
    "Lesion",
    "Pulse",
    "RNNAccessor",
    "Reproduction",
    "Stimulation",
    "WeightPerturbation",
    "activity_from_arrays",
    "activity_from_nwb",
    "align",
    "condition_average",
    "epoch",
    "population",
    "read_origin",
    "rebuild_network",
    "rebuild_task",
    "record",
    "reproduce",
]
