"""Tasks: what a network is trained on. One family a file; this file holds the written registry.

To add a task, write a frozen dataclass in the file of its family (or a new one), give it a data-sheet
docstring in the order of the others, and enter it in `TASKS`; the checker `neurornn.testing.check_task`
then runs over it by itself.
"""

if __name__ != "neurornn.tasks":
    raise ImportError(
        "this folder is the package neurornn.tasks: write `from neurornn import tasks`, "
        "because a bare `tasks` would be shadowed by any tasks.py in a notebook's folder"
    )

import dataclasses
from typing import Any

from neurornn.tasks.change import ChangeDetection
from neurornn.tasks.choices import ChoiceTask
from neurornn.tasks.classics import Adding, Copy, DelayedXOR, Latching, TemporalOrder
from neurornn.tasks.comparison import DelayedComparison, IntervalDiscrimination
from neurornn.tasks.context import (
    ContextDecisionMaking,
    HierarchicalReasoning,
    MultisensoryIntegration,
    PostDecisionWager,
)
from neurornn.tasks.control import GoNoGo, StopSignal
from neurornn.tasks.cues import ProbabilisticReasoning
from neurornn.tasks.decisions import (
    PerceptualDecisionMaking,
    PulseDecisionMaking,
    ReactionTimeDecision,
    VariableDurationDecision,
)
from neurornn.tasks.digits import SequentialDigits
from neurornn.tasks.distributions import Choice, Distribution, Duration, Exponential, Fixed, Uniform
from neurornn.tasks.epoch_task import EpochTask
from neurornn.tasks.flip_flop import FlipFlop
from neurornn.tasks.integration import AngleIntegration, EvidenceIntegrator, PathIntegration
from neurornn.tasks.interval_timing import MotorTiming, OneTwoThreeGo, ReadySetGo
from neurornn.tasks.listing import table_of
from neurornn.tasks.matching import (
    ABBA,
    ABCA,
    DelayedMatchToCategory,
    DelayedMatchToSample,
    DelayedMatchWithDistractors,
    DelayedPairedAssociation,
    DualDelayedMatchToSample,
)
from neurornn.tasks.multitask import MultiTask
from neurornn.tasks.neurogym_bridge import NeurogymTask, from_neurogym
from neurornn.tasks.oscillation import SineGenerator
from neurornn.tasks.presets import Driscoll24, Yang19
from neurornn.tasks.probes import DelayedReconstruction, WhiteNoise
from neurornn.tasks.reaching import DelayedReach, Reaching1D
from neurornn.tasks.recorded import RecordedTask, from_arrays
from neurornn.tasks.saccades import AntiReach, AntiSaccade, DelayedSaccade, RingMemory
from neurornn.tasks.sequences import DelayedCopy, NBack, SequenceRecall
from neurornn.tasks.switching import ReversalLearning, TaskSwitching
from neurornn.tasks.task import Recipe, Task, TaskProtocol, describe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import NO_CHOICE, Trials
from neurornn.tasks.yang19_decisions import (
    Yang19ContextDM1,
    Yang19ContextDM2,
    Yang19DM1,
    Yang19DM2,
    Yang19MultiDM,
)
from neurornn.tasks.yang19_delayed_decisions import (
    Yang19ContextDelayDM1,
    Yang19ContextDelayDM2,
    Yang19DelayDM1,
    Yang19DelayDM2,
    Yang19MultiDelayDM,
)
from neurornn.tasks.yang19_go import (
    Yang19DelayAnti,
    Yang19DelayGo,
    Yang19FdAnti,
    Yang19FdGo,
    Yang19ReactAnti,
    Yang19ReactGo,
)
from neurornn.tasks.yang19_matching import Yang19DMCGo, Yang19DMCNoGo, Yang19DMSGo, Yang19DMSNoGo
from neurornn.vocabulary import InputError, nearest_name, unknown_name

