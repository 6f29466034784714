"""The 15 tasks of Driscoll et al. 2024: those of Yang et al. 2019 but the fine decisions, in another form.

Directions are two numbers, cosine and sine; every duration is drawn from a wide range, and so are strengths;
the noise is ten times as large.

Driscoll, L. N., Shenoy, K. & Sussillo, D. (2024). Flexible multitask computation in recurrent networks
utilizes shared dynamical motifs. Nature Neuroscience 27, 1349-1363. doi:10.1038/s41593-024-01668-6 (and its
published code, whose numbers these are)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from neurornn.tasks.distributions import Distribution, Duration, Uniform
from neurornn.tasks.rings import Direction
from neurornn.tasks.task import Recipe
from neurornn.tasks.yang19_delayed_decisions import (
    Yang19ContextDelayDM1,
    Yang19DelayDM1,
    Yang19MultiDelayDM,
)
from neurornn.tasks.yang19_go import TIME_CONSTANT, Yang19DelayGo, Yang19FdGo, Yang19ReactGo, Yang19Task
from neurornn.tasks.yang19_matching import Yang19DMCGo, Yang19DMSGo

NOISE = 0.1 * math.sqrt(2 * TIME_CONSTANT)
"""Input noise in units of sqrt(ms): .1 sqrt(2 tau / dt) per step."""


class Driscoll24Task(Yang19Task):
    """What the 15 tasks have of their own: the network."""

    @property
    def recipe(self) -> Recipe:
        """The paper's network and step size; it trains far longer, on all tasks at once."""
        return Recipe(
            network={
                "hidden_size": 128,
                "activation": "softplus",
                "tau": TIME_CONSTANT,
                "noise_std": 0.05,
                "recurrent_initialisation": "identity",
            },
            training={"n_steps": 5000, "batch_size": 64, "learning_rate": 1e-3},
        )


@dataclass(frozen=True)
class DelayPro(Driscoll24Task, Yang19FdGo):
    """Point at a stimulus when the fixation cue goes off, the stimulus still being there."""

    fixation: Duration = Uniform(300.0, 700.0)
    stimulus: Duration = Uniform(200.0, 1500.0)
    response: Duration = Uniform(300.0, 700.0)
    n_ring: int = 2
    noise_std: float = NOISE

    paper_name = "DelayPro"


@dataclass(frozen=True)
class DelayAnti(DelayPro):
    """Point away from a stimulus when the fixation cue goes off, the stimulus still being there."""

    anti = True
    paper_name = "DelayAnti"


@dataclass(frozen=True)
class MemoryPro(Driscoll24Task, Yang19DelayGo):
    """Point at a stimulus when the fixation cue goes off, after the stimulus has gone."""

    fixation: Duration = Uniform(300.0, 700.0)
    stimulus: Duration = Uniform(200.0, 1600.0)
    delay: Duration = Uniform(200.0, 1600.0)
    response: Duration = Uniform(300.0, 700.0)
    n_ring: int = 2
    noise_std: float = NOISE

    paper_name = "MemoryPro"


@dataclass(frozen=True)
class MemoryAnti(MemoryPro):
    """Point away from a stimulus when the fixation cue goes off, after the stimulus has gone."""

    anti = True
    paper_name = "MemoryAnti"


@dataclass(frozen=True)
class ReactPro(Driscoll24Task, Yang19ReactGo):
    """Point at a stimulus as soon as it appears."""

    fixation: Duration = Uniform(500.0, 2500.0)
    response: Duration = Uniform(300.0, 1700.0)
    n_ring: int = 2
    noise_std: float = NOISE

    paper_name = "ReactPro"


@dataclass(frozen=True)
class ReactAnti(ReactPro):
    """Point away from a stimulus as soon as it appears."""

    anti = True
    paper_name = "ReactAnti"


@dataclass(frozen=True)
class IntegrationModality1(Driscoll24Task, Yang19DelayDM1):
    """Point at the stronger of two stimuli in modality 1, shown one after the other."""

    fixation: Duration = Uniform(200.0, 600.0)
    stimulus: Duration = Uniform(200.0, 1600.0)
    delay_1: Duration = Uniform(200.0, 1600.0)
    delay_2: Duration = Uniform(100.0, 300.0)
    response: Duration = Uniform(300.0, 700.0)
    coherence: float | Distribution = Uniform(0.005, 0.8)
    n_ring: int = 2
    noise_std: float = NOISE

    # No two trials have the same strengths.
    accuracy_by = ()
    psychometric_stimulus = None
    paper_name = "IntegrationModality1"


@dataclass(frozen=True)
class IntegrationModality2(IntegrationModality1):
    """Point at the stronger of two stimuli in modality 2, shown one after the other."""

    modalities = (2,)
    attended = (2,)
    paper_name = "IntegrationModality2"


