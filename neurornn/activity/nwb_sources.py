"""What rates are made of in NWB files: spike times of sorted units, or samples of a time series.

Either is cut into trials in the same way, and tells what is known of its units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurornn.storage.nwb import SERIES, TABLES
from neurornn.vocabulary import UNIT, InputError

ROUNDING = 1e-6
"""Share of a step by which times may miss the step that is meant."""
_UNEVEN = 0.01
"""Share of a step by which samples of a series may be nearer or farther than others."""

Columns = dict[str, np.ndarray]


class Spikes:
    """Spike times of the sorted units, counted in bins.

    Attributes
    ----------
    ids : ndarray, shape (unit,)
    first, last : float
        Bounds of the recording in seconds; spikes tell of none.
    """

    name = "units"
    measure = "spikes/s"
    first, last = -np.inf, np.inf

    def __init__(self, table: Any) -> None:
        self.table = table
        self.ids = np.asarray(table.id[:])

    def step(self, width: float | None) -> float:
        """Return the length of a step in seconds, refusing to go without bins."""
        if width is None:
            raise InputError("spikes are counted in bins: give bin_width in ms, for example bin_width=20")
        return width

    def n_steps(self, start: np.ndarray, stop: np.ndarray, width: float | None) -> np.ndarray:
        """Return how many whole steps each interval has."""
        return _whole_bins(start, stop, self.step(width))

    def rates(self, start: np.ndarray, stop: np.ndarray, width: float | None) -> list[np.ndarray]:
        """Return for every trial the spikes per second, shape (time, unit)."""
        width = self.step(width)
        n_bins = _whole_bins(start, stop, width)
        edges = [own + width * np.arange(n + 1) for own, n in zip(start, n_bins, strict=True)]
        # Spikes before each edge of all trials at once; counts are the differences within a trial.
        flat = np.asarray(self.table["spike_times"].target.data[:], float)
        each = np.split(flat, self.table["spike_times"].data[:][:-1])
        before = np.stack([np.searchsorted(np.sort(own), np.concatenate(edges)) for own in each], axis=1)
        within = np.split(before, np.cumsum(n_bins + 1)[:-1])
        return [(np.diff(own, axis=0) / width).astype(np.float32) for own in within]

    def observed(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Return which units were observed throughout all trials."""
        if "obs_intervals" not in self.table.colnames:
            return np.ones(len(self.ids), bool)
        flat = np.asarray(self.table["obs_intervals"].target.data[:], float)
        spans = np.split(flat, self.table["obs_intervals"].data[:][:-1])
        trials = list(zip(start, stop, strict=True))
        return np.array(
            [all(((own[:, 0] <= a) & (own[:, 1] >= b)).any() for a, b in trials) for own in spans], bool
        )

    def labels(self, left_out: dict[str, list[str]]) -> Columns:
        """Return what is known of each unit, and of its electrodes where they agree."""
        labels = columns(self.table, left_out, but=("spike_times", "obs_intervals", "electrodes"))
        if "electrodes" in self.table.colnames:
            index = self.table["electrodes"]
            rows = np.split(np.asarray(index.target.data[:]), index.data[:][:-1])
            labels |= _of_members(index.target.table, rows, "electrode", left_out)
        return labels


