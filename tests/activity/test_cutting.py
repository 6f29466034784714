import numpy as np
import pytest
import xarray as xr

import neurornn as nr
from neurornn import RateRNN, align, condition_average, epoch, population, record
from neurornn.activity.cutting import cut
from neurornn.tasks import DelayedComparison, PerceptualDecisionMaking


def numbers(kind):
    values = np.arange(12).reshape(3, 4)
    words = np.char.add("w", values.astype(str))
    return {"U": words, "M": values.astype("M8[ns]")}.get(kind, values.astype(kind if kind != "U" else "i8"))


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("f4", np.nan), ("f8", np.nan), ("c16", np.nan), ("i4", 0), ("u1", 0), ("?", False), ("U", "")],
)
@pytest.mark.parametrize("first", [np.array([1, 0, 2]), np.array([1, 1, 1]), np.array([3, 3, 3])])
def test_every_kind_of_number_keeps_its_kind(kind, missing, first):
    values = numbers(kind)
    dataset = xr.Dataset({"own": (("trial", "time"), values)})
    counts = np.array([[True, True], [True, False], [False, True]])
    result = cut(dataset, "trial", first, counts)
    assert result.own.dtype.kind == values.dtype.kind
    for k in range(3):
        for j in range(2):
            there = counts[k, j] and first[k] + j < 4
            np.testing.assert_array_equal(result.own[k, j], values[k, first[k] + j] if there else missing)
            assert bool(result.valid[k, j]) == there


@pytest.mark.parametrize(
    "order", [("trial", "time", "unit"), ("unit", "trial", "time"), ("time", "unit", "trial")]
)
def test_the_order_of_dimensions_stays(order):
    rng = np.random.default_rng(0)
    array = xr.DataArray(rng.random((3, 4, 2)), dims=("trial", "time", "unit"))
    dataset = array.transpose(*order).to_dataset(name="own")
    result = cut(dataset, "trial", np.array([0, 2, 1]), np.ones((3, 2), bool))
    assert result.own.dims == order
    for k, first in enumerate((0, 2, 1)):
        wanted = array[k, first : first + 2].transpose("time", "unit")
        np.testing.assert_array_equal(result.own.isel(trial=k).transpose("time", "unit"), wanted)


@pytest.mark.parametrize("first", [1, np.array([1, 0, 2]), np.array([3, 3, 3])])
def test_the_recording_is_never_written_into(first):
    dataset = xr.Dataset({"own": (("trial", "time"), np.arange(12.0).reshape(3, 4))})
    before = dataset.copy(deep=True)
    cut(dataset, "trial", first, np.zeros((3, 2), bool))
    xr.testing.assert_identical(dataset, before)


def test_a_recording_on_the_disk_is_cut_without_being_read():
    dask = pytest.importorskip("dask.array")
    apart = record(RateRNN(2, 5, 3), DelayedComparison(), 24)
    dale = {"activation": "relu", "excitatory_fraction": 0.6}
    shared = record(RateRNN(3, 5, 3, **dale), PerceptualDecisionMaking(), 24)
    for activity, name in ((apart, "delay"), (shared, "stimulus"), (shared, ["fixation", "response"])):
        chunks = activity.chunk({"trial": 5})
        pairs = [
            (epoch(chunks, name), epoch(activity, name)),
            (align(chunks, "response", before=600), align(activity, "response", before=600)),
        ]
        for lazy, wanted in pairs:
            assert isinstance(lazy.rate.data, dask.Array)
            xr.testing.assert_identical(lazy.compute(), wanted)
        by = "target_choice"
        xr.testing.assert_identical(
            condition_average(chunks, by, spread="standard_error").compute(),
            condition_average(activity, by, spread="standard_error"),
        )
    chosen = population(shared.chunk({"trial": 5}), "inhibitory")
    assert isinstance(chosen.rate.data, dask.Array)
    xr.testing.assert_identical(chosen.compute(), nr.population(shared, "inhibitory"))
