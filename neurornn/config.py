"""What a run is made of, as frozen values that read as a page and are written as TOML.

A configuration file is a dictionary of these models; an unknown key, a wrong type or a number out of range
is refused before anything is done, in one sentence per mistake.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import os
import tomllib
import zlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import numpy as np
import pydantic
import tomli_w

from neurornn import files
from neurornn.vocabulary import InputError, nearest_name, unknown_name

Model = TypeVar("Model", bound="Config")

# Beyond these there is a slip of the pen, which is better told here than as a lack of memory.
MOST_UNITS = 10**6
MOST_TRIALS = 10**7


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


def array_as_text(array: np.ndarray) -> str:
    """Return an array as one word: NumPy's own file format, compressed, in base64."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return base64.b64encode(zlib.compress(buffer.getvalue(), 9)).decode()


def array_from_text(text: str) -> np.ndarray:
    """Return the array that `array_as_text` wrote.

    Raises
    ------
    ValueError
        Where the text is no such array.
    """
    try:
        data = zlib.decompress(base64.b64decode(text, validate=True))
        return np.load(io.BytesIO(data), allow_pickle=False)
    except (binascii.Error, zlib.error, EOFError, ValueError) as error:
        raise ValueError("input should be a matrix: rows of numbers, or an array") from error


def _matrix_as_text(value: Any) -> Any:
    """Turn a matrix, as rows or as an array, into the word that a configuration holds; check such a word."""
    if isinstance(value, str):
        array_from_text(value)
        return value
    if isinstance(value, list | tuple | np.ndarray) or hasattr(value, "detach"):
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        if array.ndim == 2 and array.dtype.kind in "biuf":
            return array_as_text(array)
        raise ValueError(f"input should be a matrix of real numbers, not {array.dtype} of {array.shape}")
    return value


def _initialisation(value: Any) -> Any:
    """Turn given weights into text; leave a name alone."""
    return value if isinstance(value, str) else _matrix_as_text(value)


def _as_list(value: Any) -> Any:
    """Turn a vector of any kind into a list."""
    return value.tolist() if hasattr(value, "tolist") else list(value) if isinstance(value, tuple) else value


Matrix = Annotated[str, pydantic.BeforeValidator(_matrix_as_text)]
"""A matrix as one word of text; rows of numbers and arrays are turned into it."""
Initialisation = Annotated[str, pydantic.BeforeValidator(_initialisation)]
"""The name of a scheme, or given weights as one word of text."""
Vector = Annotated[list[float], pydantic.BeforeValidator(_as_list)]


def _positive_numbers(value: Any) -> Any:
    """Check one time constant, or a list of them."""
    value = _as_list(value)
    if isinstance(value, list):
        return [_positive_numbers(entry) for entry in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("input should be a number, or a list with one for each unit")
    if not math.isfinite(value):
        raise ValueError("input should be a finite number")
    if value <= 0:
        raise ValueError("input should be greater than 0")
    return float(value)


TimeConstants = Annotated[Any, pydantic.PlainValidator(_positive_numbers)]
"""One number for all units, or a list with one for each."""


def _in_order(value: Any) -> Any:
    """Turn a table of areas into pairs, whose order every file keeps."""
    if isinstance(value, Mapping):
        for name, size in value.items():
            if isinstance(size, bool) or not isinstance(size, int | np.integer):
                raise ValueError(f"input should give {name!r} a whole number of units")
        return [(name, int(size)) for name, size in value.items()]
    pairs = isinstance(value, list) and all(isinstance(own, list | tuple) and len(own) == 2 for own in value)
    if not pairs:
        raise ValueError("input should be a table of names and numbers of units, such as {'V1': 32}")
    return [tuple(pair) for pair in value]


Areas = Annotated[list[tuple[str, int]], pydantic.BeforeValidator(_in_order)]


class NetworkConfig(Config):
    """Everything that rebuilds a network but its trained weights, whatever its family.

    `from_dict` returns the configuration of the family that the key ``family`` names.
    """

    family: str
    """Name of the network's class."""
    input_size: int = pydantic.Field(ge=0, le=MOST_UNITS)
    """Number of input channels."""
    hidden_size: int = pydantic.Field(ge=1, le=MOST_UNITS)
    """Number of recurrent units of a layer."""
    output_size: int = pydantic.Field(ge=0, le=MOST_UNITS)
    """Number of output channels."""
    n_layers: int = pydantic.Field(default=1, ge=1, le=1000)
    """Number of layers; each sees the rates of the one below."""
    bidirectional: bool = False
    """Whether every layer also runs from the last step to the first."""
    residual: bool = False
    """Whether what a layer sees is added to its rates, from the second layer on."""
    readout: Literal["linear", "softmax"] = "linear"
    """What the outputs are of the weighted rates."""
    attention: Literal["additive", "dot", "scaled", "bilinear"] | None = None
    """Score by which the readout weighs the rates of all steps so far; None: it sees the present ones."""
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    """Probability with which a unit is silent for others through a trial, in train mode."""
    input_noise_std: float = pydantic.Field(default=0.0, ge=0)
    """Standard deviation sigma of the noise on the inputs, in train mode."""
    output_noise_std: float = pydantic.Field(default=0.0, ge=0)
    """Standard deviation of the noise on the outputs, in train mode."""
    initial_state: Vector | None = None
    """The state before the first step, one number per state variable; None: the family's own."""
    trainable_initial_state: bool = False
    """Whether the state before the first step is learned."""
    engine: str = "auto"
    """Which implementation of the scan over time."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of the weights."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Seed of the initial weights and of the noise."""

    @property
    def n_directions(self) -> int:
        """In how many directions of time each layer runs."""
        return 2 if self.bidirectional else 1

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "the configuration") -> Self:
        """Build the configuration of the family that is named.

        Raises
        ------
        InputError
            Where the family does not exist, a key is unknown or a value does not fit.
        """
        if cls is not NetworkConfig or not isinstance(values, Mapping):
            return super().from_dict(values, source)
        family = values.get("family", "RateRNN")
        if not isinstance(family, str) or family not in FAMILY_CONFIGS:
            unknown_name("network family", family, FAMILY_CONFIGS)
        return FAMILY_CONFIGS[family].from_dict(values, source)  # type: ignore[return-value]


