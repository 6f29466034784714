"""Train a small network for 50 steps on every neurogym environment through `neurornn.tasks.from_neurogym`.

    python benchmarks/neurogym_environments.py    (in an environment of its own, with the extra `neurogym`)

Prints which train, how the loss fell, and the sentence that refuses the others.
"""

import os
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import neurogym
from neurogym.envs.registration import all_envs

import neurornn as nr

N_STEPS = 50


def train(name: str) -> str:
    task = nr.tasks.from_neurogym(name)
    network = nr.RateRNN(task.n_inputs, 32, task.n_outputs, activation="relu", seed=0)
    run = nr.train(
        network,
        task,
        n_steps=N_STEPS,
        batch_size=16,
        learning_rate=3e-3,
        n_evaluation_trials=64,
        progress=False,
    )
    loss, score = run.history["evaluation_loss"].values, run.history["evaluation_score"].values
    return f"trained   loss {loss[0]:.4f} -> {loss[-1]:.4f}   score {score[0]:.3f} -> {score[-1]:.3f}"


def main() -> None:
    warnings.filterwarnings("ignore", module="gymnasium|neurogym")
    print(f"neurogym {neurogym.__version__}, {N_STEPS} steps of 16 trials each")
    names = sorted({name for name in all_envs() if isinstance(name, str)})
    trained = 0
    for name in names:
        try:
            line = train(name)
            trained += 1
        except nr.InputError as error:
            line = f"refused   {error}"
        print(f"{name:<42}{line}", flush=True)
    print(f"{trained} of {len(names)} trained, {len(names) - trained} refused")


if __name__ == "__main__":
    main()
