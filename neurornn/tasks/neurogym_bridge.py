"""Environments of neurogym, and others of their kind, as tasks."""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from neurornn.tasks.bridges import BridgedTask
from neurornn.tasks.trials import TAKEN_NAMES, Trials
from neurornn.vocabulary import InputError, need_count, unknown_name

N_EXAMPLES = 64
"""Trials drawn when an environment is taken over, to learn its channels, epochs and chance."""
N_TO_COUNT = 1000
"""Trials in which classes are counted where the environment's own number of actions is too small."""
DECISION_EPOCHS = ("decision", "response")
"""Epochs by which the score is taken, where an environment has one of them."""


class Environment:
    """An environment that makes whole trials, brought back to where it was before every batch.

    Its own ``step`` and the wrappers around it are not used: they serve agents that act.
    """

    def __init__(self, env: Any) -> None:
        self.env = getattr(env, "unwrapped", env)
        self.name = type(self.env).__name__
        for need in ("new_trial", "seed"):
            if not callable(getattr(self.env, need, None)):
                raise InputError(
                    f"the environment {self.name} has no {need}(), which a neurogym environment has: pass "
                    "one of those, or arrays to from_arrays"
                )
        # Only one batch at a time can be made of one environment.
        self._lock = threading.Lock()
        try:
            self._before = self._copied(vars(self.env))
        except Exception as error:
            raise InputError(
                f"the environment {self.name} cannot be copied ({type(error).__name__}: {error}), so that "
                "its trials could not be repeated: take out what cannot be copied"
            ) from error

    def __repr__(self) -> str:
        spec = getattr(self.env, "spec", None)
        given = getattr(spec, "kwargs", None) or {}
        words = [
            repr(getattr(spec, "id", None) or self.name),
            *(f"{key}={own!r}" for key, own in given.items()),
        ]
        return f"Environment({', '.join(words)})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: own for name, own in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()

    def _copied(self, state: dict[str, Any]) -> dict[str, Any]:
        # What refers to the environment itself goes on doing so, as the functions that it holds do.
        return copy.deepcopy(state, {id(self.env): self.env})

    def trials(self, n_trials: int, *seed: int) -> list[dict[str, Any]]:
        """Return trials from a seed of one or more whole numbers: what the environment tells of each."""
        with self._lock:
            vars(self.env).clear()
            vars(self.env).update(self._copied(self._before))
            self.env.seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
            return [self._trial() for _ in range(n_trials)]

    def _trial(self) -> dict[str, Any]:
        env = self.env
        # Of the trial before nothing may be left, least of all where this one has no such thing.
        for stale in ("ob", "gt"):
            vars(env).pop(stale, None)
        for stale in ("start_ind", "end_ind"):
            if stale in vars(env):
                setattr(env, stale, dict(self._before.get(stale, {})))
        try:
            told = env.new_trial()
        except Exception as error:
            raise InputError(
                f"the environment {self.name} cannot make a whole trial by itself "
                f"({type(error).__name__}: {error}): such environments are for agents that act"
            ) from error
        shown, truth = getattr(env, "ob", None), getattr(env, "gt", None)
        if shown is None or truth is None:
            missing = "observations" if shown is None else "ground truth"
            raise InputError(
                f"the environment {self.name} gives a trial without {missing}, so that there is nothing to "
                "train towards: take one that is marked as supervised"
            )
        shown, truth = np.array(shown), np.array(truth)
        if not len(shown) or len(shown) != len(truth):
            raise InputError(
                f"the environment {self.name} gives {len(shown)} observations and {len(truth)} steps of "
                "ground truth in one trial: they must be as many, and at least one"
            )
        return {
            "shown": shown.reshape(len(shown), -1),
            "truth": truth,
            "told": dict(getattr(env, "trial", None) or told or {}),
            "start": dict(getattr(env, "start_ind", None) or {}),
            "stop": dict(getattr(env, "end_ind", None) or {}),
        }


