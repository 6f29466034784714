"""A task of one's own, trained without being registered: tell the sign of a noisy signal's mean."""

from dataclasses import dataclass

import numpy as np

import neurornn as nr


@dataclass(frozen=True)
class Sign(nr.Task):
    """Hold the sign of the input's running mean."""

    noise_std: float = 0.5
    dt: float = 20.0
    n_inputs = 1
    n_outputs = 1

    def draw(self, n_trials, rng):
        """Draw trials of 25 steps; only the last five are asked for."""
        sign = rng.choice([-1.0, 1.0], size=(n_trials, 1, 1))
        inputs = 0.5 * sign + self.noise_std * rng.standard_normal((n_trials, 25, 1))
        mask = np.zeros_like(inputs)
        mask[:, -5:] = 1
        return nr.Trials(
            self, inputs, np.broadcast_to(sign, inputs.shape), mask, conditions={"sign": sign[:, 0, 0]}
        )

    def score(self, outputs, trials):
        """Return whether the last output has the right sign, shape (trial,)."""
        return (np.sign(outputs[:, -1, 0]) == trials.conditions["sign"]).astype(float)


if __name__ == "__main__":
    task = Sign()
    net = nr.RateRNN(task.n_inputs, 32, task.n_outputs, tau=100.0, dt=task.dt, seed=0)
    nr.train(net, task, n_steps=200, batch_size=64, learning_rate=5e-3)
    activity = nr.record(net, task, n_trials=500)
    print(f"{float(activity.score.mean()):.1%} right")
