import json

import numpy as np
import pytest
import torch
import xarray as xr

import neurornn as nr
from neurornn import InputError, RateRNN, record, seeding
from neurornn.networks import weights_digest
from neurornn.tasks import DelayedComparison, FlipFlop, PerceptualDecisionMaking


@pytest.fixture(scope="module")
def activity(trained):
    return record(trained.network, trained.task, n_trials=20, seed=3)


def origin(activity):
    return json.loads(activity.attrs["neurornn"])


def test_every_axis_is_labelled(activity, flip_flop):
    dims = {name: variable.dims for name, variable in activity.data_vars.items()}
    assert dims == {
        "input": ("trial", "time", "input_channel"),
        "target": ("trial", "time", "output_channel"),
        "mask": ("trial", "time", "output_channel"),
        "valid": ("trial", "time"),
        "rate": ("trial", "time", "unit"),
        "output": ("trial", "time", "output_channel"),
        "initial_state": ("trial", "state_variable"),
        "parameter_recurrent_weight": ("unit", "presynaptic_unit"),
        "parameter_input_weight": ("unit", "input_channel"),
        "parameter_bias": ("unit",),
        "parameter_output_weight": ("output_channel", "unit"),
        "parameter_output_bias": ("output_channel",),
    }
    assert activity.sizes["trial"] == 20
    np.testing.assert_array_equal(activity.time, np.arange(30) * 10.0)
    assert activity.time.attrs["units"] == "ms"
    np.testing.assert_array_equal(activity.unit, np.arange(16))
    assert activity.input_channel.values.tolist() == list(flip_flop.input_labels)
    for name in ("first_pattern", "score"):
        assert activity[name].dims == ("trial",)


def test_rates_and_outputs_are_those_of_forward(activity, trained):
    trials = trained.task.draw(20, seeding.numpy_stream(3, seeding.RECORDING))
    np.testing.assert_array_equal(activity.input, trials.inputs)
    np.testing.assert_array_equal(activity.target, trials.targets)
    with torch.no_grad():
        outputs, rates = trained.network(torch.from_numpy(trials.inputs))
    np.testing.assert_array_equal(activity.rate, rates)
    np.testing.assert_array_equal(activity.output, outputs)
    np.testing.assert_array_equal(activity.score, trained.task.score(outputs.numpy(), trials))


def test_the_readout_of_the_recorded_rates_is_the_recorded_output(activity):
    outputs = xr.dot(activity.rate, activity.parameter_output_weight, dim="unit")
    outputs = outputs + activity.parameter_output_bias
    xr.testing.assert_allclose(outputs.transpose("trial", "time", ...), activity.output, atol=1e-5)


def test_recorded_trials_are_never_those_of_training_or_evaluation(activity, trained):
    for stream in (seeding.TRIALS, seeding.EVALUATION):
        seen = trained.task.draw(20, seeding.numpy_stream(3, stream))
        assert not np.array_equal(seen.inputs, activity.input)


@pytest.mark.parametrize("batch_size", [1, 7, 20, 1000])
def test_the_size_of_a_pass_changes_nothing(activity, trained, batch_size):
    again = record(trained.network, trained.task, n_trials=20, seed=3, batch_size=batch_size)
    xr.testing.assert_allclose(again, activity, rtol=1e-5, atol=1e-5)
    ours, its = origin(again), origin(activity)
    assert ours["recording"].pop("batch_size") == batch_size
    assert its["recording"].pop("batch_size") == 256
    assert ours == its


def test_the_same_seed_gives_the_same_activity_and_another_does_not(activity, trained):
    xr.testing.assert_identical(record(trained.network, trained.task, n_trials=20, seed=3), activity)
    other = record(trained.network, trained.task, n_trials=20, seed=4)
    assert not np.array_equal(other.input, activity.input)


@pytest.mark.parametrize("mode", [True, False])
def test_the_network_and_the_global_generators_are_left_as_they_were(flip_flop, mode, random_states):
    net = RateRNN(2, 6, 2, noise_std=0.3).train(mode)
    own, before = net.noise_generator.get_state(), random_states()
    for noise in (False, True):
        record(net, flip_flop, 3, noise=noise)
    assert net.training is mode
    assert torch.equal(net.noise_generator.get_state(), own)
    assert random_states() == before
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_mode_is_restored_when_recording_fails(flip_flop):
    net = RateRNN(2, 6, 2)
    net.engine = "nowhere"
    with pytest.raises(InputError, match="unknown engine"):
        record(net, flip_flop, 3)
    assert net.training


