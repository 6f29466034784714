"""The whole chain in ten lines: train a network to hold three bits, record it, and find its fixed points."""

import neurornn as nr

task = nr.tasks.FlipFlop(n_bits=3)
net = nr.RateRNN(task.n_inputs, 64, task.n_outputs, activation="tanh", seed=0)
run = nr.train(net, task, seed=0)
activity = nr.record(net, task, n_trials=256, seed=1)
pcs = nr.analysis.pca(activity, n_components=3)
points = nr.analysis.find_fixed_points(net, activity)
ax = nr.plots.plot_trajectories(pcs, nr.analysis.project(points, pcs))
ax.figure.savefig("flip_flop.png")
nr.save(activity, "flip_flop.nc")

print(points.n_unstable.groupby(points.kind).count().to_series().to_string())
