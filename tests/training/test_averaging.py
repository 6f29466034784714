import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn import InputError
from neurornn.training.averaging import AveragedWeights, Ensemble

SMALL = {"batch_size": 4, "n_evaluation_trials": 8, "evaluate_every": 1, "progress": False}


def network(seed=0, **options):
    return nr.RateRNN(2, 6, 2, seed=seed, **options)


@pytest.fixture
def task():
    return nr.tasks.FlipFlop(n_bits=2, duration=100)


def copy_of(net):
    return {name: own.detach().clone() for name, own in net.state_dict().items()}


# The mean of weights ----------------------------------------------------------------------------------------


def test_the_mean_is_the_mean_of_what_was_taken():
    members = [network(seed) for seed in range(5)]
    averaged = AveragedWeights(members[0])
    assert averaged.n_averaged == 0
    for number, member in enumerate(members, start=1):
        averaged.update(member)
        assert averaged.n_averaged == number
    for name, own in averaged.network.state_dict().items():
        wanted = torch.stack([member.state_dict()[name].double() for member in members]).mean(0)
        # A running mean in float32.
        torch.testing.assert_close(own.double(), wanted, rtol=0, atol=1e-6)


def test_the_mean_goes_on_from_its_state_to_the_same_bits():
    members = [network(seed) for seed in range(5)]
    whole = AveragedWeights(members[0])
    for member in members:
        whole.update(member)
    first = AveragedWeights(members[0])
    for member in members[:3]:
        first.update(member)
    second = AveragedWeights(network(9))
    second.restore(first.state())
    for member in members[3:]:
        second.update(member)
    wanted = copy_of(whole.network)
    assert all(torch.equal(own, wanted[name]) for name, own in copy_of(second.network).items())


def test_a_mean_keeps_signs_and_masks():
    mask = np.arange(36).reshape(6, 6) % 3 > 0
    options = {"excitatory_fraction": 0.5, "activation": "relu", "recurrent_mask": mask}
    averaged = AveragedWeights(network(0, **options))
    for seed in range(4):
        averaged.update(network(seed, **options))
    assert averaged.network.violations() == 0
    assert not averaged.network.recurrent_weight[torch.from_numpy(~mask)].any()


def test_training_averages_the_weights_of_every_step_after_the_start(task):
    steps = []
    net = network()
    run = nr.train(
        net, task, n_steps=8, learning_rate=0.3, averaging="weights", averaging_start=0.5,
        callbacks=[lambda state: steps.append(copy_of(state.network))], **SMALL,
    )  # fmt: skip
    history = run.history
    assert np.isnan(history.averaged_loss[:5]).all()
    assert np.isfinite(history.averaged_loss[5:]).all()
    mean = network()
    mean.load_state_dict({name: torch.stack([own[name] for own in steps[5:]]).mean(0) for name in steps[0]})
    trials = task.draw(8, nr.seeding.numpy_stream(0, nr.seeding.EVALUATION))
    with torch.no_grad():
        outputs = mean.eval()(torch.from_numpy(trials.inputs))[0]
    own = nr.training.masked_loss(
        outputs, torch.from_numpy(trials.targets), torch.from_numpy(trials.mask), "mse"
    )
    assert float(own) == pytest.approx(float(history.averaged_loss[-1]), rel=1e-5)


def test_the_best_weights_are_the_mean_where_that_is_better(task):
    # Steps so long that the weights swing: their mean lies in the middle.
    net = network()
    run = nr.train(
        net, task, n_steps=40, learning_rate=0.1, optimiser="SGD", clip_norm=0.0, averaging="weights",
        averaging_start=0.25, optimiser_options={"momentum": 0.9}, **SMALL,
    )  # fmt: skip
    lowest = min(float(run.history.evaluation_loss.min()), float(run.history.averaged_loss.min()))
    trials = task.draw(8, nr.seeding.numpy_stream(0, nr.seeding.EVALUATION))
    with torch.no_grad():
        outputs = net(torch.from_numpy(trials.inputs))[0]
    own = nr.training.masked_loss(
        outputs, torch.from_numpy(trials.targets), torch.from_numpy(trials.mask), "mse"
    )
    assert float(own) == pytest.approx(lowest, rel=1e-5)
    assert not net.training


