"""Peak memory of a forward and backward pass, readout inside, in units of one (time, trial, unit) array.

    python benchmarks/memory.py

64 trials, 256 units, float32, one thread; each figure from a process of its own, as what the resident memory
grew by at its peak. Inputs, targets and weights are there before. Linux only: it reads /proc.
"""

import os
import subprocess
import sys

from import_time import processor

TRIALS, UNITS, INPUTS, OUTPUTS = 64, 256, 16, 3

MEASURE = """
import pathlib, torch
from torch import nn
import neurornn as nr
torch.set_num_threads(1)

class TorchRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.readout = nn.RNN({inputs}, {units}, batch_first=True), nn.Linear({units}, {outputs})
    def forward(self, inputs):
        return self.readout(self.rnn(inputs)[0]), None

def kilobytes(field):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split(field + ":")[1].split()[0])

net = {network}
options = dict({options})

def run(n_steps, **options):
    x = torch.randn({trials}, n_steps, {inputs})
    y = torch.randn({trials}, n_steps, {outputs})
    before = kilobytes("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    with torch.set_grad_enabled({gradient}):
        loss = (net(x, **options)[0] - y).square().mean()
    if loss.requires_grad:
        loss.backward()
    return kilobytes("VmHWM") - before

# What is allocated once, at the first time, is nobody's peak.
first = dict(options)
if options.get("checkpoint_every"):
    first["checkpoint_every"] = 10
run(20, **first)
print(run({n_steps}, **options) * 1024)
"""


def peak(network: str, n_steps: int, options: str = "", gradient: bool = True) -> float:
    """Return the bytes that a forward pass, and a backward pass if wanted, adds at its peak."""
    code = MEASURE.format(
        network=network,
        gradient=gradient,
        options=options,
        n_steps=n_steps,
        trials=TRIALS,
        units=UNITS,
        inputs=INPUTS,
        outputs=OUTPUTS,
    )
    # Every array gets pages of its own and gives them back, so that none hides in what an earlier one left.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return float(done.stdout)


def network(**options: object) -> str:
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    return f"nr.RateRNN({INPUTS}, {UNITS}, {OUTPUTS}{given})"


def main() -> None:
    bare = "return_rates=False"
    print(
        f"{processor()}; {TRIALS} trials, {UNITS} units; in units of one (time, trial, unit) array of float32"
    )
    for name, built, options in (
        ("numba, no gradient", network(alpha=0.2), bare),
        ("numba, alpha 1", network(), bare),
        ("numba, leaky", network(alpha=0.2), bare),
        ("numba, leaky, noise", network(alpha=0.2, noise_std=0.05), bare),
        ("numba, current, noise", network(alpha=0.2, noise_std=0.05, dynamics="current"), bare),
        ("torch, alpha 1", network(engine="torch"), bare),
        ("torch, leaky", network(alpha=0.2, engine="torch"), bare),
        ("reference, leaky", network(alpha=0.2, engine="reference"), bare),
        ("torch.nn.RNN", "TorchRNN()", ""),
    ):
        cells = []
        for n_steps in (250, 500, 1000, 2000):
            unit = 4 * n_steps * TRIALS * UNITS
            cells.append(
                f"{peak(built, n_steps, options, 'no gradient' not in name) / unit:5.2f} at {n_steps}"
            )
        print(f"    {name:<22} {'   '.join(cells)} steps", flush=True)
    print("checkpointing, leaky with noise, MiB")
    for n_steps in (1250, 2500, 5000, 10_000):
        cells = []
        for every in (None, 400, 100):
            found = peak(
                network(alpha=0.2, noise_std=0.05), n_steps, f"return_rates=False, checkpoint_every={every}"
            )
            cells.append(f"{found / 2**20:7.1f} {'whole' if every is None else f'every {every}'}")
        print(f"    {n_steps:>6} steps: {'   '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