class Samples:
    """Samples of a time series (time x unit), each of them a step, or averaged in bins.

    Attributes
    ----------
    ids : ndarray, shape (unit,)
    first, last : float
        When the first sample begins and the last one ends, in seconds.
    """

    def __init__(self, series: Any, file: Any) -> None:
        self.series = series
        self.name = str(series.name)
        self.measure = str(series.unit)
        n_samples, *others = series.data.shape
        self.network_units = _network_units(series, file, others)
        self.moments: np.ndarray | None = None
        if series.rate is not None:
            self.interval = 1 / float(series.rate)
            self.first = float(series.starting_time)
            self.last = self.first + n_samples * self.interval
        else:
            self.moments = np.asarray(series.timestamps[:], float)
            self.interval = float(np.median(np.diff(self.moments)))
            self.first, self.last = float(self.moments[0]), float(self.moments[-1]) + self.interval
        region = getattr(series, "electrodes", None)
        self.region = getattr(series, "rois", None) if region is None else region
        self.ids = np.arange(others[0] if others else 1)
        if self.region is not None:
            self.ids = np.asarray(self.region.table.id[:])[np.asarray(self.region.data[:])]

    def step(self, width: float | None) -> float:
        """Return the length of a step in seconds."""
        return self.interval if width is None else width

    def n_steps(self, start: np.ndarray, stop: np.ndarray, width: float | None) -> np.ndarray:
        """Return how many whole steps each interval has."""
        if width is not None:
            return _whole_bins(start, stop, width)
        ranges = [self._range(a, b) for a, b in zip(start, stop, strict=True)]
        return np.array([end - begin for begin, end in ranges], int)

    def rates(self, start: np.ndarray, stop: np.ndarray, width: float | None) -> list[np.ndarray]:
        """Return for every trial its samples, or their means in bins, shape (time, unit)."""
        trials = zip(start, stop, strict=True)
        if width is None:
            return [self._even(k, *self._range(a, b)) for k, (a, b) in enumerate(trials)]
        return [self._binned(k, a, b, width) for k, (a, b) in enumerate(trials)]

    def observed(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Return which columns were observed throughout all trials: all."""
        return np.ones(len(self.ids), bool)

    def labels(self, left_out: dict[str, list[str]]) -> Columns:
        """Return what is known of each column: of its electrode, region of interest or model unit."""
        if self.network_units is not None:
            return columns(self.network_units, left_out, but=(UNIT,))
        if self.region is None:
            return {}
        rows = [[own] for own in np.asarray(self.region.data[:])]
        return _of_members(self.region.table, rows, self.region.name.removesuffix("s"), left_out)

    def _even(self, trial: int, begin: int, end: int) -> np.ndarray:
        gaps = np.diff(self._moments(begin, end))
        if len(gaps) and np.abs(gaps - self.interval).max() > _UNEVEN * self.interval:
            raise InputError(
                f"the samples of {self.name!r} are not evenly spaced in trial {trial}: {gaps.min():g} to "
                f"{gaps.max():g} s apart; give bin_width in ms to average them"
            )
        return self._read(begin, end)

    def _binned(self, trial: int, start: float, stop: float, width: float) -> np.ndarray:
        n_bins = int(_whole_bins(start, stop, width))
        begin, end = self._range(start, start + n_bins * width)
        place = np.floor((self._moments(begin, end) - start) / width + ROUNDING).astype(int)
        counts = np.bincount(place, minlength=n_bins)
        if not counts.all():
            raise InputError(
                f"bin {int((counts == 0).argmax())} of trial {trial} has no sample of {self.name!r}, whose "
                f"samples are {self.interval * 1e3:g} ms apart: give a larger bin_width"
            )
        samples = self._read(begin, end)
        sums = np.add.reduceat(samples.astype(float), np.cumsum(counts) - counts, axis=0)
        return (sums / counts[:, None]).astype(samples.dtype)

    def _range(self, start: float, stop: float) -> tuple[int, int]:
        """Return which samples begin within [start, stop)."""
        bounds = np.array([start, stop])
        if self.moments is None:
            begin, end = np.ceil((bounds - self.first) / self.interval - ROUNDING).astype(int)
        else:
            begin, end = np.searchsorted(self.moments, bounds - ROUNDING * self.interval)
        return max(int(begin), 0), min(int(end), self.series.data.shape[0])

    def _moments(self, begin: int, end: int) -> np.ndarray:
        if self.moments is None:
            return self.first + self.interval * np.arange(begin, end)
        return self.moments[begin:end]

    def _read(self, begin: int, end: int) -> np.ndarray:
        samples = np.asarray(self.series.data[begin:end]).reshape(end - begin, -1)
        samples = samples.astype(np.result_type(samples, np.float32))
        return samples * samples.dtype.type(self.series.conversion) + samples.dtype.type(self.series.offset)


def columns(table: Any, left_out: dict[str, list[str]], but: Sequence[str] = ()) -> Columns:
    """Return the columns of a table that have one number, boolean or string a row.

    Parameters
    ----------
    table : hdmf.common.DynamicTable
    left_out : dict
        To which the names of the other columns are added: lists, references, arrays.
    but : sequence of str
        Columns that are not meant.
    """
    from hdmf.common import DynamicTableRegion, EnumData, VectorIndex

    found = {}
    for name in table.colnames:
        if name in but:
            continue
        own = table[name]
        # A column of lists comes as its index, and references as the numbers of another table's rows.
        plain = not isinstance(own, VectorIndex | DynamicTableRegion | EnumData)
        values = np.asarray(own.data[:]) if plain else np.empty((0, 0))
        if values.dtype.kind == "O" and values.ndim == 1 and all(isinstance(entry, str) for entry in values):
            values = values.astype(str)
        if values.ndim == 1 and values.dtype.kind in "biufU":
            found[name] = values
        else:
            left_out.setdefault(f"columns of {table.name}", []).append(name)
    return found


def _whole_bins(start: Any, stop: Any, width: float) -> Any:
    return np.floor((stop - start) / width + ROUNDING).astype(int)


def _of_members(table: Any, rows: Sequence[Any], prefix: str, left_out: dict[str, list[str]]) -> Columns:
    """Return for each unit what is known of its electrodes or regions, where all of them agree."""
    labels = {}
    for name, values in columns(table, left_out).items():
        if all(len(own) and (values[own] == values[own[0]]).all() for own in rows):
            labels[f"{prefix}_{name}"] = values[[own[0] for own in rows]]
        else:
            left_out.setdefault(f"columns of {table.name}", []).append(name)
    return labels


def _network_units(series: Any, file: Any, sizes: Sequence[int]) -> Any:
    """Return the table that tells of a network's units, where the series is its rates."""
    table = next((own for own in file.objects.values() if own.name == TABLES[UNIT]), None)
    fits = table is not None and [len(table)] == list(sizes) and series.name == SERIES["rate"]
    return table if fits else None
