"""Training chooses its best weights by trials that the task holds out."""

from dataclasses import dataclass, replace

import numpy as np

from neurornn import RateRNN, seeding, train
from neurornn.tasks import FlipFlop, SequentialDigits
from neurornn.tasks.digits import images_of


@dataclass(frozen=True)
class Watched(SequentialDigits):
    """Digits that keep which split drew how many pictures, and which."""

    def draw(self, n_trials, rng):
        trials = super().draw(n_trials, rng)
        self.drawn.append((self.split, trials))
        return trials


def train_watched(**settings):
    task, Watched.drawn = Watched(), []
    settings = {"n_steps": 4, "batch_size": 8, "evaluate_every": 2, "n_evaluation_trials": 32} | settings
    network = RateRNN(1, 4, 10, seed=0)
    run = train(network, task, learning_rate=1e-3, progress=False, **settings)
    return run, Watched.drawn


def test_training_draws_of_its_own_split_and_is_evaluated_on_the_validation():
    run, drawn = train_watched()
    sizes = [(split, trials.n_trials) for split, trials in drawn]
    assert sizes == [("validation", 32), *[("train", 8)] * 4]
    assert run.task == Watched()
    for split, trials in drawn:
        assert set(trials.conditions["image"]) <= set(np.concatenate(images_of(split)))


def test_the_evaluation_is_the_loss_and_score_on_the_validation():
    run, drawn = train_watched(n_steps=0)
    held_out = replace(Watched(), split="validation").draw(32, seeding.numpy_stream(0, seeding.EVALUATION))
    np.testing.assert_array_equal(held_out.inputs, drawn[0][1].inputs)
    outputs = run.network(run.network.output_bias.new_tensor(held_out.inputs))[0].detach().numpy()
    assert float(run.history.evaluation_score[0]) == run.task.score(outputs, held_out).mean()


def test_a_task_that_makes_its_trials_is_its_own_held_out_one():
    task = FlipFlop(n_bits=2)
    assert task.held_out() is task
    assert task.held_out("validation") is task
