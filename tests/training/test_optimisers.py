import math

import pytest
import torch
from torch import nn

import neurornn as nr
from neurornn import InputError
from neurornn.config import TrainingConfig
from neurornn.training.optimisers import OPTIMISERS, Schedule, build_optimiser, clip, need_optimiser


def config(**settings):
    return TrainingConfig(**{"n_steps": 12, "learning_rate": 0.5, **settings})


def weights(seed=0, shapes=((3, 4), (4, 4))):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def descend(optimiser, parameters, n_steps=6):
    """Go down a bowl whose bottom is at 1."""
    rates = torch.arange(1.0, 5.0)

    def closure():
        optimiser.zero_grad()
        loss = sum((rates * (own - 1) ** 2).sum() for own in parameters)
        loss.backward()
        return loss

    return [float(optimiser.step(closure).detach()) for _ in range(n_steps)]


# Optimisers ---------------------------------------------------------------------------------------------


def test_every_optimiser_of_torch_is_there():
    assert {"Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "LBFGS", "NAdam", "Rprop"} <= set(OPTIMISERS)
    assert "Optimizer" not in OPTIMISERS


@pytest.mark.parametrize("name", [own for own in OPTIMISERS if own != "SparseAdam"])
def test_an_optimiser_by_its_name_is_torchs_own(name):
    ours, theirs = weights(), weights()
    one = build_optimiser(config(optimiser=name, learning_rate=0.01), ours)
    other = getattr(torch.optim, name)(theirs, lr=0.01)
    losses = descend(one, ours), descend(other, theirs)
    # Float32; the fused form divides and takes roots in another order.
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for own, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, its, rtol=1e-5, atol=1e-6)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.parametrize("name", [own for own in OPTIMISERS if own != "SparseAdam"])
def test_an_optimiser_goes_on_from_a_checkpoint_to_the_same_bits(name, tmp_path):
    from neurornn.training.checkpoint import load_checkpoint, save_checkpoint

    whole, parts = weights(), weights()
    descend(build_optimiser(config(optimiser=name, learning_rate=0.01), whole), whole, 6)
    first = build_optimiser(config(optimiser=name, learning_rate=0.01), parts)
    descend(first, parts, 3)
    save_checkpoint(tmp_path / "c.pt", {"step": 3, "optimizer": first.state_dict()})
    second = build_optimiser(config(optimiser=name, learning_rate=0.01), parts)
    second.load_state_dict(load_checkpoint(tmp_path / "c.pt")["optimizer"])
    descend(second, parts, 3)
    assert all(torch.equal(own, its) for own, its in zip(whole, parts, strict=True))


def test_options_reach_the_optimiser_and_lists_are_tuples():
    chosen = {"betas": [0.8, 0.9], "weight_decay": 0.1}
    group = build_optimiser(config(optimiser_options=chosen), weights()).param_groups[0]
    assert (group["betas"], group["weight_decay"], group["lr"]) == ((0.8, 0.9), 0.1, 0.5)