def test_noise_is_off_unless_asked_for_and_then_repeats(flip_flop):
    net = RateRNN(2, 6, 2, noise_std=0.3).train()
    quiet = record(net, flip_flop, 5)
    noisy = record(net, flip_flop, 5, noise=True)
    xr.testing.assert_identical(record(net, flip_flop, 5), quiet)
    xr.testing.assert_identical(record(net, flip_flop, 5, noise=True), noisy)
    np.testing.assert_array_equal(quiet.input, noisy.input)
    assert not np.allclose(quiet.rate, noisy.rate)
    assert origin(noisy)["recording"]["noise"] is True


def test_the_weights_travel_along_exactly_unless_declined(activity, trained):
    for name, (dims, tensor) in trained.network.weights().items():
        assert activity[f"parameter_{name}"].dims == dims
        np.testing.assert_array_equal(activity[f"parameter_{name}"], tensor.detach())
    bare = record(trained.network, trained.task, n_trials=2, embed_network=False)
    assert not [name for name in bare if name.startswith("parameter_")]


def test_the_origin_is_one_json_text(activity, trained):
    record_of = origin(activity)
    assert record_of["task"]["class"] == "FlipFlop"
    assert record_of["task"]["repr"] == repr(trained.task)
    assert record_of["task"]["parameters"]["n_bits"] == 2
    assert record_of["task"]["dt"] == 10.0
    assert nr.build_network(record_of["network"]).config == trained.network.config
    assert record_of["training"]["steps_trained"] == 60
    assert record_of["training"]["config"]["learning_rate"] == 5e-3
    assert record_of["recording"] == {
        "seed": 3,
        "noise": False,
        "n_trials": 20,
        "conditions": "random",
        "variables": ["input", "mask", "output", "rate", "target"],
        "interventions": [],
        "batch_size": 256,
    }
    assert set(record_of["machine"]) == {"processor", "instructions", "threads"}
    assert record_of["weights_sha256"] == weights_digest(trained.network)
    assert record_of["versions"]["neurornn"] == nr.__version__
    assert record_of["versions"]["torch"] == torch.__version__
    assert set(activity.attrs) == {"Conventions", "neurornn"}


def test_a_network_with_a_nameless_activation_is_recorded_with_its_repr(flip_flop):
    activity = record(RateRNN(2, 4, 2, activation=torch.sin), flip_flop, 2)
    assert "activation='callable'" in origin(activity)["network"]


def test_current_dynamics_record_the_state_beside_the_rate(flip_flop):
    net = RateRNN(2, 6, 2, dynamics="current", alpha=0.5, trainable_initial_state=True)
    with torch.no_grad():
        net.first_state.fill_(0.7)
    activity = record(net, flip_flop, 3)
    assert activity.state.dims == ("trial", "time", "state_variable")
    np.testing.assert_allclose(np.tanh(activity.state.values), activity.rate.values, rtol=1e-6)
    np.testing.assert_array_equal(activity.initial_state, np.full((3, 6), np.float32(0.7)))
    np.testing.assert_array_equal(activity.parameter_first_state, np.full(6, np.float32(0.7)))
    assert activity.parameter_first_state.dims == ("state_variable",)


def test_one_step_leads_from_each_recorded_state_to_the_next(flip_flop):
    net = RateRNN(2, 6, 2, dynamics="current", tau=40.0, dt=10.0, dtype=torch.float64)
    activity = record(net, flip_flop, 3)
    assert activity.rate.dtype == np.float64
    before = np.concatenate([activity.initial_state.values[:, None], activity.state.values[:, :-1]], axis=1)
    with torch.no_grad():
        after = net.step(torch.from_numpy(before), torch.from_numpy(activity.input.values).double())
    np.testing.assert_allclose(after, activity.state, atol=1e-13)


@pytest.mark.parametrize("task", [PerceptualDecisionMaking(), DelayedComparison()])
def test_choices_and_the_ideal_observers_are_recorded_trial_by_trial(task):
    net = RateRNN(task.n_inputs, 6, task.n_outputs)
    activity = record(net, task, 40, seed=5)
    trials = task.draw(40, seeding.numpy_stream(5, seeding.RECORDING))
    outputs = activity.output.values
    np.testing.assert_array_equal(activity.choice, task.choose(outputs, trials))
    np.testing.assert_array_equal(activity.score, activity.choice == activity.target_choice)
    ideal = task.ideal_choices(trials) == trials.conditions["target_choice"]
    np.testing.assert_array_equal(activity.ideal_score, ideal)
    np.testing.assert_array_equal(activity.valid, trials.valid)
    assert activity.target.dims == ("trial", "time")