__all__ = [
    "ABBA",
    "ABCA",
    "NO_CHOICE",
    "TASKS",
    "Adding",
    "AngleIntegration",
    "AntiReach",
    "AntiSaccade",
    "ChangeDetection",
    "Choice",
    "ChoiceTask",
    "ContextDecisionMaking",
    "Copy",
    "DelayedComparison",
    "DelayedCopy",
    "DelayedMatchToCategory",
    "DelayedMatchToSample",
    "DelayedMatchWithDistractors",
    "DelayedPairedAssociation",
    "DelayedReach",
    "DelayedReconstruction",
    "DelayedSaccade",
    "DelayedXOR",
    "Distribution",
    "Driscoll24",
    "DualDelayedMatchToSample",
    "Duration",
    "EpochTask",
    "EvidenceIntegrator",
    "Exponential",
    "Fixed",
    "FlipFlop",
    "GoNoGo",
    "HierarchicalReasoning",
    "IntervalDiscrimination",
    "Latching",
    "MotorTiming",
    "MultiTask",
    "MultisensoryIntegration",
    "NBack",
    "NeurogymTask",
    "OneTwoThreeGo",
    "PathIntegration",
    "PerceptualDecisionMaking",
    "PostDecisionWager",
    "ProbabilisticReasoning",
    "PulseDecisionMaking",
    "Reaching1D",
    "ReactionTimeDecision",
    "ReadySetGo",
    "Recipe",
    "RecordedTask",
    "ReversalLearning",
    "RingMemory",
    "SequenceRecall",
    "SequentialDigits",
    "SineGenerator",
    "StopSignal",
    "Task",
    "TaskProtocol",
    "TaskSwitching",
    "TemporalOrder",
    "Timeline",
    "Trials",
    "Uniform",
    "VariableDurationDecision",
    "WhiteNoise",
    "Yang19",
    "Yang19ContextDM1",
    "Yang19ContextDM2",
    "Yang19ContextDelayDM1",
    "Yang19ContextDelayDM2",
    "Yang19DM1",
    "Yang19DM2",
    "Yang19DMCGo",
    "Yang19DMCNoGo",
    "Yang19DMSGo",
    "Yang19DMSNoGo",
    "Yang19DelayAnti",
    "Yang19DelayDM1",
    "Yang19DelayDM2",
    "Yang19DelayGo",
    "Yang19FdAnti",
    "Yang19FdGo",
    "Yang19MultiDM",
    "Yang19MultiDelayDM",
    "Yang19ReactAnti",
    "Yang19ReactGo",
    "describe",
    "from_arrays",
    "from_neurogym",
    "get",
    "registered_name",
    "table",
]

