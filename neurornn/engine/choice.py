"""Which engine runs a scan, and why the faster ones do not."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from neurornn.engine import checkpointing, fused
from neurornn.engine.numba_engine import NumbaEngine
from neurornn.engine.problem import Engine, ScanProblem, ScanResult
from neurornn.engine.reference import ReferenceEngine
from neurornn.engine.torch_engine import TorchEngine
from neurornn.vocabulary import InputError, need_choice

ENGINES: dict[str, Engine] = {
    engine.name: engine for engine in (NumbaEngine(), TorchEngine(), ReferenceEngine())
}
"""Every engine by its name, the fastest first."""


def need_engine(name: str) -> str:
    """Return an engine's name, refusing one that does not exist."""
    return need_choice(name, "engine", ("auto", *ENGINES))


def scan(problem: ScanProblem, engine: str = "auto") -> ScanResult:
    """Run a problem on the named engine, or on the fastest that can serve it.

    Raises
    ------
    InputError
        Where the named engine does not exist or cannot serve; the sentence says why.
    """
    need_engine(engine)
    if problem.checkpoint_every is not None:
        return checkpointing.scan_in_segments(problem, lambda segment: scan(segment, engine))
    refusals = _refusals(problem, engine)
    chosen = _need_chosen(refusals)
    _say_once_that_numba_is_missing(refusals)
    return ENGINES[chosen].scan(problem)


def _need_chosen(refusals: dict[str, str | None]) -> str:
    """Return the engine that serves, refusing where the one that was asked for does not."""
    for name, reason in refusals.items():
        if reason is None:
            return name
    # Only one that was asked for can be the last to refuse: the reference engine serves everything.
    raise InputError(f"engine {name!r} cannot serve this network: {reason}; use engine='auto'")


def _refusals(problem: ScanProblem, engine: str) -> dict[str, str | None]:
    """Return for each engine, up to the one that serves, why it does not; None where it does."""
    if engine != "auto":
        return {engine: _refusal(ENGINES[engine], problem)}
    found: dict[str, str | None] = {}
    for name, own in ENGINES.items():
        found[name] = _refusal(own, problem)
        if found[name] is None:
            break
    return found


def _refusal(engine: Engine, problem: ScanProblem) -> str | None:
    names = list(ENGINES)
    named = os.environ.get(fused.SWITCH, "")
    if named:
        need_choice(named, f"engine in the environment variable {fused.SWITCH},", ("auto", *names))
    slower = names[names.index(engine.name) + 1 :]
    return fused.switched_off(slower) or engine.reason_to_refuse(problem)


_said: set[str] = set()


def _say_once_that_numba_is_missing(refusals: dict[str, str | None]) -> None:
    """Warn, the first time, where another engine serves only because numba does not work here."""
    reason = refusals.get("numba")
    if reason is not None and reason == fused.reason_not_to_compile() and reason not in _said:
        _said.add(reason)
        warnings.warn(
            f"the torch engine serves instead of the faster numba engine: {reason}",
            RuntimeWarning,
            stacklevel=2,
        )


class Explainable(Protocol):
    """A network whose scan an engine runs."""

    engine: str
    training: bool

    @property
    def scan_problem(self) -> Callable[..., ScanProblem]:
        """Return the scan that `forward` would run on the same arguments."""

    def example_inputs(self) -> Tensor:
        """Return inputs of one trial and one step."""


@dataclass(frozen=True)
class Explanation:
    """Which engine runs a network, and why the faster ones do not.

    Attributes
    ----------
    engine : str or None
        The one that was chosen; None where the one that was asked for cannot serve.
    refusals : dict
        By name, why each faster engine, or the one that was asked for, does not serve.
    """

    engine: str | None
    refusals: dict[str, str]

    def __str__(self) -> str:
        first = f"{self.engine} runs this network" if self.engine else "no engine runs this network"
        return "\n".join([first, *(f"{name} does not: {reason}" for name, reason in self.refusals.items())])


def explain(network: Explainable, inputs: Tensor | None = None, **options: Any) -> Explanation:
    """Say which engine runs a network, and why the faster ones do not.

    Parameters
    ----------
    network : RateRNN
        As it is now: its dtype, device, and train or eval mode.
    inputs : Tensor, shape (trial, time, input_channel), optional
        What it would be run on; one step of zeros by default.
    **options
        As for the network's ``forward``.

    Returns
    -------
    Explanation
        Prints as sentences.

    Raises
    ------
    InputError
        Where it is no network, or the inputs do not fit it.

    Examples
    --------
    >>> from neurornn import RateRNN
    >>> print(explain(RateRNN(1, 8, 1, activation=lambda u: u.sin())))
    torch runs this network
    numba does not: its kernel has the activations 'tanh', 'relu', 'softplus', 'sigmoid', not a callable
    """
    if not hasattr(network, "scan_problem"):
        gated = isinstance(network, torch.nn.Module)
        advice = "others run on torch's own kernels" if gated else "build a RateRNN"
        raise InputError(f"`network` must be a rate network, got {type(network).__name__}: {advice}")
    if network.training:
        # A question must not move the network's own noise on.
        options.setdefault("generator", torch.Generator())
    problem = network.scan_problem(network.example_inputs() if inputs is None else inputs, **options)
    refusals = _refusals(problem, need_engine(network.engine))
    chosen = next((name for name, reason in refusals.items() if reason is None), None)
    return Explanation(chosen, {name: reason for name, reason in refusals.items() if reason is not None})
