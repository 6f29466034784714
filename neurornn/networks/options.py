"""Which options of a rate network go together: for every two, they do, or a sentence says why not.

The table in the documentation is this one, and a test builds every pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from neurornn.config import RateConfig
from neurornn.networks.activations import Activation
from neurornn.vocabulary import InputError


@dataclass(frozen=True)
class Option:
    """One option: how to tell that a network has it, and an example of 8 units with 2 outputs."""

    is_on: Callable[[RateConfig, Activation], bool]
    example: dict[str, Any]


def _given(*names: str) -> Callable[[RateConfig, Activation], bool]:
    """Say whether any of these options of a configuration is not at its default."""
    defaults = {name: RateConfig.model_fields[name].default for name in names}
    return lambda config, _: any(getattr(config, name) != default for name, default in defaults.items())


_LEAK = {"tau": 100.0, "dt": 20.0}
_NAN = float("nan")

OPTIONS: dict[str, Option] = {
    "an activation that can be negative": Option(lambda _, f: not f.is_nonnegative, {"activation": "tanh"}),
    "current dynamics": Option(lambda c, _: c.dynamics == "current", {"dynamics": "current"}),
    "leak-inside dynamics": Option(lambda c, _: c.dynamics == "leak_inside", {"dynamics": "leak_inside"}),
    "leak": Option(_given("tau", "alpha"), _LEAK),
    "a tau for each unit": Option(
        lambda c, _: isinstance(c.tau, list), {"tau": [40.0 + 10 * k for k in range(8)], "dt": 20.0}
    ),
    "trainable tau": Option(_given("trainable_tau"), {**_LEAK, "trainable_tau": True}),
    "input noise": Option(_given("input_noise_std"), {"input_noise_std": 0.1}),
    "recurrent noise": Option(_given("noise_std"), {"noise_std": 0.1}),
    "output noise": Option(_given("output_noise_std"), {"output_noise_std": 0.1}),
    "given initial state": Option(_given("initial_state"), {"initial_state": [0.1 * k for k in range(8)]}),
    "trainable initial state": Option(_given("trainable_initial_state"), {"trainable_initial_state": True}),
    "Dale's law": Option(
        _given("excitatory_fraction", "signs"), {"excitatory_fraction": 0.75, "activation": "relu"}
    ),
    "non-negative inputs": Option(_given("nonnegative_inputs"), {"nonnegative_inputs": True}),
    "no autapses": Option(lambda c, _: not c.autapses, {"autapses": False}),
    "input or output masks": Option(
        _given("input_mask", "input_fixed", "output_mask", "output_fixed"),
        {
            "input_fixed": [[0.5] + [_NAN] * 2 if i == 0 else [_NAN] * 3 for i in range(8)],
            "output_mask": [[float(i + j != 1) for j in range(8)] for i in range(2)],
        },
    ),
    "recurrent mask": Option(
        _given("recurrent_mask", "recurrent_fixed"),
        {
            "recurrent_mask": [[float((i + j) % 3 > 0) for j in range(8)] for i in range(8)],
            "recurrent_fixed": [[0.5] + [_NAN] * 7 if i == 1 else [_NAN] * 8 for i in range(8)],
        },
    ),
    "density": Option(_given("density"), {"density": 0.6}),
    "areas": Option(_given("areas"), {"areas": {"V1": 4, "PFC": 4}, "projections": {"V1 -> PFC": 0.9}}),
    "low rank": Option(_given("rank"), {"rank": 2}),
    "short-term plasticity": Option(
        _given("plasticity"), {"plasticity": "mixed", "activation": "relu", **_LEAK}
    ),
    "output feedback": Option(_given("feedback"), {"feedback": True}),
    "no recurrent weights": Option(lambda c, _: not c.recurrent, {"recurrent": False}),
    "dropout": Option(_given("dropout"), {"dropout": 0.2}),
    "layer normalisation": Option(_given("layer_norm"), {"layer_norm": True}),
    "weight normalisation": Option(_given("weight_norm"), {"weight_norm": True}),
    "several layers": Option(_given("n_layers"), {"n_layers": 2}),
    "residual connections": Option(_given("residual"), {"residual": True, "n_layers": 2}),
    "two directions": Option(_given("bidirectional"), {"bidirectional": True}),
    "softmax readout": Option(_given("readout"), {"readout": "softmax"}),
    "attention readout": Option(_given("attention"), {"attention": "scaled"}),
}
"""Every option that changes what a network computes, by the name that the documentation uses."""

_ONE_LAYER = (
    "a matrix describes the units of one layer in one direction: leave `n_layers` and `bidirectional`"
)

REFUSALS: dict[tuple[str, str], str] = {
    ("Dale's law", "an activation that can be negative"): (
        "Dale's law needs rates that are never negative, or a negative one would turn its unit's sign round: "
        "take activation='relu', 'softplus', 'sigmoid', 'retanh' or 'power_law', or register your own with "
        "bounds=(0, inf)"
    ),
    ("short-term plasticity", "an activation that can be negative"): (
        "short-term plasticity needs rates that are never negative, since they use up resources: take "
        "activation='relu', 'softplus', 'sigmoid', 'retanh' or 'power_law'"
    ),
    ("low rank", "Dale's law"): (
        "weights of low rank, W = m n' / N, have no sign for each column: leave out `rank` or Dale's law"
    ),
    ("low rank", "recurrent mask"): (
        "a mask or held entries would give weights of low rank another rank: leave out `rank` or the matrix"
    ),
    ("low rank", "no autapses"): (
        "a diagonal without autapses would give weights of low rank another rank: leave out one"
    ),
    ("low rank", "density"): (
        "missing connections would give weights of low rank another rank: leave out `rank` or `density`"
    ),
    ("low rank", "areas"): (
        "missing connections would give weights of low rank another rank: leave out `rank` or `areas`"
    ),
    ("low rank", "weight normalisation"): (
        "weight normalisation scales rows, which weights of low rank do not have of their own: leave out one"
    ),
    ("low rank", "no recurrent weights"): "`rank` shapes recurrent weights, and recurrent=False has none",
    **{
        ("no recurrent weights", leak): (
            "without recurrent weights no gradient may cross time, and a leak would carry it: leave out "
            "`tau` and `alpha`"
        )
        for leak in ("leak", "a tau for each unit", "trainable tau")
    },
    ("no recurrent weights", "Dale's law"): (
        "Dale's law signs recurrent weights, and recurrent=False has none: leave out one"
    ),
    ("no recurrent weights", "no autapses"): "`autapses` are recurrent weights, and recurrent=False has none",
    ("no recurrent weights", "recurrent mask"): (
        "`recurrent_mask` and `recurrent_fixed` shape recurrent weights, and recurrent=False has none"
    ),
    ("no recurrent weights", "density"): "`density` thins recurrent weights, and recurrent=False has none",
    ("no recurrent weights", "areas"): "`areas` connect recurrently, and recurrent=False has no such weights",
    ("no recurrent weights", "short-term plasticity"): (
        "short-term plasticity is that of recurrent synapses, and recurrent=False has none"
    ),
    ("weight normalisation", "Dale's law"): (
        "weight normalisation has lengths of its own, which may turn a sign round: leave out one"
    ),
    ("weight normalisation", "non-negative inputs"): (
        "weight normalisation has lengths of its own, which may turn a sign round: leave out one"
    ),
    ("areas", "density"): "areas have densities of their own: give them in `projections`, such as 'V1 -> V1'",
    ("input noise", "a tau for each unit"): (
        "input noise is scaled by the leak, and here every unit has another one: put the noise in the task, "
        "or take one tau"
    ),
    ("output feedback", "several layers"): (
        "outputs are fed back to the units that put them out: take one layer, or no feedback"
    ),
    ("output feedback", "two directions"): (
        "outputs cannot be fed back in a network that also runs backwards in time: leave out one"
    ),
    ("output feedback", "softmax readout"): (
        "outputs that are fed back must be linear, as the teacher's are: take readout='linear'"
    ),
    ("output feedback", "attention readout"): (
        "outputs that are fed back must be a function of the last rates alone: leave out `attention`"
    ),
    **{
        (option, several): f"{_ONE_LAYER} out, or the {what}"
        for option, what in (
            ("input or output masks", "masks and fixed weights"),
            ("recurrent mask", "masks and fixed weights"),
            ("areas", "areas"),
        )
        for several in ("several layers", "residual connections", "two directions")
    },
    ("output feedback", "residual connections"): (
        "outputs are fed back to the units that put them out: take one layer, or no feedback"
    ),
}
"""The pairs that do not go together, and the sentence that refuses them."""


def need_compatible(config: RateConfig, activation: Activation) -> None:
    """Refuse options that do not go together.

    Raises
    ------
    InputError
        With the sentence of the table.
    """
    on = {name for name, option in OPTIONS.items() if option.is_on(config, activation)}
    for (one, other), sentence in REFUSALS.items():
        if one in on and other in on:
            raise InputError(sentence)
    if config.plasticity is not None and config.tau is None:
        raise InputError("short-term plasticity runs in ms: give `tau` and `dt`")
    if config.trainable_tau and config.tau is None:
        raise InputError("`trainable_tau` needs what it begins with: give `tau` and `dt`")
    if config.rank is not None and config.rank > config.hidden_size:
        raise InputError(
            f"`rank` must be at most hidden_size = {config.hidden_size}, got {config.rank}: choose a "
            "smaller one"
        )
    if config.rank is not None and config.recurrent_initialisation not in (None, "gaussian"):
        raise InputError(
            "weights of low rank begin with Gaussian vectors: set others in network.layers[0].recurrent.m "
            "and .n, and leave out `recurrent_initialisation`"
        )


def table() -> str:
    """Return the table of all pairs as Markdown: a tick, or the number of the sentence that refuses them."""
    names = list(OPTIONS)
    sentences = list(dict.fromkeys(REFUSALS.values()))
    lines = [
        "| | option | " + " | ".join(str(k + 1) for k in range(len(names))) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    for i, row in enumerate(names):
        cells = []
        for column in names[: i + 1]:
            sentence = REFUSALS.get((row, column)) or REFUSALS.get((column, row))
            cells.append("✓" if sentence is None else f"({sentences.index(sentence) + 1})")
        lines.append(" | ".join([f"| {i + 1}", row, *cells, *[""] * (len(names) - i - 1)]) + " |")
    return "\n".join([*lines, "", *(f"{k + 1}. {sentence}" for k, sentence in enumerate(sentences)), ""])
