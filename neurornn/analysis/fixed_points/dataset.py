"""What a search found, labelled: points, starts, conditions and flat pieces in one dataset."""

from __future__ import annotations

import math

import numpy as np
import torch
import xarray as xr

from neurornn.analysis.fixed_points.classification import describe_points
from neurornn.analysis.fixed_points.search import Search
from neurornn.analysis.maps import StateMap
from neurornn.vocabulary import (
    CONDITION,
    FIXED_POINT,
    INPUT_CHANNEL,
    MODE,
    START,
    STATE_VARIABLE,
    UNIT,
)

LEADING_MODE = "leading_mode"
FLAT_PIECE = "flat_piece"

Parts = tuple[xr.Dataset, xr.Dataset, xr.Dataset, xr.Dataset]
"""Of one condition: its points, starts, completeness and flat pieces."""


@torch.no_grad()
def label_search(search: Search, name: str, dt: float | None, n_modes: int | None) -> Parts:
    """Return what is known per point, per start, of this condition, and per flat piece.

    Parameters
    ----------
    search : Search
        One that has ended.
    name : str
        Label of the constant input.
    dt : float or None
        Length of a step in ms.
    n_modes : int or None
        How many modes at least.
    """
    system = search.system
    described = describe_points(system, search.points, search.is_zero, n_modes, search.seen_from)
    on_piece = search.piece_of.numpy() >= 0
    described["kind"] = np.where(on_piece, "marginal", described["kind"])
    # Along a piece nothing grows, whatever rounding makes of a modulus of 1.
    beyond = (np.abs(described["eigenvalue"]) > 1 + 1e-8).sum(axis=1)
    described["n_unstable"] = np.where(on_piece, beyond, described["n_unstable"])
    # Isolated zeros, then pieces in order along each, then slow points; by unstable modes, then by position.
    along = np.where(on_piece, np.arange(len(on_piece)), 0)
    by_mode = np.where(on_piece, 0, described["n_unstable"])
    keys = (along, by_mode, search.piece_of.numpy(), ~search.is_zero.numpy())
    order = np.lexsort((*described["state"].T[::-1], *keys))
    place = np.empty(len(order), dtype=int)
    place[order] = np.arange(len(order))
    states, label, residual = (own.numpy() for own in search.starts())
    label = np.where(label >= 0, place[label], -1) if len(order) else label
    described = {key: values[order] for key, values in described.items()}
    points = _points(described, dt, system)
    points["point_condition"] = (FIXED_POINT, np.full(len(order), name))
    points["flat_piece_of_point"] = (FIXED_POINT, search.piece_of.numpy()[order])
    starts = xr.Dataset(
        {
            "start_state": ((START, STATE_VARIABLE), states),
            "start_label": (START, label),
            "start_residual": (START, residual),
            "start_condition": (START, np.full(len(label), name)),
        }
    )
    zeros = described["kind"] != "slow"
    marginal = bool((described["kind"] == "marginal").any())
    completeness = xr.Dataset(
        {
            "index_sum": (CONDITION, [math.nan if marginal else float(described["index"][zeros].sum())]),
            "index_sum_expected": (CONDITION, [search.index_expected]),
            "unseen_share": (CONDITION, [search.unseen_share()]),
            "search_ending": (CONDITION, [search.ending]),
            "search_rounds": (CONDITION, [search.n_rounds]),
            "condition_name": (CONDITION, [name]),
        }
    )
    return points, starts, completeness, _pieces(search, name)


def _pieces(search: Search, name: str) -> xr.Dataset:
    lengths = []
    for piece in search.pieces:
        corners = search.equation.states(piece.vertices)
        around = torch.cat([corners, corners[:1]]) if piece.closed else corners
        length = float(around.diff(dim=0).norm(dim=1).sum()) if piece.dimension == 1 else math.nan
        lengths.append(length if piece.bounded else math.inf)
    return xr.Dataset(
        {
            "flat_piece_dimension": (FLAT_PIECE, np.array([own.dimension for own in search.pieces], int)),
            "flat_piece_length": (FLAT_PIECE, np.array(lengths, float)),
            "flat_piece_closed": (FLAT_PIECE, np.array([own.closed for own in search.pieces], bool)),
            "flat_piece_condition": (FLAT_PIECE, np.full(len(lengths), name)),
        }
    )


