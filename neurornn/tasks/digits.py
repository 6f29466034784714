"""Pictures read pixel by pixel."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np

from neurornn.tasks.classics import FinalAnswerTask
from neurornn.tasks.distributions import Choice, Distribution
from neurornn.tasks.task import Recipe
from neurornn.tasks.timeline import Timeline
from neurornn.tasks.trials import Loss
from neurornn.vocabulary import InputError, need_choice, need_positive

SPLITS = ("train", "validation", "test")
N_PIXELS = 64
SHADES = 16
"""Value of the darkest pixel in the data set."""
SPLIT_SEED, PERMUTATION_SEED = 0, 1


@cache
def digit_images() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's pictures, shape (image, pixel), from 0 to 1, and their digits, shape (image,)."""
    # Imported here because it is slow, and with the user's generator put back, from which the import draws.
    state = random.getstate()
    from sklearn.datasets import load_digits

    random.setstate(state)
    images, digits = load_digits(return_X_y=True)
    images = (images / SHADES).astype(np.float32)
    for array in (images, digits):
        array.setflags(write=False)
    return images, digits


@cache
def images_of(split: str) -> tuple[np.ndarray, ...]:
    """Return which pictures belong to a split, for each digit its own, as sorted numbers.

    Of each digit's pictures, in an order drawn once for all by a fixed seed, the first fifth is for the test,
    the next tenth for the validation, the rest for training.
    """
    rng, digits = np.random.default_rng(SPLIT_SEED), digit_images()[1]
    members = []
    for digit in range(10):
        own = rng.permutation(np.flatnonzero(digits == digit))
        n_test, n_validation = round(0.2 * len(own)), round(0.1 * len(own))
        edges = {
            "test": slice(0, n_test),
            "validation": slice(n_test, n_test + n_validation),
            "train": slice(n_test + n_validation, None),
        }
        members.append(np.sort(own[edges[split]]))
    return tuple(members)


@dataclass(frozen=True)
class SequentialDigits(FinalAnswerTask):
    """Tell which digit a picture shows that comes in pixel by pixel.

    Story
        A handwritten digit of 8 by 8 pixels is read one pixel a step, row by row; at the last one its class
        must be said. What was seen 60 steps before matters as much as what is seen now.

    Inputs
        ========= ====================================================
        channel   meaning
        ========= ====================================================
        ``pixel`` shade of the step's pixel, 0 (paper) to 1 (full ink)
        ========= ====================================================

        With ``permuted`` the pixels come in another order, drawn once for all pictures and for ever.

    Targets
        Classes ``digit_0`` to ``digit_9``, asked in the last step only.

    Epochs
        ``stimulus`` of 64 steps. The task knows no milliseconds: a step lasts ``dt`` = 1 ms by convention.

    Scoring
        1 where the largest output of the last step is the right digit; by chance 1/10.

        The 1797 pictures are split once for all, within each digit by a fixed seed: 70 % to train on, 10 %
        (``validation``) by which training chooses its best weights, 20 % (``test``) for the score.
        ``task.held_out()`` is the task with the pictures of the test. A trial is a digit, all ten equally
        often, and one of its pictures, so that a picture can come twice in a batch.

    Constant inputs
        ``zero input``: paper.

    Recipe
        `GRU` of 100 units, 2000 steps of Adam at 3e-3 with 64 trials each. The criterion is for the pictures
        of the test; with ``permuted`` the same recipe does not reach it (.87 with one seed).

    Parameters
    ----------
    permuted : bool
        Whether the pixels come in the shuffled order.
    split : {"train", "validation", "test"}
        Of which pictures trials are drawn.
    dt : float
        Time step in ms.

    References
    ----------
    Le, Q. V., Jaitly, N. & Hinton, G. E. (2015). A simple way to initialize recurrent networks of rectified
    linear units. arXiv 1504.00941. doi:10.48550/arXiv.1504.00941 (with pictures of 28 by 28 pixels)

    Alpaydin, E. & Kaynak, C. (1998). Optical recognition of handwritten digits. UCI Machine Learning
    Repository. doi:10.24432/C50P49 (the pictures: its test set, as scikit-learn ships it)

    Examples
    --------
    >>> task = SequentialDigits()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> trials.inputs.shape, bool((trials.targets[:, -1] == trials.conditions["digit"]).all())
    ((4, 64, 1), True)
    >>> task.held_out()
    SequentialDigits(permuted=False, split='test', dt=1.0)
    """

    permuted: bool = False
    split: str = "train"
    dt: float = 1.0

    loss: ClassVar[Loss] = "cross_entropy"
    chance_score = 0.1
    n_inputs = 1
    n_outputs = 10
    epoch_order = ("stimulus",)
    average_by = ("digit",)
    accuracy_by = ("digit",)

    def __post_init__(self) -> None:
        need_positive(self.dt, "dt", "ms")
        need_choice(self.split, "split", SPLITS)
        if not isinstance(self.permuted, bool):
            raise InputError(f"`permuted` must be True or False, got {self.permuted!r}")

    @property
    def input_labels(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return ("pixel",)

    @property
    def output_labels(self) -> tuple[str, ...]:
        """Names of the output channels."""
        return tuple(f"digit_{k}" for k in range(10))

    @property
    def recipe(self) -> Recipe:
        """Network and training that reach the criterion."""
        return Recipe(
            network={"family": "GRU", "hidden_size": 100},
            training={"n_steps": 2000, "batch_size": 64, "learning_rate": 3e-3},
            criterion=0.9,
        )

    @property
    def chance_loss(self) -> float | None:
        """The logarithm of 10: ten digits equally often."""
        return math.log(10)

    def held_out(self, part: str = "test") -> SequentialDigits:
        """Return the task with the pictures of another split, by default those of the test."""
        return dataclasses.replace(self, split=part)

    def durations(self, conditions: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Return the duration in ms: a step for each pixel."""
        return {"stimulus": N_PIXELS * float(self.dt)}

    def factors(self) -> dict[str, Distribution]:
        """Return the digit."""
        return {"digit": Choice(*range(10))}

    def complete(
        self, n_trials: int, conditions: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return the number of the picture in the data set, and the right answer."""
        members, first, sizes = self._row
        digit = conditions["digit"]
        image = members[first[digit] + rng.integers(sizes[digit])]
        return {**conditions, "image": image, "target_choice": digit}

    @cached_property
    def _row(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The split's pictures in one row, digit by digit; where those of each begin, and how many."""
        members = images_of(self.split)
        sizes = np.array([len(own) for own in members])
        return np.concatenate(members), np.cumsum(sizes) - sizes, sizes

    @property
    def pixel_order(self) -> np.ndarray:
        """Which pixel, counted row by row, each step shows; shape (time,)."""
        if not self.permuted:
            return np.arange(N_PIXELS)
        return np.random.default_rng(PERMUTATION_SEED).permutation(N_PIXELS)

    def show(
        self, conditions: Mapping[str, np.ndarray], timeline: Timeline, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the pictures' pixels."""
        images = digit_images()[0][conditions["image"]]
        if self.permuted:
            images = images[:, self.pixel_order]
        return images[..., None]

    def constant_inputs(self) -> dict[str, np.ndarray]:
        """Return paper without ink."""
        return {"zero input": np.zeros(1)}