TASKS: dict[str, type[Task]] = {
    "abba": ABBA,
    "abca": ABCA,
    "adding": Adding,
    "angle_integration": AngleIntegration,
    "anti_reach": AntiReach,
    "anti_saccade": AntiSaccade,
    "change_detection": ChangeDetection,
    "context_decision_making": ContextDecisionMaking,
    "copy": Copy,
    "delayed_comparison": DelayedComparison,
    "delayed_copy": DelayedCopy,
    "delayed_match_to_category": DelayedMatchToCategory,
    "delayed_match_to_sample": DelayedMatchToSample,
    "delayed_match_with_distractors": DelayedMatchWithDistractors,
    "delayed_paired_association": DelayedPairedAssociation,
    "delayed_reach": DelayedReach,
    "delayed_reconstruction": DelayedReconstruction,
    "delayed_saccade": DelayedSaccade,
    "delayed_xor": DelayedXOR,
    "driscoll24": Driscoll24,
    "dual_delayed_match_to_sample": DualDelayedMatchToSample,
    "evidence_integrator": EvidenceIntegrator,
    "flip_flop": FlipFlop,
    "go_no_go": GoNoGo,
    "hierarchical_reasoning": HierarchicalReasoning,
    "interval_discrimination": IntervalDiscrimination,
    "latching": Latching,
    "motor_timing": MotorTiming,
    "multisensory_integration": MultisensoryIntegration,
    "n_back": NBack,
    "one_two_three_go": OneTwoThreeGo,
    "path_integration": PathIntegration,
    "perceptual_decision_making": PerceptualDecisionMaking,
    "perceptual_decision_variable": VariableDurationDecision,
    "post_decision_wager": PostDecisionWager,
    "probabilistic_reasoning": ProbabilisticReasoning,
    "pulse_decision_making": PulseDecisionMaking,
    "reaching_1d": Reaching1D,
    "reaction_time_decision": ReactionTimeDecision,
    "ready_set_go": ReadySetGo,
    "reversal_learning": ReversalLearning,
    "ring_memory": RingMemory,
    "sequence_recall": SequenceRecall,
    "sequential_digits": SequentialDigits,
    "sine_generator": SineGenerator,
    "stop_signal": StopSignal,
    "task_switching": TaskSwitching,
    "temporal_order": TemporalOrder,
    "white_noise": WhiteNoise,
    "yang19": Yang19,
    "yang19_contextdelaydm1": Yang19ContextDelayDM1,
    "yang19_contextdelaydm2": Yang19ContextDelayDM2,
    "yang19_contextdm1": Yang19ContextDM1,
    "yang19_contextdm2": Yang19ContextDM2,
    "yang19_delayanti": Yang19DelayAnti,
    "yang19_delaydm1": Yang19DelayDM1,
    "yang19_delaydm2": Yang19DelayDM2,
    "yang19_delaygo": Yang19DelayGo,
    "yang19_dm1": Yang19DM1,
    "yang19_dm2": Yang19DM2,
    "yang19_dmcgo": Yang19DMCGo,
    "yang19_dmcnogo": Yang19DMCNoGo,
    "yang19_dmsgo": Yang19DMSGo,
    "yang19_dmsnogo": Yang19DMSNoGo,
    "yang19_fdanti": Yang19FdAnti,
    "yang19_fdgo": Yang19FdGo,
    "yang19_multidelaydm": Yang19MultiDelayDM,
    "yang19_multidm": Yang19MultiDM,
    "yang19_reactanti": Yang19ReactAnti,
    "yang19_reactgo": Yang19ReactGo,
}
"""Every task by its name."""


def get(name: str, /, **parameters: Any) -> Task:
    """Return a task by its registered name.

    Parameters
    ----------
    name : str
        A key of `TASKS`, in snake_case.
    **parameters
        Fields of the task's dataclass that differ from the defaults. Lists, as TOML and JSON give them,
        become tuples.

    Returns
    -------
    Task

    Raises
    ------
    InputError
        Where the name or a parameter is unknown; the nearest one is offered.

    Examples
    --------
    >>> get("flip_flop", n_bits=2)
    FlipFlop(n_bits=2, duration=1000.0, pulse_probability=0.05, dt=10.0)
    """
    if not isinstance(name, str) or name not in TASKS:
        unknown_name("task", name, TASKS)
    task = TASKS[name]
    known = [field.name for field in dataclasses.fields(task)]  # type: ignore[arg-type]
    for key in parameters:
        if key not in known:
            near = nearest_name(key, known)
            hint = f"did you mean {near!r}?" if near else f"it has {', '.join(map(repr, known))}"
            raise InputError(f"task {name!r} has no parameter {key!r}: {hint}")
    return task(**{key: _as_tuple(value) for key, value in parameters.items()})


def table() -> str:
    """Return the table of all tasks, family by family, as Markdown; `docs/tasks.md` holds it."""
    return table_of(TASKS)


def registered_name(task: TaskProtocol) -> str | None:
    """Return the name under which a task's class is registered, or None for one of a user's own."""
    return next((name for name, kind in TASKS.items() if type(task) is kind), None)


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(entry) for entry in value) if isinstance(value, list | tuple) else value