def test_a_maximiser_is_not_fused_and_goes_up():
    parameters = weights()
    optimiser = build_optimiser(config(optimiser="SGD", optimiser_options={"maximize": True}), parameters)
    losses = descend(optimiser, parameters, 2)
    assert losses[1] > losses[0]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"optimiser": "adam"}, r"unknown optimiser 'adam': expected one of .*; did you mean 'Adam'\?"),
        ({"optimiser": "RMSProp"}, r"did you mean 'RMSprop'\?"),
        ({"optimiser": "Optimizer"}, r"unknown optimiser 'Optimizer'"),
        ({"optimiser": "lr_scheduler"}, r"unknown optimiser 'lr_scheduler'"),
        (
            {"optimiser_options": {"beta": 1}},
            r"unknown option of Adam 'beta': expected one of 'amsgrad', 'betas', .*; did you mean 'betas'\?",
        ),
        ({"optimiser_options": {"lr": 1.0}}, r"unknown option of Adam 'lr'"),
        ({"optimiser_options": {"fused": False}}, r"unknown option of Adam 'fused'"),
        (
            {"optimiser_options": {"betas": [1.0, 2.0]}},
            r"torch's Adam refuses its options \{'betas': \[1\.0, 2\.0\]\} or these weights \(Invalid beta.*"
            r": change `optimiser_options`, or take another optimiser",
        ),
        ({"optimiser_options": {"betas": 3}}, r"torch's Adam refuses its options \{'betas': 3\}"),
        ({"optimiser_options": {"betas": "no"}}, r"torch's Adam refuses its options \{'betas': 'no'\}"),
        ({"optimiser_options": {"betas": {"a": 1}}}, r"torch's Adam refuses its options"),
        ({"optimiser_options": {"eps": "small"}}, r"torch's Adam refuses its options"),
        ({"optimiser": "SGD", "optimiser_options": {"nesterov": True}}, r"torch's SGD refuses .*[Nn]esterov"),
        ({"optimiser": "SparseAdam"}, r"torch's SparseAdam cannot train these weights .*such as 'Adam'"),
    ],
)
def test_mistakes_with_optimisers_are_told_before_anything_is_done(settings, sentence, flip_flop, tmp_path):
    network = nr.RateRNN(2, 4, 2)
    with pytest.raises(InputError, match=sentence) as caught:
        nr.train(network, flip_flop, n_steps=1, directory=tmp_path / "run", progress=False, **settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_optimiser_for_matrices_only_refuses_vectors():
    if "Muon" not in OPTIMISERS:
        pytest.skip("this torch has no Muon")
    with pytest.raises(InputError, match=r"torch's Muon refuses its options .* or these weights"):
        need_optimiser(config(optimiser="Muon"), weights(shapes=((3,),)))


def test_trying_an_optimiser_changes_no_weight():
    parameters = weights()
    before = [own.detach().clone() for own in parameters]
    need_optimiser(config(learning_rate=100.0), parameters)
    assert all(torch.equal(own, its) for own, its in zip(parameters, before, strict=True))
    assert all(own.grad is None for own in parameters)
    need_optimiser(config(), [])


# Schedules ----------------------------------------------------------------------------------------------


def rates_of(settings, losses=(), n_steps=12):
    chosen = config(**settings)
    optimiser = build_optimiser(chosen, weights())
    schedule, rates = Schedule(optimiser, chosen), []
    for step in range(n_steps):
        rates.append(schedule.learning_rate)
        schedule.step()
        if step < len(losses):
            schedule.evaluated(losses[step])
    return rates


def test_the_constant_rate_is_constant():
    assert rates_of({}) == [0.5] * 12


def test_the_cosine_falls_from_the_rate_to_nothing():
    wanted = [0.25 * (1 + math.cos(math.pi * step / 12)) for step in range(12)]
    # torch's recursion is the closed form to rounding.
    assert rates_of({"schedule": "cosine"}) == pytest.approx(wanted, abs=1e-12)
    wanted = [0.1 + 0.2 * (1 + math.cos(math.pi * step / 12)) for step in range(12)]
    assert rates_of({"schedule": "cosine", "schedule_options": {"eta_min": 0.1}}) == pytest.approx(wanted)


def test_warming_up_is_a_line_to_the_full_rate_before_the_schedule():
    rise = [0.5 * (step + 1) / 5 for step in range(4)]
    assert rates_of({"warmup_steps": 4}) == pytest.approx([*rise, *[0.5] * 8])
    fall = [0.25 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert rates_of({"warmup_steps": 4, "schedule": "cosine"}) == pytest.approx([*rise, *fall], abs=1e-12)
    two = [0.25 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    cyclic = {"warmup_steps": 4, "schedule": "cyclic", "n_snapshots": 2}
    assert rates_of(cyclic) == pytest.approx([*rise, *two, *two], abs=1e-12)


def test_the_cyclic_rate_is_a_cosine_again_and_again_and_cycles_end_where_it_starts_anew():
    chosen = config(schedule="cyclic", n_snapshots=3)
    optimiser = build_optimiser(chosen, weights())
    schedule, rates, ends = Schedule(optimiser, chosen), [], []
    for step in range(12):
        rates.append(schedule.learning_rate)
        schedule.step()
        if schedule.ends_cycle:
            ends.append(step + 1)
    one = [0.25 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert rates == pytest.approx(one * 3, abs=1e-12)
    assert ends == [4, 8, 12]
    assert Schedule.cycle(chosen) == 4
    assert Schedule.cycle(config(n_steps=2, n_snapshots=5)) == 1


def test_the_plateau_cuts_the_rate_where_the_loss_stands_still():
    options = {"schedule": "plateau", "schedule_options": {"patience": 1, "factor": 0.1}}
    # Better, then twice no better: the second time is one too many.
    rates = rates_of(options, losses=[3, 2, 2, 2, 1, 1, 1], n_steps=8)
    assert rates == pytest.approx([0.5] * 4 + [0.05] * 3 + [0.005])
    # While the rate rises nobody asks.
    rates = rates_of({**options, "warmup_steps": 6}, losses=[1] * 6, n_steps=8)
    assert rates[6:] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "cosine", "warmup_steps": 3},
        {"schedule": "cyclic", "n_snapshots": 3, "warmup_steps": 1},
        {"schedule": "plateau", "schedule_options": {"patience": 0}},
        {"warmup_steps": 5},
        {},
    ],
)
@pytest.mark.parametrize("taken", range(8))
def test_a_schedule_goes_on_from_its_state_to_the_same_bits(settings, taken):
    losses = [3.0, 3.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]

    def walk(schedule, first, last):
        rates = []
        for step in range(first, last):
            schedule.step()
            schedule.evaluated(losses[step])
            rates.append((schedule.learning_rate, schedule.ends_cycle))
        return rates

    chosen = config(**settings)
    wanted = walk(Schedule(build_optimiser(chosen, weights()), chosen), 0, 10)
    first_optimiser = build_optimiser(chosen, weights())
    first = Schedule(first_optimiser, chosen)
    walk(first, 0, taken)
    second_optimiser = build_optimiser(chosen, weights())
    second = Schedule(second_optimiser, chosen)
    second_optimiser.load_state_dict(first_optimiser.state_dict())
    second.restore(first.state())
    assert walk(second, taken, 10) == wanted[taken:]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"schedule": "linear"}, r"'schedule': .*'constant', 'cosine', 'plateau' or 'cyclic', got 'linear'"),
        (
            {"schedule_options": {"T_max": 3}},
            r"`schedule_options` = \{'T_max': 3\} are for a schedule, and the constant one has none: choose",
        ),
        (
            {"schedule": "cosine", "schedule_options": {"tmax": 3}},
            r"unknown option of the cosine schedule 'tmax': expected one of .*did you mean 'T_max'\?",
        ),
        (
            {"schedule": "cosine", "schedule_options": {"optimizer": 3}},
            r"unknown option of the cosine schedule",
        ),
        (
            {"schedule": "plateau", "schedule_options": {"factor": 2.0}},
            r"torch's ReduceLROnPlateau refuses `schedule_options` = \{'factor': 2\.0\} \(.*\): change them",
        ),
        (
            {"schedule": "cyclic", "schedule_options": {"T_0": -1}},
            r"torch's CosineAnnealingWarmRestarts refuses",
        ),
        ({"schedule": "plateau", "schedule_options": {"mode": "up"}}, r"torch's ReduceLROnPlateau refuses"),
        # Torch takes these, and looks at them in a step.
        (
            {"schedule": "cosine", "schedule_options": {"eta_min": "low"}},
            r"torch's CosineAnnealingLR refuses",
        ),
        ({"schedule": "plateau", "schedule_options": {"patience": []}}, r"torch's ReduceLROnPlateau refuses"),
        ({"schedule": "cosine", "schedule_options": {"T_max": 0}}, r"torch's CosineAnnealingLR refuses"),
        ({"warmup_steps": -1}, r"'warmup_steps': .*greater than or equal to 0, got -1"),
    ],
)
def test_mistakes_with_schedules_are_told_before_anything_is_done(settings, sentence, flip_flop, tmp_path):
    with pytest.raises(InputError, match=sentence):
        nr.train(
            nr.RateRNN(2, 4, 2), flip_flop, n_steps=4, directory=tmp_path / "run", progress=False, **settings
        )
    assert not (tmp_path / "run").exists()