@dataclass(frozen=True)
class NeurogymTask(BridgedTask):
    """The trials of a neurogym environment, as `from_neurogym` makes it.

    Parameters
    ----------
    environment : Environment
    seed : int
        Another one gives other trials of the same ``rng``.
    scored_epoch : str, optional
        The epoch by which the score is taken.
    """

    environment: Environment
    seed: int = 0
    scored_epoch: str | None = None

    def __post_init__(self) -> None:
        need_count(self.seed, "seed", least=0)
        truth = self._made[0]["truth"]
        if truth.ndim > (2 if self._n_classes is None else 1) or truth.dtype.kind not in "biuf":
            raise InputError(
                f"the environment {self.environment.name} has a ground truth of shape {truth.shape}: "
                "expected one class, or one row of numbers, a step"
            )
        # What cannot be trained on is refused here, and not by the first batch.
        epochs = self.examples.epochs
        if self.scored_epoch is not None and self.scored_epoch not in epochs:
            unknown_name("epoch", self.scored_epoch, epochs)

    @cached_property
    def _made(self) -> list[dict[str, Any]]:
        return self.environment.trials(N_EXAMPLES, self.seed)

    @cached_property
    def _n_classes(self) -> int | None:
        """How many classes the ground truth has, None where it is numbers."""
        count = getattr(getattr(self.environment.env, "action_space", None), "n", None)
        if count is None:
            return None
        if max(own["truth"].max() for own in self._made) >= count:
            more = self.environment.trials(N_TO_COUNT, self.seed)
            count = 1 + max(own["truth"].max() for own in more)
        return int(count)

    @property
    def dt(self) -> float:  # type: ignore[override]
        """Time step in ms, the environment's."""
        return float(getattr(self.environment.env, "dt", 1.0))

    @property
    def loss(self) -> str:  # type: ignore[override]
        """Cross-entropy for discrete actions, squared error for numbers."""
        return "mse" if self._n_classes is None else "cross_entropy"

    @property
    def n_inputs(self) -> int:  # type: ignore[override]
        """Number of input channels."""
        return self._made[0]["shown"].shape[1]

    @property
    def n_outputs(self) -> int:  # type: ignore[override]
        """Number of output channels, or of classes."""
        truth = self._made[0]["truth"]
        return self._n_classes or (truth.shape[1] if truth.ndim == 2 else 1)

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels, the environment's where it has any."""
        return _labels(self.environment.env, "observation_space", "input", self.n_inputs)

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels or classes, the environment's where it has any."""
        actions = getattr(getattr(self.environment.env, "action_space", None), "n", self.n_outputs)
        if actions != self.n_outputs:
            return tuple(f"class_{k}" for k in range(self.n_outputs))
        return _labels(self.environment.env, "action_space", "output", self.n_outputs)

    @cached_property
    def examples(self) -> Trials:
        """Trials from the task's own seed."""
        return self._trials(self._made)

    def draw(self, n_trials: int, rng: np.random.Generator) -> Trials:
        """Draw a batch of trials: ``rng`` and the task's seed make a seed of the environment's."""
        n_trials = need_count(n_trials, "n_trials")
        return self._trials(self.environment.trials(n_trials, self.seed, int(rng.integers(2**63))))

    def _trials(self, made: list[dict[str, Any]]) -> Trials:
        lengths = np.array([len(own["shown"]) for own in made])
        valid = np.arange(lengths.max()) < lengths[:, None]
        inputs = np.zeros((*valid.shape, self.n_inputs), np.float32)
        inputs[valid] = np.concatenate([own["shown"] for own in made])
        classes = self._n_classes is not None
        targets = np.zeros(valid.shape if classes else (*valid.shape, self.n_outputs), float)
        targets[valid] = np.concatenate([own["truth"].reshape(-1, *targets.shape[2:]) for own in made])
        return Trials(
            self,
            inputs,
            targets,
            mask=valid,
            valid=valid,
            conditions=_conditions([own["told"] for own in made]),
            epochs=_epochs(made, lengths),
        )

    def scored(self, trials: Trials) -> np.ndarray:
        """Return which entries count: those of the decision, in trials that have one, else all."""
        steps = trials.valid
        if self._decision is not None and self._decision in trials.epochs:
            decisive = trials.in_epoch(self._decision)
            steps = np.where(decisive.any(axis=1, keepdims=True), decisive, steps)
        return steps if trials.mask.ndim == 2 else np.broadcast_to(steps[..., None], trials.mask.shape)

    @cached_property
    def _decision(self) -> str | None:
        """The epoch by which the score is taken, None for the whole trial."""
        if self.scored_epoch is not None:
            return self.scored_epoch
        for epoch in DECISION_EPOCHS:
            # An epoch in which the same is right in all trials shows whether it came at the right time only.
            if epoch in self.examples.epochs:
                asked = self.examples.targets[self.examples.in_epoch(epoch)]
                if (asked != asked[:1]).any():
                    return epoch
        return None


