"""Published sets of tasks as one: the 20 of Yang et al. 2019 and the 15 of Driscoll et al. 2024."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from neurornn.tasks import driscoll24, yang19
from neurornn.tasks.multitask import TaskUnion
from neurornn.tasks.task import Recipe, Task
from neurornn.tasks.yang19_go import TIME_CONSTANT


@dataclass(frozen=True)
class Yang19(TaskUnion):
    """Do any of 20 cognitive tasks, as an input says which.

    Story
        One network learns to point at stimuli and away from them, at once, later and from memory; to decide
        which of two is the stronger, by either modality, by both, or by the one that counts; and to tell
        whether two match, in direction or in category.

    Inputs
        ============= ===========================================================
        channel       meaning
        ============= ===========================================================
        ``fixation``  1 until the response, then 0 (1 throughout where it may be)
        ``ring_1_k``  32 units with a bump at each stimulus of modality 1
        ``ring_2_k``  likewise for modality 2
        ``rule_NAME`` 1 throughout the trials of task NAME, otherwise 0
        ============= ===========================================================

        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` and a ring of 32 units that points, as each task asks (`yang19_fdgo` and its siblings).

    Epochs
        Those of the trial's task, drawn once a batch.

    Scoring
        1 where the trial ends as its task asks: with fixation held, or pointing within .2 pi of the target.

    Constant inputs
        Those of every task, with its rule on.

    Recipe
        `RateRNN` of 128 relu units with tau = 100 ms, recurrent weights that begin as the identity, 16000
        steps of Adam at 2e-3 with 64 trials each. Held-out trials are of all tasks alike, mixed. (The paper
        trains 256 softplus units, some ten times as long.)

    Parameters
    ----------
    n_ring : int
        Units of each ring.
    noise_std : float
        Input noise in units of sqrt(ms); by default .01 sqrt(2 tau / dt) per step with tau = 100 ms, as in
        the paper.
    timing : {"batch", "trial"}
        Whether varied durations and modalities are drawn once a batch, as in the paper, or for each trial.
    batches : {"blocked", "mixed"}
        Whether a batch is of one task, as in the paper, or each trial of any.
    context_weight : float
        How often the tasks ``contextdm1`` and ``contextdm2`` are drawn, beside the others; 5 in the paper.
    rule_inputs : bool
        Whether there are rule channels.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2

    Examples
    --------
    >>> task = Yang19()
    >>> task.n_inputs, task.n_outputs, task.task_names[:3]
    (85, 33, ('Go', 'RT Go', 'Dly Go'))
    """

    n_ring: int = 32
    noise_std: float = yang19.NOISE
    timing: str = "batch"
    batches: str = "blocked"
    context_weight: float = 5.0
    rule_inputs: bool = True
    dt: float = 20.0

    @cached_property
    def tasks(self) -> tuple[Task, ...]:  # type: ignore[override]
        """The 20 tasks in the order of the paper's code."""
        return yang19.yang19_tasks(
            n_ring=self.n_ring, noise_std=self.noise_std, timing=self.timing, dt=self.dt
        )

    @cached_property
    def weights(self) -> tuple[float, ...]:  # type: ignore[override]
        """How often each task is drawn, beside the others."""
        often = (yang19.Yang19ContextDM1, yang19.Yang19ContextDM2)
        return tuple(self.context_weight if type(own) in often else 1.0 for own in self.tasks)

    def held_out(self, part: str = "test") -> Self:
        """Return the same tasks mixed and all as often, each trial with a timing of its own."""
        return dataclasses.replace(self, batches="mixed", timing="trial", context_weight=1.0)

    @property
    def rule_noise_std(self) -> float:  # type: ignore[override]
        """Noise on the rule channels: that of all inputs."""
        return self.noise_std

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={
                "hidden_size": 128,
                "activation": "relu",
                "tau": TIME_CONSTANT,
                "recurrent_initialisation": "identity",
            },
            training={
                "n_steps": 16000,
                "batch_size": 64,
                "learning_rate": 2e-3,
                "evaluate_every": 250,
                "n_evaluation_trials": 500,
            },
            criterion=0.9,
        )


@dataclass(frozen=True)
class Driscoll24(TaskUnion):
    """Do any of 15 cognitive tasks whose directions are cosine and sine, as an input says which.

    Story
        The tasks of `yang19` but the fine decisions, with directions as two numbers, wider ranges of
        durations and ten times the noise: a set in which motifs of dynamics that tasks share were found.

    Inputs
        ============= =================================================
        channel       meaning
        ============= =================================================
        ``fixation``  1 until the response, then 0
        ``ring_1_k``  cosine and sine of each stimulus of modality 1
        ``ring_2_k``  likewise for modality 2
        ``rule_NAME`` 1 throughout the trials of task NAME, otherwise 0
        ============= =================================================

        Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on every channel of the tasks.

    Targets
        ``fixation``, and cosine and sine of where to point.

    Epochs
        Those of the trial's task, drawn once a batch.

    Scoring
        1 where the trial ends as its task asks: with fixation held, or pointing within .2 pi of the target.

    Constant inputs
        Those of every task, with its rule on.

    Recipe
        `RateRNN` of 128 relu units with tau = 100 ms, recurrent weights that begin as the identity, 8000
        steps of Adam at 2e-3 with 64 trials each. Held-out trials are of all tasks alike, mixed.

    Parameters
    ----------
    noise_std : float
        Input noise in units of sqrt(ms); by default .1 sqrt(2 tau / dt) per step with tau = 100 ms.
    timing : {"batch", "trial"}
        Whether varied durations and modalities are drawn once a batch, as in the paper, or for each trial.
    batches : {"blocked", "mixed"}
        Whether a batch is of one task or each trial of any.
    rule_inputs : bool
        Whether there are rule channels.
    dt : float
        Time step in ms.

    References
    ----------
    Driscoll, L. N., Shenoy, K. & Sussillo, D. (2024). Flexible multitask computation in recurrent networks
    utilizes shared dynamical motifs. Nature Neuroscience 27, 1349-1363. doi:10.1038/s41593-024-01668-6

    Examples
    --------
    >>> task = Driscoll24()
    >>> task.n_inputs, task.n_outputs, task.task_names[:2]
    (20, 3, ('DelayPro', 'DelayAnti'))
    """

    noise_std: float = driscoll24.NOISE
    timing: str = "batch"
    batches: str = "blocked"
    rule_inputs: bool = True
    dt: float = 20.0

    @cached_property
    def tasks(self) -> tuple[Task, ...]:  # type: ignore[override]
        """The 15 tasks."""
        return driscoll24.driscoll24_tasks(noise_std=self.noise_std, timing=self.timing, dt=self.dt)

    def held_out(self, part: str = "test") -> Self:
        """Return the same tasks mixed, each trial with a timing of its own."""
        return dataclasses.replace(self, batches="mixed", timing="trial")

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={
                "hidden_size": 128,
                "activation": "relu",
                "tau": TIME_CONSTANT,
                "recurrent_initialisation": "identity",
            },
            training={
                "n_steps": 8000,
                "batch_size": 64,
                "learning_rate": 2e-3,
                "evaluate_every": 250,
                "n_evaluation_trials": 500,
            },
            criterion=0.9,
        )
