"""What a trial draws: small values that say from where a duration, an angle or a strength is taken.

A plain number stands for itself. Written as text, ``"Uniform(300, 700)"``, as files and the command line give
them, they are read back by `as_distribution`.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from neurornn.vocabulary import InputError, nearest_name


class Distribution:
    """From where a value of each trial is drawn."""

    def draw(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Return one value per trial, shape (trial,)."""
        raise NotImplementedError

    def levels(self) -> tuple[Any, ...]:
        """Return the values that stand for all in a balanced batch, each of them once."""
        raise NotImplementedError

    def bounds(self) -> tuple[float, float]:
        """Return the least and the greatest value that can be drawn."""
        raise NotImplementedError


@dataclass(frozen=True)
class Fixed(Distribution):
    """Always the same value.

    Parameters
    ----------
    value : float

    Examples
    --------
    >>> Fixed(500).draw(3, np.random.default_rng(0)).tolist()
    [500, 500, 500]
    """

    value: Any

    def __post_init__(self) -> None:
        _need_numbers(self, self.value)

    def __repr__(self) -> str:
        return f"Fixed({self.value!r})"

    def draw(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Return one value per trial, shape (trial,)."""
        return np.full(n_trials, self.value)

    def levels(self) -> tuple[Any, ...]:
        """Return the one value."""
        return (self.value,)

    def bounds(self) -> tuple[float, float]:
        """Return the value twice."""
        return self.value, self.value


@dataclass(frozen=True)
class Uniform(Distribution):
    """Any number of a range, all equally likely.

    Parameters
    ----------
    low, high : float
        Half-open range; drawn as real numbers. A duration is floored to whole steps afterwards.

    Examples
    --------
    >>> drawn = Uniform(300, 700).draw(1000, np.random.default_rng(0))
    >>> bool(drawn.min() >= 300), bool(drawn.max() < 700)
    (True, True)
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _need_numbers(self, self.low, self.high)
        if self.low >= self.high:
            raise InputError(f"Uniform needs low < high, got {self!r}: swap them, or write Fixed({self.low})")

    def __repr__(self) -> str:
        return f"Uniform({self.low!r}, {self.high!r})"

    def draw(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Return one value per trial, shape (trial,)."""
        return rng.uniform(self.low, self.high, n_trials)

    def levels(self) -> tuple[Any, ...]:
        """Return five values spread evenly, each in the middle of a fifth of the range."""
        return tuple((self.low + (self.high - self.low) * (np.arange(5) + 0.5) / 5).tolist())

    def bounds(self) -> tuple[float, float]:
        """Return the ends of the range."""
        return self.low, self.high


@dataclass(frozen=True, init=False)
class Choice(Distribution):
    """One of several values, all equally likely.

    Parameters
    ----------
    *values
        Numbers, words or truth values; one that stands twice is drawn twice as often.

    Examples
    --------
    >>> sorted(set(Choice(200, 400).draw(50, np.random.default_rng(0)).tolist()))
    [200, 400]
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        if not values:
            raise InputError("Choice needs at least one value, got none: write Choice(200, 400)")
        if not all(isinstance(value, str | bool | np.bool_) for value in values):
            _need_numbers(self, *values)
        object.__setattr__(self, "values", values)

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.values))})"

    def draw(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Return one value per trial, shape (trial,)."""
        return self._array[rng.integers(len(self.values), size=n_trials)]

    @cached_property
    def _array(self) -> np.ndarray:
        return np.asarray(self.values)

    def levels(self) -> tuple[Any, ...]:
        """Return the different values in their order."""
        return tuple(dict.fromkeys(self.values))

    def bounds(self) -> tuple[float, float]:
        """Return the least and the greatest value."""
        return min(self.values), max(self.values)


@dataclass(frozen=True)
class Exponential(Distribution):
    """An exponential waiting time cut to a range: what comes next cannot be told from the time passed.

    Parameters
    ----------
    mean : float
        Mean of the waiting time beyond ``low`` were there no ``high``.
    low, high : float
        Range. The density falls as exp(-(t - low) / mean) between them: what drawing again until the value
        lies in the range would give.

    Examples
    --------
    >>> drawn = Exponential(200, low=100, high=1000).draw(1000, np.random.default_rng(0))
    >>> bool(drawn.min() >= 100), bool(drawn.max() <= 1000)
    (True, True)
    """

    mean: float
    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        _need_numbers(self, self.mean, self.low, self.high, infinite=True)
        if not (0 < self.mean < math.inf and self.low < self.high and math.isfinite(self.low)):
            raise InputError(
                f"Exponential needs a mean above 0 and low < high, got {self!r}: give mean, low, high"
            )

    def __repr__(self) -> str:
        return f"Exponential({self.mean!r}, {self.low!r}, {self.high!r})"

    def draw(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Return one value per trial, shape (trial,)."""
        return self._quantile(rng.random(n_trials))

    def levels(self) -> tuple[Any, ...]:
        """Return the quantiles at .1, .3, .5, .7 and .9."""
        return tuple(self._quantile((np.arange(5) + 0.5) / 5).tolist())

    def bounds(self) -> tuple[float, float]:
        """Return the ends of the range."""
        return self.low, self.high

    def _quantile(self, share: np.ndarray) -> np.ndarray:
        within = -math.expm1(-(self.high - self.low) / self.mean)
        return self.low - self.mean * np.log1p(-share * within)


DISTRIBUTIONS: dict[str, Callable[..., Distribution]] = {
    kind.__name__: kind for kind in (Fixed, Uniform, Choice, Exponential)
}
"""What can be written as text."""

Duration = float | Distribution
"""A duration in ms: a number for a fixed one."""


def as_distribution(value: object, name: str) -> Distribution:
    """Return a distribution of what a user wrote: a number, a distribution, or its text.

    Raises
    ------
    InputError
        Where it is none of them; the sentence names the parameter.

    Examples
    --------
    >>> as_distribution("Choice(200, 400)", "delay"), as_distribution(500, "delay")
    (Choice(200, 400), Fixed(500))
    """
    if isinstance(value, Distribution):
        return value
    if isinstance(value, str):
        return _read(value, name)
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputError(
            f"`{name}` must be a number or one of {', '.join(DISTRIBUTIONS)}, got {value!r}: "
            "write for example Uniform(300, 700) or Choice(200, 400)"
        )
    return Fixed(value)


def _read(text: str, name: str) -> Distribution:
    call = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", text)
    if call is None or call[1] not in DISTRIBUTIONS:
        near = nearest_name(call[1] if call else text, DISTRIBUTIONS)
        hint = f"did you mean {near}?" if near else "write for example Uniform(300, 700)"
        raise InputError(
            f"`{name}` must be a number or one of {', '.join(DISTRIBUTIONS)}, got {text!r}: {hint}"
        )
    try:
        # Infinity has no literal, and the repr of an open end writes it as inf.
        inside = re.sub(r"\binf\b", "1e999", call[2])
        values = ast.literal_eval(f"({inside},)") if inside.strip() else ()
        return DISTRIBUTIONS[call[1]](*values)
    except (SyntaxError, ValueError, TypeError) as error:
        reason = str(error) if isinstance(error, InputError) else "its values could not be read"
        raise InputError(f"`{name}`, got {text!r}: {reason}") from None


def _need_numbers(owner: Distribution, *values: object, infinite: bool = False) -> None:
    """Refuse what is no number, or is not finite."""
    for value in values:
        number = math.nan
        if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
            number = float(value)
        if math.isnan(number) or (not infinite and math.isinf(number)):
            raise InputError(
                f"{type(owner).__name__} needs finite numbers, got {value!r}: "
                "give them in the parameter's unit"
            )