class RateConfig(NetworkConfig):
    """What rebuilds a `RateRNN`."""

    family: Literal["RateRNN"] = "RateRNN"
    """Name of the network's class."""
    activation: str = "tanh"
    """Name of the nonlinearity f."""
    dynamics: Literal["rate", "current", "leak_inside"] = "rate"
    """Where the leak stands in the equation."""
    tau: TimeConstants | None = None
    """Time constant in ms, one for all units or one for each; None means no leak."""
    dt: float | None = pydantic.Field(default=None, gt=0)
    """Time step in ms; given together with tau."""
    trainable_tau: bool = False
    """Whether the time constants are learned."""
    alpha: Annotated[float, pydantic.Field(gt=0, le=1)] | None = None
    """Leak without units, in place of tau and dt."""
    noise_std: float = pydantic.Field(default=0.0, ge=0)
    """Standard deviation sigma of the recurrent noise."""
    recurrent: bool = True
    """Whether there are recurrent weights."""
    recurrent_initialisation: Initialisation | None = None
    """Scheme of the recurrent weights, or the weights; None: gaussian, and balanced_gamma by Dale's law."""
    input_initialisation: Initialisation = "gaussian"
    """Scheme of the input weights, or the weights."""
    output_initialisation: Initialisation = "gaussian"
    """Scheme of the output weights, or the weights."""
    gain: float = pydantic.Field(default=1.0, ge=0)
    """Gain of the recurrent weights, as their scheme understands it."""
    input_gain: float = pydantic.Field(default=1.0, ge=0)
    """Gain of the input weights."""
    output_gain: float = pydantic.Field(default=1.0, ge=0)
    """Gain of the output weights."""
    excitatory_fraction: float | None = pydantic.Field(default=None, gt=0, le=1)
    """Dale's law: the share of excitatory units, which come first; None: no such law."""
    signs: Vector | None = None
    """Dale's law: +1 or -1 for each unit, in place of the share."""
    dale: Literal["absolute", "rectified"] = "absolute"
    """What of a raw weight the signed one is made of."""
    autapses: bool = True
    """Whether units connect to themselves."""
    readout_from: Literal["all", "excitatory"] = "all"
    """Which units the readout sees."""
    nonnegative_inputs: bool = False
    """Whether input weights cannot be negative."""
    input_mask: Matrix | None = None
    """Which input connections there are."""
    recurrent_mask: Matrix | None = None
    """Which recurrent connections there are."""
    output_mask: Matrix | None = None
    """Which output connections there are."""
    input_fixed: Matrix | None = None
    """Input weights that are held; NaN where free."""
    recurrent_fixed: Matrix | None = None
    """Recurrent weights that are held; NaN where free."""
    output_fixed: Matrix | None = None
    """Output weights that are held; NaN where free."""
    density: float = pydantic.Field(default=1.0, gt=0, le=1)
    """Share of recurrent connections that exist, drawn at random."""
    areas: Areas | None = None
    """Names of areas and how many units each has, in order; a table will do."""
    projections: dict[str, float] = {}
    """Density of the connections from an area to another one, ``{"V1 -> PFC": 0.2}``."""
    input_areas: list[str] | None = None
    """Areas that receive the inputs; None: all."""
    output_areas: list[str] | None = None
    """Areas that the readout sees; None: all."""
    rank: int | None = pydantic.Field(default=None, ge=1)
    """Rank of the recurrent weights, W = m n' / N; None: full."""
    plasticity: Literal["facilitating", "depressing", "mixed"] | None = None
    """Short-term plasticity of the recurrent synapses."""
    feedback: bool = False
    """Whether the outputs are fed back to the units."""
    layer_norm: bool = False
    """Whether the weighted sum is normalised over the units."""
    weight_norm: bool = False
    """Whether input and recurrent weights are directions times lengths."""


