"""A training step of `RateRNN` beside its peers and beside what the CPU can do, interleaved in one process.

    python benchmarks/bptt.py [repeats] [units ...]

Forward, loss, backward and Adam, float32, 64 trials of 200 steps, pinned to one CPU; process CPU time,
medians, ratios. The limit is 6 T B N^2 operations, the recurrent products alone, at the measured rate of one
core's fused multiply-adds. A jitted JAX scan takes part where JAX is installed (`pip install jax`). Then
excitatory-inhibitory networks, short-term plasticity and low rank beside loops written for them. At the end:
two threads against one, by the clock, and how long a kernel takes to compile with an empty cache.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import torch
from import_time import processor
from torch import nn

import neurornn as nr
from neurornn.numerics.threads import engines_alone

Step = Callable[[], object]


class TorchRNN(nn.Module):
    """`torch.nn.RNN` with a linear readout."""

    def __init__(self, inputs: int, units: int, outputs: int) -> None:
        super().__init__()
        self.rnn, self.readout = nn.RNN(inputs, units, batch_first=True), nn.Linear(units, outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.readout(self.rnn(inputs)[0])


class PlainLoop(nn.Module):
    """The loop over time as most packages write it."""

    def __init__(
        self,
        inputs: int,
        units: int,
        outputs: int,
        alpha: float = 1.0,
        noise: float = 0.0,
        f: Callable = torch.tanh,
    ) -> None:
        super().__init__()
        self.input, self.recurrent = nn.Linear(inputs, units), nn.Linear(units, units, bias=False)
        self.readout, self.alpha, self.noise, self.f = nn.Linear(units, outputs), alpha, noise, f

    def begin(self, rate: torch.Tensor) -> None:
        """Make ready what a run needs."""

    def received(self, rate: torch.Tensor) -> torch.Tensor:
        """Return what comes through the recurrent weights."""
        return self.recurrent(rate)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rate = inputs.new_zeros(len(inputs), self.input.out_features)
        rates = []
        self.begin(rate)
        for t in range(inputs.shape[1]):
            drive = self.received(rate) + self.input(inputs[:, t])
            if self.noise:
                drive = drive + (2 / self.alpha) ** 0.5 * self.noise * torch.randn_like(rate)
            rate = (1 - self.alpha) * rate + self.alpha * self.f(drive)
            rates.append(rate)
        return self.readout(torch.stack(rates, dim=1))


class ExcitatoryInhibitoryLoop(PlainLoop):
    """Dale's law: the absolute weights times their signs, made once a run."""

    def begin(self, rate: torch.Tensor) -> None:
        signs = torch.ones(rate.shape[1])
        signs[round(0.8 * len(signs)) :] = -1
        self.effective = self.recurrent.weight.abs() * signs

    def received(self, rate: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(rate, self.effective)


class PrimersLoop(PlainLoop):
    """Dale's law as the notebooks of Yang & Wang's Primer have it: the weights are made at every step."""

    def begin(self, rate: torch.Tensor) -> None:
        self.signs = torch.ones(rate.shape[1])
        self.signs[round(0.8 * len(self.signs)) :] = -1

    def received(self, rate: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(rate, self.recurrent.weight.abs() * self.signs)


class PlasticLoop(PlainLoop):
    """Short-term plasticity as Masse et al. (2019) write it, facilitating."""

    def begin(self, rate: torch.Tensor) -> None:
        self.resources, self.use = torch.ones_like(rate), torch.full_like(rate, 0.15)

    def received(self, rate: torch.Tensor) -> torch.Tensor:
        step, seconds, usage = 20.0, 0.02, 0.15
        resources = self.resources + step / 200 * (1 - self.resources)
        resources = resources - seconds * self.use * self.resources * rate
        use = self.use + step / 1500 * (usage - self.use) + seconds * usage * (1 - self.use) * rate
        self.resources, self.use = resources.clamp(0, 1), use.clamp(0, 1)
        return self.recurrent(self.use * self.resources * rate)


class LowRankLoop(PlainLoop):
    """W = m n' / N of rank 2, applied factor by factor."""

    def __init__(self, inputs: int, units: int, *rest: Any) -> None:
        super().__init__(inputs, units, *rest)
        self.recurrent = nn.Identity()
        self.m, self.n = (nn.Parameter(torch.randn(units, 2)) for _ in range(2))

    def received(self, rate: torch.Tensor) -> torch.Tensor:
        return (rate @ self.n) @ self.m.t() / len(self.n)


KINDS: dict[str, tuple[dict[str, type[PlainLoop]], dict[str, Any]]] = {
    "E-I": (
        {"plain loop": ExcitatoryInhibitoryLoop, "the Primer's loop": PrimersLoop},
        {"excitatory_fraction": 0.8},
    ),
    "STP": ({"plain loop": PlasticLoop}, {"plasticity": "facilitating"}),
    "rank 2": ({"plain loop": LowRankLoop}, {"rank": 2}),
}
"""Kinds of networks beside the loops that are written for them."""


def torch_step(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> Step:
    """Return one training step of a model; all of torch's competitors share this loss and this Adam."""
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def step() -> None:
        outputs = model(inputs)
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        loss = (outputs - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def jax_step(units: int, inputs: torch.Tensor, targets: torch.Tensor, alpha: float, noise: float) -> Step:
    """Return one training step of a scan that JAX compiles whole, Adam included."""
    import jax
    import jax.numpy as jnp

    x, y = (jnp.asarray(array.transpose(0, 1).numpy()) for array in (inputs, targets))
    _, n_trials, n_inputs = x.shape
    keys = jax.random.split(jax.random.key(0), 3)
    parameters = {
        "recurrent": jax.random.normal(keys[0], (units, units)) / units**0.5,
        "input": jax.random.normal(keys[1], (n_inputs, units)) / n_inputs**0.5,
        "bias": jnp.zeros(units),
        "readout": jax.random.normal(keys[2], (units, y.shape[2])) / units**0.5,
        "readout_bias": jnp.zeros(y.shape[2]),
    }

    def loss(p: dict, key: object) -> object:
        drive = x @ p["input"] + p["bias"]
        if noise:
            drive = drive + (2 / alpha) ** 0.5 * noise * jax.random.normal(key, drive.shape)

        def advance(rate: object, driven: object) -> tuple:
            rate = (1 - alpha) * rate + alpha * jnp.tanh(rate @ p["recurrent"] + driven)
            return rate, rate

        _, rates = jax.lax.scan(advance, jnp.zeros((n_trials, units)), drive)
        return ((rates @ p["readout"] + p["readout_bias"] - y) ** 2).mean()

    @jax.jit
    def update(p: dict, first: dict, second: dict, count: object, key: object) -> tuple:
        key, own = jax.random.split(key)
        gradient = jax.grad(loss)(p, own)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        count = count + 1
        p = jax.tree.map(
            lambda w, m, v: w - 1e-3 * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8),
            p,
            first,
            second,
        )
        return p, first, second, count, key

    nothing = jax.tree.map(jnp.zeros_like, parameters)
    carried = [parameters, nothing, nothing, jnp.zeros(()), jax.random.key(1)]

    def step() -> None:
        carried[:] = jax.block_until_ready(update(*carried))

    return step


def medians(
    steps: dict[str, Step], repeats: int, clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """Return the median milliseconds of each step, in turn and in turn again."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for k in range(repeats + 2):
        for name, step in steps.items():
            if name == "JAX scan":
                # Its threads go on for a moment: nobody after it shall pay for that.
                step()
            began = clock()
            step()
            if k > 1:
                times[name].append(1e3 * (clock() - began))
            if name == "JAX scan":
                time.sleep(0.05)
    return {name: statistics.median(values) for name, values in times.items()}


def fused_multiply_adds() -> float:
    """Return this core's rate in 1e9 operations per second: sixteen chains of vectors that never leave it."""
    import numpy as np
    from numba import njit, types
    from numba.extending import intrinsic

    from neurornn.engine.fused import vectors
    from neurornn.engine.fused.tiles import LANES

    chains = 16

    @intrinsic
    def run(context, count, address):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            memory = vectors.Memory(builder, values[1])
            zero = vectors.INDEX(0)
            factor = memory.read(zero, 0, LANES)
            sums = [vectors.Accumulator.starting_at(factor) for _ in range(chains)]
            vectors.repeat(
                builder, values[0], lambda _: [own.set(own.get().times_plus(factor, factor)) for own in sums]
            )
            total = sums[0].get()
            for own in sums[1:]:
                total = total + own.get()
            memory.write(zero, 0, total)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), emit

    @njit
    def loop(count, array):  # type: ignore[no-untyped-def]
        run(count, array.ctypes.data)

    array, count, best = np.full(LANES, 0.5, np.float32), 5_000_000, 0.0
    loop(10, array)
    for _ in range(9):
        began = time.process_time()
        loop(count, array)
        best = max(best, 2e-9 * LANES * chains * count / (time.process_time() - began))
    return best


def compare(
    units: int, repeats: int, limit: float, *, alpha: float = 1.0, noise: float = 0.0,
    activation: str = "tanh", inputs: int = 16, outputs: int = 3, n_steps: int = 200,
) -> None:  # fmt: skip
    """Print one table."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, n_steps, inputs, generator=generator)
    y = torch.randn(64, n_steps, outputs, generator=generator)
    leak = {} if alpha == 1 else {"alpha": alpha, "noise_std": noise}
    steps = {
        f"neurornn {engine}": torch_step(
            nr.RateRNN(inputs, units, outputs, activation=activation, engine=engine, **leak), x, y
        )
        for engine in ("numba", "torch")
    }
    f = torch.tanh if activation == "tanh" else getattr(nn.functional, activation)
    steps["plain loop"] = torch_step(PlainLoop(inputs, units, outputs, alpha, noise, f), x, y)
    if alpha == 1:
        steps["torch.nn.RNN"] = torch_step(TorchRNN(inputs, units, outputs), x, y)
    if activation == "tanh":
        try:
            steps["JAX scan"] = jax_step(units, x, y, alpha, noise)
        except ImportError:
            print("    (JAX is not installed: it does not take part)")
    found = medians(steps, repeats)
    least = 6e-6 * n_steps * 64 * units**2 / limit
    print(
        f"{units} units, {activation}, alpha {alpha:g}, noise {noise:g}, {inputs} inputs, {outputs} outputs, "
        f"{n_steps} steps; limit {least:.1f} ms"
    )
    for name, value in found.items():
        print(
            f"    {name:<15} {value:7.1f} ms   {value / found['neurornn numba']:5.2f} x numba"
            f"   {value / found['neurornn torch']:5.2f} x torch   {least / value:4.2f} of the limit"
        )


def compare_kinds(units: int, repeats: int) -> None:
    """Print a table of networks with options, leaky, noisy and rectified, beside loops written for them."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(64, 200, count, generator=generator) for count in (16, 3))
    leak = {"tau": 100.0, "dt": 20.0, "noise_std": 0.05, "activation": "relu"}
    for kind, (loops, options) in KINDS.items():
        network = nr.RateRNN(16, units, 3, **leak, **options)
        steps = {"neurornn": torch_step(network, x, y)}
        for name, loop in loops.items():
            steps[name] = torch_step(loop(16, units, 3, 0.2, 0.05, torch.relu), x, y)
        found = medians(steps, repeats)
        own = found.pop("neurornn")
        others = ", ".join(f"{name} {value:.1f} ms: {value / own:.2f} x" for name, value in found.items())
        print(f"{units} units, {kind:<6} ({nr.engine.explain(network).engine}): {own:6.1f} ms; {others}")


def threads(units: int, repeats: int) -> None:
    """Print how much sooner a step ends on two threads, by the clock, as `nr.train` takes it."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(64, 200, count, generator=generator) for count in (16, 3))
    step = torch_step(nr.RateRNN(16, units, 3, engine="numba"), x, y)
    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(repeats):
        for count, own in times.items():
            torch.set_num_threads(count)
            with engines_alone():
                # Torch makes its threads anew when their number changes, and they are busy for a while.
                medians({"step": step}, 5)
                own.append(medians({"step": step}, 7, time.perf_counter)["step"])
    torch.set_num_threads(1)
    one, two = (statistics.median(own) for own in times.values())
    print(f"{units} units: {one:.1f} ms on one thread, {two:.1f} ms on two: {one / two:.2f} x")


def compilation() -> None:
    """Print how long the kernels of a few kinds of network take to compile with an empty cache."""
    for options in (
        "",
        "alpha=0.2, noise_std=0.1, ",
        "alpha=0.2, noise_std=0.1, activation='softplus', dynamics='current', ",
    ):
        code = (
            "import time, torch, neurornn as nr\n"
            f"net = nr.RateRNN(2, 8, 1, {options}engine='numba')\n"
            "nr.engine.explain(net)\n"
            "began = time.perf_counter()\n"
            "net(torch.zeros(1, 2, 2))[0].sum().backward()\n"
            "print(f'{time.perf_counter() - began:.1f}')"
        )
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True,
                env={**os.environ, "NUMBA_CACHE_DIR": folder},
            )  # fmt: skip
        print(f"compilation, RateRNN({options.rstrip(', ')}): {done.stdout.strip()} s")


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    sizes = [int(size) for size in sys.argv[2:]] or [64, 128, 256, 512]
    torch.set_num_threads(1)
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if cpus:
        os.sched_setaffinity(0, {max(cpus)})
    limit = fused_multiply_adds()
    print(
        f"{processor()}; torch {torch.__version__}; 64 trials; "
        f"{limit:.0f} GF/s of fused multiply-adds on one core"
    )
    for alpha, noise in ((1.0, 0.0), (0.2, 0.05)):
        for units in sizes:
            compare(units, repeats, limit, alpha=alpha, noise=noise)
    compare(
        256, repeats, limit, alpha=0.2, noise=0.05, activation="softplus", inputs=85, outputs=33, n_steps=100
    )
    for units in sizes:
        compare_kinds(units, repeats)
    if cpus:
        os.sched_setaffinity(0, cpus)
    for units in (64, 256):
        threads(units, repeats)
    compilation()


if __name__ == "__main__":
    main()
