"""Public checkers: what every task and every network must keep to, those of a user's own too.

The package's tests run them over everything that ships.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import random

import numpy as np
import torch
from torch import Tensor

from neurornn.networks import Network, build_network
from neurornn.tasks import NO_CHOICE, Choice, EpochTask, Task, TaskProtocol, Trials
from neurornn.vocabulary import TIME, TRIAL, InputError

N_TO_COMPARE = 256
"""Trials in which what two have in common is looked for."""


def check_task(task: TaskProtocol, *, n_trials: int = 64) -> None:
    """Check that a task can be trained, recorded, scored and repeated.

    Shapes and labels; the same generator gives the same trials to the bit, and no global one is touched; what
    is asked can be told from the inputs so far; perfect outputs score 1 and silent ones no more than chance;
    every condition appears, and a balanced batch holds each once; conditions and epochs rebuild the targets,
    and epochs last as long as their parameters say, in ms at any dt.

    Parameters
    ----------
    task : Task
        Registered or not.
    n_trials : int
        Trials per batch that is drawn for the check.

    Raises
    ------
    AssertionError
        At the first property that does not hold; the message says which and why it matters.

    Examples
    --------
    >>> from neurornn.tasks import FlipFlop
    >>> check_task(FlipFlop(n_bits=2))
    """
    name = type(task).__name__
    assert isinstance(task, TaskProtocol), (
        f"{name} lacks something of TaskProtocol: inherit from neurornn.Task"
    )
    assert dataclasses.is_dataclass(task), f"{name} must be a dataclass, so that its repr is its record"
    assert task.__dataclass_params__.frozen, f"{name} must be frozen: @dataclass(frozen=True)"
    assert len(task.input_labels) == task.n_inputs, f"{name} needs one input label per channel"
    assert len(task.output_labels) == task.n_outputs, f"{name} needs one output label per channel"

    before = repr(random.getstate()), repr(np.random.get_state())  # noqa: NPY002 - read, never advanced
    torch_before = torch.random.get_rng_state()
    trials = task.draw(n_trials, np.random.default_rng(0))
    after = repr(random.getstate()), repr(np.random.get_state())  # noqa: NPY002
    assert before[0] == after[0], f"{name} advanced Python's global generator: use rng"
    assert before[1] == after[1], f"{name} advanced NumPy's global generator: use rng"
    assert torch.equal(torch_before, torch.random.get_rng_state()), (
        f"{name} advanced torch's global generator"
    )
    assert isinstance(trials, Trials), f"{name}.draw must return Trials, got {type(trials).__name__}"
    assert trials.n_trials == n_trials, f"{name}.draw({n_trials}) gave {trials.n_trials} trials"
    assert task.draw(1, np.random.default_rng(0)).n_trials == 1, f"{name} must be able to draw a single trial"

    _check_repeats(task, trials, name)
    _check_trials(task, trials, name)
    _check_scores(task, trials, name)
    _check_answerable(task, name)
    if isinstance(task, Task):
        _check_factors(task, name)
        _check_chance(task, name)
    if isinstance(task, EpochTask):
        _check_epochs(task, name)
    constants = task.constant_inputs()
    assert constants, f"{name}.constant_inputs must name at least one input"
    for label, constant in constants.items():
        shape = np.shape(constant)
        assert shape == (task.n_inputs,), f"{name}: constant input {label!r} has shape {shape}"
        assert np.isfinite(constant).all(), f"{name}: constant input {label!r} is not finite"


def _check_repeats(task: TaskProtocol, trials: Trials, name: str) -> None:
    again = task.draw(trials.n_trials, np.random.default_rng(0))
    other = task.draw(trials.n_trials, np.random.default_rng(1))
    for field in ("inputs", "targets", "mask", "valid"):
        same = np.array_equal(getattr(trials, field), getattr(again, field))
        assert same, f"{name}: the same generator gave different {field}"
    for key, values in trials.conditions.items():
        same = np.array_equal(values, again.conditions[key], equal_nan=values.dtype.kind == "f")
        assert same, f"{name}: condition {key!r} does not repeat"
    differs = not np.array_equal(trials.inputs, other.inputs)
    assert differs, f"{name}: two generators gave the same trials: draw from rng"
    rebuilt = dataclasses.replace(task)  # type: ignore[type-var]
    assert rebuilt == task, f"{name}: a copy made from its fields differs"
    assert repr(rebuilt) == repr(task), f"{name}: the repr must tell all of its fields"


def _check_trials(task: TaskProtocol, trials: Trials, name: str) -> None:
    asked = trials.mask.reshape(trials.n_trials, -1) > 0
    assert asked.any(axis=1).all(), f"{name}: some trial asks for nothing (its mask is 0 throughout)"
    padding = ~trials.valid
    assert not trials.inputs[padding].any(), f"{name}: inputs must be 0 where a trial is padded"
    # A trial that ends does not begin again.
    assert (np.diff(trials.valid.astype(int), axis=1) <= 0).all(), f"{name}: valid steps must come first"
    dataset = trials.to_dataset()
    assert {TRIAL, TIME} <= set(dataset.dims), f"{name}: the dataset lacks a dimension"
    assert np.allclose(np.diff(dataset[TIME]), task.dt), f"{name}: time must run in steps of dt"


def _check_scores(task: TaskProtocol, trials: Trials, name: str) -> None:
    ideal = trials.ideal_outputs()
    score = np.asarray(task.score(ideal, trials))
    assert score.shape == (trials.n_trials,), f"{name}.score must have shape (trial,), got {score.shape}"
    assert np.allclose(score, 1), f"{name}: a perfect network must score 1, got {score.min()}"
    assert ((score >= 0) & (score <= 1)).all(), f"{name}: scores must lie between 0 and 1"
    poor = np.asarray(task.score(np.zeros_like(ideal), trials))
    assert np.isfinite(poor).all(), f"{name}: a silent network must have a finite score"
    assert ((poor >= 0) & (poor <= 1)).all(), f"{name}: a silent network's scores must lie between 0 and 1"
    assert poor.mean() < 1, f"{name}: a silent network must not score 1"
    if hasattr(task, "choose"):
        choice = np.asarray(task.choose(ideal, trials))
        assert choice.shape == (trials.n_trials,), f"{name}.choose must have shape (trial,)"
        assert (choice >= NO_CHOICE).all(), f"{name}: choices are classes, {NO_CHOICE} for none"
    if hasattr(task, "ideal_choices"):
        chosen = np.asarray(task.ideal_choices(trials))
        assert chosen.shape == (trials.n_trials,), f"{name}.ideal_choices must have shape (trial,)"


def _check_answerable(task: TaskProtocol, name: str) -> None:
    """Check that what is asked can be told from the inputs so far, noise and random answers aside."""
    names = {field.name for field in dataclasses.fields(task)}  # type: ignore[arg-type]
    if "noise_std" not in names:
        return
    trials = dataclasses.replace(task, noise_std=0.0).draw(N_TO_COMPARE, np.random.default_rng(2))  # type: ignore[type-var]
    asked = trials.mask.reshape(*trials.valid.shape, -1) > 0
    targets = trials.targets.reshape(*trials.valid.shape, -1)
    if task.loss == "cross_entropy":
        # Which answer is right may be drawn, as at zero evidence; when to answer may not.
        targets = targets != 0
    targets = np.where(asked, targets, 0)
    seen = np.zeros(trials.n_trials, dtype=int)
    for step in range(trials.n_steps):
        so_far = np.column_stack([seen, trials.valid[:, step], trials.inputs[:, step]])
        seen = np.unique(so_far, axis=0, return_inverse=True)[1].ravel()
        order = np.argsort(seen, kind="stable")
        alike = (np.diff(seen[order]) == 0) & (asked[order[1:], step] == asked[order[:-1], step]).all(axis=-1)
        gap = np.abs(np.diff(targets[order, step].astype(float), axis=0)).max(axis=-1)
        assert not (alike & (gap > 1e-5)).any(), (
            f"{name}: at step {step} two trials have shown the same inputs and ask for different outputs: "
            "show what the answer depends on, and a cue where the network must act"
        )


def _check_factors(task: Task, name: str) -> None:
    factors = task.factors()
    if not factors:
        return
    levels = {factor: own.levels() for factor, own in factors.items()}
    balanced = task.factorial()
    expected = list(itertools.product(*levels.values()))
    assert balanced.n_trials == len(expected), (
        f"{name}.factorial gave {balanced.n_trials} trials for {len(expected)} conditions"
    )
    for k, factor in enumerate(levels):
        assert factor in balanced.conditions, f"{name}: the factor {factor!r} is missing among the conditions"
        values = balanced.conditions[factor].tolist()
        assert values == [combination[k] for combination in expected], (
            f"{name}.factorial shows other levels of {factor!r} than it has"
        )
    # Enough trials to miss a level with a chance below 1e-9, were its factor drawn by itself.
    n_trials = int(25 * max(len(own) for own in levels.values()))
    drawn = task.draw(n_trials, np.random.default_rng(3)).conditions
    for factor, own in factors.items():
        if isinstance(own, Choice) and factor in drawn:
            missing = set(own.levels()) - set(drawn[factor].tolist())
            assert not missing, f"{name}: {factor!r} never takes {missing} in {n_trials} trials"


def _check_chance(task: Task, name: str) -> None:
    trials = task.draw(N_TO_COMPARE, np.random.default_rng(4))
    silent = np.asarray(task.score(np.zeros_like(trials.ideal_outputs()), trials))
    # Three standard errors of a mean of scores in [0, 1].
    slack = 3 * float(silent.std()) / np.sqrt(len(silent)) + 1e-9
    assert silent.mean() <= task.chance_score + slack, (
        f"{name}: a silent network scores {silent.mean():.3f}, above chance_score = {task.chance_score:.3f}"
    )


def _check_epochs(task: EpochTask, name: str) -> None:
    trials = task.draw(32, np.random.default_rng(5))
    again = task.ask(trials.conditions, trials.timeline)
    shown = np.where(
        trials.valid if trials.targets.ndim == 2 else trials.valid[..., None], again - trials.targets, 0
    )
    assert np.abs(shown).max() < 1e-6, f"{name}: conditions and epochs do not rebuild the targets"
    assert set(task.epoch_order) == set(trials.epochs), f"{name}: its epochs are {tuple(trials.epochs)}"
    for epoch in task.epoch_order:
        field = task.duration_field(epoch)
        if field is None:
            continue
        asked = 7.0 * task.dt
        for dt in (task.dt, task.dt / 2):
            changed = dataclasses.replace(task, **{field: asked, "dt": dt}).draw(4, np.random.default_rng(6))  # type: ignore[type-var]
            lasted = changed.timeline.length(epoch) * dt
            assert (lasted == asked).all(), (
                f"{name}: {field!r} = {asked} ms at dt = {dt} ms gave an epoch {epoch!r} of {lasted.tolist()}"
            )


def check_network(network: Network, *, n_trials: int = 3, n_steps: int = 7) -> None:
    """Check that a network keeps to what the package, and its user, take for granted.

    Shapes; `step` is a step of `forward`, `jacobian` the derivative of `step`; states, rates and outputs
    belong together; noise and dropout are off in eval mode, and a generator repeats them; the configuration
    rebuilds the network, and its weights make it the same; no change of the parameters breaks a constraint.

    Parameters
    ----------
    network : RateRNN, LSTM or GRU
        In any mode and precision; a copy of it is checked.
    n_trials, n_steps : int
        Size of the scan that is run for the check.

    Raises
    ------
    AssertionError
        At the first property that does not hold.

    Examples
    --------
    >>> from neurornn import RateRNN
    >>> check_network(RateRNN(2, 5, 1, activation="softplus", dynamics="current", tau=100.0, dt=20.0))
    """
    # A copy in float64, where rounding (1e-10) and the error of differences (1e-6) are far below any mistake.
    network = copy.deepcopy(network).double().cpu().eval()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(n_trials, n_steps, network.input_size, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        outputs, rates, states = network(inputs, return_states=True)
        assert outputs.shape == (n_trials, n_steps, network.output_size), f"outputs are {outputs.shape}"
        assert rates.shape == (n_trials, n_steps, network.rate_size), f"rates are {rates.shape}"
        assert states.shape == (n_trials, n_steps, network.state_size), f"states are {states.shape}"
        alone = network(inputs)
        assert torch.allclose(alone[0], outputs, atol=1e-10), "outputs change where states are asked for"
        assert torch.allclose(alone[1], rates, atol=1e-10), "rates change where states are asked for"
        assert torch.allclose(network.rates(states), rates, atol=1e-10), "rates(states) differ from the rates"
        assert torch.allclose(network.readout(rates), outputs, atol=1e-10), "readout(rates) differs"
        if network.is_bidirectional:
            _check_has_no_step(network, states, inputs)
        else:
            _check_steps(network, inputs, states)
        _check_noise(network, inputs, outputs)
        _check_rebuilds(network, inputs, outputs)
        _check_constraints(network)


def _check_has_no_step(network: Network, states: Tensor, inputs: Tensor) -> None:
    try:
        network.step(states[:, 0], inputs[:, 0])
    except InputError:
        return
    raise AssertionError("a bidirectional network has no step and must say so")


def _check_steps(network: Network, inputs: Tensor, states: Tensor) -> None:
    state = network.initial_state(len(inputs))
    for t in range(inputs.shape[1]):
        state = network.step(state, inputs[:, t])
        assert torch.allclose(state, states[:, t], atol=1e-10), f"step and forward differ at step {t}"
    # Off the edge of what is clipped, where a derivative has two sides.
    last, held = 0.9 * states[:, -1] + 0.03, inputs[:, 0]
    jacobian = network.jacobian(last, held)
    for j in range(network.state_size):
        nudge = torch.zeros_like(last)
        nudge[:, j] = 1e-5
        slope = (network.step(last + nudge, held) - network.step(last - nudge, held)) / 2e-5
        assert torch.allclose(slope, jacobian[..., j], atol=1e-6), f"jacobian differs in column {j}"


def _check_noise(network: Network, inputs: Tensor, outputs: Tensor) -> None:
    assert torch.equal(network(inputs)[0], network(inputs)[0]), "two runs in eval mode differ: noise is on"
    network.train()
    runs = [network(inputs, generator=torch.Generator().manual_seed(1))[0] for _ in range(2)]
    network.eval()
    assert torch.equal(*runs), "two runs in train mode with the same generator differ"
    assert torch.allclose(network(inputs)[0], outputs, atol=1e-10), "a run in train mode left a trace"


def _check_rebuilds(network: Network, inputs: Tensor, outputs: Tensor) -> None:
    if network.activation_name == "":
        return
    twin = build_network(network.config.to_dict())
    assert twin.config == network.config, "the configuration of the network that it rebuilds differs"
    twin.load_state_dict(network.state_dict())
    assert torch.allclose(twin.eval()(inputs)[0], outputs, atol=1e-10), "rebuilt, the network differs"


def _check_constraints(network: Network) -> None:
    other = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(2)
    for parameter in other.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    assert other.violations() == 0, "a change of the parameters broke a sign, a mask or a held weight"