class LSTMConfig(NetworkConfig):
    """What rebuilds an `LSTM`."""

    family: Literal["LSTM"] = "LSTM"
    """Name of the network's class."""
    forget_bias: float | None = None
    """Initial bias of the forget gate; None: drawn like the rest."""


class GRUConfig(NetworkConfig):
    """What rebuilds a `GRU`."""

    family: Literal["GRU"] = "GRU"
    """Name of the network's class."""


FAMILY_CONFIGS: dict[str, type[NetworkConfig]] = {
    "RateRNN": RateConfig,
    "LSTM": LSTMConfig,
    "GRU": GRUConfig,
}
"""The configuration of each family of networks."""


def _family(value: Any) -> Any:
    own = value.get("family", "RateRNN") if isinstance(value, Mapping) else getattr(value, "family", None)
    return own if isinstance(own, str) and own in FAMILY_CONFIGS else None


AnyNetworkConfig = Annotated[
    Annotated[RateConfig, pydantic.Tag("RateRNN")]
    | Annotated[LSTMConfig, pydantic.Tag("LSTM")]
    | Annotated[GRUConfig, pydantic.Tag("GRU")],
    pydantic.Discriminator(
        _family,
        custom_error_type="network_family",
        custom_error_message="expected a table whose family is one of 'RateRNN', 'LSTM', 'GRU'",
    ),
]


class StageConfig(Config):
    """One stage of a curriculum: what differs from the run's own task, and when the next stage begins."""

    task: str | None = None
    """Registered name of another task with the same channels; None: the run's own."""
    parameters: dict[str, Any] = {}
    """Fields of the task's dataclass that differ in this stage."""
    n_steps: int | None = pydantic.Field(default=None, ge=1)
    """Gradient steps at most; None: no limit but the run's own."""
    score: float | None = None
    """Mean held-out score that ends the stage; None: its steps alone do."""
    trainable: list[str] | None = None
    """What is trained in this stage; None: what is trained in the run."""