def test_given_trials_are_used_as_they_are(flip_flop):
    trials = flip_flop.draw(7, np.random.default_rng(0))
    net = RateRNN(2, 6, 2)
    activity = record(net, trials)
    np.testing.assert_array_equal(activity.input, trials.inputs)
    assert origin(activity)["recording"]["n_trials"] == 7
    for wrong in ({"n_trials": 99}, {"conditions": "factorial"}):
        with pytest.raises(InputError, match="7 trials, which are used as they are: leave out"):
            record(net, trials, **wrong)


@pytest.mark.parametrize("dynamics", ["rate", "current"])
@pytest.mark.parametrize("task", [FlipFlop(n_bits=1, duration=100), DelayedComparison()])
def test_a_recording_comes_back_from_its_file(tmp_path, dynamics, task):
    net = RateRNN(task.n_inputs, 5, task.n_outputs, dynamics=dynamics, trainable_initial_state=True)
    activity = record(net, task, 6)
    nr.save(activity, tmp_path / "activity.nc")
    xr.testing.assert_identical(nr.load(tmp_path / "activity.nc"), activity)


def test_a_dataset_holds_no_objects_no_complex_numbers_and_no_multiindex(activity):
    assert {variable.dtype.kind for variable in activity.variables.values()} <= set("fiubU")
    assert all(index.nlevels == 1 for index in activity.indexes.values())


def test_what_cannot_be_recorded_is_refused(flip_flop):
    net = RateRNN(2, 4, 2)
    with pytest.raises(InputError, match="`task` must be a task, got str"):
        record(net, "flip_flop")
    with pytest.raises(InputError, match="`n_trials` must be a whole number of at least 1, got 0"):
        record(net, flip_flop, 0)
    with pytest.raises(InputError, match="`batch_size` must be a whole number of at least 1, got 0"):
        record(net, flip_flop, 3, batch_size=0)
    with pytest.raises(InputError, match="`seed` must be a whole number of at least 0, got -1"):
        record(net, flip_flop, 3, seed=-1)
    with pytest.raises(InputError, match=r"input_size is 2 but the task's n_inputs is 3"):
        record(net, FlipFlop(n_bits=3))
    with pytest.raises(InputError, match=r"dt is 5\.0 ms but the task's is 10\.0 ms"):
        record(RateRNN(2, 4, 2, tau=10.0, dt=5.0), flip_flop.draw(2, np.random.default_rng(0)))
    with pytest.raises(InputError, match="`network` must be a network, got FlipFlop"):
        record(flip_flop, flip_flop)


# Networks with options ------------------------------------------------------------------------------------


def test_units_carry_their_population_sign_area_and_direction(flip_flop, tmp_path):
    net = RateRNN(
        2, 10, 2, activation="relu", areas={"V1": 6, "PFC": 4}, excitatory_fraction=0.5,
        projections={"V1 -> PFC": 1.0, "PFC -> V1": 1.0},
    )  # fmt: skip
    activity = record(net, flip_flop, n_trials=3)
    assert activity.population.dims == activity.sign.dims == activity.area.dims == ("unit",)
    excitatory, inhibitory = ["excitatory"], ["inhibitory"]
    assert (
        activity.population.values.tolist()
        == excitatory * 3 + inhibitory * 3 + excitatory * 2 + inhibitory * 2
    )
    np.testing.assert_array_equal(activity.sign, [1] * 3 + [-1] * 3 + [1] * 2 + [-1] * 2)
    assert activity.area.values.tolist() == ["V1"] * 6 + ["PFC"] * 4
    nr.save(activity, tmp_path / "labelled.nc")
    assert nr.load(tmp_path / "labelled.nc").population.equals(activity.population)
    both = record(RateRNN(2, 3, 2, bidirectional=True), flip_flop, n_trials=3)
    assert both.direction.values.tolist() == ["forward"] * 3 + ["backward"] * 3


