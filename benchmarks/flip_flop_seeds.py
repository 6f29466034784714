"""How often the flip-flop's recipe gives exactly the cube: one line per seed, then the count.

python benchmarks/flip_flop_seeds.py [first seed] [number of seeds]
"""

import sys

import numpy as np
import torch

import neurornn as nr


def main() -> None:
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    task = nr.tasks.FlipFlop(n_bits=3)
    cubes = 0
    for seed in range(first, first + count):
        net = nr.RateRNN(task.n_inputs, 64, task.n_outputs, seed=seed)
        nr.train(net, task, seed=seed, progress=False)
        activity = nr.record(net, task, n_trials=1000, seed=seed)
        points = nr.analysis.find_fixed_points(net, activity)
        stable = torch.as_tensor(points.rate.values[points.kind == "stable"], dtype=torch.float32)
        readout = net.readout(stable).detach().numpy()
        kinds = np.bincount(points.n_unstable).tolist()
        patterns = len(np.unique(np.sign(readout), axis=0))
        cubes += kinds == [8, 12, 6, 1] and patterns == 8
        print(
            f"seed {seed}: score {float(activity.score.mean()):.6f}, all right "
            f"{float((activity.score == 1).mean()):.4f}, {points.sizes['fixed_point']} points {kinds}, "
            f"{patterns} patterns, readout error {np.abs(readout - np.sign(readout)).max():.4f}, "
            f"index sum {points.index_sum.item():.0f}",
            flush=True,
        )
    print(f"{cubes} of {count} are the cube")


if __name__ == "__main__":
    main()
