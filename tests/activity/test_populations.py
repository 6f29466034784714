import numpy as np
import pytest
import xarray as xr

import neurornn as nr
from neurornn import GRU, LSTM, InputError, RateRNN, population, record
from neurornn.tasks import FlipFlop

TASK = FlipFlop(n_bits=2, duration=100)
DALE = {"activation": "relu", "excitatory_fraction": 0.75}
AREAS = {"areas": {"V1": 4, "PFC": 8}, "projections": {"V1 -> PFC": 0.5}}


def recorded(family=RateRNN, **options):
    return record(family(2, 12, 2, **options), TASK, 3)


def test_rates_and_labels_are_those_of_the_units():
    activity = recorded(**DALE, **AREAS)
    for name, coordinate in (("excitatory", "population"), ("inhibitory", "population"), ("PFC", "area")):
        chosen = population(activity, name)
        which = (activity[coordinate] == name).values
        xr.testing.assert_identical(chosen.rate, activity.rate[:, :, which])
        np.testing.assert_array_equal(chosen.initial_state, activity.initial_state[:, which])
        np.testing.assert_array_equal(chosen.unit, np.flatnonzero(which))
        assert chosen.attrs == activity.attrs
        xr.testing.assert_identical(chosen.output, activity.output)


def test_weights_are_those_among_the_units():
    activity = recorded(**DALE)
    chosen = population(activity, "inhibitory")
    which = (activity.population == "inhibitory").values
    weight = activity.parameter_recurrent_weight.values
    np.testing.assert_array_equal(chosen.parameter_recurrent_weight, weight[np.ix_(which, which)])
    np.testing.assert_array_equal(chosen.parameter_input_weight, activity.parameter_input_weight[which])
    np.testing.assert_array_equal(chosen.parameter_output_weight, activity.parameter_output_weight[:, which])
    np.testing.assert_array_equal(chosen.parameter_bias, activity.parameter_bias[which])
    assert (chosen.parameter_recurrent_weight <= 0).all()


def test_several_words_are_joined_and_several_coordinates_met():
    activity = recorded(**DALE, **AREAS)
    sign, area = activity.sign.values, activity.area.values
    units = population(activity, "excitatory", area="PFC").unit.values
    np.testing.assert_array_equal(units, np.flatnonzero((sign > 0) & (area == "PFC")))
    assert population(activity, ["excitatory", "inhibitory"]).sizes["unit"] == 12
    np.testing.assert_array_equal(population(activity, sign=-1).unit, np.flatnonzero(sign < 0))
    both = population(activity, area=["V1", "PFC"], sign=np.array([1]))
    np.testing.assert_array_equal(both.unit, np.flatnonzero(sign > 0))
    preferred = activity.assign_coords(preferred=("unit", np.arange(12) % 3))
    np.testing.assert_array_equal(population(preferred, preferred=[0, 2]).unit, [0, 2, 3, 5, 6, 8, 9, 11])


@pytest.mark.parametrize(
    ("family", "options", "n_quantities", "n_gates"),
    [
        (RateRNN, {"dynamics": "current"}, 1, 1),
        (RateRNN, {"plasticity": "mixed", "tau": 100.0, "dt": 10.0, "activation": "relu"}, 3, 1),
        (GRU, {}, 1, 3),
        (LSTM, {}, 2, 4),
    ],
)
def test_state_variables_follow_their_units(family, options, n_quantities, n_gates):
    activity = recorded(family, **options)
    activity = activity.assign_coords(group=("unit", list("ab" * 6)))
    chosen = population(activity, group="b")
    assert chosen.sizes["state_variable"] == 6 * n_quantities
    np.testing.assert_array_equal(chosen.unit_of_state, np.tile(np.arange(1, 12, 2), n_quantities))
    if "state" in activity:
        for k in range(n_quantities):
            own = activity.state[..., 12 * k : 12 * (k + 1)][..., 1::2]
            np.testing.assert_array_equal(chosen.state[..., 6 * k : 6 * (k + 1)], own)
    if family is not RateRNN:
        weight = activity.parameter_recurrent_weight.values.reshape(n_gates, 12, 12)[:, 1::2, 1::2]
        np.testing.assert_array_equal(chosen.parameter_recurrent_weight, weight.reshape(-1, 6))
        assert chosen.parameter_bias.sizes["gated_unit"] == 6 * n_gates