@pytest.mark.parametrize(
    ("network", "quantities", "layers"),
    [
        (RateRNN(2, 2, 2, dynamics="current"), ["current"] * 2, None),
        (
            RateRNN(2, 2, 2, activation="relu", plasticity="mixed", tau=20.0, dt=10.0),
            ["rate", "rate", "resources", "resources", "use", "use"],
            None,
        ),
        (nr.LSTM(2, 1, 2), ["hidden", "cell"], None),
        (nr.LSTM(2, 1, 2, n_layers=2), ["hidden", "cell"] * 2, [0, 0, 1, 1]),
        (RateRNN(2, 1, 2, n_layers=2, bidirectional=True), ["rate"] * 4, [0, 0, 1, 1]),
    ],
)
def test_state_variables_say_what_they_are(network, quantities, layers, flip_flop):
    activity = record(network, flip_flop, n_trials=2)
    assert activity.quantity.dims == ("state_variable",)
    assert activity.quantity.values.tolist() == quantities
    assert ("layer" in activity.coords) == (layers is not None)
    if layers is not None:
        assert activity.layer.values.tolist() == layers


@pytest.mark.parametrize(
    "network",
    [
        nr.LSTM(2, 4, 2),
        nr.GRU(2, 4, 2, n_layers=2, bidirectional=True),
        RateRNN(2, 4, 2, n_layers=3, residual=True, layer_norm=True),
        RateRNN(2, 4, 2, rank=1, trainable_tau=True, tau=30.0, dt=10.0, attention="bilinear", feedback=False),
        RateRNN(2, 4, 2, activation="parametric_relu", feedback=True, trainable_initial_state=True),
        RateRNN(2, 4, 2, activation="relu", plasticity="mixed", tau=[20.0, 30.0, 40.0, 50.0], dt=10.0),
    ],
    ids=lambda network: repr(network),
)
def test_a_recording_of_any_network_is_whole_and_survives_its_file(network, flip_flop, tmp_path):
    activity = record(network, flip_flop, n_trials=5, batch_size=2)
    trials = torch.as_tensor(activity.input.values)
    # In the recording's batches: one of five sums in another order, of which layer norm makes much.
    parts = [network.eval()(own, return_states=True) for own in trials.split(2)]
    outputs, rates, states = (torch.cat(own) for own in zip(*parts, strict=True))
    np.testing.assert_allclose(activity.rate, rates.detach(), atol=1e-6)
    np.testing.assert_allclose(activity.output, outputs.detach(), atol=1e-6)
    assert ("state" in activity) == (not network.states_are_rates)
    if "state" in activity:
        np.testing.assert_allclose(activity.state, states.detach(), atol=1e-6)
    for name, (_, values) in network.weights().items():
        np.testing.assert_array_equal(activity[f"parameter_{name}"], values.detach())
    nr.save(activity, tmp_path / "activity.nc")
    assert nr.load(tmp_path / "activity.nc").equals(activity)
    assert nr.build_network(origin(activity)["network"]).config == network.config


# What is kept, and of which trials ---------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", ["rate", "current", "leak_inside"])
def test_pre_activations_are_what_f_is_applied_to(dynamics, flip_flop):
    net = RateRNN(2, 6, 2, dynamics=dynamics, tau=50, dt=10, activation="softplus", dtype=torch.float64)
    activity = record(net, flip_flop, 4, variables=["pre_activation", "rate", "state"])
    assert activity.pre_activation.dims == ("trial", "time", "unit")
    applied = np.logaddexp(0, activity.pre_activation.values)
    rate, alpha = activity.rate.values, 0.2
    if dynamics == "rate":
        before = np.concatenate([np.zeros_like(rate[:, :1]), rate[:, :-1]], 1)
        applied = (1 - alpha) * before + alpha * applied
    # float64: two ways to the same numbers.
    np.testing.assert_allclose(applied, rate, rtol=0, atol=1e-12)


def test_gates_make_the_next_state():
    task = FlipFlop(n_bits=2, duration=300)
    gru = record(nr.GRU(2, 6, 2), task, 4, variables=["rate", "reset_gate", "update_gate", "candidate"])
    before = np.concatenate([np.zeros((4, 1, 6)), gru.rate.values[:, :-1]], 1)
    keep = gru.update_gate.values
    # float32, and torch's kernels beside our own step.
    np.testing.assert_allclose((1 - keep) * gru.candidate + keep * before, gru.rate, atol=1e-6)
    names = ["state", "input_gate", "forget_gate", "output_gate", "candidate"]
    lstm = record(nr.LSTM(2, 6, 2), task, 4, variables=names)
    assert "rate" not in lstm
    hidden, cell = lstm.state.values[..., :6], lstm.state.values[..., 6:]
    before = np.concatenate([np.zeros((4, 1, 6)), cell[:, :-1]], 1)
    after = lstm.forget_gate.values * before + lstm.input_gate.values * lstm.candidate.values
    np.testing.assert_allclose(after, cell, atol=1e-6)
    np.testing.assert_allclose(lstm.output_gate.values * np.tanh(cell), hidden, atol=1e-6)


