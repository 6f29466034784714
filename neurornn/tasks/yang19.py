"""The 20 tasks of Yang et al. 2019: pointing at and away from stimuli, decisions, and matching.

All have the same channels, so that one network can learn them together: a fixation cue and two rings of
inputs, the modalities; a fixation output and a ring that points. The tasks are in `yang19_go`,
`yang19_decisions`, `yang19_delayed_decisions` and `yang19_matching`.
"""

from __future__ import annotations

from collections.abc import Callable

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
    NOISE,
    Yang19DelayAnti,
    Yang19DelayGo,
    Yang19FdAnti,
    Yang19FdGo,
    Yang19ReactAnti,
    Yang19ReactGo,
    Yang19Task,
)
from neurornn.tasks.yang19_matching import Yang19DMCGo, Yang19DMCNoGo, Yang19DMSGo, Yang19DMSNoGo

YANG19: tuple[Callable[..., Yang19Task], ...] = (
    Yang19FdGo,
    Yang19ReactGo,
    Yang19DelayGo,
    Yang19FdAnti,
    Yang19ReactAnti,
    Yang19DelayAnti,
    Yang19DM1,
    Yang19DM2,
    Yang19ContextDM1,
    Yang19ContextDM2,
    Yang19MultiDM,
    Yang19DelayDM1,
    Yang19DelayDM2,
    Yang19ContextDelayDM1,
    Yang19ContextDelayDM2,
    Yang19MultiDelayDM,
    Yang19DMSGo,
    Yang19DMSNoGo,
    Yang19DMCGo,
    Yang19DMCNoGo,
)
"""The classes of the 20 tasks in the order of the paper's code."""


def yang19_tasks(
    *, n_ring: int = 32, noise_std: float = NOISE, timing: str = "batch", dt: float = 20.0
) -> tuple[Yang19Task, ...]:
    """Return the 20 tasks of Yang et al. 2019 in the order of its code, for one network to learn.

    Parameters
    ----------
    n_ring : int
        Units of each ring.
    noise_std : float
        Input noise in units of sqrt(ms).
    timing : {"batch", "trial"}
        Whether varied durations and modalities are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    Returns
    -------
    tuple of Yang19Task

    Examples
    --------
    >>> [task.paper_name for task in yang19_tasks()[:4]]
    ['Go', 'RT Go', 'Dly Go', 'Anti']
    """
    return tuple(own(n_ring=n_ring, noise_std=noise_std, timing=timing, dt=dt) for own in YANG19)