@pytest.mark.parametrize("family", [RateRNN, LSTM])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_of_two_directions_each_has_its_states(family, n_layers):
    activity = recorded(family, bidirectional=True, n_layers=n_layers)
    chosen = population(activity, "backward")
    np.testing.assert_array_equal(chosen.unit, np.arange(12, 24))
    per_unit = 2 if family is LSTM else 1
    last = activity.state.isel(state_variable=slice(-12 * per_unit, None))
    np.testing.assert_array_equal(chosen.state, last)
    # The first quantity is h, which is the rate; so each state stands beside its own unit.
    np.testing.assert_array_equal(chosen.state[..., :12], chosen.rate)


def test_of_several_layers_it_is_the_topmost():
    activity = recorded(**DALE, n_layers=3)
    chosen = population(activity, "inhibitory")
    np.testing.assert_array_equal(chosen.layer, [2, 2, 2])
    np.testing.assert_array_equal(chosen.state, chosen.rate)
    xr.testing.assert_identical(
        chosen.parameter_layer_1_recurrent_weight, activity.parameter_layer_1_recurrent_weight
    )
    np.testing.assert_array_equal(
        chosen.parameter_output_weight, activity.parameter_output_weight[:, activity.sign.values < 0]
    )


def test_choosing_twice_is_choosing_both(tmp_path):
    activity = recorded(LSTM).assign_coords(
        group=("unit", list("ab" * 6)), half=("unit", np.repeat([0, 1], 6))
    )
    twice = population(population(activity, "a"), half=1)
    xr.testing.assert_identical(twice, population(activity, "a", half=1))
    nr.save(twice, tmp_path / "twice.nc")
    xr.testing.assert_equal(population(nr.load(tmp_path / "twice.nc"), "a"), twice)


def test_analyses_run_on_a_population():
    activity = population(recorded(**DALE), "excitatory")
    assert nr.analysis.pca(activity, 2).sizes["unit"] == 9
    assert nr.analysis.eigenspectrum(activity.parameter_recurrent_weight).sizes["mode"] == 9


@pytest.mark.parametrize(
    ("choose", "sentence"),
    [
        (lambda a: population(a), "population needs a name, or a coordinate and its value, got neither"),
        (lambda a: population(a, "exitatory"), r"unknown population 'exitatory': .*mean 'excitatory'\?"),
        (lambda a: population(a, regoin="V1"), r"unknown coordinate of units 'regoin'"),
        (lambda a: population(a, area="V2"), r"unknown value of 'area': 'V2': expected one of 'PFC', 'V1'"),
        (lambda a: population(a, sign=2), r"unknown value of 'sign': 2: expected one of '-1', '1'"),
        (
            lambda a: population(a.isel(unit=[0]).drop_dims("state_variable"), "excitatory", area="PFC"),
            r"unknown value of 'area'",
        ),
        (
            lambda a: population(a.assign_coords(more=("unit", ["V1"] * 12)), "V1"),
            r"'V1' stands in more than one coordinate of the units: say area='V1' or more='V1'",
        ),
        (
            lambda a: population(a.assign_coords(unit=np.arange(12), x=("unit", [0] * 11 + [1])), "V1", x=1),
            "no unit fits all that was asked for: ask for less",
        ),
        (lambda a: population(a.drop_vars(["population", "area"]), "V1"), "says nothing of its units: give"),
        (lambda a: population(a.rate, "V1"), "must be an xarray Dataset, got DataArray"),
        (lambda a: population(a.isel(unit=0), "V1"), "needs dimension 'unit'"),
        (
            lambda a: population(a.isel(unit=slice(0, 7)), "V1"),
            r"has 12 state variables and 7 units, and does not tell which belong together: choose the popul",
        ),
    ],
)
def test_what_is_no_population_is_one_sentence(choose, sentence):
    with pytest.raises(InputError, match=sentence):
        choose(recorded(**DALE, **AREAS))