def test_layers_have_pre_activations_of_their_own(flip_flop):
    net = RateRNN(2, 5, 2, n_layers=2, dtype=torch.float64)
    assert net.inner_variables == ("layer_0_pre_activation", "layer_1_pre_activation")
    activity = record(net, flip_flop, 3, variables=[*net.inner_variables, "state", "rate"])
    lower = np.tanh(activity.layer_0_pre_activation.values)
    np.testing.assert_allclose(lower, activity.state.values[..., :5], atol=1e-12)
    np.testing.assert_allclose(np.tanh(activity.layer_1_pre_activation.values), activity.rate, atol=1e-12)
    assert activity.layer_0_pre_activation.dims == ("trial", "time", "layer_0_unit")


def test_only_what_is_wanted_is_kept(flip_flop):
    net = RateRNN(2, 6, 2)
    activity = record(net, flip_flop, 3, variables="rate", embed_network=False)
    assert set(activity.data_vars) == {"rate", "valid", "initial_state"}
    assert "score" in activity.coords
    scores = record(net, flip_flop, 3, variables=[], embed_network=False)
    assert set(scores.data_vars) == {"valid", "initial_state"}
    np.testing.assert_array_equal(scores.score, activity.score)
    with_state = record(net, flip_flop, 3, variables=["rate", "state"])
    np.testing.assert_array_equal(with_state.state, with_state.rate)


def test_variables_that_are_none_are_refused(flip_flop):
    net = RateRNN(2, 6, 2, noise_std=0.1)
    with pytest.raises(InputError, match=r"unknown variable 'rates'.*did you mean 'rate'"):
        record(net, flip_flop, 3, variables=["rates"])
    with pytest.raises(InputError, match="'pre_activation' is recorded without the noise that a step adds"):
        record(net, flip_flop, 3, variables=["pre_activation"], noise=True)
    both = RateRNN(2, 6, 2, bidirectional=True)
    with pytest.raises(InputError, match="a bidirectional network has none"):
        record(both, flip_flop, 3, variables=["layer_0_pre_activation"])


def test_factorial_conditions_are_balanced():
    task = PerceptualDecisionMaking(coherences=(0, 10))
    net = RateRNN(task.n_inputs, 6, task.n_outputs)
    activity = record(net, task, 12, conditions="factorial")
    values, counts = np.unique(activity.signed_coherence, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {-10: 3, 0: 6, 10: 3}
    assert record(net, task, conditions="factorial").sizes["trial"] == 256
    with pytest.raises(
        InputError, match=r"has 4 conditions, and 10 trials are not .* give n_trials=12, or another multiple"
    ):
        record(net, task, 10, conditions="factorial")
    with pytest.raises(InputError, match="give n_trials=4, or another multiple"):
        record(net, task, 3, conditions="factorial")
    with pytest.raises(
        InputError, match=r"unknown value of `conditions` 'factorail'.*did you mean 'factorial'"
    ):
        record(net, task, conditions="factorail")
    noise = nr.tasks.get("white_noise")
    with pytest.raises(InputError, match="no conditions to cross"):
        record(RateRNN(noise.n_inputs, 6, noise.n_outputs), noise, conditions="factorial")


def test_batches_keep_the_order_of_axes_and_the_memory_of_one_array(flip_flop):
    net = RateRNN(2, 6, 2, dynamics="current")
    whole, parts = record(net, flip_flop, 10), record(net, flip_flop, 10, batch_size=3)
    for name in ("rate", "state", "output", "initial_state"):
        assert parts[name].dims == whole[name].dims
        np.testing.assert_allclose(parts[name], whole[name], atol=1e-6)


def test_the_noise_of_a_pass_does_not_depend_on_the_passes_before(flip_flop):
    """Each pass has a stream of its own: more trials do not change the noise of the first ones."""
    net = RateRNN(2, 6, 2, noise_std=0.3)
    trials = flip_flop.draw(9, np.random.default_rng(0))
    few = record(net, trials.select(np.arange(6)), noise=True, batch_size=3)
    more = record(net, trials, noise=True, batch_size=3)
    np.testing.assert_array_equal(more.rate[:6], few.rate)
    assert not np.allclose(more.rate[:3] - more.rate[3:6], 0)
