"""What a run is made of, as frozen values that read as a page and are written as TOML.

A configuration file is a dictionary of these models; an unknown key, a wrong type or a number out of range
is refused before anything is done, in one sentence per mistake.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self, TypeVar

import numpy as np
import pydantic
import tomli_w

from neurornn import files
from neurornn.vocabulary import InputError, nearest_name

Model = TypeVar("Model", bound="Config")


class Config(pydantic.BaseModel):
    """The base of every configuration: frozen, and no key that it does not know."""

    # Strict, or pydantic would read True as 1 and "3" as 3; NumPy's numbers are numbers all the same.
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _plain_number(cls, value: Any) -> Any:
        return value.item() if isinstance(value, np.generic) else value

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without the entries that are None (TOML has no word for it)."""
        return _without_none(self.model_dump())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "the configuration") -> Self:
        """Build the model from plain values.

        Raises
        ------
        InputError
            Where a key is unknown or a value does not fit; the sentence names each.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"{source}: expected a table of keys and values, got {type(values).__name__}")
        try:
            return cls.model_validate(dict(values))
        except pydantic.ValidationError as error:
            raise InputError(f"{source}: " + "; ".join(_sentences(cls, error))) from None


class TaskConfig(Config):
    """Which task, and its parameters where they differ from the defaults."""

    name: str
    """Registered name, such as ``flip_flop``."""
    parameters: dict[str, Any] = {}
    """Fields of the task's dataclass."""


class NetworkConfig(Config):
    """Everything that rebuilds a network but its weights."""

    family: Literal["RateRNN"] = "RateRNN"
    """Name of the network's class."""
    input_size: int = pydantic.Field(ge=0)
    """Number of input channels."""
    hidden_size: int = pydantic.Field(ge=1)
    """Number of recurrent units."""
    output_size: int = pydantic.Field(ge=0)
    """Number of output channels."""
    activation: str = "tanh"
    """Registered name of the nonlinearity f."""
    dynamics: Literal["rate", "current", "leak_inside"] = "rate"
    """Where the leak stands in the equation."""
    tau: float | None = pydantic.Field(default=None, gt=0)
    """Time constant in ms; None means no leak."""
    dt: float | None = pydantic.Field(default=None, gt=0)
    """Time step in ms; given together with tau."""
    alpha: float | None = pydantic.Field(default=None, gt=0, le=1)
    """Leak without units, in place of tau and dt."""
    noise_std: float = pydantic.Field(default=0.0, ge=0)
    """Standard deviation sigma of the recurrent noise."""
    gain: float = pydantic.Field(default=1.0, ge=0)
    """Recurrent weights begin with variance gain^2 / hidden_size."""
    trainable_initial_state: bool = False
    """Whether the state before the first step is learned; otherwise it is zero."""
    engine: str = "auto"
    """Which implementation of the scan over time."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of the weights."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Seed of the initial weights and of the noise."""


class TrainingConfig(Config):
    """How a network is trained."""

    n_steps: int = pydantic.Field(default=1000, ge=0)
    """Gradient steps."""
    batch_size: int = pydantic.Field(default=64, ge=1)
    """Fresh trials per step."""
    learning_rate: float = pydantic.Field(default=1e-3, gt=0)
    """Adam's step size."""
    clip_norm: float = pydantic.Field(default=1.0, ge=0)
    """Largest global norm of the gradient; a longer one is shortened to it. 0: no limit."""
    normalise: Literal["mask", "all"] = "mask"
    """Divide the loss by the number of unmasked entries, or of all valid ones."""
    evaluate_every: int = pydantic.Field(default=100, ge=1)
    """Steps between evaluations on the held-out trials, each followed by a checkpoint."""
    n_evaluation_trials: int = pydantic.Field(default=256, ge=1)
    """Held-out trials, the same at every evaluation."""
    truncate: int | None = pydantic.Field(default=None, ge=1)
    """Steps of the windows that no gradient leaves towards the past; None: it goes through all of time."""
    checkpoint_every: int | None = pydantic.Field(default=None, ge=1)
    """Steps whose activity is held at once, and computed again for the gradient; None: all of them."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Seed of the training and evaluation trials."""


class RecordingConfig(Config):
    """How the trained network's activity is recorded."""

    n_trials: int = pydantic.Field(default=500, ge=1)
    """Fresh trials, drawn from a stream that training never reads."""
    seed: int = pydantic.Field(default=1, ge=0)
    """Seed of those trials."""
    noise: bool = False
    """Whether the network's own noise is on."""


class RunConfig(Config):
    """A whole run: the content of ``config.toml``."""

    task: TaskConfig
    network: NetworkConfig
    training: TrainingConfig
    recording: RecordingConfig = RecordingConfig()
    neurornn_version: str = ""
    """Version that wrote the file."""


def write_toml(path: str | os.PathLike[str], config: Config) -> None:
    """Write a configuration as a TOML file."""
    files.atomic_write(path, tomli_w.dumps(config.to_dict()).encode())


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file into plain values, telling where it is not TOML.

    Raises
    ------
    InputError
        Where there is no such file or it is not TOML.
    """
    try:
        return tomllib.loads(files.read_bytes(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{str(path)!r} is not a TOML file: {error}") from error


def read_config(path: str | os.PathLike[str], model: type[Model]) -> Model:
    """Read and check a configuration file."""
    return model.from_dict(read_toml(path), source=str(path))


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the entries of ``changes`` in place of its own, table by table."""
    merged = dict(base)
    for key, value in changes.items():
        own = merged.get(key)
        merged[key] = merge(own, value) if isinstance(own, Mapping) and isinstance(value, Mapping) else value
    return merged


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(entry) for key, entry in value.items() if entry is not None}
    return value


def _sentences(model: type[Config], error: pydantic.ValidationError) -> Iterable[str]:
    """Rewrite pydantic's list: where, what came, what is expected, and the nearest known key."""
    for entry in error.errors(include_url=False):
        place = ".".join(str(part) for part in entry["loc"])
        if entry["type"] == "extra_forbidden":
            known = _fields_at(model, entry["loc"][:-1])
            near = nearest_name(str(entry["loc"][-1]), known)
            hint = f"did you mean {near!r}?" if near else f"expected one of {', '.join(map(repr, known))}"
            yield f"unknown key {place!r}: {hint}"
        elif entry["type"] == "missing":
            yield f"{place!r} is missing: add it"
        else:
            message = entry["msg"][0].lower() + entry["msg"][1:]
            yield f"{place!r}: {message}, got {entry['input']!r}"


def _fields_at(model: type[Config], location: tuple[int | str, ...]) -> list[str]:
    """Return the known keys of the table at ``location``."""
    current: Any = model
    for part in location:
        current = current.model_fields[str(part)].annotation
    return list(current.model_fields)
