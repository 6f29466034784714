"""A recording and fixed points that the report's tests make their cases of."""

import itertools

import numpy as np
import pytest
import xarray as xr

from neurornn.activity import condition_average
from neurornn.analysis import accuracy, eigenspectrum, pca
from neurornn.analysis.psychometric import fit_psychometric
from neurornn.report import draw_figures, make_tables
from neurornn.tasks import FlipFlop


def make_activity(n_units=3, n_trials=10):
    """Return 1000 ms of flip-flop trials whose units settle at corners of a cube."""
    task = FlipFlop(n_bits=3)
    trials = task.draw(n_trials, np.random.default_rng(0))
    data = trials.to_dataset()
    noise = np.random.default_rng(1).standard_normal((n_trials, 100, n_units))
    rate = np.tile(data.target.to_numpy(), (1, 1, 1))[..., :n_units] + 0.05 * noise
    data["rate"] = (("trial", "time", "unit"), rate)
    data["output"] = (("trial", "time", "output_channel"), data.target.to_numpy() * 0.95)
    return data.assign_coords(
        score=("trial", np.r_[np.ones(n_trials - 1), 0.5]), side=("trial", np.arange(n_trials) % 2)
    )


def make_points(
    kinds, *, n_unstable=None, conditions=None, index=None, expected=None, slowest=50.0, rates=None, failed=0
):
    """Return a dataset as `find_fixed_points` makes it, of one point for each kind named."""
    n = len(kinds)
    if n_unstable is None:
        n_unstable = [1 if kind == "saddle" else 3 if kind == "unstable" else 0 for kind in kinds]
    label = np.array(conditions if conditions is not None else ["zero input"] * n, dtype="<U20")
    names = list(dict.fromkeys(label.tolist())) or ["zero input"]
    eigenvalue = np.where(np.arange(3) < np.array(n_unstable, dtype=int).reshape(n, 1), 1.5, 0.5)
    data = xr.Dataset(
        {
            "rate": (
                ("fixed_point", "unit"),
                np.zeros((n, 3)) if rates is None else np.asarray(rates, float),
            ),
            "rate_direction": (("fixed_point", "leading_mode", "unit"), np.tile(np.eye(3), (n, 1, 1))),
            "residual": ("fixed_point", np.full(n, 2e-15)),
            "speed": ("fixed_point", np.full(n, 2e-15), {"units": "1/tau"}),
            "eigenvalue_real": (("fixed_point", "mode"), eigenvalue),
            "eigenvalue_imag": (("fixed_point", "mode"), np.zeros((n, 3))),
            "time_constant": (
                ("fixed_point", "mode"),
                np.where(eigenvalue > 1, -20.0, slowest),
                {"units": "ms"},
            ),
            "start_label": ("start", np.r_[np.arange(n), np.full(failed, -1)].astype(int)),
            "start_residual": ("start", np.r_[np.full(n, 2e-15), 0.0025 * np.arange(1, failed + 1)]),
            "start_condition": ("start", np.r_[label, np.full(failed, names[0])]),
            "index_sum": ("condition", np.full(len(names), 1.0) if index is None else np.array(index, float)),
            "index_sum_expected": (
                "condition",
                np.full(len(names), 1.0) if expected is None else np.array(expected, float),
            ),
            "condition_name": ("condition", names),
        },
        coords={
            "kind": ("fixed_point", np.array(kinds, dtype="<U8")),
            "n_unstable": ("fixed_point", np.array(n_unstable, dtype=int)),
        },
    )
    return data.assign_coords(condition=("fixed_point", label))


def make_cube(**more):
    kinds = ["stable"] * 8 + ["saddle"] * 19
    n_unstable = [0] * 8 + [1] * 12 + [2] * 6 + [3]
    corners = list(itertools.product([-1.0, 1.0], repeat=3))
    return make_points(kinds, n_unstable=n_unstable, rates=corners + [(0, 0, 0)] * 19, **more)


@pytest.fixture(scope="session")
def activity():
    """Return the function that makes a recording."""
    return make_activity


@pytest.fixture(scope="session")
def points():
    """Return the function that makes points of given kinds."""
    return make_points


@pytest.fixture(scope="session")
def cube():
    """Return the function that makes the 27 points of a cube of memories."""
    return make_cube


@pytest.fixture(scope="session")
def everything():
    data = make_activity()
    fit = fit_psychometric([-2, -1, 0, 1, 2], [6, 18, 61, 88, 97], [100] * 5, lapse=False, n_bootstrap=10)
    history = xr.Dataset({"loss": ("step", 0.9 ** np.arange(50))}, coords={"step": np.arange(1, 51)})
    pcs = pca(data)
    figures = draw_figures(
        data,
        history=history,
        pcs=pcs,
        points=make_cube(),
        spectrum=eigenspectrum(np.eye(3)),
        averages=condition_average(data, "side"),
        psychometric=fit,
        color_by="side",
    )
    tables = make_tables(data, pcs=pcs, points=make_cube(), accuracy=accuracy(data, "side"), psychometric=fit)
    return figures, tables