# Ensembles ------------------------------------------------------------------------------------------------


def test_an_ensemble_predicts_the_mean_of_the_outputs():
    members = [network(seed) for seed in range(3)]
    inputs = torch.randn(4, 7, 2, generator=torch.Generator().manual_seed(0))
    ensemble = Ensemble(members, loss="mse")
    with torch.no_grad():
        wanted = torch.stack([member(inputs)[0] for member in members]).mean(0)
    found = ensemble.predict(inputs)
    assert torch.equal(found, wanted)
    assert len(ensemble) == 3
    assert not found.requires_grad
    assert not any(member.training for member in ensemble.networks)


def test_an_ensemble_of_classifiers_predicts_the_mean_probability():
    members = [network(seed) for seed in range(3)]
    inputs = torch.randn(4, 7, 2, generator=torch.Generator().manual_seed(0))
    found = Ensemble(members, loss="cross_entropy").predict(inputs)
    with torch.no_grad():
        wanted = torch.stack([member(inputs)[0].softmax(-1) for member in members]).mean(0)
    # Float32, through logarithms and back.
    torch.testing.assert_close(found.exp(), wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(4, 7), rtol=0, atol=1e-5)


def test_the_mean_prediction_loses_no_more_than_the_members_on_average():
    # Jensen: the squared error is convex in the prediction.
    members = [network(seed) for seed in range(4)]
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(2, 16, 9, 2, generator=generator)
    with torch.no_grad():
        single = [float(((member(inputs)[0] - targets) ** 2).mean()) for member in members]
    together = float(((Ensemble(members, loss="mse").predict(inputs) - targets) ** 2).mean())
    assert together < sum(single) / 4


def test_an_ensemble_of_nobody_is_refused():
    with pytest.raises(InputError, match="an ensemble needs at least one network, got none"):
        Ensemble([], loss="mse")


def test_snapshots_are_the_weights_at_the_end_of_each_cycle(task, tmp_path):
    steps = {}
    run = nr.train(
        network(), task, n_steps=8, averaging="snapshots", schedule="cyclic", n_snapshots=3, warmup_steps=2,
        learning_rate=1e-2, callbacks=[lambda state: steps.update({state.step: copy_of(state.network)})],
        directory=tmp_path / "run", **SMALL,
    )  # fmt: skip
    assert len(run.ensemble) == 3
    for member, step in zip(run.ensemble.networks, (4, 6, 8), strict=True):
        assert all(torch.equal(own, steps[step][name]) for name, own in copy_of(member).items())
    again = nr.load_run(tmp_path / "run").ensemble
    assert len(again) == 3
    inputs = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.predict(inputs), run.ensemble.predict(inputs))
    assert sorted(path.name for path in (tmp_path / "run" / "snapshots").glob("*.json")) == [
        f"snapshot_{number}.json" for number in (1, 2, 3)
    ]


def test_a_run_without_snapshots_has_no_ensemble(task, tmp_path):
    run = nr.train(network(), task, n_steps=2, directory=tmp_path / "run", **SMALL)
    assert run.ensemble is None
    assert nr.load_run(tmp_path / "run").ensemble is None


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"averaging": "snapshots"},
            r"snapshots are taken at the end of each cycle .* the schedule is 'constant': train with sch",
        ),
        (
            {"averaging": "snapshots", "schedule": "cyclic", "n_snapshots": 5, "n_steps": 4},
            r"5 snapshots need at least as many steps, got n_steps = 4: train longer, or with fewer",
        ),
        ({"averaging": "mean"}, r"'averaging': .*'weights' or 'snapshots', got 'mean'"),
        ({"averaging_start": 1.0}, r"'averaging_start': .*less than 1, got 1\.0"),
        ({"n_snapshots": 0}, r"'n_snapshots': .*greater than or equal to 1, got 0"),
    ],
)
def test_mistakes_with_averaging_are_told_before_anything_is_done(task, settings, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        nr.train(network(), task, directory=tmp_path / "run", **{**SMALL, "n_steps": 8, **settings})
    assert not (tmp_path / "run").exists()
