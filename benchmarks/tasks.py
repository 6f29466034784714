"""What drawing trials costs, beside the training step that they are for and beside neurogym.

    python benchmarks/tasks.py [names ...]

Each task draws 64 trials, at the dt that makes them about 200 steps long where their length is in ms; the
time of its random numbers' own fill is taken off, and the rest divided by that of a training step of
`RateRNN` (64 tanh units, the task's channels, forward, masked loss, backward, Adam) on 64 trials of 200
steps, both per trial and step. Goal: at most 10 %. Where neurogym is installed, the nearest task of its
default timing is drawn in turn, per trial and step as well. Interleaved in one process, pinned to one CPU;
process CPU time, medians.
"""

import argparse
import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from import_time import processor

import neurornn as nr
from neurornn import tasks
from neurornn.numerics.threads import engines_alone
from neurornn.tasks import noise

N_TRIALS, N_STEPS, N_UNITS, REPEATS = 64, 200, 64, 15
NEUROGYM = {
    "anti_reach": "AntiReach-v0",
    "context_decision_making": "ContextDecisionMaking-v0",
    "delayed_comparison": "DelayComparison-v0",
    "delayed_match_to_category": "DelayMatchCategory-v0",
    "delayed_match_to_sample": "DelayMatchSample-v0",
    "delayed_paired_association": "DelayPairedAssociation-v0",
    "dual_delayed_match_to_sample": "DualDelayMatchSample-v0",
    "go_no_go": "GoNogo-v0",
    "interval_discrimination": "IntervalDiscrimination-v0",
    "motor_timing": "MotorTiming-v0",
    "multisensory_integration": "MultiSensoryIntegration-v0",
    "one_two_three_go": "OneTwoThreeGo-v0",
    "perceptual_decision_making": "PerceptualDecisionMaking-v0",
    "probabilistic_reasoning": "ProbabilisticReasoning-v0",
    "pulse_decision_making": "PulseDecisionMaking-v0",
    "reaching_1d": "Reaching1D-v0",
    "ready_set_go": "ReadySetGo-v0",
}
"""The task there that is nearest to one of ours."""


class Fill:
    """A generator, and the time that its numbers took."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._rng, name)
        return self.timed(method) if callable(method) else method

    def timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*positional: Any, **named: Any) -> Any:
            begin = time.process_time()
            try:
                return method(*positional, **named)
            finally:
                self.seconds += time.process_time() - begin

        return call


def timed(call: Callable[[], object]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def training_step(task: tasks.Task) -> Callable[[], object]:
    network = nr.RateRNN(task.n_inputs, N_UNITS, task.n_outputs, seed=0)
    adam = torch.optim.Adam(network.parameters(), fused=True)
    inputs = torch.randn(N_TRIALS, N_STEPS, task.n_inputs)
    targets, mask = torch.randn(2, N_TRIALS, N_STEPS, task.n_outputs)

    def step() -> None:
        outputs = network(inputs, return_rates=False)[0]
        loss = (mask * (outputs - targets) ** 2).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def environment(name: str) -> Callable[[], int] | None:
    """Return what draws one trial of the nearest neurogym task and tells its steps, where it is installed."""
    try:
        import neurogym
    except ImportError:
        return None
    env = neurogym.make(NEUROGYM[name]).unwrapped

    def trial() -> int:
        env.new_trial()
        return len(env.ob)

    return trial


def at_200_steps(task: tasks.Task) -> tasks.Task:
    """Return the task at the dt at which its batches have about 200 steps, or as it is."""
    rngs = [np.random.default_rng(repeat) for repeat in range(REPEATS)]
    n_steps = statistics.median(task.draw(N_TRIALS, rng).n_steps for rng in rngs)
    try:
        return dataclasses.replace(task, dt=task.dt * n_steps / N_STEPS)  # type: ignore[type-var]
    except (nr.InputError, TypeError):
        return task


def measure(name: str, steps: dict[tuple[int, int], Callable[[], object]]) -> list[str]:
    task = at_200_steps(tasks.get(name))
    step = steps.setdefault((task.n_inputs, task.n_outputs), training_step(task))
    env = environment(name) if name in NEUROGYM else None
    draws, fills, training, theirs = [], [], [], []
    task.draw(N_TRIALS, np.random.default_rng(0)), step()
    for repeat in range(REPEATS):
        rng = Fill(np.random.default_rng(repeat))
        # The engine's normals are random numbers too; they are drawn from a key.
        plain = noise.normals
        modules = [own for own in list(sys.modules.values()) if getattr(own, "normals", None) is plain]
        for module in modules:
            module.normals = lambda shape, own, std: rng.timed(plain)(shape, own._rng, std)  # noqa: B023
        begin = time.process_time()
        trials = task.draw(N_TRIALS, rng)  # type: ignore[arg-type]
        seconds = time.process_time() - begin
        for module in modules:
            module.normals = plain
        size = trials.n_trials * trials.n_steps
        draws.append(seconds / size)
        fills.append(rng.seconds / size)
        training.append(timed(step) / (N_TRIALS * N_STEPS))
        if env is not None:
            begin = time.process_time()
            n_steps = sum(env() for _ in range(N_TRIALS // 4))
            theirs.append((time.process_time() - begin) / n_steps)
    draw, fill, train = (1e9 * statistics.median(own) for own in (draws, fills, training))
    share = statistics.median((d - f) / t for d, f, t in zip(draws, fills, training, strict=True))
    cells = [f"{draw:.0f}", f"{fill:.0f}", f"{train:.0f}", f"{share:.1%}"]
    if theirs:
        ratio = statistics.median(t / d for t, d in zip(theirs, draws, strict=True))
        cells += [f"{1e9 * statistics.median(theirs):.0f}", f"{ratio:.0f}x"]
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="registered names; all by default")
    names = parser.parse_args().names or list(tasks.TASKS)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    print(f"{processor()}; ns per trial and step")
    columns = ("draw", "fill", "training", "rest/training", "neurogym", "neurogym/draw")
    print(f"{'task':<32}" + "".join(f"{own:>14}" for own in columns))
    steps: dict[tuple[int, int], Callable[[], object]] = {}
    over = []
    with engines_alone():
        for name in names:
            cells = measure(name, steps)
            print(f"{name:<32}" + "".join(f"{own:>14}" for own in cells), flush=True)
            if float(cells[3].rstrip("%")) > 10:
                over.append(name)
    print(
        f"{len(names) - len(over)} of {len(names)} cost at most 10 % beyond the fill; above: {over or 'none'}"
    )


if __name__ == "__main__":
    main()