class TrainingConfig(Config):
    """How a network is trained."""

    n_steps: int = pydantic.Field(default=1000, ge=0)
    """Gradient steps, at most."""
    batch_size: int = pydantic.Field(default=64, ge=1, le=MOST_TRIALS)
    """Fresh trials per step."""
    loss: str | None = None
    """Name of the loss; None: the task's own."""
    normalise: Literal["mask", "all"] = "mask"
    """Divide the loss by the number of unmasked entries, or of all valid ones."""
    penalties: dict[str, float] = {}
    """What is added to the loss: names of penalties and their coefficients."""
    max_norm: float | None = pydantic.Field(default=None, gt=0)
    """Largest norm of a unit's incoming recurrent weights, kept after every step; None: no limit."""
    trainable: list[str] | None = None
    """What is trained, by kinds of weights or names of parameters; None: everything."""
    optimiser: str = "Adam"
    """Name in torch.optim."""
    optimiser_options: dict[str, Any] = {}
    """Its keyword arguments beside the learning rate."""
    learning_rate: float = pydantic.Field(default=1e-3, gt=0)
    """The optimiser's step size, the largest one where a schedule changes it."""
    schedule: Literal["constant", "cosine", "plateau", "cyclic"] = "constant"
    """How the learning rate falls: not at all, along half a cosine, whenever the held-out loss stands still,
    or along half a cosine again and again."""
    schedule_options: dict[str, Any] = {}
    """Keyword arguments of torch's scheduler."""
    warmup_steps: int = pydantic.Field(default=0, ge=0)
    """Steps in which the learning rate rises to its full size."""
    clip_norm: float = pydantic.Field(default=1.0, ge=0)
    """Largest global norm of the gradient; a longer one is shortened to it. 0: no limit."""
    clip_value: float = pydantic.Field(default=0.0, ge=0)
    """Largest absolute value of an entry of the gradient; a larger one is cut to it. 0: no limit."""
    averaging: Literal["weights", "snapshots"] | None = None
    """Stochastic weight averaging, or an ensemble of snapshots at the end of each cycle of the schedule."""
    averaging_start: float = pydantic.Field(default=0.5, ge=0, lt=1)
    """Share of the steps after which weights are averaged."""
    n_snapshots: int = pydantic.Field(default=5, ge=1)
    """Cycles of the cyclic schedule, each of which ends in a snapshot."""
    evaluate_every: int = pydantic.Field(default=100, ge=1)
    """Steps between evaluations on the held-out trials, each followed by a checkpoint."""
    n_evaluation_trials: int = pydantic.Field(default=256, ge=1, le=MOST_TRIALS)
    """Held-out trials, the same at every evaluation."""
    evaluate_with_noise: bool = False
    """Whether the best weights are those of the lowest held-out loss with the network's own noise."""
    max_trials: int | None = pydantic.Field(default=None, ge=1)
    """Trials after which training stops."""
    max_seconds: float | None = pydantic.Field(default=None, gt=0)
    """Seconds of training after which it stops, those before a resumption included."""
    stop_score: float | None = None
    """Mean held-out score at which training stops."""
    stop_after: int = pydantic.Field(default=1, ge=1)
    """Evaluations in a row that must reach that score."""
    patience: int | None = pydantic.Field(default=None, ge=1)
    """Evaluations in a row without a lower held-out loss after which training stops."""
    stages: list[StageConfig] = []
    """A curriculum; empty: one stage, the run's own task."""
    teacher: float = pydantic.Field(default=0.0, ge=0, le=1)
    """Share of steps at which the wanted outputs are fed back in place of the network's own."""
    truncate: int | None = pydantic.Field(default=None, ge=1)
    """Steps of the windows that no gradient leaves towards the past; None: it goes through all of time."""
    checkpoint_every: int | None = pydantic.Field(default=None, ge=1)
    """Steps whose activity is held at once, and computed again for the gradient; None: all of them."""
    prefetch: bool = False
    """Whether a thread draws the next batch while the network learns; the numbers are the same."""
    diagnostics: bool = True
    """Whether evaluations measure what the network does beside its loss and score."""
    tensorboard: bool = False
    """Whether metrics are written for TensorBoard too."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Seed of the training and evaluation trials."""


class RecordingConfig(Config):
    """How the trained network's activity is recorded."""

    n_trials: int = pydantic.Field(default=500, ge=1, le=MOST_TRIALS)
    """Fresh trials, drawn from a stream that training never reads."""
    seed: int = pydantic.Field(default=1, ge=0)
    """Seed of those trials."""
    conditions: Literal["random", "factorial"] = "random"
    """Trials as in training, or every combination of the task's factors equally often."""
    noise: bool = False
    """Whether the network's own noise is on."""


class RunConfig(Config):
    """A whole run: the content of ``config.toml``."""

    task: TaskConfig
    network: AnyNetworkConfig
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
    if isinstance(value, list | tuple):
        return [_without_none(entry) for entry in value]
    return value


def _sentences(model: type[Config], error: pydantic.ValidationError) -> Iterable[str]:
    """Rewrite pydantic's list: where, what came, what is expected, and the nearest known key."""
    for entry in error.errors(include_url=False):
        # Which family of networks was meant is no part of the place.
        place = ".".join(str(part) for part in entry["loc"] if part not in FAMILY_CONFIGS)
        if entry["type"] == "extra_forbidden":
            known = _fields_at(model, entry["loc"][:-1])
            near = nearest_name(str(entry["loc"][-1]), known)
            hint = f"did you mean {near!r}?" if near else f"expected one of {', '.join(map(repr, known))}"
            yield f"unknown key {place!r}: {hint}"
        elif entry["type"] == "missing":
            yield f"{place!r} is missing: add it"
        else:
            message = entry["msg"].removeprefix("Value error, ")
            message = message[0].lower() + message[1:]
            came = repr(entry["input"])
            yield f"{place!r}: {message}, got {came if len(came) < 200 else came[:60] + ' ...'}"


def _fields_at(model: type[Config], location: tuple[int | str, ...]) -> list[str]:
    """Return the known keys of the table at ``location``."""
    current: Any = model
    for part in location:
        if isinstance(part, int):
            # An entry of a list of tables: list[StageConfig] is a list of its one argument.
            current = get_args(current)[0]
        else:
            current = FAMILY_CONFIGS.get(part) or current.model_fields[part].annotation
    return list(current.model_fields)
