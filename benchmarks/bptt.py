"""A training step of `RateRNN` beside `torch.nn.RNN` and a plain loop under autograd, interleaved.

    python benchmarks/bptt.py [repeats]

Forward, loss, backward and Adam on one thread, 64 trials of 200 steps; process CPU time, medians, ratios.
"""

import statistics
import sys
import time

import torch
from import_time import processor
from torch import nn

import neurornn as nr
from neurornn.engine import ENGINES

TRIALS, STEPS, INPUTS, OUTPUTS = 64, 200, 16, 3


class TorchRNN(nn.Module):
    """`torch.nn.RNN` with a linear readout."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.rnn, self.readout = nn.RNN(INPUTS, units, batch_first=True), nn.Linear(units, OUTPUTS)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.readout(self.rnn(inputs)[0])


class PlainLoop(nn.Module):
    """The loop over time as most packages write it."""

    def __init__(self, units: int, alpha: float, noise: float) -> None:
        super().__init__()
        self.input, self.recurrent = nn.Linear(INPUTS, units), nn.Linear(units, units, bias=False)
        self.readout, self.alpha, self.noise, self.units = nn.Linear(units, OUTPUTS), alpha, noise, units

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rate = inputs.new_zeros(len(inputs), self.units)
        rates = []
        for t in range(inputs.shape[1]):
            drive = self.recurrent(rate) + self.input(inputs[:, t])
            if self.noise:
                drive = drive + (2 / self.alpha) ** 0.5 * self.noise * torch.randn_like(rate)
            rate = (1 - self.alpha) * rate + self.alpha * torch.tanh(drive)
            rates.append(rate)
        return self.readout(torch.stack(rates, dim=1))


class Outputs(nn.Module):
    """The outputs of a rate network on one engine."""

    def __init__(self, network: nr.RateRNN) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.network(inputs)[0]


def competitors(units: int, alpha: float, noise: float) -> dict[str, nn.Module]:
    leak = {} if alpha == 1 else {"alpha": alpha, "noise_std": noise}
    models: dict[str, nn.Module] = {
        f"neurornn {name}": Outputs(nr.RateRNN(INPUTS, units, OUTPUTS, engine=name, **leak))
        for name in ENGINES
    }
    models["plain loop"] = PlainLoop(units, alpha, noise)
    if alpha == 1:
        models["torch.nn.RNN"] = TorchRNN(units)
    return models


def medians(models: dict[str, nn.Module], repeats: int) -> dict[str, float]:
    """Return the median CPU milliseconds of a step of each model, in turn and in turn again."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(TRIALS, STEPS, INPUTS, generator=generator)
    targets = torch.randn(TRIALS, STEPS, OUTPUTS, generator=generator)
    optimizers = {name: torch.optim.Adam(model.parameters()) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for k in range(repeats + 1):
        for name, model in models.items():
            began = time.process_time()
            loss = (model(inputs) - targets).square().mean()
            optimizers[name].zero_grad()
            loss.backward()
            optimizers[name].step()
            if k:
                times[name].append(1e3 * (time.process_time() - began))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    torch.set_num_threads(1)
    print(f"{processor()}, one thread; torch {torch.__version__}; {TRIALS} trials of {STEPS} steps")
    for alpha, noise in ((1.0, 0.0), (0.2, 0.05)):
        for units in (64, 128, 256):
            found = medians(competitors(units, alpha, noise), repeats)
            own = min(value for name, value in found.items() if name.startswith("neurornn"))
            print(f"{units} units, alpha {alpha:g}, noise {noise:g}")
            for name, value in found.items():
                print(f"    {name:<20} {value:7.1f} ms   {value / own:5.2f} x the fastest of ours")


if __name__ == "__main__":
    main()