def test_the_rates_of_a_training_are_those_of_its_schedule(flip_flop):
    settings = {"n_steps": 8, "learning_rate": 0.5, "schedule": "cosine", "warmup_steps": 3}
    run = nr.train(nr.RateRNN(2, 4, 2), flip_flop, batch_size=2, progress=False, **settings)
    assert run.history.learning_rate.values.tolist() == rates_of(settings, n_steps=8)


# Clipping -----------------------------------------------------------------------------------------------


def with_gradients(scale=1.0):
    parameters = [*weights(), nn.Parameter(torch.ones(2))]
    for own in parameters[:2]:
        own.grad = scale * own.detach().clone()
    return parameters


def norm_of(parameters):
    return math.sqrt(sum(float((own.grad.double() ** 2).sum()) for own in parameters if own.grad is not None))


@pytest.mark.parametrize("limit", [0.1, 1.0, 1e3])
def test_a_gradient_is_shortened_to_the_global_norm_and_keeps_its_direction(limit):
    parameters = with_gradients()
    plain = [own.grad.clone() for own in parameters[:2]]
    wanted = norm_of(parameters)
    before, after = clip(parameters, config(clip_norm=limit))
    assert before == pytest.approx(wanted, rel=1e-6)
    assert after == pytest.approx(min(wanted, limit), rel=1e-5)
    assert norm_of(parameters) == pytest.approx(min(wanted, limit), rel=1e-4)
    share = min(1, limit / wanted)
    for own, its in zip(parameters[:2], plain, strict=True):
        torch.testing.assert_close(own.grad, share * its, rtol=1e-4, atol=1e-7)
    assert parameters[2].grad is None