def _points(described: dict[str, np.ndarray], dt: float | None, system: StateMap) -> xr.Dataset:
    eigenvalue = described["eigenvalue"]
    unit, step = ("steps", 1.0) if dt is None else ("ms", float(dt))
    with np.errstate(divide="ignore", invalid="ignore"):
        time_constant = -step / np.log(np.abs(eigenvalue))
    per = "1/step" if dt is None else "Hz"
    frequency = np.abs(np.angle(eigenvalue)) / (2 * np.pi * step) * (1.0 if dt is None else 1000.0)
    constant_input = system.input.numpy() if system.network is not None else np.empty(0)
    vectors = (FIXED_POINT, LEADING_MODE, STATE_VARIABLE)
    speed = {"units": "1/tau" if system.has_leak else "1/step"}
    points = xr.Dataset(
        {
            "state": ((FIXED_POINT, STATE_VARIABLE), described["state"]),
            "rate": ((FIXED_POINT, UNIT), described["rate"]),
            "input": ((FIXED_POINT, INPUT_CHANNEL), np.tile(constant_input, (len(eigenvalue), 1))),
            "residual": (FIXED_POINT, described["residual"]),
            "speed": (FIXED_POINT, described["speed"], speed),
            "position_error": (FIXED_POINT, described["position_error"]),
            "eigenvalue_real": ((FIXED_POINT, MODE), eigenvalue.real),
            "eigenvalue_imag": ((FIXED_POINT, MODE), eigenvalue.imag),
            "time_constant": ((FIXED_POINT, MODE), time_constant, {"units": unit}),
            "frequency": ((FIXED_POINT, MODE), frequency, {"units": per}),
            "reactivity": (FIXED_POINT, described["reactivity"], speed),
            "rate_direction": ((FIXED_POINT, LEADING_MODE, UNIT), described["rate_direction"]),
            "state_direction": (vectors, described["state_direction"].real),
            "state_direction_imag": (vectors, described["state_direction"].imag),
            "selection_vector": (vectors, described["selection_vector"].real),
            "selection_vector_imag": (vectors, described["selection_vector"].imag),
        },
        coords={
            "kind": (FIXED_POINT, described["kind"].astype(str)),
            "n_unstable": (FIXED_POINT, described["n_unstable"]),
        },
    )
    if dt is not None and system.has_leak:
        rate = (eigenvalue - 1) / dt
        points["flow_rate_real"] = ((FIXED_POINT, MODE), rate.real, {"units": "1/ms"})
        points["flow_rate_imag"] = ((FIXED_POINT, MODE), rate.imag, {"units": "1/ms"})
    return points


def combine(results: list[Parts]) -> xr.Dataset:
    """Put the conditions' points in a row; labels of starts and pieces then count through all of them."""
    n_points = n_pieces = 0
    for points, starts, _, pieces in results:
        starts["start_label"] = starts["start_label"].where(
            starts["start_label"] < 0, starts["start_label"] + n_points
        )
        own = points["flat_piece_of_point"]
        points["flat_piece_of_point"] = own.where(own < 0, own + n_pieces)
        n_points += points.sizes[FIXED_POINT]
        n_pieces += pieces.sizes[FLAT_PIECE]
    n_modes = max(points.sizes[MODE] for points, *_ in results)
    rows = list(zip(*results, strict=True))
    if any(own.sizes[MODE] < n_modes for own in rows[0]):
        rows[0] = tuple(own.pad({MODE: (0, n_modes - own.sizes[MODE])}) for own in rows[0])
    # By variables: concatenation of whole datasets takes longer than a search of a small network.
    variables = {
        name: xr.Variable.concat([own.variables[name] for own in parts], dim)
        for parts, dim in zip(rows, (FIXED_POINT, START, CONDITION, FLAT_PIECE), strict=True)
        for name in parts[0].variables
    }
    # Named so late: from here on `condition` is both a dimension and what each point belongs to.
    variables[CONDITION] = variables.pop("point_condition")
    coords = {name: variables.pop(name) for name in ("kind", "n_unstable", CONDITION)}
    return xr.Dataset(variables, coords=coords)
