import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from neurornn import vocabulary as v
from neurornn.vocabulary import InputError


@pytest.mark.parametrize(
    ("name", "near"),
    [("flipflop", "flip_flop"), ("Flip-Flop", "flip_flop"), ("TANH", "tanh"), ("zzz", None), ("", None)],
)
def test_the_nearest_name_ignores_case_and_hyphens(name, near):
    assert v.nearest_name(name, ["flip_flop", "tanh", "relu"]) == near


def test_an_unknown_name_is_told_with_the_known_ones_and_the_nearest():
    with pytest.raises(InputError, match=r"unknown task 'flop': expected one of 'flip_flop', 'go'; did you"):
        v.unknown_name("task", "flop", ["go", "flip_flop"])
    with pytest.raises(InputError, match="choose one of those"):
        v.unknown_name("task", "xyz", ["go", "flip_flop"])


def test_need_dims_names_the_dimension_to_rename():
    data = xr.DataArray(np.zeros((2, 3, 4)), dims=("trial", "time", "neuron"))
    with pytest.raises(
        InputError,
        match=r"`activity` needs dimension 'unit', got \('trial', 'time', 'neuron'\): "
        r"rename yours with activity\.rename\(neuron='unit'\)",
    ):
        v.need_dims(data, ("trial", "time", "unit"))


def test_need_dims_offers_to_add_a_dimension_where_none_is_to_spare():
    with pytest.raises(InputError, match=r"`points` needs dimension 'unit'.*points\.expand_dims\('unit'\)"):
        v.need_dims(xr.DataArray(np.zeros(3), dims="time"), ["unit"], "points")


def test_need_dims_accepts_any_order_and_more_dimensions():
    v.need_dims(xr.DataArray(np.zeros((2, 3, 4)), dims=("unit", "extra", "time")), ("time", "unit"))


def test_need_dims_asks_for_labels_first():
    with pytest.raises(InputError, match=r"xarray Dataset or DataArray, got ndarray: label the axes first"):
        v.need_dims(np.zeros(3), ["unit"])


def test_a_missing_variable_is_told_with_those_there_are():
    data = xr.Dataset({"rate": ("time", [1.0])}, coords={"time": [0.0]})
    assert v.need_variable(data, "rate").dims == ("time",)
    with pytest.raises(InputError, match=r"no variable 'rates'.*'rate'.*did you mean 'rate'\?"):
        v.need_variable(data, "rates")
    with pytest.raises(InputError, match="must be an xarray Dataset, got DataArray"):
        v.need_variable(data["rate"], "rate")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, complex(0, np.nan)])
def test_a_number_that_is_not_finite_is_named_with_its_place(bad):
    array = np.zeros((2, 3), dtype=type(bad))
    array[1, 2] = bad
    with pytest.raises(
        InputError, match=r"`rates` must be finite, got .* at index \(1, 2\) \(1 of 6 entries\)"
    ):
        v.need_finite(array, "rates")


@pytest.mark.parametrize("array", [np.zeros((0, 2)), np.array(["a"]), np.array([1, 2]), np.array(True)])
def test_what_cannot_be_infinite_is_finite(array):
    v.need_finite(array, "x")


@given(st.integers(1, 10**12))
def test_a_count_comes_back_as_a_plain_int(n):
    assert v.need_count(n, "n") == n
    assert type(v.need_count(np.int64(n), "n")) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", None, np.float64(2), np.nan])
def test_what_is_no_count_is_refused(value):
    with pytest.raises(InputError, match=r"`n_trials` must be a whole number of at least 1, got"):
        v.need_count(value, "n_trials")


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, True, "3", None, 1j, np.complex128(1)])
def test_what_is_not_positive_is_refused(value):
    with pytest.raises(InputError, match=r"`dt` must be a positive number of ms, got"):
        v.need_positive(value, "dt", "ms")


@pytest.mark.parametrize("value", [-1e-300, np.nan, np.inf, False, "0", None, 1j])
def test_what_is_below_zero_or_no_number_is_refused(value):
    with pytest.raises(InputError, match=r"`delay` must be a number of ms of at least 0, got"):
        v.need_at_least_zero(value, "delay", "ms")


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.int16(3)])
def test_numbers_of_numpy_are_numbers(value):
    assert type(v.need_positive(value, "x")) is float
    assert v.need_at_least_zero(value, "x") == value
    assert v.need_at_least_zero(0, "x") == 0


def test_a_choice_is_returned_or_told_with_the_nearest():
    assert v.need_choice("mse", "loss", ("mse", "cross_entropy")) == "mse"
    with pytest.raises(InputError, match=r"unknown loss 'crossentropy'.*did you mean 'cross_entropy'"):
        v.need_choice("crossentropy", "loss", ("mse", "cross_entropy"))