def test_without_a_limit_nothing_is_shortened():
    parameters = with_gradients(1e3)
    plain = [own.grad.clone() for own in parameters[:2]]
    before, after = clip(parameters, config(clip_norm=0.0))
    assert before == after
    assert all(torch.equal(own.grad, its) for own, its in zip(parameters[:2], plain, strict=True))


def test_entries_are_cut_to_a_value_before_the_norm_is_taken():
    parameters = with_gradients()
    wanted, cut = norm_of(parameters), [own.grad.clamp(-0.5, 0.5) for own in parameters[:2]]
    before, after = clip(parameters, config(clip_value=0.5, clip_norm=0.0))
    assert all(torch.equal(own.grad, its) for own, its in zip(parameters[:2], cut, strict=True))
    assert before == pytest.approx(wanted, rel=1e-6)
    assert after == pytest.approx(norm_of(parameters), rel=1e-6)
    parameters = with_gradients()
    before, after = clip(parameters, config(clip_value=0.5, clip_norm=0.25))
    assert before == pytest.approx(wanted, rel=1e-6)
    assert norm_of(parameters) == pytest.approx(0.25, rel=1e-4)


def test_a_gradient_that_is_no_number_is_seen_in_its_norm():
    parameters = with_gradients()
    parameters[0].grad[0, 0] = math.nan
    before, after = clip(parameters, config(clip_norm=1.0))
    assert math.isnan(before)
    assert math.isnan(after)