@dataclass(frozen=True)
class ContextIntModality1(Driscoll24Task, Yang19ContextDelayDM1):
    """Point at the stronger of two stimuli in modality 1, shown one after the other in both."""

    fixation: Duration = Uniform(200.0, 600.0)
    stimulus: Duration = Uniform(200.0, 1600.0)
    delay_1: Duration = Uniform(200.0, 1600.0)
    delay_2: Duration = Uniform(100.0, 300.0)
    response: Duration = Uniform(300.0, 700.0)
    coherence: float | Distribution = Uniform(0.005, 0.8)
    n_ring: int = 2
    noise_std: float = NOISE

    # No two trials have the same strengths.
    accuracy_by = ()
    psychometric_stimulus = None
    paper_name = "ContextIntModality1"


@dataclass(frozen=True)
class ContextIntModality2(ContextIntModality1):
    """Point at the stronger of two stimuli in modality 2, shown one after the other in both."""

    attended = (2,)
    paper_name = "ContextIntModality2"


@dataclass(frozen=True)
class IntegrationMultimodal(Driscoll24Task, Yang19MultiDelayDM):
    """Point at the stronger of two stimuli, shown one after the other, both modalities together."""

    fixation: Duration = Uniform(200.0, 600.0)
    stimulus: Duration = Uniform(200.0, 1600.0)
    delay_1: Duration = Uniform(200.0, 1600.0)
    delay_2: Duration = Uniform(100.0, 300.0)
    response: Duration = Uniform(300.0, 700.0)
    coherence: float | Distribution = Uniform(0.005, 0.8)
    modality_difference: float | Distribution = Uniform(0.005, 0.8)
    n_ring: int = 2
    noise_std: float = NOISE

    # No two trials have the same strengths.
    accuracy_by = ()
    psychometric_stimulus = None
    paper_name = "IntegrationMultimodal"


@dataclass(frozen=True)
class ReactMatch2Sample(Driscoll24Task, Yang19DMSGo):
    """Point at the second of two stimuli if they are in the same direction, else go on fixating."""

    fixation: Duration = Uniform(200.0, 600.0)
    stimulus: Duration = Uniform(200.0, 1600.0)
    delay: Duration = Uniform(200.0, 1600.0)
    response: Duration = Uniform(300.0, 700.0)
    n_ring: int = 2
    noise_std: float = NOISE

    paper_name = "ReactMatch2Sample"


@dataclass(frozen=True)
class ReactNonMatch2Sample(ReactMatch2Sample):
    """Point at the second of two stimuli if they differ, else go on fixating."""

    matches_respond = False
    paper_name = "ReactNonMatch2Sample"


@dataclass(frozen=True)
class ReactCategoryPro(Driscoll24Task, Yang19DMCGo):
    """Point at the second of two stimuli if they belong to the same category, else go on fixating."""

    fixation: Duration = Uniform(200.0, 600.0)
    stimulus: Duration = Uniform(200.0, 1600.0)
    delay: Duration = Uniform(200.0, 1600.0)
    response: Duration = Uniform(300.0, 700.0)
    n_ring: int = 2
    noise_std: float = NOISE

    category_directions = Direction()
    paper_name = "ReactCategoryPro"


@dataclass(frozen=True)
class ReactCategoryAnti(ReactCategoryPro):
    """Point at the second of two stimuli if they belong to different categories, else go on fixating."""

    matches_respond = False
    paper_name = "ReactCategoryAnti"


DRISCOLL24: tuple[Callable[..., Driscoll24Task], ...] = (
    DelayPro,
    DelayAnti,
    MemoryPro,
    MemoryAnti,
    ReactPro,
    ReactAnti,
    IntegrationModality1,
    IntegrationModality2,
    ContextIntModality1,
    ContextIntModality2,
    IntegrationMultimodal,
    ReactMatch2Sample,
    ReactNonMatch2Sample,
    ReactCategoryPro,
    ReactCategoryAnti,
)
"""The classes of the 15 tasks."""


def driscoll24_tasks(
    *, noise_std: float = NOISE, timing: str = "batch", dt: float = 20.0
) -> tuple[Driscoll24Task, ...]:
    """Return the 15 tasks of Driscoll et al. 2024, for one network to learn.

    Parameters
    ----------
    noise_std : float
        Input noise in units of sqrt(ms); by default .447 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether durations and modalities are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    Returns
    -------
    tuple of Driscoll24Task

    Examples
    --------
    >>> tasks = driscoll24_tasks()
    >>> len(tasks), tasks[0].paper_name, tasks[0].n_inputs, tasks[0].n_outputs
    (15, 'DelayPro', 5, 3)
    """
    return tuple(own(noise_std=noise_std, timing=timing, dt=dt) for own in DRISCOLL24)