def from_neurogym(
    env: Any, seed: int = 0, *, scored_epoch: str | None = None, **parameters: Any
) -> NeurogymTask:
    """Make a task of a neurogym environment that knows the right actions (its ground truth).

    The environment is asked for whole trials, one after another; there is nobody who acts, so that its
    rewards, its ``step`` and the wrappers around it have no part in it.

    Parameters
    ----------
    env : environment or str
        One that is built, neurogym's or of the same kind (``new_trial``, ``seed``, ``ob``, ``gt``; ``trial``,
        ``start_ind`` and ``end_ind`` where it has them); or a name, as in ``"PerceptualDecisionMaking-v0"``,
        which needs neurogym itself: ``pip install "neurornn[neurogym]"``. It is the task's from now on.
    seed : int
        Beside the generator that `draw` is given; trials depend on both.
    scored_epoch : str, optional
        The epoch by which the score is taken; ``decision`` or ``response`` by default where right answers
        differ in it, else the whole trial.
    **parameters
        Of the environment that is built by its name, such as ``dt=20``.

    Returns
    -------
    NeurogymTask
        Its mask is 1 at every step, because neurogym has none. Discrete actions become classes, others
        numbers with squared errors. A ground truth beyond the actions (`Reaching1D` writes an angle, cut to
        whole radians) has as many classes as 1000 trials show. Epochs are the environment's periods by their
        own names, conditions what it tells of a trial in single values (called ``..._of_trial`` where the
        name is taken). The score is the share of steps of the scored epoch, or of the whole trial, at which
        the largest output is the right class; for numbers 1 - squared error / variance of the targets over
        these steps, and 0 where that is below 0.

    Raises
    ------
    InputError
        Where the environment has no ground truth, cannot make a trial by itself or is unknown.

    Examples
    --------
    >>> class Blink:
    ...     dt = 100
    ...     action_space = type("Discrete", (), {"n": 2})
    ...
    ...     def seed(self, seed):
    ...         self.rng = np.random.default_rng(seed)
    ...
    ...     def new_trial(self):
    ...         self.trial = {"light": int(self.rng.integers(2))}
    ...         self.ob = np.full((5, 1), self.trial["light"], np.float32)
    ...         self.gt = np.full(5, self.trial["light"])
    ...         self.start_ind, self.end_ind = {"stimulus": 0, "decision": 3}, {"stimulus": 3, "decision": 5}
    >>> trials = from_neurogym(Blink()).draw(4, np.random.default_rng(0))
    >>> trials.inputs.shape, trials.epochs, sorted(trials.conditions)
    ((4, 5, 1), {'stimulus': (0, 3), 'decision': (3, 5)}, ['light'])
    """
    if isinstance(env, str):
        env = _by_name(env, parameters)
    elif parameters:
        raise InputError(
            f"{', '.join(map(repr, parameters))} can be given with an environment's name only: build yours "
            "with them"
        )
    return NeurogymTask(Environment(env), seed, scored_epoch)


def _by_name(name: str, parameters: dict[str, Any]) -> Any:
    """Return neurogym's environment of that name."""
    try:
        import neurogym
    except ImportError as error:
        raise InputError(
            f"the environment {name!r} by its name needs neurogym, which is not installed: "
            'pip install "neurornn[neurogym]"'
        ) from error
    try:
        return neurogym.make(name, **parameters)
    except Exception as error:
        # Gymnasium has an error class of its own for each mistake, and environments have theirs.
        raise InputError(
            f"neurogym cannot make {name!r} ({type(error).__name__}: {' '.join(str(error).split())}): "
            "neurogym.envs.registration.all_envs() lists the names"
        ) from error


def _conditions(told: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return what is a single number or word in every trial that tells it, NaN or "" in the others."""
    conditions = {}
    for name in dict.fromkeys(key for own in told for key in own):
        values = [own.get(name) for own in told]
        given = [np.asarray(value) for value in values if value is not None]
        if not given or any(value.ndim or value.dtype.kind not in "biufU" for value in given):
            continue
        words = any(value.dtype.kind == "U" for value in given)
        if words:
            values = ["" if value is None else str(value) for value in values]
        elif len(given) < len(values):
            values = [np.nan if value is None else float(value) for value in values]
        key = f"{name}_of_trial" if name in TAKEN_NAMES else str(name)
        conditions[key] = np.asarray(values)
    return conditions


def _epochs(made: list[dict[str, Any]], lengths: np.ndarray) -> dict[str, tuple[Any, Any]]:
    """Return the periods as epochs; of one that a trial has not, an empty one at its beginning."""
    epochs: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys(key for own in made for key in own["start"]):
        start = np.array([int(own["start"].get(name, 0)) for own in made])
        stop = np.array([int(own["stop"].get(name, 0)) for own in made])
        stop = np.clip(stop, 0, lengths)
        start = np.clip(start, 0, stop)
        same = (start == start[0]).all() and (stop == stop[0]).all()
        epochs[name] = (int(start[0]), int(stop[0])) if same else (start, stop)
    return epochs


def _labels(env: Any, space: str, side: str, count: int) -> tuple[str, ...]:
    """Return the names that an environment's space gives its channels, where these are whole and distinct."""
    labels: dict[int, str] = {}
    named = getattr(getattr(env, space, None), "name", None)
    for name, places in named.items() if isinstance(named, dict) else ():
        if np.ndim(places) == 0:
            labels[int(places)] = str(name)
        else:
            labels |= {int(place): f"{name}_{k}" for k, place in enumerate(places)}
    names = tuple(labels.get(k, f"{side}_{k}") for k in range(count))
    return names if len(set(names)) == count else tuple(f"{side}_{k}" for k in range(count))
